/* SPDX-License-Identifier: Apache-2.0
 * Memory: every failing allocation and every quota leave clear errors, the same cache and no leak; the
 * steady state allocates pages and tables and nothing else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "effort.h"

#define JSON "{\"schema\":\"mustafar.recipe\",\"version\":1,"

static mustafar_geometry usual(void) { return make_geometry(2, 2, 2, 32, 32, MUSTAFAR_F16); }

/* ---- the scenario: every operation that can want memory, one after the other ------------------------ */

typedef struct scene {
    mustafar_context* context;
    mustafar_recipe* recipe;
    mustafar_cache *cache, *fork, *loaded;
    blob file;
    uint64_t quota;
    counter* counts; /* NULL in quota runs: then nothing is counted here */
} scene;

static mustafar_status step_create(scene* s) {
    const mustafar_geometry geometry = usual();
    mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
    options.max_tokens = 5000;
    options.reserve_tokens = 40;
    return mustafar_cache_create(s->context, &geometry, s->recipe, &options, &s->cache, ERR);
}
static mustafar_status step_append_0(scene* s) { return append_rows(s->cache, 0, 1, 200, 0, ERR); }
static mustafar_status step_append_1(scene* s) { return append_rows(s->cache, 1, 1, 90, 0, ERR); }
static mustafar_status step_tentative(scene* s) {
    return append_rows(s->cache, 1, 1, 90, MUSTAFAR_APPEND_TENTATIVE, ERR);
}
static mustafar_status step_commit(scene* s) {
    return mustafar_cache_commit(s->cache, MUSTAFAR_ALL, ERR);
}
static mustafar_status step_fork(scene* s) { return mustafar_cache_fork(s->cache, &s->fork, ERR); }
static mustafar_status step_evict(scene* s) {
    const int32_t gone[3] = {33, 35, 70};
    return mustafar_cache_evict(s->cache, 0, 1, gone, 3, 0, ERR);
}
static mustafar_status step_evict_scores(scene* s) {
    float scores[180];
    int i;
    for (i = 0; i < 180; ++i) { scores[i] = (float)(i * 37 % 100); }
    return mustafar_cache_evict_scores(s->cache, 1, 0, scores, 180, 100, ERR);
}
static mustafar_status step_compress(scene* s) {
    return mustafar_cache_compress(s->cache, MUSTAFAR_ALL, ERR);
}
static mustafar_status step_append_fork(scene* s) { return append_rows(s->fork, 0, 1, 64, 0, ERR); }
static mustafar_status step_attend(scene* s) {
    float q[3 * 64] = {0}, out[3 * 64], weights[3 * 2 * 300];
    const mustafar_tensor q_view = view(q, MUSTAFAR_F32, 1, 3, 2, 32),
                          out_view = view(out, MUSTAFAR_F32, 1, 3, 2, 32);
    const mustafar_tensor weights_view = view(weights, MUSTAFAR_F32, 1, 3, 2, 300);
    const mustafar_cache* list[1];
    mustafar_status status;
    int i;
    list[0] = s->cache;
    for (i = 0; i < 3 * 64; ++i) { out[i] = 77; }
    status =
        mustafar_attend(list, 1, 0, &q_view, NULL, NULL, &out_view, NULL, &weights_view, NULL, ERR);
    for (i = 0; i < 3 * 64 && status != MUSTAFAR_OK; ++i) { CHECK(out[i] == 77); }
    return status;
}
static mustafar_status step_save(scene* s) {
    const mustafar_status status =
        mustafar_cache_save(s->cache, "tests/capi", blob_write, &s->file, ERR);
    if (status != MUSTAFAR_OK) { blob_free(&s->file); }
    return status;
}
static mustafar_status step_load(scene* s) {
    s->file.at = 0;
    return mustafar_cache_load(s->context, NULL, NULL, NULL, NULL, blob_read, &s->file, &s->loaded,
                               ERR);
}
static mustafar_status step_truncate(scene* s) {
    return mustafar_cache_truncate(s->cache, 150, MUSTAFAR_TRUNCATE_KEEP_PACKED, ERR);
}
static mustafar_status step_grow_again(scene* s) {
    return append_rows(s->cache, 0, 7, 100, 0, ERR);
}
static mustafar_status
step_prune(scene* s) /* the rows that left the window and are not packed yet */
{
    const mustafar_geometry geometry = usual();
    uint32_t recent = 0, sink = 0;
    MUST(mustafar_recipe_window(s->recipe, &geometry, 1, 1, &recent, &sink, NULL, NULL, ERR));
    return mustafar_cache_prune(s->cache, 1, 1, 0, sink + body_of(s->cache, 1, 1), 180 - recent,
                                NULL, NULL, NULL, NULL, ERR);
}
static mustafar_status step_export(scene* s) {
    float values[10 * 32] = {0};
    const mustafar_tensor out = view(values, MUSTAFAR_F32, 10, 32, 0, 0);
    return mustafar_cache_export(s->cache, 0, 0, 1, 30, 40, &out, NULL, ERR);
}

