/* SPDX-License-Identifier: Apache-2.0
 *
 * What the Go files call instead of the C API: functions that take values, build tensor views and the
 * error on the C stack, and return results and error together. So no Go memory ever holds a pointer that
 * C sees, nothing is read from another thread's state, and no call is needed for the text of an error. */
#ifndef MUSTAFAR_GO_SHIM_H
#define MUSTAFAR_GO_SHIM_H

#include <mustafar/mustafar.h>

#if MUSTAFAR_VERSION_MAJOR != 0 || MUSTAFAR_VERSION_MINOR != 1
#error "this Go package is for libmustafar 0.1; PKG_CONFIG_PATH leads to another"
#endif

/* A tensor in host memory. `data` is a char pointer, not void, since cgo then need not look for
 * pointers behind it, which would refuse slices of arrays that share a struct with pointers. */
typedef struct mustafar_go_view {
    char *data;
    int32_t dtype;
    uint32_t ndim; /* 0 = absent */
    int64_t shape[MUSTAFAR_MAX_DIMS];
    int64_t strides[MUSTAFAR_MAX_DIMS];
} mustafar_go_view;

/* In all of these, error.code is the status; where it is not 0, the rest says nothing. The two calls of every
 * token, append and attend, take memory for the error instead: half a kilobyte to copy is 100 ns. */
typedef struct mustafar_go_numbers {
    mustafar_error error;
    uint32_t number[4];
} mustafar_go_numbers;

typedef struct mustafar_go_kernel {
    mustafar_error error;
    mustafar_kernel_info info;
} mustafar_go_kernel;

typedef struct mustafar_go_context {
    mustafar_error error;
    mustafar_context *context;
} mustafar_go_context;

typedef struct mustafar_go_recipe {
    mustafar_error error;
    mustafar_recipe *recipe;
    const char *json, *digest; /* live as long as the recipe */
} mustafar_go_recipe;

typedef struct mustafar_go_cache {
    mustafar_error error;
    mustafar_cache *cache;
} mustafar_go_cache;

typedef struct mustafar_go_bytes {
    mustafar_error error;
    mustafar_bytes bytes;
} mustafar_go_bytes;

typedef struct mustafar_go_side {
    mustafar_error error;
    mustafar_side_info info;
} mustafar_go_side;

typedef struct mustafar_go_context_stats {
    mustafar_error error;
    mustafar_context_stats stats;
} mustafar_go_context_stats;

typedef struct mustafar_go_cache_stats {
    mustafar_error error;
    mustafar_cache_stats stats;
} mustafar_go_cache_stats;

typedef struct mustafar_go_description {
    mustafar_error error;
    mustafar_geometry geometry;
    mustafar_cache_options options;
    const char *recipe; /* lives as long as the cache */
} mustafar_go_description;

/* What a load compares with; NULL as in mustafar_cache_load. */
typedef struct mustafar_go_expected {
    int has_geometry, has_options;
    mustafar_geometry geometry;
    mustafar_cache_options options;
} mustafar_go_expected;

/* Counts what a context takes from the C library. */
typedef struct mustafar_go_counts {
    int64_t live_bytes, live_blocks, allocations;
    int64_t fail_after; /* allocations that still succeed; negative = all */
} mustafar_go_counts;

mustafar_go_counts *mustafar_go_counts_create(void);
void mustafar_go_counts_destroy(mustafar_go_counts *counts);
mustafar_go_counts mustafar_go_counts_read(mustafar_go_counts *counts);
void mustafar_go_counts_fail_after(mustafar_go_counts *counts, int64_t allocations);
void *mustafar_go_counted_allocate(void *user, size_t bytes, size_t alignment);
void mustafar_go_counted_release(void *user, void *data, size_t bytes, size_t alignment);

mustafar_go_kernel mustafar_go_kernel_at(size_t index);
mustafar_go_context mustafar_go_context_create(mustafar_context_options options,
                                               mustafar_go_counts *counts, uintptr_t log,
                                               int32_t level); /* log 0 = silence */
mustafar_go_kernel mustafar_go_context_kernel(const mustafar_context *context, const char *op);
mustafar_go_context_stats mustafar_go_context_get_stats(const mustafar_context *context);

mustafar_go_recipe mustafar_go_recipe_parse(const char *text, size_t bytes);
mustafar_go_side mustafar_go_recipe_side(const mustafar_recipe *recipe, mustafar_geometry geometry,
                                         uint32_t layer, uint32_t kv_head, uint32_t side);
mustafar_go_numbers mustafar_go_recipe_window(const mustafar_recipe *recipe,
                                              mustafar_geometry geometry, uint32_t layer,
                                              uint32_t kv_head);
