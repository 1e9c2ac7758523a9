/* SPDX-License-Identifier: Apache-2.0
 * cache.h: tentative tokens, commit, truncate. */
#include "cache_scene.h"
#include "effort.h"

static void tentative_tokens_leave_no_trace(const char* recipe) {
    static const uint32_t lengths[] = {0, 1, 5, 31, 32, 33, 63, 64, 65, 100};
    size_t i;
    for (i = 0; i < sizeof lengths / sizeof lengths[0]; ++i) {
        mustafar_cache *cache = usual_cache(recipe), *never = usual_cache(recipe);
        uint32_t committed, tentative, layer;
        blob before, after;
        if (lengths[i] > 0) {
            must_append_all(cache, 2, lengths[i]);
            must_append_all(never, 2, lengths[i]);
        }
        before = snapshot_of(cache);
        for (layer = 0; layer < 2; ++layer) {
            must_append(cache, layer, 3, 5, MUSTAFAR_APPEND_TENTATIVE);
            must_append(cache, layer, 3, 70, MUSTAFAR_APPEND_TENTATIVE);
        }
        MUST(mustafar_cache_length(cache, 1, &committed, &tentative, ERR));
        CHECK(committed == lengths[i] && tentative == 75);
        CHECK(rows_of(cache, 0, 0) == lengths[i] + 75 &&
              body_of(cache, 0, 0) == body_of(never, 0, 0));
        EXPECT(MUSTAFAR_OK, mustafar_cache_truncate(cache, lengths[i] + 4, 0, ERR));
        EXPECT(MUSTAFAR_OK, mustafar_cache_truncate(cache, lengths[i], 0, ERR));
        CHECK_CASE(unchanged(cache, &before), "%s at %u", recipe, (unsigned)lengths[i]);
        /* later calls do not see a difference either */
        must_append_all(cache, 2, 90);
        must_append_all(never, 2, 90);
        after = snapshot_of(never);
        CHECK_CASE(unchanged(cache, &after), "%s at %u, 90 more", recipe, (unsigned)lengths[i]);
        blob_free(&before);
        blob_free(&after);
        mustafar_cache_destroy(cache);
        mustafar_cache_destroy(never);
    }
}

static void commit_equals_append(const char* recipe) {
    mustafar_cache *cache = usual_cache(recipe), *direct = usual_cache(recipe);
    uint32_t layer, committed, tentative;
    blob reference;
    must_append_all(direct, 6, 130);
    reference = snapshot_of(direct);
    for (layer = 0; layer < 2; ++layer) {
        must_append(cache, layer, 6, 20, 0);
        must_append(cache, layer, 6, 110, MUSTAFAR_APPEND_TENTATIVE);
        EXPECT(MUSTAFAR_BAD_STATE,
               append_rows(cache, layer, 6, 1, 0, ERR)); /* committed behind tentative */
    }
    EXPECT(MUSTAFAR_OK, mustafar_cache_commit(cache, 0, ERR));
    MUST(mustafar_cache_length(cache, 0, &committed, &tentative, ERR));
    CHECK(committed == 130 && tentative == 0);
    MUST(mustafar_cache_length(cache, 1, &committed, &tentative, ERR));
    CHECK(committed == 20 && tentative == 110);
    EXPECT(MUSTAFAR_OK, mustafar_cache_commit(cache, MUSTAFAR_ALL, ERR));
    CHECK_CASE(unchanged(cache, &reference), "%s", recipe);
    EXPECT(MUSTAFAR_OK, mustafar_cache_commit(cache, MUSTAFAR_ALL, ERR)); /* nothing to do */
    CHECK_CASE(unchanged(cache, &reference), "%s", recipe);
    blob_free(&reference);
    mustafar_cache_destroy(cache);
    mustafar_cache_destroy(direct);
}

/* Every length: either exact, that is byte for byte the cache that never held the rest, or NOT_EXACT with the
 * smallest length that is. */
