/* SPDX-License-Identifier: Apache-2.0
 * context.h: creation and its refusals, forced backends, hooks, stats, lifetime. */
#define _POSIX_C_SOURCE 200809L /* setenv */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

static mustafar_context* const untouched = (mustafar_context*)(uintptr_t)0x5a5a5a50;

static void creation_refuses(const mustafar_context_options* options,
                             const mustafar_allocator* allocator, const mustafar_log_hook* hook,
                             mustafar_status status, const char* what) {
    mustafar_context* context = untouched;
    EXPECT(status, mustafar_context_create(options, allocator, hook, &context, ERR));
    CHECK_CASE(context == untouched, "out was written: %s", what);
}

static void null_and_defaults(void) {
    mustafar_context* context = NULL;
    mustafar_context_options options = MUSTAFAR_CONTEXT_OPTIONS_INIT;
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_context_create(NULL, NULL, NULL, NULL, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_context_create(NULL, NULL, NULL, NULL, NULL));
    EXPECT(MUSTAFAR_OK, mustafar_context_create(NULL, NULL, NULL, &context, NULL));
    CHECK(stats_of(context).threads >= 1);
    CHECK(stats_of(context).quota_bytes == 0);
    mustafar_context_destroy(context);
    mustafar_context_destroy(NULL);
    options.threads = 3;
    options.quota_bytes = 1u << 30;
    EXPECT(MUSTAFAR_OK, mustafar_context_create(&options, NULL, NULL, &context, ERR));
    memset(&options, 0xff, sizeof options); /* it was copied */
    CHECK(stats_of(context).threads >= 1 && stats_of(context).threads <= 3);
    CHECK(stats_of(context).quota_bytes == 1u << 30);
    mustafar_context_destroy(context);
}

/* Whether a context itself takes memory is its own business; a cache surely does. */
static void quota_of_one_byte(const mustafar_context_options* options) {
    const mustafar_geometry geometry = make_geometry(1, 1, 1, 32, 32, MUSTAFAR_F16);
    mustafar_cache_options cache_options = MUSTAFAR_CACHE_OPTIONS_INIT;
    mustafar_context* context = NULL;
    mustafar_recipe* recipe = make_recipe("dense");
    mustafar_cache* cache = NULL;
    mustafar_status status = mustafar_context_create(options, NULL, NULL, &context, ERR);
    cache_options.max_tokens = 10;
    if (status == MUSTAFAR_OK) {
        status = mustafar_cache_create(context, &geometry, recipe, &cache_options, &cache, ERR);
        mustafar_context_destroy(context);
    }
    CHECK(status == MUSTAFAR_OUT_OF_MEMORY && cache == NULL);
    CHECK(last.values[0] > 0 && last.values[1] == 0 &&
          last.values[2] == 1); /* asked, used, limit */
    mustafar_recipe_destroy(recipe);
}

static void bad_options(void) {
    const mustafar_context_options good = MUSTAFAR_CONTEXT_OPTIONS_INIT;
    mustafar_context_options options = good;
    options.reserved = 1;
    creation_refuses(&options, NULL, NULL, MUSTAFAR_INVALID_ARGUMENT, "reserved");
    options = good;
    options.flags = 0x80000000u;
    creation_refuses(&options, NULL, NULL, MUSTAFAR_UNSUPPORTED, "unknown flag");
    options = good;
    memset(options.backend, 'x', sizeof options.backend);
    creation_refuses(&options, NULL, NULL, MUSTAFAR_INVALID_ARGUMENT, "backend without NUL");
    options = good;
    strcpy(options.backend, "quantum");
    creation_refuses(&options, NULL, NULL, MUSTAFAR_UNSUPPORTED, "unknown backend");
    CHECK(strstr(last.message, "quantum") != NULL);
    CHECK(strstr(last.message, "ref") != NULL);
    options = good;
    strcpy(options.backend, "REF");
    creation_refuses(&options, NULL, NULL, MUSTAFAR_UNSUPPORTED, "names are exact");
    options = good;
    options.threads = UINT32_MAX;
    creation_refuses(&options, NULL, NULL, MUSTAFAR_INVALID_ARGUMENT, "threads");
    options = good;
    options.quota_bytes = 1;
    quota_of_one_byte(&options);
}