mustafar_go_bytes mustafar_go_plan(const mustafar_recipe *recipe, mustafar_geometry geometry,
                                   mustafar_cache_options options, uint32_t tokens, uint32_t layer);

mustafar_go_cache mustafar_go_cache_create(mustafar_context *context, mustafar_geometry geometry,
                                           const mustafar_recipe *recipe,
                                           mustafar_cache_options options);
mustafar_go_cache mustafar_go_cache_fork(const mustafar_cache *cache);
mustafar_status mustafar_go_cache_append(mustafar_cache *cache, uint32_t layer, mustafar_go_view k,
                                         mustafar_go_view v, uint32_t flags, mustafar_error *error);
mustafar_error mustafar_go_cache_commit(mustafar_cache *cache, uint32_t layer);
mustafar_error mustafar_go_cache_prune(mustafar_cache *cache, uint32_t layer, uint32_t kv_head,
                                       uint32_t side, uint32_t begin, uint32_t end,
                                       mustafar_prune_options options,
                                       mustafar_go_view channel_weights,
                                       mustafar_go_view token_weights, mustafar_go_view mask);
mustafar_error mustafar_go_cache_compress(mustafar_cache *cache, uint32_t layer);
mustafar_error mustafar_go_cache_evict(mustafar_cache *cache, uint32_t layer, uint32_t kv_head,
                                       const int32_t *positions, size_t count, uint32_t flags);
mustafar_error mustafar_go_cache_evict_scores(mustafar_cache *cache, uint32_t layer,
                                              uint32_t kv_head, const float *scores, size_t count,
                                              uint32_t budget);
mustafar_error mustafar_go_cache_truncate(mustafar_cache *cache, uint32_t length, uint32_t flags);
mustafar_error mustafar_go_cache_reset(mustafar_cache *cache);

mustafar_go_numbers mustafar_go_cache_length(const mustafar_cache *cache, uint32_t layer);
mustafar_go_numbers mustafar_go_cache_rows(const mustafar_cache *cache, uint32_t layer,
                                           uint32_t kv_head);
mustafar_error mustafar_go_cache_positions(const mustafar_cache *cache, uint32_t layer,
                                           uint32_t kv_head, int32_t *positions, size_t count);
mustafar_error mustafar_go_cache_export(const mustafar_cache *cache, uint32_t layer,
                                        uint32_t kv_head, uint32_t side, uint32_t begin,
                                        uint32_t end, mustafar_go_view values, uint8_t *bitmaps);
mustafar_go_description mustafar_go_cache_describe(const mustafar_cache *cache);
mustafar_go_bytes mustafar_go_cache_bytes(const mustafar_cache *cache, uint32_t layer,
                                          uint32_t kv_head);
mustafar_go_cache_stats mustafar_go_cache_get_stats(const mustafar_cache *cache);

/* `many` holds `count` pointers to caches; NULL = `one` alone. */
mustafar_status mustafar_go_attend(const mustafar_cache *one, const uintptr_t *many, size_t count,
                                   uint32_t layer, mustafar_go_view q, mustafar_go_view sinks,
                                   mustafar_attend_options options, mustafar_go_view out,
                                   mustafar_go_view lse, mustafar_go_view weights,
                                   mustafar_go_view dropped, mustafar_error *error);
mustafar_error mustafar_go_merge(mustafar_context *context, mustafar_go_view out_a,
                                 mustafar_go_view lse_a, mustafar_go_view out_b,
                                 mustafar_go_view lse_b, mustafar_go_view out,
                                 mustafar_go_view lse);

/* `stream` and `log` are handles of the Go side, which the functions at the end get back. */
mustafar_error mustafar_go_cache_save(const mustafar_cache *cache, const char *model_id,
                                      uintptr_t stream);
mustafar_error mustafar_go_cache_save_file(const mustafar_cache *cache, const char *model_id,
                                           const char *path);
mustafar_go_cache mustafar_go_cache_load(mustafar_context *context, mustafar_go_expected expected,
                                         const mustafar_recipe *recipe, const char *model_id,
                                         uintptr_t stream);
mustafar_go_cache mustafar_go_cache_load_file(mustafar_context *context,
                                              mustafar_go_expected expected,
                                              const mustafar_recipe *recipe, const char *model_id,
                                              const char *path);

/* Written in Go (callbacks.go). */
extern int32_t mustafarGoWrite(uintptr_t stream, void *data, size_t bytes);
extern int64_t mustafarGoRead(uintptr_t stream, void *data,
                              size_t bytes); /* bytes read; negative = failed */
extern void mustafarGoLog(uintptr_t log, int32_t level, char *text);

#endif /* MUSTAFAR_GO_SHIM_H */
