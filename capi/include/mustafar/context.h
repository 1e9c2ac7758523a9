/* SPDX-License-Identifier: Apache-2.0
 *
 * A context is the place where caches live: backend, threads, allocator, byte quota, page pool.
 * Threads    every call on a context may overlap any other: its counters are atomic and its
 *            workspaces are leased per call.
 * Ownership  belongs to the caller; destroy it after its caches. Destroying NULL is allowed. */
#ifndef MUSTAFAR_CONTEXT_H
#define MUSTAFAR_CONTEXT_H

#include "info.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mustafar_context mustafar_context;

/* Where all memory of a context comes from. Both functions may be called from several threads at
 * once and must not throw, jump or call back into the library. */
typedef struct mustafar_allocator {
    uint32_t struct_size; /* caller's sizeof */
    uint32_t reserved;    /* 0 */
    void *user; /* handed to both functions; the context borrows it until it is destroyed */
    void *(*allocate)(void *user, size_t bytes,
                      size_t alignment); /* NULL = no memory; alignment <= 64 */
    void (*release)(void *user, void *data, size_t bytes, size_t alignment);
} mustafar_allocator;

enum {
    MUSTAFAR_LOG_ERROR = 1,
    MUSTAFAR_LOG_WARNING = 2,
    MUSTAFAR_LOG_INFO = 3,
    MUSTAFAR_LOG_TRACE = 4 /* one line per call that changes, forks or saves a cache */
};

/* Where lines of text go; without one the library is silent. Called on the thread of the call it
 * speaks of; must not throw, jump or call back into the library. */
typedef struct mustafar_log_hook {
    uint32_t struct_size; /* caller's sizeof */
    int32_t level;        /* the finest level wanted */
    void *user;
    void (*write)(void *user, int32_t level, const char *text);
} mustafar_log_hook;

/* Never land on the reference rows: creation fails if a table that has faster rows has none that runs
 * here. Ops with a reference row only (merge, unpack) do not count. */
#define MUSTAFAR_CONTEXT_REFUSE_REF 1u

typedef struct mustafar_context_options {
    uint32_t struct_size; /* caller's sizeof; set by MUSTAFAR_CONTEXT_OPTIONS_INIT */
    uint32_t threads;     /* 0 = as many as the machine has, which is also the
                             most that are used; results do not depend on it */
    uint64_t quota_bytes; /* most bytes the context may hold at once; 0 = no limit */
    uint32_t flags;       /* MUSTAFAR_CONTEXT_... */
    uint32_t reserved;    /* 0 */
    char backend[32];     /* "" = the best available; else a name that mustafar_kernel_at lists: an op
                             without a row of it takes its next one down the list. The environment
                             variable MUSTAFAR_FORCE_BACKEND wins over it */
} mustafar_context_options;

#define MUSTAFAR_CONTEXT_OPTIONS_INIT {(uint32_t)sizeof(mustafar_context_options), 0, 0, 0, 0, {0}}

/* Creates a context. `options`, `allocator` and `log` may be NULL (defaults: all threads, no
 * quota, the C library's aligned allocation, silence). The structs are copied.
 *   UNSUPPORTED a backend that is unknown or cannot run here, or only `ref` with REFUSE_REF;
 *   INVALID_ARGUMENT; OUT_OF_MEMORY.                                                   Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_context_create(
    const mustafar_context_options *options, const mustafar_allocator *allocator,
    const mustafar_log_hook *log, mustafar_context **out, mustafar_error *error);

/* Gives everything back. While caches are alive the context stays, until the last one is destroyed.
 */
MUSTAFAR_API void mustafar_context_destroy(mustafar_context *context);

/* The row that serves `op` ("attend", ...) in this context.
 *   INVALID_ARGUMENT for an op that does not exist.                                    Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status
mustafar_context_kernel(const mustafar_context *context, const char *op, mustafar_kernel_info *out,
                        mustafar_error *error);

typedef struct mustafar_context_stats {
    uint32_t struct_size;  /* caller's sizeof */
    uint32_t threads;      /* threads in use */
    uint64_t live_bytes;   /* what the allocator handed out and did not get back */
    uint64_t peak_bytes;   /* the largest live_bytes so far */
    uint64_t quota_bytes;  /* 0 = no limit */
    uint64_t allocations;  /* calls of the allocator so far */
    uint64_t page_bytes;   /* live bytes in pages, each shared page once */
    uint64_t cache_bytes;  /* live bytes of caches besides pages: windows, positions, tables */
    uint64_t work_bytes;   /* live bytes of workspaces (a context is process heap) */
    uint64_t pages;        /* live pages */
    uint64_t shared_pages; /* live pages that more than one cache holds */
    uint64_t caches;       /* live caches */
} mustafar_context_stats;

/* live_bytes == page_bytes + cache_bytes + work_bytes.                                 Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_context_get_stats(
    const mustafar_context *context, mustafar_context_stats *out, mustafar_error *error);

#ifdef __cplusplus
}
#endif
#endif /* MUSTAFAR_CONTEXT_H */