static const struct {
    const char* name;
    mustafar_status (*run)(scene* s);
} steps[] = {{"create", step_create},
             {"append layer 0", step_append_0},
             {"append layer 1", step_append_1},
             {"append tentative", step_tentative},
             {"commit", step_commit},
             {"fork", step_fork},
             {"evict", step_evict},
             {"evict_scores", step_evict_scores},
             {"append to the fork", step_append_fork},
             {"prune", step_prune},
             {"compress", step_compress},
             {"export", step_export},
             {"attend", step_attend},
             {"save", step_save},
             {"load", step_load},
             {"truncate", step_truncate},
             {"append again", step_grow_again}};
enum { STEPS = sizeof steps / sizeof steps[0] };

static void scene_end(scene* s) {
    mustafar_cache_destroy(s->cache);
    mustafar_cache_destroy(s->fork);
    mustafar_cache_destroy(s->loaded);
    mustafar_context_destroy(s->context);
    mustafar_recipe_destroy(s->recipe);
    blob_free(&s->file);
}

/* Snapshots allocate too, from another pocket than the one that fails. */
static blob snapshot_or_empty(const scene* s, const mustafar_cache* cache) {
    const blob empty = {0};
    const int64_t fail_at = s->counts != NULL ? s->counts->fail_at : 0;
    blob bytes = empty;
    if (cache == NULL) { return empty; }
    if (s->counts != NULL) { s->counts->fail_at = 0; }
    if (mustafar_cache_save(cache, "tests/capi", blob_write, &bytes, NULL) != MUSTAFAR_OK) {
        blob_free(
            &bytes); /* a quota leaves no room for a workspace: fall back to what needs none */
    }
    if (s->counts != NULL) { s->counts->fail_at = fail_at; }
    return bytes;
}

static bool same(blob* a, blob* b) {
    const bool equal =
        a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
    blob_free(a);
    blob_free(b);
    return equal;
}

/* Runs the scenario; a step that fails for memory must leave everything as it was, and work when tried
 * again with memory. Gives the number of steps that failed. */
