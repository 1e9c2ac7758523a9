/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps that ask a cache or a recipe. */
#include <stdlib.h>
#include <string.h>

#include "steps.h"

static bool positions_are(struct runner* runner, const struct step* step, uint32_t rows) {
    int64_t want[MOST_LIST];
    int32_t* got = malloc(rows * sizeof(int32_t) + 1);
    if (got == NULL) { return fail("no memory"); }
    runner->status = mustafar_cache_positions(cache_of(runner, step), index_of(step, "layer"),
                                              index_of(step, "head"), got, rows, &runner->error);
    bool same = runner->status != MUSTAFAR_OK || list_of(step, "positions", want) == rows;
    for (uint32_t i = 0; same && runner->status == MUSTAFAR_OK && i < rows; ++i) {
        same = got[i] == want[i];
    }
    free(got);
    return same || fail("other positions");
}

static bool state(struct runner* runner, const struct step* step) {
    const mustafar_cache* cache = cache_of(runner, step);
    const uint32_t layer = index_of(step, "layer");
    uint32_t committed = 0;
    uint32_t tentative = 0;
    uint32_t rows = 0;
    uint32_t body = 0;
    runner->status = mustafar_cache_length(cache, layer, &committed, &tentative, &runner->error);
    if (runner->status != MUSTAFAR_OK) { return true; }
    runner->status =
        mustafar_cache_rows(cache, layer, index_of(step, "head"), &rows, &body, &runner->error);
    if (runner->status != MUSTAFAR_OK) { return true; }
    return expect_number(step, "committed", committed) &&
           expect_number(step, "tentative", tentative) && expect_number(step, "rows", rows) &&
           expect_number(step, "body", body) && positions_are(runner, step, rows);
}

static bool export_rows(struct runner* runner, const struct step* step) {
    const mustafar_geometry g = geometry_of(runner, step);
    const uint32_t side = side_of(step);
    const size_t d = side == MUSTAFAR_SIDE_K ? g.head_dim_k : g.head_dim_v;
    const uint32_t begin = index_of(step, "begin");
    const uint32_t end = index_of(step, "end");
    const size_t rows = end > begin ? end - begin : 0;
    struct array values = {0, 0, 0, NULL};
    struct array bitmaps = {0, 0, 0, NULL};
    bool good = make_array(&values, MUSTAFAR_F32, rows * d) &&
                make_array(&bitmaps, MUSTAFAR_U8, rows * d / 8);
    if (good) {
        const mustafar_tensor out = view(&values, 2, (int64_t)rows, (int64_t)d, 0, 0);
        runner->status = mustafar_cache_export(cache_of(runner, step), index_of(step, "layer"),
                                               index_of(step, "head"), side, begin, end, &out,
                                               bitmaps.bytes, &runner->error);
    }
    if (good && runner->status == MUSTAFAR_OK) {
        good = expect_bytes(step, "bitmaps", bitmaps.bytes, bitmaps.count) &&
               expect_close(runner, step, "values", &values, true);
    }
    free_array(&values);
    free_array(&bitmaps);
    return good;
}

/* Alignment is the backend's own business (docs/format.md, section 4): compared for ref alone. */
static bool bytes(struct runner* runner, const struct step* step) {
    mustafar_bytes got;
    memset(&got, 0, sizeof(got));
    got.struct_size = sizeof(got);
    runner->status = mustafar_cache_bytes(cache_of(runner, step), index_of(step, "layer"),
                                          index_of(step, "head"), &got, &runner->error);
    if (runner->status != MUSTAFAR_OK) { return true; }
    const uint64_t sum =
        got.values + got.bitmaps + got.meta + got.slack + got.window + got.positions + got.tables;
    if (sum != got.total) { return fail("total is not the sum of the parts"); }
    if (number_of(step, "positions_least", 1) == 0 && got.positions != 0) {
        return fail("positions before any eviction");
    }
    return expect_number(step, "values", got.values) &&
           expect_number(step, "bitmaps", got.bitmaps) && expect_number(step, "meta", got.meta) &&
           (!runner->strict || expect_number(step, "slack", got.slack)) &&
           expect_least(step, "window_least", got.window) &&
           expect_least(step, "positions_least", got.positions);
}

