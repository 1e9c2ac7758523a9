/* SPDX-License-Identifier: Apache-2.0
 * cache.h: NULL and indices out of range for every call; fork; export, bytes and stats. */
#include <string.h>

#include "cache_scene.h"

static void null_and_indices(void) {
    mustafar_cache* cache = usual_cache("mustafar-50");
    mustafar_cache* fork = untouched;
    float rows[2 * 64] = {0}, values[64 * 4];
    const mustafar_tensor k = view(rows, MUSTAFAR_F32, 1, 2, 64, 0);
    const mustafar_tensor out = view(values, MUSTAFAR_F32, 4, 64, 0, 0);
    mustafar_prune_options prune = MUSTAFAR_PRUNE_OPTIONS_INIT;
    uint32_t a = 77, b = 77;
    int32_t positions[80], before_positions[80];
    float scores[80] = {0};
    mustafar_bytes bytes;
    mustafar_cache_stats stats;
    mustafar_recipe* recipe = make_recipe("dense");
    const mustafar_geometry geometry = usual();
    const mustafar_cache_options options = {sizeof options, 100, 0, MUSTAFAR_CACHE_AUTO};
    const uint32_t bad[] = {2, 3, UINT32_MAX - 1};
    blob before;
    size_t i;
    must_append_all(cache, 1, 80);
    before = snapshot_of(cache);
    memset(positions, 0x77, sizeof positions);
    memset(before_positions, 0x77, sizeof before_positions);
    memset(&bytes, 0x77, sizeof bytes);
    bytes.struct_size = (uint32_t)sizeof bytes;
    memset(&stats, 0x77, sizeof stats);
    stats.struct_size = (uint32_t)sizeof stats;

    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_fork(NULL, &fork, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_fork(cache, NULL, ERR));
    CHECK(fork == untouched);
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_append(NULL, 0, &k, &k, 0, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_append(cache, 0, NULL, &k, 0, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_append(cache, 0, &k, NULL, 0, ERR));
    EXPECT(MUSTAFAR_UNSUPPORTED, mustafar_cache_append(cache, 0, &k, &k, 2, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_append(cache, MUSTAFAR_ALL, &k, &k, 0, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_commit(NULL, 0, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_compress(NULL, 0, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_prune(NULL, 0, 0, 0, 0, 1, &prune, NULL, NULL, NULL, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_prune(cache, 0, 0, 2, 0, 1, &prune, NULL, NULL, NULL, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_evict(NULL, 0, 0, positions, 0, 0, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_evict(cache, 0, 0, NULL, 1, 0, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_evict(cache, 0, MUSTAFAR_ALL, before_positions, 0, 0, ERR));
    EXPECT(MUSTAFAR_UNSUPPORTED, mustafar_cache_evict(cache, 0, 0, before_positions, 0, 8, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_evict_scores(NULL, 0, 0, scores, 80, 60, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_evict_scores(cache, 0, 0, NULL, 80, 60, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_truncate(NULL, 0, 0, ERR));
    EXPECT(MUSTAFAR_UNSUPPORTED, mustafar_cache_truncate(cache, 75, 2, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_reset(NULL, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_length(NULL, 0, &a, &b, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_length(cache, MUSTAFAR_ALL, &a, &b, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_rows(NULL, 0, 0, &a, &b, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_rows(cache, 0, MUSTAFAR_ALL, &a, &b, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_positions(NULL, 0, 0, positions, 80, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_positions(cache, 0, 0, NULL, 80, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_positions(cache, 0, 0, positions, 79, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_positions(cache, 0, 0, positions, 81, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_export(NULL, 0, 0, 0, 0, 4, &out, NULL, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_export(cache, 0, 0, 0, 0, 4, NULL, NULL, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_export(cache, 0, 0, 2, 0, 4, &out, NULL, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_export(cache, 0, 0, 0, 77, 81, &out, NULL, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_export(cache, 0, 0, 0, 5, 4, &out, NULL, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_export(cache, 0, 0, 0, UINT32_MAX - 3, UINT32_MAX, &out, NULL, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_describe(NULL, NULL, NULL, NULL, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_bytes(NULL, 0, 0, &bytes, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_bytes(cache, 0, 0, NULL, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_get_stats(NULL, &stats, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_get_stats(cache, NULL, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_plan(NULL, &geometry, &options, 10, 0, &bytes, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_plan(recipe, NULL, &options, 10, 0, &bytes, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_plan(recipe, &geometry, NULL, 10, 0, &bytes, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_plan(recipe, &geometry, &options, 10, 0, NULL, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_plan(recipe, &geometry, &options, 10, 2, &bytes, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_plan(recipe, &geometry, &options, 101, 0, &bytes, ERR));
    for (i = 0; i < 3; ++i) {
        EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_append(cache, bad[i], &k, &k, 0, ERR));
        EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_commit(cache, bad[i], ERR));
        EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_compress(cache, bad[i], ERR));
        EXPECT(MUSTAFAR_INVALID_ARGUMENT,
               mustafar_cache_prune(cache, bad[i], 0, 0, 0, 1, &prune, NULL, NULL, NULL, ERR));
        EXPECT(MUSTAFAR_INVALID_ARGUMENT,
               mustafar_cache_prune(cache, 0, bad[i], 0, 0, 1, &prune, NULL, NULL, NULL, ERR));
        EXPECT(MUSTAFAR_INVALID_ARGUMENT,
               mustafar_cache_evict(cache, bad[i], 0, before_positions, 0, 0, ERR));
        EXPECT(MUSTAFAR_INVALID_ARGUMENT,
               mustafar_cache_evict(cache, 0, bad[i], before_positions, 0, 0, ERR));
        EXPECT(MUSTAFAR_INVALID_ARGUMENT,
               mustafar_cache_evict_scores(cache, bad[i], 0, scores, 80, 60, ERR));
        EXPECT(MUSTAFAR_INVALID_ARGUMENT,
               mustafar_cache_evict_scores(cache, 0, bad[i], scores, 80, 60, ERR));
        EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_length(cache, bad[i], &a, &b, ERR));
        EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_rows(cache, bad[i], 0, &a, &b, ERR));
        EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_rows(cache, 0, bad[i], &a, &b, ERR));
        EXPECT(MUSTAFAR_INVALID_ARGUMENT,
               mustafar_cache_positions(cache, bad[i], 0, positions, 80, ERR));
        EXPECT(MUSTAFAR_INVALID_ARGUMENT,
               mustafar_cache_positions(cache, 0, bad[i], positions, 80, ERR));
        EXPECT(MUSTAFAR_INVALID_ARGUMENT,
               mustafar_cache_export(cache, bad[i], 0, 0, 0, 4, &out, NULL, ERR));
        EXPECT(MUSTAFAR_INVALID_ARGUMENT,
               mustafar_cache_export(cache, 0, bad[i], 0, 0, 4, &out, NULL, ERR));
        EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_bytes(cache, bad[i], 0, &bytes, ERR));
        EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_bytes(cache, 0, bad[i], &bytes, NULL));
    }
    CHECK(a == 77 && b == 77);
    CHECK(memcmp(positions, before_positions, sizeof positions) == 0);
    CHECK(bytes.total == UINT64_C(0x7777777777777777) &&
          stats.rows == UINT64_C(0x7777777777777777));
    CHECK(unchanged(cache, &before));
    blob_free(&before);
    mustafar_recipe_destroy(recipe);
    mustafar_cache_destroy(cache);
}

static void fork_isolation(const char* recipe) {
    mustafar_cache *parent = usual_cache(recipe), *child = NULL, *grandchild = NULL;
    blob at_100, at_180;
    int32_t gone[3] = {40, 41, 50};
    must_append_all(parent, 9, 100);
    at_100 = snapshot_of(parent);
    EXPECT(MUSTAFAR_OK, mustafar_cache_fork(parent, &child, ERR));
    CHECK_CASE(unchanged(child, &at_100), "%s", recipe);
    must_append_all(parent, 9, 80);
    at_180 = snapshot_of(parent);
    CHECK_CASE(unchanged(child, &at_100), "%s: the parent grew", recipe);
    must_append_all(child, 9, 80);
    CHECK_CASE(unchanged(child, &at_180), "%s: the child took the same tokens", recipe);
    EXPECT(MUSTAFAR_OK, mustafar_cache_fork(child, &grandchild, ERR));
    EXPECT(MUSTAFAR_OK, mustafar_cache_evict(child, 0, 1, gone, 3, 0, ERR));
    EXPECT(MUSTAFAR_OK, mustafar_cache_compress(child, MUSTAFAR_ALL, ERR));
    CHECK_CASE(unchanged(parent, &at_180) && unchanged(grandchild, &at_180),
               "%s: the child evicted", recipe);
    EXPECT(MUSTAFAR_OK, mustafar_cache_truncate(parent, 10, MUSTAFAR_TRUNCATE_KEEP_PACKED, ERR));
    must_append_all(parent, 77, 100); /* writes where the old rows were */
    CHECK_CASE(unchanged(grandchild, &at_180), "%s: the parent was cut and refilled", recipe);
    mustafar_cache_destroy(parent);
    CHECK_CASE(unchanged(grandchild, &at_180), "%s: the parent is gone", recipe);
    EXPECT(MUSTAFAR_OK, mustafar_cache_reset(child, ERR));
    CHECK_CASE(unchanged(grandchild, &at_180), "%s: the child was reset", recipe);
    must_append_all(child, 9, 100);
    CHECK_CASE(unchanged(child, &at_100), "%s: as new after reset", recipe);
    blob_free(&at_100);
    blob_free(&at_180);
    mustafar_cache_destroy(child);
    mustafar_cache_destroy(grandchild);
}

static void exported_rows_fit_the_recipe(const char* recipe_text) {
    const mustafar_geometry geometry = usual();
    mustafar_cache* cache = usual_cache(recipe_text);
    mustafar_recipe* recipe = make_recipe(recipe_text);
    static float values[140 * 64], rows[140 * 128];
    static uint8_t bitmaps[140 * 8];
    uint32_t layer, head, side, r, c;
    must_append_all(cache, 12, 140);
    for (layer = 0; layer < 2; ++layer) {
        for (head = 0; head < 2; ++head) {
            for (side = 0; side < 2; ++side) {
                const mustafar_tensor out = view(values, MUSTAFAR_F32, 140, 64, 0, 0);
                mustafar_side_info info = {0};
                uint32_t body = body_of(cache, layer, head), sink = 0, wrong_count = 0,
                         wrong_dense = 0, wrong_zero = 0;
                info.struct_size = (uint32_t)sizeof info;
                MUST(mustafar_recipe_side(recipe, &geometry, layer, head, side, &info, ERR));
                MUST(mustafar_recipe_window(recipe, &geometry, layer, head, NULL, &sink, NULL, NULL,
                                            ERR));
                EXPECT(MUSTAFAR_OK,
                       mustafar_cache_export(cache, layer, head, side, 0, 140, &out, bitmaps, ERR));
                fill_rows(rows, 12 * 1000 + layer * 2 + side, 0, 140, 2, 64);
                for (r = 0; r < 140; ++r) {
                    const bool packed = r >= sink && r < sink + body;
                    uint32_t kept = 0;
                    for (c = 0; c < 64; ++c) {
                        const bool survives = (bitmaps[r * 8 + c / 8] >> (c % 8) & 1) != 0;
                        const float in =
                            f16_to_float(f16_from_float(rows[r * 128 + head * 64 + c]));
                        const float seen = values[r * 64 + c];
                        kept += survives;
                        if (!packed || (survives && info.bits == 16 && !info.centred)) {
                            wrong_dense += memcmp(&in, &seen, 4) != 0;
                        }
                        if (!survives && !info.centred) { wrong_zero += seen != 0.0F; }
                    }
                    wrong_count += kept != (packed ? (info.keep != 0 ? info.keep : kept) : 64);
                }
                CHECK_CASE(wrong_count == 0 && wrong_dense == 0 && wrong_zero == 0,
                           "%s side %u: %u %u %u", recipe_text, (unsigned)side,
                           (unsigned)wrong_count, (unsigned)wrong_dense, (unsigned)wrong_zero);
            }
        }
    }
    mustafar_recipe_destroy(recipe);
    mustafar_cache_destroy(cache);
}

static bool parts_add_up(const mustafar_bytes* b) {
    return b->total ==
           b->values + b->bitmaps + b->meta + b->slack + b->window + b->positions + b->tables;
}

static void bytes_by_part(const char* recipe) {
    mustafar_cache* cache = usual_cache(recipe);
    mustafar_bytes whole, part;
    uint64_t heads = 0, layers = 0;
    uint32_t layer, head;
    must_append_all(cache, 2, 170);
    whole = bytes_of(cache);
    CHECK_CASE(parts_add_up(&whole) && whole.exact == 1, "%s", recipe);
    memset(&part, 0, sizeof part);
    part.struct_size = (uint32_t)sizeof part;
    for (layer = 0; layer < 2; ++layer) {
        EXPECT(MUSTAFAR_OK, mustafar_cache_bytes(cache, layer, MUSTAFAR_ALL, &part, ERR));
        CHECK_CASE(parts_add_up(&part), "%s", recipe);
        layers += part.total;
        for (head = 0; head < 2; ++head) {
            EXPECT(MUSTAFAR_OK, mustafar_cache_bytes(cache, layer, head, &part, ERR));
            CHECK_CASE(parts_add_up(&part), "%s", recipe);
            heads += part.total;
        }
    }
    CHECK_CASE(heads <= layers && layers < whole.total, "%s: heads %llu layers %llu whole %llu",
               recipe, (unsigned long long)heads, (unsigned long long)layers,
               (unsigned long long)whole.total);
    EXPECT(MUSTAFAR_OK, mustafar_cache_bytes(cache, MUSTAFAR_ALL, 1, &part, ERR));
    CHECK_CASE(parts_add_up(&part) && part.total < layers, "%s", recipe);
    mustafar_cache_destroy(cache);
}

static void stats_count(void) {
    mustafar_cache* cache = usual_cache("mustafar-50");
    mustafar_cache_stats stats = {0};
    float q[4 * 64] = {0}, out[4 * 64];
    const mustafar_tensor q_view = view(q, MUSTAFAR_F32, 1, 1, 4, 64),
                          out_view = view(out, MUSTAFAR_F32, 1, 1, 4, 64);
    const mustafar_cache* list[1];
    const int32_t gone[2] = {3, 4};
    list[0] = cache;
    must_append_all(cache, 2, 100);
    must_append(cache, 1, 2, 10, 0);
    MUST(mustafar_attend(list, 1, 0, &q_view, NULL, NULL, &out_view, NULL, NULL, NULL, ERR));
    MUST(mustafar_cache_evict(cache, 0, 0, gone, 2, 0, ERR));
    stats.struct_size = (uint32_t)sizeof stats;
    EXPECT(MUSTAFAR_OK, mustafar_cache_get_stats(cache, &stats, ERR));
    CHECK(stats.longest == 110);
    CHECK(stats.rows == 2 * 100 + 2 * 110 - 2);
    CHECK(stats.body_rows == 4 * 64 - 2);
    CHECK(stats.evicted_rows == 2);
    CHECK(stats.pages == 4 * 2 && stats.shared_pages == 0);
    CHECK(stats.dense_bytes == stats.rows * 2 * 64 * 2);
    CHECK(stats.appended_tokens == 210);
    CHECK(stats.packed_rows == 4 * 64);
    CHECK(stats.attend_calls == 1);
    CHECK(stats.append_ns > 0 && stats.pack_ns > 0 && stats.attend_ns > 0);
    MUST(mustafar_cache_reset(cache, ERR));
    EXPECT(MUSTAFAR_OK, mustafar_cache_get_stats(cache, &stats, ERR));
    CHECK(stats.longest == 0 && stats.rows == 0 && stats.body_rows == 0 &&
          stats.evicted_rows == 0 && stats.pages == 0);
    CHECK(stats.appended_tokens == 210 && stats.packed_rows == 4 * 64); /* since creation */
    mustafar_cache_destroy(cache);
}

int main(void) {
    size_t i;
    scene_begin();
    null_and_indices();
    stats_count();
    for (i = 0; i < RECIPES; ++i) {
        fork_isolation(recipes[i]);
        exported_rows_fit_the_recipe(recipes[i]);
        bytes_by_part(recipes[i]);
    }
    return scene_end("capi/cache");
}
