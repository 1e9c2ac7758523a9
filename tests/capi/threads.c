/* SPDX-License-Identifier: Apache-2.0
 * Const calls from 8 threads on one cache, compared bit for bit with what one thread got; different caches of
 * one context from 8 threads; attend with 1, 2 and 4 threads gives the same bits. Runs under the thread
 * sanitizer. Threads use plain counters of their own: the harness is not for several threads. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

enum {
    THREADS = 8,
    ROUNDS = 6,
    TOKENS = 300,
    HEADS = 4,
    D = 64,
    Q = 3,
    OUT = Q * HEADS * D,
    ROWS = TOKENS
};

typedef struct answers {
    float out[OUT];
    float lse[Q * HEADS];
    float values[40 * D];
    uint8_t bitmaps[40 * D / 8];
    int32_t positions[TOKENS];
    mustafar_bytes bytes;
    uint32_t rows;
    blob snapshot;
    blob fork_snapshot;
    int failures;
} answers;

static const mustafar_cache* shared;

/* Every const call once. The snapshot callbacks write to this thread's own blob. */
static void ask(answers* a, uint64_t seed) {
    float* q = calloc((size_t)Q * HEADS * D, sizeof *q);
    const mustafar_tensor q_view = view(q, MUSTAFAR_F32, 1, Q, HEADS, D),
                          out_view = view(a->out, MUSTAFAR_F32, 1, Q, HEADS, D);
    const mustafar_tensor lse_view = view(a->lse, MUSTAFAR_F32, 1, Q, HEADS, 0),
                          values_view = view(a->values, MUSTAFAR_F32, 40, D, 0, 0);
    mustafar_cache* fork = NULL;
    mustafar_cache_stats stats = {0};
    const char* json = NULL;
    uint32_t committed = 0;
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    stats.struct_size = (uint32_t)sizeof stats;
    a->bytes.struct_size = (uint32_t)sizeof a->bytes;
    if (q == NULL) {
        ++a->failures;
        return;
    }
    fill_rows(q, seed, 0, Q, HEADS, D);
    a->failures += mustafar_attend(&shared, 1, 1, &q_view, NULL, NULL, &out_view, &lse_view, NULL,
                                   NULL, &error) != 0;
    a->failures +=
        mustafar_cache_export(shared, 1, 1, 0, 40, 80, &values_view, a->bitmaps, &error) != 0;
    a->failures += mustafar_cache_rows(shared, 1, 1, &a->rows, NULL, &error) != 0;
    a->failures += mustafar_cache_positions(shared, 1, 1, a->positions, a->rows, &error) != 0;
    a->failures += mustafar_cache_bytes(shared, MUSTAFAR_ALL, MUSTAFAR_ALL, &a->bytes, &error) != 0;
    a->failures += mustafar_cache_get_stats(shared, &stats, &error) != 0;
    a->failures +=
        mustafar_cache_length(shared, 0, &committed, NULL, &error) != 0 || committed != TOKENS;
    a->failures += mustafar_cache_describe(shared, NULL, NULL, &json, &error) != 0 || json == NULL;
    a->failures += mustafar_cache_save(shared, "tests/capi", blob_write, &a->snapshot, &error) != 0;
    a->failures += mustafar_cache_fork(shared, &fork, &error) != 0;
    if (fork != NULL) { /* a child is this thread's own: change it while others read the parent */
        const int32_t gone[2] = {50, 51};
        a->failures += append_rows(fork, 0, 9, 70, 0, &error) != 0;
        a->failures += mustafar_cache_evict(fork, 0, 0, gone, 2, 0, &error) != 0;
        a->failures += mustafar_cache_compress(fork, MUSTAFAR_ALL, &error) != 0;
        a->failures +=
            mustafar_cache_save(fork, "tests/capi", blob_write, &a->fork_snapshot, &error) != 0;
        mustafar_cache_destroy(fork);
    }
    free(q);
}

static bool same_answers(const answers* a, const answers* b) {
    return memcmp(a->out, b->out, sizeof a->out) == 0 &&
           memcmp(a->lse, b->lse, sizeof a->lse) == 0 &&
           memcmp(a->values, b->values, sizeof a->values) == 0 &&
           memcmp(a->bitmaps, b->bitmaps, sizeof a->bitmaps) == 0 && a->rows == b->rows &&
           memcmp(a->positions, b->positions, sizeof(int32_t) * a->rows) == 0 &&
           memcmp(&a->bytes, &b->bytes, sizeof a->bytes) == 0 &&
           blob_equal(&a->snapshot, &b->snapshot) &&
           blob_equal(&a->fork_snapshot, &b->fork_snapshot);
}

static answers* new_answers(void) { return calloc(1, sizeof(answers)); }

static void free_answers(answers* a) {
    blob_free(&a->snapshot);
    blob_free(&a->fork_snapshot);
    free(a);
}