static void refuse_ref(void) {
    mustafar_context_options options = MUSTAFAR_CONTEXT_OPTIONS_INIT;
    mustafar_context* context = NULL;
    bool better = true;
    size_t i, j;
    /* a table that has rows besides ref must have one that runs here; others (merge) do not matter */
    for (i = 0; i < mustafar_kernel_count(); ++i) {
        mustafar_kernel_info ref = {0}, row = {0};
        bool found = false, alone = true;
        ref.struct_size = row.struct_size = (uint32_t)sizeof row;
        MUST(mustafar_kernel_at(i, &ref, ERR));
        for (j = 0; strcmp(ref.backend, "ref") == 0 && j < mustafar_kernel_count(); ++j) {
            MUST(mustafar_kernel_at(j, &row, ERR));
            if (strcmp(row.op, ref.op) != 0 || strcmp(row.backend, "ref") == 0) { continue; }
            alone = false;
            found = found || row.available;
        }
        better = better && (strcmp(ref.backend, "ref") != 0 || found || alone);
    }
    options.flags = MUSTAFAR_CONTEXT_REFUSE_REF;
    if (better) {
        EXPECT(MUSTAFAR_OK, mustafar_context_create(&options, NULL, NULL, &context, ERR));
        mustafar_context_destroy(context);
    } else {
        creation_refuses(&options, NULL, NULL, MUSTAFAR_UNSUPPORTED, "REFUSE_REF");
        CHECK(strstr(last.message, "ref") != NULL);
    }
    strcpy(options.backend, "ref");
    creation_refuses(&options, NULL, NULL, MUSTAFAR_UNSUPPORTED, "backend ref with REFUSE_REF");
}

static void forced_backend(void) {
    mustafar_context_options options = MUSTAFAR_CONTEXT_OPTIONS_INIT;
    mustafar_context* context = NULL;
    mustafar_kernel_info row = {0};
    row.struct_size = (uint32_t)sizeof row;
    setenv("MUSTAFAR_FORCE_BACKEND", "warp9", 1);
    creation_refuses(NULL, NULL, NULL, MUSTAFAR_UNSUPPORTED, "MUSTAFAR_FORCE_BACKEND=warp9");
    CHECK(strstr(last.message, "warp9") != NULL);
    CHECK(strstr(last.message, "MUSTAFAR_FORCE_BACKEND") != NULL);
    CHECK(strstr(last.message, "ref") != NULL); /* the names that would do */
    strcpy(options.backend, "ref");
    creation_refuses(&options, NULL, NULL, MUSTAFAR_UNSUPPORTED, "the environment wins");
    strcpy(options.backend, "quantum");
    setenv("MUSTAFAR_FORCE_BACKEND", "ref", 1);
    EXPECT(MUSTAFAR_OK, mustafar_context_create(&options, NULL, NULL, &context, ERR));
    EXPECT(MUSTAFAR_OK, mustafar_context_kernel(context, "attend", &row, ERR));
    CHECK(strcmp(row.backend, "ref") == 0 && strcmp(row.op, "attend") == 0);
    mustafar_context_destroy(context);
    unsetenv("MUSTAFAR_FORCE_BACKEND");
}