/* What plan foretells is what the cache occupies; of ragged rows, at least that. */
static bool plan(struct runner* runner, const struct step* step) {
    const mustafar_geometry geometry = geometry_of(runner, step);
    mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
    mustafar_bytes got;
    mustafar_bytes want;
    memset(&got, 0, sizeof(got));
    got.struct_size = sizeof(got);
    want = got;
    mustafar_recipe* recipe = recipe_of(runner, step);
    if (recipe == NULL) { return true; }
    runner->status =
        mustafar_cache_describe(cache_of(runner, step), NULL, &options, NULL, &runner->error);
    if (runner->status == MUSTAFAR_OK) {
        runner->status = mustafar_plan(recipe, &geometry, &options, index_of(step, "tokens"),
                                       MUSTAFAR_ALL, &got, &runner->error);
    }
    mustafar_recipe_destroy(recipe);
    if (runner->status != MUSTAFAR_OK) { return true; }
    runner->status = mustafar_cache_bytes(cache_of(runner, step), MUSTAFAR_ALL, MUSTAFAR_ALL, &want,
                                          &runner->error);
    const bool fits =
        got.exact != 0 ? memcmp(&got, &want, sizeof(got)) == 0 : got.total >= want.total;
    return fits || fail("plan says %llu bytes, the cache takes %llu", (unsigned long long)got.total,
                        (unsigned long long)want.total);
}

static bool stats(struct runner* runner, const struct step* step) {
    mustafar_cache_stats got;
    memset(&got, 0, sizeof(got));
    got.struct_size = sizeof(got);
    runner->status = mustafar_cache_get_stats(cache_of(runner, step), &got, &runner->error);
    return expect_number(step, "longest", got.longest) && expect_number(step, "rows", got.rows) &&
           expect_number(step, "body_rows", got.body_rows) &&
           expect_number(step, "evicted_rows", got.evicted_rows) &&
           expect_number(step, "pages", got.pages) &&
           expect_number(step, "shared_pages", got.shared_pages) &&
           expect_number(step, "dense_bytes", got.dense_bytes) &&
           expect_number(step, "appended_tokens", got.appended_tokens) &&
           expect_number(step, "packed_rows", got.packed_rows);
}

static bool canonical(struct runner* runner, const struct step* step) {
    mustafar_recipe* recipe = recipe_of(runner, step);
    const char* want = text_of(step, "canonical");
    if (recipe == NULL) { return true; }
    const bool same = want == NULL || strcmp(mustafar_recipe_json(recipe), want) == 0 ||
                      fail("canonical text is %s", mustafar_recipe_json(recipe));
    mustafar_recipe_destroy(recipe);
    return same;
}

static bool side(struct runner* runner, const struct step* step) {
    const mustafar_geometry geometry = geometry_of(runner, step);
    mustafar_side_info got;
    memset(&got, 0, sizeof(got));
    got.struct_size = sizeof(got);
    mustafar_recipe* recipe = recipe_of(runner, step);
    if (recipe == NULL) { return true; }
    runner->status =
        mustafar_recipe_side(recipe, &geometry, index_of(step, "layer"), index_of(step, "head"),
                             side_of(step), &got, &runner->error);
    mustafar_recipe_destroy(recipe);
    if (runner->status != MUSTAFAR_OK) { return true; }
    return expect_number(step, "keep", got.keep) && expect_number(step, "bits", got.bits) &&
           expect_number(step, "encoding", got.encoding) &&
           expect_number(step, "method", got.method) && expect_number(step, "group", got.group) &&
           expect_number(step, "centred", got.centred) &&
           expect_number(step, "row_bytes", got.row_bytes) &&
           (!runner->strict || expect_number(step, "page_bytes", got.page_bytes));
}

static bool window(struct runner* runner, const struct step* step) {
    const mustafar_geometry geometry = geometry_of(runner, step);
    uint32_t recent = 0;
    uint32_t sink = 0;
    uint32_t rows = 0;
    uint32_t budget = 0;
    mustafar_recipe* recipe = recipe_of(runner, step);
    if (recipe == NULL) { return true; }
    runner->status =
        mustafar_recipe_window(recipe, &geometry, index_of(step, "layer"), index_of(step, "head"),
                               &recent, &sink, &rows, &budget, &runner->error);
    mustafar_recipe_destroy(recipe);
    if (runner->status != MUSTAFAR_OK) { return true; }
    return expect_number(step, "recent", recent) && expect_number(step, "sink", sink) &&
           expect_number(step, "step", rows) && expect_number(step, "budget", budget);
}

bool run_question(struct runner* runner, const struct step* step, bool* known) {
    *known = true;
    if (strcmp(step->op, "state") == 0) { return state(runner, step); }
    if (strcmp(step->op, "export") == 0) { return export_rows(runner, step); }
    if (strcmp(step->op, "bytes") == 0) { return bytes(runner, step); }
    if (strcmp(step->op, "plan") == 0) { return plan(runner, step); }
    if (strcmp(step->op, "stats") == 0) { return stats(runner, step); }
    if (strcmp(step->op, "recipe") == 0) { return canonical(runner, step); }
    if (strcmp(step->op, "side") == 0) { return side(runner, step); }
    if (strcmp(step->op, "window") == 0) { return window(runner, step); }
    if (strcmp(step->op, "attend") == 0) { return run_attend(runner, step); }
    if (strcmp(step->op, "merge") == 0) { return run_merge(runner, step); }
    *known = false;
    return true;
}