static answers* alone[ROUNDS];

typedef struct worker {
    pthread_t thread;
    int index, different, failures;
} worker;

static void* read_shared(void* user) {
    worker* w = user;
    int round;
    for (round = 0; round < ROUNDS; ++round) {
        const int question = (round + w->index) % ROUNDS;
        answers* a = new_answers();
        if (a == NULL) {
            ++w->failures;
            continue;
        }
        ask(a, (uint64_t)question);
        w->failures += a->failures;
        w->different += !same_answers(a, alone[question]);
        free_answers(a);
    }
    return NULL;
}

static void const_calls_overlap(uint32_t context_threads, const char* recipe) {
    const mustafar_geometry geometry = make_geometry(2, HEADS, 2, D, D, MUSTAFAR_F16);
    counter counts = {0};
    mustafar_allocator allocator = counting_allocator(&counts);
    mustafar_context_options options = MUSTAFAR_CONTEXT_OPTIONS_INIT;
    mustafar_context* context = NULL;
    mustafar_cache* cache;
    const int32_t gone[3] = {33, 34, 100};
    static worker workers[THREADS];
    int i;
    options.threads = context_threads;
    MUST(mustafar_context_create(&options, &allocator, NULL, &context, ERR));
    cache = make_cache(context, geometry, recipe, 1000, MUSTAFAR_CACHE_AUTO);
    must_append_all(cache, 3, TOKENS);
    MUST(mustafar_cache_evict(cache, 1, 1, gone, 3, 0, ERR));
    shared = cache;
    for (i = 0; i < ROUNDS; ++i) {
        alone[i] = new_answers();
        ask(alone[i], (uint64_t)i);
        CHECK(alone[i]->failures == 0);
    }
    memset(workers, 0, sizeof workers);
    for (i = 0; i < THREADS; ++i) {
        workers[i].index = i;
        CHECK(pthread_create(&workers[i].thread, NULL, read_shared, &workers[i]) == 0);
    }
    for (i = 0; i < THREADS; ++i) {
        pthread_join(workers[i].thread, NULL);
        CHECK_CASE(workers[i].failures == 0, "%s, thread %d: %d calls failed", recipe, i,
                   workers[i].failures);
        CHECK_CASE(workers[i].different == 0, "%s, thread %d: %d of %d answers differ", recipe, i,
                   workers[i].different, ROUNDS);
    }
    CHECK(unchanged(cache, &alone[0]->snapshot));
    {
        mustafar_cache_stats stats = {0};
        stats.struct_size = (uint32_t)sizeof stats;
        MUST(mustafar_cache_get_stats(cache, &stats, ERR));
        CHECK(stats.attend_calls == ROUNDS + THREADS * ROUNDS); /* none was lost */
    }
    CHECK(stats_of(context).live_bytes == (uint64_t)counts.live_bytes);
    for (i = 0; i < ROUNDS; ++i) { free_answers(alone[i]); }
    mustafar_cache_destroy(cache);
    mustafar_context_destroy(context);
    CHECK(counts.live == 0 && counts.misuse == 0);
}

/* ---- different caches of one context ---------------------------------------------------------------- */

static mustafar_context* common;
static blob expected;

static void* write_own(void* user) {
    worker* w = user;
    const mustafar_geometry geometry = make_geometry(1, HEADS, 2, D, D, MUSTAFAR_F16);
    mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
    int round;
    options.max_tokens = 1000;
    for (round = 0; round < 3; ++round) {
        mustafar_recipe* recipe = NULL;
        mustafar_cache *cache = NULL, *loaded = NULL;
        blob bytes = {0};
        w->failures += mustafar_recipe_parse("leaner", 6, &recipe, NULL) != 0;
        w->failures +=
            mustafar_cache_create(common, &geometry, recipe, &options, &cache, NULL) != 0;
        w->failures += append_rows(cache, 0, 5, 150, 0, NULL) != 0;
        w->failures += mustafar_cache_save(cache, "tests/capi", blob_write, &bytes, NULL) != 0;
        w->failures += mustafar_cache_load(common, &geometry, recipe, NULL, NULL, blob_read, &bytes,
                                           &loaded, NULL) != 0;
        w->different += !blob_equal(&bytes, &expected);
        mustafar_cache_destroy(cache);
        mustafar_cache_destroy(loaded);
        mustafar_recipe_destroy(recipe);
        blob_free(&bytes);
    }
    return NULL;
}

