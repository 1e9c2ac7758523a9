/* SPDX-License-Identifier: Apache-2.0
 *
 * What the C tests share: short makers of contexts, recipes, caches and tensors; rows that depend on a
 * seed and a position alone; snapshots in memory; an allocator that counts and fails on demand. */
#ifndef TESTS_CAPI_COMMON_H
#define TESTS_CAPI_COMMON_H

#include <stddef.h>
#include <stdint.h>

#include "budget.h"
#include "check.h"
#include "mustafar/mustafar.h"

/* ---- numbers ---------------------------------------------------------------------------------- */

/* xorshift64*: the same numbers everywhere. */
uint64_t random_next(uint64_t* state);
float random_unit(uint64_t* state); /* -1 .. 1, bell-shaped */

float f16_to_float(uint16_t bits);
uint16_t f16_from_float(float value); /* to nearest, ties to even */
float bf16_to_float(uint16_t bits);
uint16_t bf16_from_float(float value);
float float_from_bits(uint32_t bits);

/* ---- makers: they succeed or end the program --------------------------------------------------- */

mustafar_geometry make_geometry(uint32_t layers, uint32_t q_heads, uint32_t kv_heads,
                                uint32_t head_dim_k, uint32_t head_dim_v, mustafar_dtype dtype);
mustafar_context* make_context(uint32_t threads); /* no quota, the C library's memory */
mustafar_recipe* make_recipe(const char* text);
mustafar_cache* make_cache(mustafar_context* context, mustafar_geometry geometry,
                           const char* recipe, uint32_t max_tokens, uint32_t flags);

/* A contiguous view; the shape ends with the first 0. */
mustafar_tensor view(const void* data, mustafar_dtype dtype, int64_t a, int64_t b, int64_t c,
                     int64_t d);

/* Fills `tokens` rows [tokens, heads, head_dim]; what stands at a position depends on (seed, position) only. */
void fill_rows(float* rows, uint64_t seed, uint32_t position, uint32_t tokens, uint32_t heads,
               uint32_t head_dim);

/* Appends those rows, K with seed, V with seed + 1, to one layer behind what it holds. */
mustafar_status append_rows(mustafar_cache* cache, uint32_t layer, uint64_t seed, uint32_t tokens,
                            uint32_t flags, mustafar_error* error);
void must_append(mustafar_cache* cache, uint32_t layer, uint64_t seed, uint32_t tokens,
                 uint32_t flags);
void must_append_all(mustafar_cache* cache, uint64_t seed, uint32_t tokens);

/* ---- asking ------------------------------------------------------------------------------------ */

mustafar_geometry geometry_of(const mustafar_cache* cache);
uint32_t length_of(const mustafar_cache* cache, uint32_t layer); /* committed + tentative */
uint32_t rows_of(const mustafar_cache* cache, uint32_t layer, uint32_t kv_head);
uint32_t body_of(const mustafar_cache* cache, uint32_t layer, uint32_t kv_head);
mustafar_bytes bytes_of(const mustafar_cache* cache);
mustafar_context_stats stats_of(const mustafar_context* context);
/* Of what attends on this cache. */
attend_budget budget_of(const mustafar_context* context, const mustafar_cache* cache);

/* ---- bytes in memory ---------------------------------------------------------------------------- */

typedef struct blob {
    unsigned char* data;
    size_t size;
    size_t room;
    size_t at; /* of the reader */
} blob;

int32_t blob_write(void* user, const void* data, size_t bytes); /* a mustafar_write_fn */
int32_t blob_read(void* user, void* data, size_t bytes, size_t* got);
void blob_free(blob* bytes);
bool blob_equal(const blob* a, const blob* b);

/* The snapshot of a cache; ends the program if there is none. A cache must have no tentative tokens, where
 * that matters to save. */
blob snapshot_of(const mustafar_cache* cache);
/* True when the snapshot of `cache` is `before`. */
bool unchanged(const mustafar_cache* cache, const blob* before);

/* ---- an allocator that counts ------------------------------------------------------------------- */

typedef struct counter {
    int64_t calls; /* of allocate */
    int64_t
        fail_at; /* the call that returns NULL, counted from 1; 0 = none; -n = that one and all later */
    int64_t live;       /* blocks handed out and not given back */
    int64_t live_bytes; /* in them */
    int64_t misuse;     /* released with another size or alignment, or alignment out of contract */
} counter;

mustafar_allocator counting_allocator(counter* counts);

/* ---- structs of other sizes ---------------------------------------------------------------------- */

/* `size` bytes that end at an unreadable page: reading or writing behind them stops the program. */
typedef struct fence {
    unsigned char* data;
    void* map;
    size_t map_bytes;
} fence;
fence fence_make(size_t size);
void fence_free(fence* memory);

/* Attention by its formula, in double, over exported values: the oracle for attend. Rows `seen` of
 * [rows, d]; scale as given; `sink` NULL or one score. Writes out[d_v] and gives lse back. */
double plain_attention(const float* q, const float* k, const float* v, uint32_t rows,
                       const unsigned char* seen, uint32_t head_dim_k, uint32_t head_dim_v,
                       double scale, double softcap, const float* sink, double* out,
                       double* weights);

#endif