static void kernels(void) {
    static const char* const ops[] = {"attend", "prune", "pack", "unpack", "merge", "order"};
    mustafar_context* context = make_context(1);
    mustafar_kernel_info row, before;
    size_t i;
    memset(&row, 0x5a, sizeof row);
    row.struct_size = (uint32_t)sizeof row;
    before = row;
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_context_kernel(NULL, "attend", &row, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_context_kernel(context, NULL, &row, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_context_kernel(context, "attend", NULL, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_context_kernel(context, "sort", &row, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_context_kernel(context, "", &row, NULL));
    CHECK(memcmp(&row, &before, sizeof row) == 0);
    for (i = 0; i < 6; ++i) {
        EXPECT(MUSTAFAR_OK, mustafar_context_kernel(context, ops[i], &row, ERR));
        CHECK(strcmp(row.op, ops[i]) == 0 && row.available == 1 && row.name[0] != '\0');
    }
    mustafar_context_destroy(context);
}

static void bad_hooks(void) {
    counter counts = {0};
    const mustafar_allocator good = counting_allocator(&counts);
    mustafar_allocator allocator = good;
    mustafar_log_hook hook;
    memset(&hook, 0, sizeof hook);
    hook.struct_size = (uint32_t)sizeof hook;
    hook.level = MUSTAFAR_LOG_TRACE;
    allocator.allocate = NULL;
    creation_refuses(NULL, &allocator, NULL, MUSTAFAR_INVALID_ARGUMENT, "allocate NULL");
    allocator = good;
    allocator.release = NULL;
    creation_refuses(NULL, &allocator, NULL, MUSTAFAR_INVALID_ARGUMENT, "release NULL");
    allocator = good;
    allocator.reserved = 1;
    creation_refuses(NULL, &allocator, NULL, MUSTAFAR_INVALID_ARGUMENT, "allocator.reserved");
    creation_refuses(NULL, NULL, &hook, MUSTAFAR_INVALID_ARGUMENT, "write NULL");
    CHECK(counts.calls == 0);
}

static void every_failing_allocation_of_creation(void) {
    int64_t n;
    for (n = 1; n < 1000; ++n) {
        counter counts = {0};
        mustafar_allocator allocator = counting_allocator(&counts);
        mustafar_context* context = untouched;
        mustafar_status status;
        counts.fail_at = n;
        status = mustafar_context_create(NULL, &allocator, NULL, &context, ERR);
        if (counts.calls < n) { /* nothing failed: the whole of creation was tried */
            CHECK(status == MUSTAFAR_OK);
            mustafar_context_destroy(context);
            CHECK(counts.live == 0 && counts.misuse == 0);
            break;
        }
        CHECK_CASE(status == MUSTAFAR_OUT_OF_MEMORY && last.values[2] == 0, "allocation %d",
                   (int)n);
        CHECK_CASE(context == untouched && counts.live == 0, "allocation %d", (int)n);
    }
    CHECK(n < 1000);
}

typedef struct lines {
    int count;
    int32_t finest;
    bool append, attend, broken;
} lines;

static void take_line(void* user, int32_t level, const char* text) {
    lines* seen = user;
    ++seen->count;
    if (level > seen->finest) { seen->finest = level; }
    seen->append = seen->append || strstr(text, "append") != NULL;
    seen->attend = seen->attend || strstr(text, "attend") != NULL;
    seen->broken =
        seen->broken || text[0] == '\0' || strchr(text, '\n') != NULL || level < 1 || level > 4;
}

static int count_lines(int32_t level, lines* seen) {
    const mustafar_geometry geometry = make_geometry(1, 2, 1, 32, 32, MUSTAFAR_F16);
    mustafar_context* context = NULL;
    mustafar_log_hook hook;
    mustafar_cache* cache;
    float q[2 * 32] = {0}, out[2 * 32];
    const mustafar_tensor q_view = view(q, MUSTAFAR_F32, 1, 1, 2, 32);
    const mustafar_tensor out_view = view(out, MUSTAFAR_F32, 1, 1, 2, 32);
    const mustafar_cache* list[1];
    memset(&hook, 0, sizeof hook);
    memset(seen, 0, sizeof *seen);
    hook.struct_size = (uint32_t)sizeof hook;
    hook.level = level;
    hook.user = seen;
    hook.write = take_line;
    MUST(mustafar_context_create(NULL, NULL, &hook, &context, ERR));
    memset(&hook, 0, sizeof hook); /* it was copied */
    cache = make_cache(context, geometry, "mustafar-50", 64, MUSTAFAR_CACHE_AUTO);
    must_append(cache, 0, 1, 3, 0);
    list[0] = cache;
    MUST(mustafar_attend(list, 1, 0, &q_view, NULL, NULL, &out_view, NULL, NULL, NULL, ERR));
    mustafar_cache_destroy(cache);
    mustafar_context_destroy(context);
    return seen->count;
}

static void log_hook(void) {
    lines seen;
    CHECK(count_lines(MUSTAFAR_LOG_TRACE, &seen) >= 2);
    CHECK(seen.append && seen.attend && !seen.broken && seen.finest == MUSTAFAR_LOG_TRACE);
    count_lines(MUSTAFAR_LOG_INFO, &seen);
    CHECK(seen.finest <= MUSTAFAR_LOG_INFO && !seen.broken);
    CHECK(count_lines(MUSTAFAR_LOG_ERROR, &seen) == 0);
}

/* live == page + cache + work == what the hook handed out. */
static void bytes_add_up(const mustafar_context* context, const counter* counts, const char* when) {
    const mustafar_context_stats stats = stats_of(context);
    CHECK_CASE(stats.live_bytes == stats.page_bytes + stats.cache_bytes + stats.work_bytes, "%s",
               when);
    CHECK_CASE(stats.live_bytes == (uint64_t)counts->live_bytes, "%s: stats %llu, allocator %lld",
               when, (unsigned long long)stats.live_bytes, (long long)counts->live_bytes);
    CHECK_CASE(stats.allocations == (uint64_t)counts->calls, "%s", when);
    CHECK_CASE(stats.peak_bytes >= stats.live_bytes, "%s", when);
}

static void stats(void) {
    const mustafar_geometry geometry = make_geometry(2, 4, 2, 64, 64, MUSTAFAR_F16);
    counter counts = {0};
    mustafar_allocator allocator = counting_allocator(&counts);
    mustafar_context* context = NULL;
    mustafar_cache *cache, *fork = NULL;
    mustafar_context_stats before, broken;
    MUST(mustafar_context_create(NULL, &allocator, NULL, &context, ERR));
    memset(&broken, 0x5a, sizeof broken);
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_context_get_stats(NULL, &broken, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_context_get_stats(context, NULL, ERR));
    bytes_add_up(context, &counts, "new context");
    CHECK(stats_of(context).caches == 0 && stats_of(context).pages == 0);
    CHECK(stats_of(context).cache_bytes == 0 && stats_of(context).page_bytes == 0);
    cache = make_cache(context, geometry, "mustafar-70", 4096, MUSTAFAR_CACHE_AUTO);
    bytes_add_up(context, &counts, "new cache");
    must_append_all(cache, 3, 200);
    bytes_add_up(context, &counts, "200 tokens");
    before = stats_of(context);
    CHECK(before.caches == 1 && before.shared_pages == 0);
    CHECK(before.pages ==
          2u * 2u * (160u / 32u)); /* layers * heads * full steps of 168 / 32 rows */
    CHECK(before.page_bytes + before.cache_bytes == bytes_of(cache).total);
    EXPECT(MUSTAFAR_OK, mustafar_cache_fork(cache, &fork, ERR));
    bytes_add_up(context, &counts, "fork");
    CHECK(stats_of(context).pages == before.pages &&
          stats_of(context).shared_pages == before.pages);
    CHECK(stats_of(context).page_bytes == before.page_bytes && stats_of(context).caches == 2);
    mustafar_cache_destroy(cache);
    bytes_add_up(context, &counts, "parent destroyed");
    CHECK(stats_of(context).shared_pages == 0 && stats_of(context).pages == before.pages);
    EXPECT(MUSTAFAR_OK, mustafar_cache_reset(fork, ERR));
    bytes_add_up(context, &counts, "reset");
    CHECK(stats_of(context).pages == 0);
    mustafar_cache_destroy(fork);
    bytes_add_up(context, &counts, "all destroyed");
    CHECK(stats_of(context).caches == 0 && stats_of(context).cache_bytes == 0);
    mustafar_context_destroy(context);
    CHECK(counts.live == 0 && counts.live_bytes == 0 && counts.misuse == 0);
}

static void context_outlives_by_its_caches(void) {
    const mustafar_geometry geometry = make_geometry(1, 1, 1, 32, 32, MUSTAFAR_F16);
    counter counts = {0};
    mustafar_allocator allocator = counting_allocator(&counts);
    mustafar_context* context = NULL;
    mustafar_cache* cache;
    MUST(mustafar_context_create(NULL, &allocator, NULL, &context, ERR));
    cache = make_cache(context, geometry, "lean", 128, MUSTAFAR_CACHE_AUTO);
    mustafar_context_destroy(context);
    CHECK(counts.live > 0);
    must_append(cache, 0, 1, 70, 0); /* still works */
    CHECK(body_of(cache, 0, 0) == 32);
    mustafar_cache_destroy(cache);
    CHECK(counts.live == 0 && counts.misuse == 0);
}

int main(void) {
    unsetenv("MUSTAFAR_FORCE_BACKEND");
    null_and_defaults();
    bad_options();
    refuse_ref();
    forced_backend();
    kernels();
    bad_hooks();
    every_failing_allocation_of_creation();
    log_hook();
    stats();
    context_outlives_by_its_caches();
    return check_summary("capi/context");
}
