/* SPDX-License-Identifier: Apache-2.0
 * cache.h: evict by position and by score. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cache_scene.h"

static void evict_by_position(const char* recipe_text) {
    enum { N = 200 };
    const mustafar_geometry geometry = usual();
    mustafar_recipe* recipe = make_recipe(recipe_text);
    mustafar_cache *cache = usual_cache(recipe_text), *keeper = usual_cache(recipe_text);
    static float before[N * 64], after[N * 64];
    int32_t gone[N], stay[N], positions[N];
    uint32_t recent, sink, rows, i, g = 0, s = 0, wrong = 0;
    blob snapshot;
    mustafar_tensor out = view(before, MUSTAFAR_F32, N, 64, 0, 0);
    uint64_t state = 17;
    MUST(mustafar_recipe_window(recipe, &geometry, 0, 0, &recent, &sink, NULL, NULL, ERR));
    must_append_all(cache, 3, N);
    must_append_all(keeper, 3, N);
    MUST(mustafar_cache_export(cache, 0, 1, 1, 0, N, &out, NULL, ERR));
    for (i = 0; i < N; ++i) {
        const bool fixed = i < sink || i >= N - recent;
        if (!fixed && random_next(&state) >> 62 != 0) {
            gone[g++] = (int32_t)i;
        } else {
            stay[s++] = (int32_t)i;
        }
    }
    snapshot = snapshot_of(cache);
    gone[g] = gone[g - 1]; /* not strictly ascending */
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_evict(cache, 0, 1, gone, g + 1, 0, ERR));
    gone[g] = gone[0];
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_evict(cache, 0, 1, gone, g + 1, 0, ERR));
    gone[g] = N; /* not there */
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_evict(cache, 0, 1, gone, g + 1, 0, ERR));
    gone[g] = N - 1; /* in the window */
    if (recent > 0) {
        EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_evict(cache, 0, 1, gone, g + 1, 0, ERR));
    }
    if (sink > 0) {
        const int32_t first = 0;
        EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_evict(cache, 0, 1, &first, 1, 0, ERR));
    }
    {
        const int32_t negative = -1;
        EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_evict(cache, 0, 1, &negative, 1, 0, ERR));
    }
    EXPECT(MUSTAFAR_OK, mustafar_cache_evict(cache, 0, 1, gone, 0, 0, ERR));
    CHECK_CASE(unchanged(cache, &snapshot), "%s", recipe_text);
    blob_free(&snapshot);

    EXPECT(MUSTAFAR_OK, mustafar_cache_evict(cache, 0, 1, gone, g, 0, ERR));
    rows = rows_of(cache, 0, 1);
    CHECK_CASE(rows == s, "%s: %u rows", recipe_text, (unsigned)rows);
    CHECK(rows_of(cache, 0, 0) == N && rows_of(cache, 1, 1) == N && length_of(cache, 0) == N);
    EXPECT(MUSTAFAR_OK, mustafar_cache_positions(cache, 0, 1, positions, s, ERR));
    CHECK_CASE(memcmp(positions, stay, s * sizeof *stay) == 0, "%s", recipe_text);
    out = view(after, MUSTAFAR_F32, s, 64, 0, 0);
    EXPECT(MUSTAFAR_OK, mustafar_cache_export(cache, 0, 1, 1, 0, s, &out, NULL, ERR));
    for (i = 0; i < s; ++i) { /* values of the survivors, to the bit */
        wrong += memcmp(after + i * 64, before + (size_t)stay[i] * 64, 64 * sizeof(float)) != 0;
    }
    CHECK_CASE(wrong == 0, "%s: %u rows changed", recipe_text, (unsigned)wrong);
    CHECK_CASE(bytes_of(cache).positions > 0, "%s", recipe_text);
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_evict(cache, 0, 1, gone, 1, 0, ERR)); /* gone already */

    EXPECT(MUSTAFAR_OK, mustafar_cache_evict(keeper, 0, 1, stay, s, MUSTAFAR_EVICT_KEEP, ERR));
    snapshot = snapshot_of(cache);
    CHECK_CASE(unchanged(keeper, &snapshot), "%s: KEEP of the others", recipe_text);
    blob_free(&snapshot);

    must_append_all(cache, 3, 50); /* life goes on, positions too */
    CHECK(rows_of(cache, 0, 1) == s + 50 && length_of(cache, 0) == N + 50);
    {
        int32_t* more = malloc((s + 50) * sizeof *more);
        if (CHECK(more != NULL)) {
            EXPECT(MUSTAFAR_OK, mustafar_cache_positions(cache, 0, 1, more, s + 50, ERR));
            CHECK(more[s + 49] == N + 49 && more[s] == N && more[s - 1] == stay[s - 1]);
            free(more);
        }
    }
    must_append(cache, 0, 3, 1, MUSTAFAR_APPEND_TENTATIVE);
    EXPECT(MUSTAFAR_BAD_STATE, mustafar_cache_evict(cache, 0, 0, gone, 1, 0, ERR));
    {
        float scores[N + 51] = {0};
        EXPECT(MUSTAFAR_BAD_STATE,
               mustafar_cache_evict_scores(cache, 0, 0, scores, N + 51, 150, ERR));
    }
    mustafar_recipe_destroy(recipe);
    mustafar_cache_destroy(cache);
    mustafar_cache_destroy(keeper);
}