static void different_caches_are_independent(uint32_t context_threads) {
    static worker workers[THREADS];
    mustafar_cache* cache;
    int i;
    common = make_context(context_threads);
    cache = make_cache(common, make_geometry(1, HEADS, 2, D, D, MUSTAFAR_F16), "leaner", 1000,
                       MUSTAFAR_CACHE_AUTO);
    must_append(cache, 0, 5, 150, 0);
    expected = snapshot_of(cache);
    mustafar_cache_destroy(cache);
    memset(workers, 0, sizeof workers);
    for (i = 0; i < THREADS; ++i) {
        CHECK(pthread_create(&workers[i].thread, NULL, write_own, &workers[i]) == 0);
    }
    for (i = 0; i < THREADS; ++i) {
        pthread_join(workers[i].thread, NULL);
        CHECK_CASE(workers[i].failures == 0 && workers[i].different == 0,
                   "thread %d: %d failed, %d differ", i, workers[i].failures, workers[i].different);
    }
    CHECK(stats_of(common).caches == 0 && stats_of(common).pages == 0);
    blob_free(&expected);
    mustafar_context_destroy(common);
}

/* ---- any number of threads, the same bits ------------------------------------------------------------- */

static void results_do_not_depend_on_threads(const char* recipe) {
    enum { COUNT = 3, LONG = 1500 };
    static const uint32_t threads[] = {1, 2, 4};
    static const uint32_t lengths[COUNT] = {5, 333, LONG};
    const mustafar_geometry geometry = make_geometry(1, 8, 2, D, D, MUSTAFAR_F16);
    const size_t out_size = sizeof(float) * COUNT * Q * 8 * D,
                 lse_size = sizeof(float) * COUNT * Q * 8;
    float *q = malloc(sizeof(float) * COUNT * Q * 8 * D), *out[3], *lse[3], *weights[3];
    blob bytes[3];
    int run, i;
    fill_rows(q, 11, 0, COUNT * Q, 8, D);
    for (run = 0; run < 3; ++run) {
        mustafar_context* context = make_context(threads[run]);
        mustafar_cache* made[COUNT];
        const mustafar_cache* list[COUNT];
        mustafar_tensor q_view = view(q, MUSTAFAR_F32, COUNT, Q, 8, D), out_view, lse_view,
                        weights_view;
        out[run] = malloc(out_size);
        lse[run] = malloc(lse_size);
        weights[run] = malloc(sizeof(float) * COUNT * Q * 8 * LONG);
        out_view = view(out[run], MUSTAFAR_F32, COUNT, Q, 8, D);
        lse_view = view(lse[run], MUSTAFAR_F32, COUNT, Q, 8, 0);
        weights_view = view(weights[run], MUSTAFAR_F32, COUNT, Q, 8, LONG);
        CHECK(stats_of(context).threads >= 1 && stats_of(context).threads <= threads[run]);
        for (i = 0; i < COUNT; ++i) {
            list[i] = made[i] = make_cache(context, geometry, recipe, 2000, MUSTAFAR_CACHE_AUTO);
            must_append(made[i], 0, 31, lengths[i], 0);
        }
        EXPECT(MUSTAFAR_OK, mustafar_attend(list, COUNT, 0, &q_view, NULL, NULL, &out_view,
                                            &lse_view, &weights_view, NULL, ERR));
        bytes[run] = snapshot_of(made[COUNT - 1]);
        for (i = 0; i < COUNT; ++i) { mustafar_cache_destroy(made[i]); }
        mustafar_context_destroy(context);
    }
    for (run = 1; run < 3; ++run) {
        CHECK_CASE(memcmp(out[0], out[run], out_size) == 0, "%s, %u threads", recipe,
                   (unsigned)threads[run]);
        CHECK_CASE(memcmp(lse[0], lse[run], lse_size) == 0, "%s, %u threads", recipe,
                   (unsigned)threads[run]);
        CHECK_CASE(memcmp(weights[0], weights[run], sizeof(float) * COUNT * Q * 8 * LONG) == 0,
                   "%s, %u threads", recipe, (unsigned)threads[run]);
        CHECK_CASE(blob_equal(&bytes[0], &bytes[run]), "%s, %u threads", recipe,
                   (unsigned)threads[run]);
    }
    for (run = 0; run < 3; ++run) {
        free(out[run]);
        free(lse[run]);
        free(weights[run]);
        blob_free(&bytes[run]);
    }
    free(q);
}

/* The distribution's oneTBB is not instrumented: the thread sanitizer sees no order between a caller and
 * TBB's workers and reports every hand-over. Under it contexts have one thread; the 8 are ours. */
#if defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

int main(void) {
    const_calls_overlap(1, "mustafar-50-int4");
    const_calls_overlap(1, "kivi-2");
    const_calls_overlap(1, "k32i4m/vdi2/w16/s3");
    different_caches_are_independent(1);
    if (SANITIZED) {
        printf("thread sanitizer: contexts with several threads are not tried\n");
    } else {
        const_calls_overlap(4, "k32i4m/vdi2/w16/s3");
        different_caches_are_independent(2);
        results_do_not_depend_on_threads("dense");
        results_do_not_depend_on_threads("leaner");
        results_do_not_depend_on_threads("kivi-4");
    }
    return check_summary("capi/threads");
}
