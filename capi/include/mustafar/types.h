/* SPDX-License-Identifier: Apache-2.0
 *
 * Types shared by every part of the C ABI: status, error, dtype, tensor view, geometry, bytes.
 *
 * Conventions, valid for all headers of this library
 *   Order      of parameters: handle, inputs, outputs (`out...`), `error`.
 *   Status     0 is success. On failure nothing has changed and no output was written, except
 *              `*error` when it is given. `error` may always be NULL.
 *   Threads    calls that take only `const` handles may overlap on one handle; any other call needs
 *              its handle alone. Different handles are independent.
 *   Ownership  created handles belong to the caller and are given back with `..._destroy`, which
 *              accepts NULL. "borrows until return" is the rule for every pointer argument that
 *              does not say otherwise. Getters never transfer ownership.
 *   Words      tokens and rows are counts, bytes are sizes, indices start at 0, strides are in
 *              elements. d is head_dim, k the number of elements kept in a row of d.
 *   Flags      unknown bits, and unknown fields of a newer struct that are not 0, are UNSUPPORTED.
 *   Printing   the library never prints, never aborts, never reads a clock for results.
 */
#ifndef MUSTAFAR_TYPES_H
#define MUSTAFAR_TYPES_H

#include <stddef.h> /* size_t */
#include <stdint.h> /* fixed-width integers */

#if defined(_WIN32)
#error "mustafar: this platform is not served yet"
#elif defined(__GNUC__) && defined(MUSTAFAR_BUILDING)
#define MUSTAFAR_API __attribute__((visibility("default")))
#else
#define MUSTAFAR_API
#endif

#if defined(__GNUC__)
#define MUSTAFAR_MUST_USE __attribute__((warn_unused_result))
#else
#define MUSTAFAR_MUST_USE
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Result of a call. A fixed width, so that the ABI does not depend on a compiler's choice for
 * enums. Values are never renumbered or reused; callers must tolerate values they do not know. */
typedef int32_t mustafar_status;

enum {
    MUSTAFAR_OK = 0,
    MUSTAFAR_INVALID_ARGUMENT = 1, /* shape, stride, range, NULL, malformed text */
    MUSTAFAR_UNSUPPORTED = 2,      /* well formed, but not served here; it says what is missing */
    MUSTAFAR_OUT_OF_MEMORY = 3,    /* values = asked, used, limit (0: the allocator) in bytes */
    MUSTAFAR_CAPACITY = 4,         /* max_tokens; values = asked, held, limit (tokens) */
    MUSTAFAR_BAD_STATE = 5,        /* the call does not fit the state of the handle */
    MUSTAFAR_NON_FINITE = 6,       /* NaN, infinity, or beyond what is stored; values = side (0 K,
                                      1 V), token, head, channel */
    MUSTAFAR_NOT_EXACT = 7,        /* truncate asks packed rows back; values[0] = least length */
    MUSTAFAR_CORRUPT = 8,          /* damaged or malformed bytes; values[0] = byte offset */
    MUSTAFAR_MISMATCH = 9,         /* a snapshot of another geometry, recipe, model or version */
    MUSTAFAR_IO = 10,              /* file system (values[0] = errno) or a callback (its result) */
    MUSTAFAR_DEVICE = 11,          /* the device or its driver failed */
    MUSTAFAR_INTERNAL = 12         /* a bug of ours; please report the text */
};

/* What went wrong, in a buffer of the caller's. Start with MUSTAFAR_ERROR_INIT. The library writes
 * it only when a call fails; `message` is always NUL-terminated and cut to fit. Nothing is to be
 * freed. */
typedef struct mustafar_error {
    uint32_t struct_size; /* sizeof(mustafar_error) of the caller */
    mustafar_status code; /* the status that was returned */
    int64_t values[4];    /* numbers behind the text; see the list of statuses; 0 where unused */
    char message[512];    /* "call: argument = value, limit, way out" */
} mustafar_error;

#define MUSTAFAR_ERROR_INIT {(uint32_t)sizeof(mustafar_error), 0, {0, 0, 0, 0}, {0}}

/* Element types. Halves travel as raw `uint16_t` bits. */
typedef int32_t mustafar_dtype;

enum {
    MUSTAFAR_F32 = 1,
    MUSTAFAR_F16 = 2,  /* IEEE 754 binary16 */
    MUSTAFAR_BF16 = 3, /* upper half of binary32 */
    MUSTAFAR_U8 = 4,
    MUSTAFAR_I32 = 5
};

#define MUSTAFAR_MAX_DIMS 4

/* A view of a strided array. The caller owns `data`; the library borrows it until the call
 * returns. A dimension of stride 0 repeats its element and is accepted for inputs only. Outputs
 * must not overlap themselves. */
typedef struct mustafar_tensor {
    void *data;           /* first element; aligned to its element size */
    mustafar_dtype dtype; /* MUSTAFAR_F32 .. */
    int32_t device;       /* 0 = host memory; others are refused by a context without that device */
    uint32_t ndim;        /* 1 .. MUSTAFAR_MAX_DIMS */
    uint32_t reserved;    /* 0 */
    int64_t shape[MUSTAFAR_MAX_DIMS];
    int64_t strides[MUSTAFAR_MAX_DIMS]; /* in elements; may be negative for inputs */
} mustafar_tensor;

/* Which half of the cache. */
enum { MUSTAFAR_SIDE_K = 0, MUSTAFAR_SIDE_V = 1 };

/* "all of them", wherever a layer or a kv head is asked for and the call says so. */
#define MUSTAFAR_ALL UINT32_MAX

/* Shape of a model's cache. Query head h reads kv head h / (q_heads / kv_heads). */
typedef struct mustafar_geometry {
    uint32_t struct_size; /* sizeof(mustafar_geometry) of the caller */
    uint32_t layers;      /* 1 .. 4096 */
    uint32_t q_heads;     /* a multiple of kv_heads, at most 1024 and 64 * kv_heads */
    uint32_t kv_heads;    /* 1 .. 1024 */
    uint32_t head_dim_k;  /* 32 .. 256 in steps of 8 */
    uint32_t head_dim_v;  /* 32 .. 256 in steps of 8 */
    mustafar_dtype dtype; /* MUSTAFAR_F16 or MUSTAFAR_BF16: how 16-bit values are stored. Inputs may
                             be f16, bf16 or f32 and are rounded to it (to nearest, ties to even) */
    uint32_t reserved;    /* 0 */
} mustafar_geometry;

/* Bytes by part. `plan` predicts them, `stats` reports them; total is the sum of the parts and
 * equals what the context's allocator handed out for the cache. */
typedef struct mustafar_bytes {
    uint32_t struct_size; /* sizeof(mustafar_bytes) of the caller */
    uint32_t exact;       /* 1; 0 where a plan is an upper bound, since the data decide (ragged) */
    uint64_t total;
    uint64_t values;    /* codes of body rows that are in use */
    uint64_t bitmaps;   /* their bitmaps, and the offsets of ragged rows */
    uint64_t meta;      /* their scales and zeros */
    uint64_t slack;     /* alignment, unfilled and evicted rows, readable padding of pages */
    uint64_t window;    /* dense rows: the whole buffers, filled or not, and prune marks */
    uint64_t positions; /* int32 per row, once a head has evicted */
    uint64_t tables;    /* page headers and tables, per-head records, centres, the handle itself */
} mustafar_bytes;

#ifdef __cplusplus
}
#endif
#endif /* MUSTAFAR_TYPES_H */