static void evict_by_score(void) {
    enum { N = 150, BUDGET = 90 };
    mustafar_cache* cache = make_cache(context, usual(),
                                       JSON "\"k\":{\"bits\":4},\"v\":{\"bits\":4},\"budget\":70,"
                                            "\"window\":{\"recent\":32,\"sink\":4}}",
                                       1000, MUSTAFAR_CACHE_AUTO);
    float scores[N];
    int32_t positions[N], expected[N];
    bool kept[N];
    uint32_t i, left, n = 0;
    uint64_t state = 3;
    blob before;
    must_append_all(cache, 5, N);
    before = snapshot_of(cache);
    for (i = 0; i < N; ++i) {
        scores[i] = (float)(random_next(&state) >> 61); /* 0 .. 7: many ties */
    }
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_evict_scores(cache, 0, 0, scores, N - 1, BUDGET, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_evict_scores(cache, 0, 0, scores, N + 1, BUDGET, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_evict_scores(cache, 0, 0, scores, N, 35, ERR)); /* < recent + sink */
    scores[20] = NAN;
    {
        const mustafar_status status =
            mustafar_cache_evict_scores(cache, 0, 0, scores, N, BUDGET, ERR);
        CHECK_CASE(status == MUSTAFAR_INVALID_ARGUMENT || status == MUSTAFAR_NON_FINITE, "%s",
                   last.message);
    }
    scores[20] = -INFINITY;
    scores[21] = INFINITY;
    EXPECT(MUSTAFAR_OK, mustafar_cache_evict_scores(cache, 0, 0, scores, N, N,
                                                    ERR)); /* holds no more: nothing */
    EXPECT(MUSTAFAR_OK, mustafar_cache_evict_scores(cache, 0, 0, scores, N, N + 50, ERR));
    CHECK(unchanged(cache, &before));
    blob_free(&before);
    for (i = 0; i < N; ++i) { kept[i] = true; }
    for (left = N; left > BUDGET;
         --left) { /* the oracle: the lowest goes, of equal ones the youngest */
        uint32_t worst = UINT32_MAX;
        for (i = 4; i < N - 32; ++i) {
            if (kept[i] && (worst == UINT32_MAX || scores[i] <= scores[worst])) { worst = i; }
        }
        kept[worst] = false;
    }
    for (i = 0; i < N; ++i) {
        if (kept[i]) { expected[n++] = (int32_t)i; }
    }
    EXPECT(MUSTAFAR_OK, mustafar_cache_evict_scores(cache, 0, 0, scores, N, BUDGET, ERR));
    CHECK(rows_of(cache, 0, 0) == BUDGET);
    EXPECT(MUSTAFAR_OK, mustafar_cache_positions(cache, 0, 0, positions, BUDGET, ERR));
    CHECK(memcmp(positions, expected, sizeof(int32_t) * BUDGET) == 0);
    EXPECT(MUSTAFAR_OK,
           mustafar_cache_evict_scores(cache, 0, 1, scores, N, 0, ERR)); /* the recipe's budget */
    CHECK(rows_of(cache, 0, 1) == 70);
    mustafar_cache_destroy(cache);
    cache = usual_cache("lean"); /* a recipe without a budget */
    must_append_all(cache, 5, N);
    {
        const mustafar_status status = mustafar_cache_evict_scores(cache, 0, 0, scores, N, 0, ERR);
        CHECK_CASE((status == MUSTAFAR_OK && rows_of(cache, 0, 0) == N) ||
                       status == MUSTAFAR_INVALID_ARGUMENT,
                   "%s", mustafar_status_name(status));
    }
    mustafar_cache_destroy(cache);
}

int main(void) {
    size_t i;
    scene_begin();
    evict_by_score();
    for (i = 0; i < RECIPES; ++i) { evict_by_position(recipes[i]); }
    return scene_end("capi/evict");
}