static int play(scene* s, const char* recipe, void (*give_memory)(scene* s), const char* what,
                int64_t n) {
    int i, failures = 0;
    s->recipe = make_recipe(recipe);
    for (i = 0; i < STEPS; ++i) {
        blob cache_before, fork_before, cache_after, fork_after;
        mustafar_bytes bytes_before = {0}, bytes_after = {0};
        mustafar_status status;
        cache_before = snapshot_or_empty(s, s->cache);
        fork_before = snapshot_or_empty(s, s->fork);
        if (s->cache != NULL) { bytes_before = bytes_of(s->cache); }
        status = steps[i].run(s);
        if (status == MUSTAFAR_OK) {
            blob_free(&cache_before);
            blob_free(&fork_before);
            continue;
        }
        ++failures;
        CHECK_CASE(status == MUSTAFAR_OUT_OF_MEMORY && last.code == status, "%s, %s %d, %s: %s",
                   recipe, what, (int)n, steps[i].name, last.message);
        CHECK_CASE(last.values[0] > 0 && last.values[2] == (int64_t)s->quota,
                   "%s, %s %d, %s: values %d %d %d", recipe, what, (int)n, steps[i].name,
                   (int)last.values[0], (int)last.values[1], (int)last.values[2]);
        if (s->quota != 0) {
            CHECK_CASE(last.values[0] + last.values[1] > last.values[2], "%s, quota %d, %s: %s",
                       recipe, (int)n, steps[i].name, last.message);
        }
        cache_after = snapshot_or_empty(s, s->cache);
        fork_after = snapshot_or_empty(s, s->fork);
        if (s->cache != NULL) { bytes_after = bytes_of(s->cache); }
        CHECK_CASE(same(&cache_before, &cache_after), "%s, %s %d: %s changed the cache", recipe,
                   what, (int)n, steps[i].name);
        CHECK_CASE(same(&fork_before, &fork_after), "%s, %s %d: %s changed the fork", recipe, what,
                   (int)n, steps[i].name);
        CHECK_CASE(memcmp(&bytes_before, &bytes_after, sizeof bytes_after) == 0,
                   "%s, %s %d: %s changed the bytes, %d to %d", recipe, what, (int)n, steps[i].name,
                   (int)bytes_before.total, (int)bytes_after.total);
        if (give_memory == NULL) {
            return failures; /* a quota stays: the rest of the scenario has nothing to stand on */
        }
        give_memory(s);
        status = steps[i].run(s);
        if (!CHECK_CASE(status == MUSTAFAR_OK, "%s, %s %d: %s tried again: %s", recipe, what,
                        (int)n, steps[i].name, last.message)) {
            return failures;
        }
    }
    return failures;
}

static void heal(scene* s) { s->counts->fail_at = 0; }

static const char* const recipes[] = {"mustafar-50",
                                      "leaner",
                                      "kivi-4",
                                      "k16i4m/vdi2/w8/s4",
                                      "kdi4g32/vdi2g32",
                                      JSON
                                      "\"k\":{\"method\":\"threshold\",\"threshold\":0.3},\"v\":{"
                                      "\"method\":\"channels\",\"keep\":24,\"bits\":8}}"};

static void every_failing_allocation(const char* recipe, uint32_t threads) {
    mustafar_context_options options = MUSTAFAR_CONTEXT_OPTIONS_INIT;
    blob reference = {0};
    int64_t n;
    options.threads = threads;
    for (n = 0; n < 2000; n += n < 20 ? 1 : every_nth(3)) { /* 0: nothing fails */
        counter counts = {0};
        mustafar_allocator allocator = counting_allocator(&counts);
        scene s;
        blob end;
        int failures;
        memset(&s, 0, sizeof s);
        s.counts = &counts;
        counts.fail_at = n;
        if (mustafar_context_create(&options, &allocator, NULL, &s.context, ERR) != MUSTAFAR_OK) {
            CHECK(n > 0 && counts.live == 0);
            continue;
        }
        failures = play(&s, recipe, heal, "allocation", n);
        CHECK_CASE(counts.live_bytes == (int64_t)stats_of(s.context).live_bytes,
                   "%s, allocation %d: %lld and %lld", recipe, (int)n, (long long)counts.live_bytes,
                   (long long)stats_of(s.context).live_bytes);
        counts.fail_at = 0;
        end = snapshot_of(s.cache);
        if (n == 0) {
            CHECK(failures == 0);
            reference = end;
        } else {
            CHECK_CASE(blob_equal(&end, &reference), "%s, allocation %d: another end", recipe,
                       (int)n);
            blob_free(&end);
        }
        scene_end(&s);
        CHECK_CASE(counts.live == 0 && counts.live_bytes == 0 && counts.misuse == 0,
                   "%s, allocation %d: %d blocks live, %d misused", recipe, (int)n,
                   (int)counts.live, (int)counts.misuse);
        if (n > 0 && failures == 0 && counts.calls < n) {
            break; /* past the last allocation of the scenario */
        }
    }
    CHECK_CASE(n > 10 && n < 2000, "%s: %d allocations", recipe, (int)n);
    blob_free(&reference);
}