static void truncate_is_exact_or_refused(const char* recipe) {
    enum { N = 150 };
    const mustafar_geometry geometry = usual();
    mustafar_recipe* parsed = make_recipe(recipe);
    uint32_t length, smallest = UINT32_MAX, sink;
    MUST(mustafar_recipe_window(parsed, &geometry, 0, 0, NULL, &sink, NULL, NULL, ERR));
    mustafar_recipe_destroy(parsed);
    for (length = N; length-- > 0;) {
        mustafar_cache* cache;
        mustafar_status status;
        if (length > 10 && length < 80 && length % 7 != 0) { continue; /* far from every edge */ }
        cache = usual_cache(recipe);
        must_append_all(cache, 8, N);
        status = mustafar_cache_truncate(cache, length, 0, ERR);
        if (status == MUSTAFAR_OK) {
            mustafar_cache* never = usual_cache(recipe);
            blob reference;
            if (length > 0) { must_append_all(never, 8, length); }
            reference = snapshot_of(never);
            CHECK_CASE(unchanged(cache, &reference), "%s cut to %u", recipe, (unsigned)length);
            /* nothing is exact below the smallest exact length, but lengths that leave sinks alone */
            CHECK_CASE(smallest == UINT32_MAX || length <= sink, "%s: %u is exact, %u was named",
                       recipe, (unsigned)length, (unsigned)smallest);
            blob_free(&reference);
            mustafar_cache_destroy(never);
        } else {
            CHECK_CASE(status == MUSTAFAR_NOT_EXACT && length > sink, "%s cut to %u: %s", recipe,
                       (unsigned)length, last.message);
            if (smallest == UINT32_MAX) {
                smallest = (uint32_t)last.values[0];
                CHECK_CASE(smallest == length + 1, "%s: %u refused, %u named", recipe,
                           (unsigned)length, (unsigned)smallest);
            }
            CHECK_CASE(last.values[0] == (int64_t)smallest, "%s cut to %u", recipe,
                       (unsigned)length);
            CHECK(length_of(cache, 0) == N && length_of(cache, 1) == N);
            EXPECT(MUSTAFAR_OK,
                   mustafar_cache_truncate(cache, length, MUSTAFAR_TRUNCATE_KEEP_PACKED, ERR));
            CHECK_CASE(length_of(cache, 0) == length && length_of(cache, 1) == length, "%s",
                       recipe);
            CHECK_CASE(rows_of(cache, 1, 1) == length && body_of(cache, 1, 1) <= length, "%s",
                       recipe);
            must_append_all(cache, 8, 40); /* and it goes on from there */
            CHECK(length_of(cache, 0) == length + 40);
        }
        mustafar_cache_destroy(cache);
    }
}

static void truncate_refused_leaves_the_cache(void) {
    mustafar_cache* cache = usual_cache("lean");
    blob before;
    must_append_all(cache, 8, 150);
    before = snapshot_of(cache);
    EXPECT(MUSTAFAR_NOT_EXACT, mustafar_cache_truncate(cache, 100, 0, ERR));
    CHECK(last.values[0] == 128); /* body 96 = 32 * floor((150 - 32) / 32): 96 + 32 */
    EXPECT(MUSTAFAR_NOT_EXACT, mustafar_cache_truncate(cache, 100, 0, NULL));
    CHECK(unchanged(cache, &before));
    EXPECT(MUSTAFAR_OK, mustafar_cache_truncate(cache, 150, 0, ERR));
    EXPECT(MUSTAFAR_OK, mustafar_cache_truncate(cache, UINT32_MAX, 0, ERR));
    CHECK(unchanged(cache, &before));
    blob_free(&before);
    mustafar_cache_destroy(cache);
}

/* Packed rows that were accepted in the window: only what is tentative rolls back without the flag,
 * until `recent` newer rows stand behind them. */
static void after_keep_packed(void) {
    mustafar_cache* cache = usual_cache("mustafar-50"); /* recent 32, step 32 */
    blob before;
    must_append_all(cache, 1, 160); /* 128 packed */
    EXPECT(MUSTAFAR_OK, mustafar_cache_truncate(cache, 100, MUSTAFAR_TRUNCATE_KEEP_PACKED, ERR));
    CHECK(body_of(cache, 0, 0) == 100);
    EXPECT(MUSTAFAR_NOT_EXACT, mustafar_cache_truncate(cache, 99, 0, ERR));
    CHECK(last.values[0] == 100);
    before = snapshot_of(cache);
    MUST(append_rows(cache, 0, 2, 5, MUSTAFAR_APPEND_TENTATIVE, ERR));
    EXPECT(MUSTAFAR_OK, mustafar_cache_truncate(cache, 100, 0, ERR));
    CHECK(unchanged(cache, &before));
    must_append_all(cache, 2, 31);
    EXPECT(MUSTAFAR_NOT_EXACT, mustafar_cache_truncate(cache, 130, 0, ERR));
    CHECK(last.values[0] == 131);
    must_append_all(cache, 3, 5);
    EXPECT(MUSTAFAR_NOT_EXACT, mustafar_cache_truncate(cache, 131, 0, ERR));
    CHECK(last.values[0] == 132); /* 100 packed, 32 dense */
    EXPECT(MUSTAFAR_OK, mustafar_cache_truncate(cache, 132, 0, ERR));
    blob_free(&before);
    mustafar_cache_destroy(cache);
}

int main(void) {
    size_t i;
    scene_begin();
    truncate_refused_leaves_the_cache();
    after_keep_packed();
    for (i = 0; i < RECIPES; ++i) {
        tentative_tokens_leave_no_trace(recipes[i]);
        commit_equals_append(recipes[i]);
        if (i % every_nth(4) == 0) { truncate_is_exact_or_refused(recipes[i]); }
    }
    return scene_end("capi/truncate");
}