static void every_quota(const char* recipe) {
    mustafar_context_options options = MUSTAFAR_CONTEXT_OPTIONS_INIT;
    counter counts = {0};
    mustafar_allocator allocator = counting_allocator(&counts);
    uint64_t peak, quota;
    int failed = 0, succeeded = 0;
    scene s;
    memset(&s, 0, sizeof s);
    options.threads = 1;
    MUST(mustafar_context_create(&options, &allocator, NULL, &s.context, ERR));
    CHECK(play(&s, recipe, NULL, "no quota", 0) == 0);
    peak = stats_of(s.context).peak_bytes;
    scene_end(&s);
    CHECK(counts.live == 0);
    for (quota = 1; quota < peak + peak / 40; quota += peak / 97 + 1) {
        mustafar_status status;
        memset(&s, 0, sizeof s);
        s.quota = options.quota_bytes = quota;
        status = mustafar_context_create(&options, &allocator, NULL, &s.context, ERR);
        if (status != MUSTAFAR_OK) {
            CHECK(status == MUSTAFAR_OUT_OF_MEMORY && last.values[2] == (int64_t)quota);
            ++failed;
            continue;
        }
        if (play(&s, recipe, NULL, "quota", (int64_t)quota) > 0) {
            ++failed;
        } else {
            ++succeeded;
        }
        CHECK_CASE(stats_of(s.context).peak_bytes <= quota, "%s: peak above the quota", recipe);
        CHECK(stats_of(s.context).quota_bytes == quota);
        scene_end(&s);
        CHECK_CASE(counts.live == 0 && counts.misuse == 0, "%s, quota %d: %d blocks live", recipe,
                   (int)quota, (int)counts.live);
    }
    CHECK_CASE(failed > 50 && succeeded > 0, "%s: %d failed, %d succeeded, peak %d", recipe, failed,
               succeeded, (int)peak);
}

/* A quota that grows by the byte around the need of one append: the limit is exact. */
static void the_quota_is_exact(void) {
    mustafar_context_options options = MUSTAFAR_CONTEXT_OPTIONS_INIT;
    const mustafar_geometry geometry = usual();
    mustafar_context* context = NULL;
    mustafar_cache* cache;
    uint64_t need;
    int delta;
    options.threads = 1;
    MUST(mustafar_context_create(&options, NULL, NULL, &context, ERR));
    cache = make_cache(context, geometry, "mustafar-50", 1000, MUSTAFAR_CACHE_AUTO);
    must_append(cache, 0, 1, 64, 0);
    need = stats_of(context).peak_bytes;
    mustafar_cache_destroy(cache);
    mustafar_context_destroy(context);
    for (delta = -1; delta <= 0; ++delta) {
        options.quota_bytes = need + (uint64_t)(int64_t)delta;
        MUST(mustafar_context_create(&options, NULL, NULL, &context, ERR));
        cache = make_cache(context, geometry, "mustafar-50", 1000, MUSTAFAR_CACHE_AUTO);
        EXPECT(delta < 0 ? MUSTAFAR_OUT_OF_MEMORY : MUSTAFAR_OK,
               append_rows(cache, 0, 1, 64, 0, ERR));
        mustafar_cache_destroy(cache);
        mustafar_context_destroy(context);
    }
}

/* ---- steady state ------------------------------------------------------------------------------------ */

/* Appends `tokens` tokens one by one and attends after every `stride`-th. The first 64 warm up: the window
 * buffer, one page, a workspace. From then on the allocator is called for pages, and for tables and windows
 * that stats show as grown, and for nothing else. */
typedef struct stepper {
    mustafar_context* context;
    mustafar_cache* cache;
    counter* counts;
    int64_t unexplained, growths;
} stepper;

static void take_steps(stepper* s, uint32_t tokens, uint32_t stride) {
    float q[64], out[64], k[32], v[32], lse[2];
    const mustafar_tensor q_view = view(q, MUSTAFAR_F32, 1, 1, 2, 32),
                          out_view = view(out, MUSTAFAR_F32, 1, 1, 2, 32);
    const mustafar_tensor k_view = view(k, MUSTAFAR_F32, 1, 1, 32, 0),
                          v_view = view(v, MUSTAFAR_F32, 1, 1, 32, 0);
    const mustafar_tensor lse_view = view(lse, MUSTAFAR_F32, 1, 1, 2, 0);
    const mustafar_cache* list[1];
    mustafar_bytes before = bytes_of(s->cache);
    int64_t pages = (int64_t)stats_of(s->context).pages;
    uint32_t t;
    list[0] = s->cache;
    fill_rows(q, 1, 0, 1, 2, 32);
    for (t = 0; t < tokens; ++t) {
        const int64_t at_append = s->counts->calls;
        int64_t at_attend, explained;
        fill_rows(k, 1, t, 1, 1, 32);
        fill_rows(v, 2, t, 1, 1, 32);
        if (!EXPECT(MUSTAFAR_OK, mustafar_cache_append(s->cache, 0, &k_view, &v_view, 0, ERR))) {
            break;
        }
        if (t >= 64 && s->counts->calls != at_append) {
            const mustafar_bytes now = bytes_of(s->cache);
            explained = (int64_t)stats_of(s->context).pages - pages + (now.tables > before.tables) +
                        (now.window > before.window);
            s->unexplained += s->counts->calls - at_append > explained;
            ++s->growths;
        }
        if (t < 64 || s->counts->calls != at_append) {
            before = bytes_of(s->cache);
            pages = (int64_t)stats_of(s->context).pages;
        }
        at_attend = s->counts->calls;
        if (t % stride == 0) {
            if (!EXPECT(MUSTAFAR_OK, mustafar_attend(list, 1, 0, &q_view, NULL, NULL, &out_view,
                                                     &lse_view, NULL, NULL, ERR))) {
                break;
            }
            s->unexplained += t >= 64 && s->counts->calls != at_attend;
        }
    }
}

static void steady_state(uint32_t caches, uint32_t tokens, uint32_t stride, uint32_t reserve,
                         uint32_t threads) {
    const mustafar_geometry geometry = make_geometry(1, 2, 1, 32, 32, MUSTAFAR_F16);
    mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
    mustafar_context_options context_options = MUSTAFAR_CONTEXT_OPTIONS_INIT;
    mustafar_recipe* recipe = make_recipe("leaner");
    counter counts = {0};
    mustafar_allocator allocator = counting_allocator(&counts);
    stepper s;
    uint32_t i;
    memset(&s, 0, sizeof s);
    context_options.threads = threads;
    options.max_tokens = tokens + 100;
    options.reserve_tokens = reserve;
    s.counts = &counts;
    MUST(mustafar_context_create(&context_options, &allocator, NULL, &s.context, ERR));
    for (i = 0; i < caches; ++i) {
        mustafar_bytes planned = {0};
        planned.struct_size = (uint32_t)sizeof planned;
        MUST(mustafar_cache_create(s.context, &geometry, recipe, &options, &s.cache, ERR));
        take_steps(&s, tokens, stride);
        MUST(mustafar_plan(recipe, &geometry, &options, tokens, MUSTAFAR_ALL, &planned, ERR));
        CHECK(planned.total == bytes_of(s.cache).total);
        mustafar_cache_destroy(s.cache);
    }
    CHECK_CASE(s.unexplained == 0, "%d unexplained of %d calls", (int)s.unexplained,
               (int)counts.calls);
    CHECK_CASE(reserve == 0 ? s.growths > 0 && s.growths <= (int64_t)caches * (tokens / 32 + 1)
                            : s.growths == 0,
               "reserve %u: %d steps allocated", (unsigned)reserve, (int)s.growths);
    mustafar_context_destroy(s.context);
    mustafar_recipe_destroy(recipe);
    CHECK(counts.live == 0 && counts.misuse == 0);
}

/* ---- a workspace refused to one thread of an attend -------------------------------------------------- */

static void attend_writes_nothing_when_a_thread_gets_no_workspace(void) {
    enum { QUERIES = 256, HEADS = 8, D = 64, SIZE = QUERIES * HEADS * D };
    const mustafar_geometry geometry = make_geometry(1, HEADS, HEADS, D, D, MUSTAFAR_F16);
    static float q[SIZE], out[SIZE];
    const mustafar_tensor q_view = view(q, MUSTAFAR_F32, 1, QUERIES, HEADS, D),
                          out_view = view(out, MUSTAFAR_F32, 1, QUERIES, HEADS, D);
    mustafar_context_options options = MUSTAFAR_CONTEXT_OPTIONS_INIT;
    mustafar_attend_options at = MUSTAFAR_ATTEND_OPTIONS_INIT;
    int round, refused = 0, written = 0;
    options.threads = 2;
    at.flags = MUSTAFAR_ATTEND_AT; /* long enough that both threads get a share */
    at.q_position = 1000;
    fill_rows(q, 1, 0, QUERIES, HEADS, D);
    for (round = 0; round < 20; ++round) {
        counter counts = {0};
        mustafar_allocator allocator = counting_allocator(&counts);
        mustafar_context* context = NULL;
        mustafar_cache* cache;
        const mustafar_cache* list[1];
        int i;
        MUST(mustafar_context_create(&options, &allocator, NULL, &context, ERR));
        list[0] = cache = make_cache(context, geometry, "mustafar-50", 1000, MUSTAFAR_CACHE_AUTO);
        must_append(cache, 0, 1, 30, 0); /* packs nothing, so no workspace is there yet */
        for (i = 0; i < SIZE; ++i) { out[i] = 77; }
        counts.fail_at = -(counts.calls + 2); /* one for all */
        if (mustafar_attend(list, 1, 0, &q_view, NULL, &at, &out_view, NULL, NULL, NULL, ERR) !=
            MUSTAFAR_OK) {
            ++refused;
            CHECK(last.code == MUSTAFAR_OUT_OF_MEMORY);
            for (i = 0; i < SIZE && out[i] == 77; ++i) {}
            written += i < SIZE;
        }
        counts.fail_at = 0;
        mustafar_cache_destroy(cache);
        mustafar_context_destroy(context);
    }
    CHECK_CASE(written == 0, "outputs written in %d of %d refusals", written, refused);
}

int main(void) {
    size_t i;
    for (i = 0; i < sizeof recipes / sizeof recipes[0]; ++i) {
        every_failing_allocation(recipes[i], 1);
        every_quota(recipes[i]);
    }
    every_failing_allocation("leaner", 2);
    the_quota_is_exact();
    attend_writes_nothing_when_a_thread_gets_no_workspace();
    steady_state(25, 400, 1, 0, 1); /* 10,000 steps, an attend after each */
    if (every_nth(2) == 1) {
        steady_state(25, 400, 1, 0, 2);
        steady_state(1, 10000, 100, 0, 1); /* and one long sequence */
    }
    steady_state(1, 10000, 100, 10000, 1);
    return check_summary("capi/memory");
}
