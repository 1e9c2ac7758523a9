/* SPDX-License-Identifier: Apache-2.0
 * cache.h: every call, every status it can give, and what it leaves behind. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

#define JSON "{\"schema\":\"mustafar.recipe\",\"version\":1,"

static mustafar_context* context;
static mustafar_cache* const untouched = (mustafar_cache*)(uintptr_t)0x5a5a5a50;

/* Recipes that together use every row encoding; windows small, so that short tests pack rows. */
static const char* const recipes[] = {
    "dense",
    "mustafar-50",
    "k40i4/v64i2",
    "kdi4/vdi2/w8/s4",
    "kdi4c/vdi4",
    "kdi4g32/vdi2g32/w0",
    "k32i4m/vdi2/w16/s3",
    JSON "\"k\":{\"method\":\"threshold\",\"threshold\":0.3},\"v\":{\"method\":\"threshold\","
         "\"threshold\":0.2,\"bits\":8}}",
    JSON "\"k\":{\"method\":\"n_m\",\"n\":2,\"m\":4},\"v\":{\"method\":\"channels\",\"keep\":24}}",
    JSON
    "\"k\":{\"method\":\"channel_topk\",\"keep\":16},\"v\":{\"sparsity\":0.7,\"rule\":\"paper\"}}",
    JSON "\"window\":{\"recent\":20,\"sink\":2,\"step\":8},\"k\":{\"keep\":\"1/"
         "2\",\"bits\":8},\"v\":{\"keep\":\"1/4\"}}",
    JSON "\"k\":{\"bits\":4},\"v\":{\"bits\":4},\"layers\":[{\"at\":\"1\",\"k\":{\"bits\":16,"
         "\"keep\":20},"
         "\"heads\":[{\"at\":\"0\",\"v\":{\"bits\":2}}]}]}",
};
enum { RECIPES = sizeof recipes / sizeof recipes[0] };

static mustafar_geometry usual(void) { return make_geometry(2, 4, 2, 64, 64, MUSTAFAR_F16); }

static mustafar_cache* usual_cache(const char* recipe) {
    return make_cache(context, usual(), recipe, 1000, MUSTAFAR_CACHE_AUTO);
}

/* ---- create ----------------------------------------------------------------------------------- */

static void creation_refuses(const mustafar_geometry* geometry, const char* recipe_text,
                             const mustafar_cache_options* options, mustafar_status status,
                             const char* mentions) {
    mustafar_recipe* recipe = make_recipe(recipe_text);
    mustafar_cache* cache = untouched;
    EXPECT(status, mustafar_cache_create(context, geometry, recipe, options, &cache, ERR));
    CHECK_CASE(cache == untouched, "%s", mentions);
    CHECK_CASE(strstr(last.message, mentions) != NULL, "\"%s\" does not mention %s", last.message,
               mentions);
    mustafar_recipe_destroy(recipe);
}

static void create_refuses_geometry(void) {
    static const struct {
        int field; /* index of a uint32_t in the struct */
        uint32_t value;
        mustafar_status status;
        const char* mentions;
    } cases[] = {{1, 0, MUSTAFAR_INVALID_ARGUMENT, "layers"},
                 {1, 4097, MUSTAFAR_INVALID_ARGUMENT, "layers"},
                 {2, 0, MUSTAFAR_INVALID_ARGUMENT, "q_heads"},
                 {2, 5, MUSTAFAR_INVALID_ARGUMENT, "q_heads"},
                 {2, 1026, MUSTAFAR_INVALID_ARGUMENT, "q_heads"},
                 {2, 1, MUSTAFAR_INVALID_ARGUMENT, "q_heads"},
                 {3, 0, MUSTAFAR_INVALID_ARGUMENT, "kv_heads"},
                 {3, 1025, MUSTAFAR_INVALID_ARGUMENT, "kv_heads"},
                 {4, 0, MUSTAFAR_UNSUPPORTED, "head_dim_k"},
                 {4, 24, MUSTAFAR_UNSUPPORTED, "head_dim_k"},
                 {4, 100, MUSTAFAR_UNSUPPORTED, "104"},
                 {4, 264, MUSTAFAR_UNSUPPORTED, "head_dim_k"},
                 {5, 576, MUSTAFAR_UNSUPPORTED, "head_dim_v"},
                 {5, 33, MUSTAFAR_UNSUPPORTED, "40"},
                 {5, UINT32_MAX, MUSTAFAR_UNSUPPORTED, "head_dim_v"},
                 {6, 1, MUSTAFAR_INVALID_ARGUMENT, "dtype"},
                 {6, 0, MUSTAFAR_INVALID_ARGUMENT, "dtype"},
                 {6, 77, MUSTAFAR_INVALID_ARGUMENT, "dtype"},
                 {7, 1, MUSTAFAR_INVALID_ARGUMENT, "reserved"}};
    mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
    size_t i;
    options.max_tokens = 100;
    for (i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        mustafar_geometry geometry = usual();
        memcpy((char*)&geometry + 4 * cases[i].field, &cases[i].value, 4);
        creation_refuses(&geometry, "dense", &options, cases[i].status, cases[i].mentions);
    }
}

static void create_refuses_the_rest(void) {
    const mustafar_geometry geometry = usual();
    const mustafar_cache_options good = {sizeof good, 100, 0, MUSTAFAR_CACHE_AUTO};
    mustafar_cache_options options = good;
    mustafar_recipe* recipe = make_recipe("dense");
    mustafar_cache* cache = untouched;
    mustafar_context_options context_options = MUSTAFAR_CONTEXT_OPTIONS_INIT;
    mustafar_context* poor = NULL;
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_create(NULL, &geometry, recipe, &good, &cache, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_create(context, NULL, recipe, &good, &cache, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_create(context, &geometry, NULL, &good, &cache, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_create(context, &geometry, recipe, NULL, &cache, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_create(context, &geometry, recipe, &good, NULL, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_cache_create(NULL, NULL, NULL, NULL, NULL, NULL));
    CHECK(cache == untouched);
    options.max_tokens = 0;
    creation_refuses(&geometry, "dense", &options, MUSTAFAR_INVALID_ARGUMENT, "max_tokens");
    options.max_tokens = 1u << 31;
    creation_refuses(&geometry, "dense", &options, MUSTAFAR_INVALID_ARGUMENT, "max_tokens");
    options = good;
    options.reserve_tokens = 101;
    creation_refuses(&geometry, "dense", &options, MUSTAFAR_INVALID_ARGUMENT, "reserve_tokens");
    options = good;
    options.flags = 2;
    creation_refuses(&geometry, "dense", &options, MUSTAFAR_UNSUPPORTED, "flags");
    creation_refuses(&geometry, JSON "\"k\":{},\"layers\":[{\"at\":\"2\",\"k\":{\"bits\":8}}]}",
                     &good, MUSTAFAR_UNSUPPORTED, "layers");
    creation_refuses(&geometry,
                     JSON
                     "\"layers\":[{\"at\":\"0\",\"heads\":[{\"at\":\"7\",\"k\":{\"bits\":8}}]}]}",
                     &good, MUSTAFAR_UNSUPPORTED, "heads");
    creation_refuses(&geometry, "k65/vd", &good, MUSTAFAR_UNSUPPORTED, "65");
    creation_refuses(&geometry, JSON "\"v\":{\"method\":\"mask\"}}", &good, MUSTAFAR_UNSUPPORTED,
                     "mask");
    creation_refuses(&geometry, JSON "\"k\":{\"method\":\"n_m\",\"n\":3,\"m\":7}}", &good,
                     MUSTAFAR_UNSUPPORTED, "m");
    context_options.quota_bytes = 1000;
    MUST(mustafar_context_create(&context_options, NULL, NULL, &poor, ERR));
    EXPECT(MUSTAFAR_OUT_OF_MEMORY,
           mustafar_cache_create(poor, &geometry, recipe, &good, &cache, ERR));
    CHECK(last.values[0] > 0 && last.values[1] + last.values[0] > 1000 && last.values[2] == 1000);
    CHECK(cache == untouched && stats_of(poor).live_bytes == stats_of(poor).work_bytes);
    mustafar_context_destroy(poor);
    mustafar_recipe_destroy(recipe);
    mustafar_cache_destroy(NULL);
}

static void empty_cache(void) {
    mustafar_cache* cache = usual_cache("lean");
    uint32_t committed = 9, tentative = 9, rows = 9, body = 9;
    mustafar_geometry geometry = {0};
    mustafar_cache_options options = {0};
    mustafar_recipe* recipe = make_recipe("lean");
    mustafar_cache_stats stats = {0};
    const char* json = NULL;
    int32_t position = 5;
    EXPECT(MUSTAFAR_OK, mustafar_cache_length(cache, 1, &committed, &tentative, ERR));
    EXPECT(MUSTAFAR_OK, mustafar_cache_rows(cache, 1, 1, &rows, &body, ERR));
    CHECK(committed == 0 && tentative == 0 && rows == 0 && body == 0);
    EXPECT(MUSTAFAR_OK, mustafar_cache_length(cache, 0, NULL, NULL, ERR));
    EXPECT(MUSTAFAR_OK, mustafar_cache_rows(cache, 0, 0, NULL, NULL, ERR));
    EXPECT(MUSTAFAR_OK, mustafar_cache_positions(cache, 0, 0, &position, 0, ERR));
    CHECK(position == 5);
    geometry.struct_size = (uint32_t)sizeof geometry;
    options.struct_size = (uint32_t)sizeof options;
    EXPECT(MUSTAFAR_OK, mustafar_cache_describe(cache, &geometry, &options, &json, ERR));
    CHECK(geometry.layers == 2 && geometry.q_heads == 4 && geometry.kv_heads == 2 &&
          geometry.head_dim_k == 64 && geometry.head_dim_v == 64 &&
          geometry.dtype == MUSTAFAR_F16 && geometry.reserved == 0);
    CHECK(options.max_tokens == 1000 && options.reserve_tokens == 0 &&
          options.flags == MUSTAFAR_CACHE_AUTO);
    CHECK(json != NULL && strcmp(json, mustafar_recipe_json(recipe)) == 0);
    EXPECT(MUSTAFAR_OK, mustafar_cache_describe(cache, NULL, NULL, NULL, ERR));
    stats.struct_size = (uint32_t)sizeof stats;
    EXPECT(MUSTAFAR_OK, mustafar_cache_get_stats(cache, &stats, ERR));
    CHECK(stats.longest == 0 && stats.rows == 0 && stats.pages == 0 && stats.appended_tokens == 0);
    CHECK(strncmp(stats.attend_kernel, "attend_", 7) == 0 &&
          strncmp(stats.pack_kernel, "pack_", 5) == 0);
    EXPECT(MUSTAFAR_OK, mustafar_cache_commit(cache, MUSTAFAR_ALL, ERR));
    EXPECT(MUSTAFAR_OK, mustafar_cache_compress(cache, MUSTAFAR_ALL, ERR));
    EXPECT(MUSTAFAR_OK, mustafar_cache_truncate(cache, 0, 0, ERR));
    EXPECT(MUSTAFAR_OK,
           mustafar_cache_truncate(cache, 50, 0, ERR)); /* layers that are shorter stay */
    EXPECT(MUSTAFAR_OK, mustafar_cache_reset(cache, ERR));
    mustafar_recipe_destroy(recipe);
    mustafar_cache_destroy(cache);
}

/* ---- NULL and indices out of range, for every call on a cache ----------------------------------- */

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

/* ---- append ------------------------------------------------------------------------------------- */

static void chunks_of_any_size_give_the_bytes_of_single_appends(const char* recipe) {
    static const uint32_t chunks[] = {1, 2, 3, 7, 31, 32, 33, 64, 90, 200};
    mustafar_cache* one = usual_cache(recipe);
    blob reference;
    uint32_t t;
    size_t i;
    for (t = 0; t < 200; ++t) { must_append_all(one, 4, 1); }
    reference = snapshot_of(one);
    for (i = 0; i < sizeof chunks / sizeof chunks[0]; ++i) {
        mustafar_cache* many = usual_cache(recipe);
        uint32_t layer;
        for (layer = 0; layer < 2; ++layer) {
            for (t = 0; t < 200; t += chunks[i]) {
                must_append(many, layer, 4, t + chunks[i] > 200 ? 200 - t : chunks[i], 0);
            }
        }
        CHECK_CASE(unchanged(many, &reference), "%s in chunks of %u", recipe, (unsigned)chunks[i]);
        CHECK_CASE(bytes_of(many).total == bytes_of(one).total, "%s in chunks of %u", recipe,
                   (unsigned)chunks[i]);
        mustafar_cache_destroy(many);
    }
    blob_free(&reference);
    mustafar_cache_destroy(one);
}

static void append_capacity(void) {
    const mustafar_geometry geometry = usual();
    mustafar_cache* cache = make_cache(context, geometry, "lean", 50, MUSTAFAR_CACHE_AUTO);
    blob before;
    must_append(cache, 0, 1, 40, 0);
    before = snapshot_of(cache);
    EXPECT(MUSTAFAR_CAPACITY, append_rows(cache, 0, 1, 11, 0, ERR));
    CHECK(last.values[0] == 11 && last.values[1] == 40 &&
          last.values[2] == 50); /* asked, held, limit */
    EXPECT(MUSTAFAR_CAPACITY, append_rows(cache, 0, 1, 11, MUSTAFAR_APPEND_TENTATIVE, ERR));
    EXPECT(MUSTAFAR_CAPACITY, append_rows(cache, 0, 1, 11, 0, NULL));
    CHECK(unchanged(cache, &before));
    blob_free(&before);
    EXPECT(MUSTAFAR_OK, append_rows(cache, 0, 1, 10, 0, ERR));
    EXPECT(MUSTAFAR_CAPACITY, append_rows(cache, 0, 1, 1, 0, ERR));
    EXPECT(MUSTAFAR_OK, append_rows(cache, 1, 1, 50, 0, ERR)); /* per layer */
    mustafar_cache_destroy(cache);
}

static void non_finite_is_refused_and_named(void) {
    static const uint32_t bits[] = {0x7fc00000u, 0xffc00000u, 0x7f800000u, 0xff800000u,
                                    0x7f800001u};
    mustafar_cache* cache = usual_cache("mustafar-50");
    static float k[40 * 128], v[40 * 128];
    const mustafar_tensor k_view = view(k, MUSTAFAR_F32, 40, 2, 64, 0),
                          v_view = view(v, MUSTAFAR_F32, 40, 2, 64, 0);
    blob before;
    size_t i;
    must_append_all(cache, 1, 50);
    before = snapshot_of(cache);
    for (i = 0; i < 5; ++i) {
        int side;
        for (side = 0; side < 2; ++side) {
            fill_rows(k, 1, 0, 40, 2, 64);
            fill_rows(v, 2, 0, 40, 2, 64);
            (side == 0 ? k : v)[17 * 128 + 64 + 5] = float_from_bits(bits[i]);
            EXPECT(MUSTAFAR_NON_FINITE, mustafar_cache_append(cache, 1, &k_view, &v_view, 0, ERR));
            CHECK_CASE(last.values[0] == side && last.values[1] == 17 && last.values[2] == 1 &&
                           last.values[3] == 5,
                       "values %d %d %d %d", (int)last.values[0], (int)last.values[1],
                       (int)last.values[2], (int)last.values[3]);
            EXPECT(MUSTAFAR_NON_FINITE, mustafar_cache_append(cache, 1, &k_view, &v_view,
                                                              MUSTAFAR_APPEND_TENTATIVE, NULL));
        }
    }
    CHECK(unchanged(cache, &before));
    blob_free(&before);
    mustafar_cache_destroy(cache);
}

/* What the stored type cannot hold, and with bits < 16 what an f16 scale cannot. */
static void too_large_is_refused(void) {
    static const struct {
        const char* recipe;
        mustafar_dtype stored;
        float largest, beyond;
    } cases[] = {{"dense", MUSTAFAR_F16, 65504.0F, 65520.0F},
                 {"mustafar-50", MUSTAFAR_F16, 65519.0F, 65536.0F},
                 {"dense", MUSTAFAR_BF16, 3.38e38F, 3.4e38F},
                 {"int4", MUSTAFAR_BF16, 65280.0F, 65536.0F},
                 {"k64i4m/vdi4", MUSTAFAR_F16, 32752.0F, 32768.0F}};
    float rows[64] = {0};
    const mustafar_tensor tensor = view(rows, MUSTAFAR_F32, 1, 1, 64, 0);
    float zeros[64] = {0};
    const mustafar_tensor zero = view(zeros, MUSTAFAR_F32, 1, 1, 64, 0);
    size_t i;
    for (i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        const mustafar_geometry geometry = make_geometry(1, 1, 1, 64, 64, cases[i].stored);
        mustafar_cache* cache =
            make_cache(context, geometry, cases[i].recipe, 100, MUSTAFAR_CACHE_AUTO);
        int sign;
        for (sign = -1; sign <= 1; sign += 2) {
            rows[9] = (float)sign * cases[i].beyond;
            EXPECT(MUSTAFAR_NON_FINITE, mustafar_cache_append(cache, 0, &tensor, &zero, 0, ERR));
            CHECK(last.values[0] == 0 && last.values[1] == 0 && last.values[2] == 0 &&
                  last.values[3] == 9);
            CHECK(length_of(cache, 0) == 0);
            rows[9] = (float)sign * cases[i].largest;
            EXPECT(MUSTAFAR_OK, mustafar_cache_append(cache, 0, &tensor, &zero, 0, ERR));
            MUST(mustafar_cache_reset(cache, ERR));
        }
        mustafar_cache_destroy(cache);
    }
}

/* ---- tentative, commit, truncate ---------------------------------------------------------------- */

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
            /* nothing is exact below the smallest exact length, but lengths that need no packed row at all */
            CHECK_CASE(smallest == UINT32_MAX || length <= sink, "%s: %u is exact, %u was named",
                       recipe, (unsigned)length, (unsigned)smallest);
            blob_free(&reference);
            mustafar_cache_destroy(never);
        } else {
            CHECK_CASE(status == MUSTAFAR_NOT_EXACT, "%s cut to %u: %s", recipe, (unsigned)length,
                       last.message);
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

/* ---- fork, reset -------------------------------------------------------------------------------- */

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

/* ---- export of what a recipe keeps --------------------------------------------------------------- */

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

/* ---- prune and compress -------------------------------------------------------------------------- */

static void prune_marks_and_unmarks(void) {
    mustafar_cache* cache = make_cache(context, usual(), "mustafar-50", 1000, 0); /* no AUTO */
    mustafar_prune_options options = MUSTAFAR_PRUNE_OPTIONS_INIT;
    static float values[100 * 64], dense[100 * 64];
    static uint8_t bitmaps[100 * 8];
    const mustafar_tensor out = view(values, MUSTAFAR_F32, 100, 64, 0, 0);
    uint32_t ones = 0;
    size_t i;
    must_append_all(cache, 1, 100);
    CHECK(body_of(cache, 0, 0) == 0);
    MUST(mustafar_cache_export(cache, 0, 1, 0, 0, 100, &out, bitmaps, ERR));
    memcpy(dense, values, sizeof dense);
    for (i = 0; i < sizeof bitmaps; ++i) { ones += bitmaps[i] == 0xff; }
    CHECK(ones == sizeof bitmaps);
    EXPECT(MUSTAFAR_OK, mustafar_cache_prune(cache, MUSTAFAR_ALL, MUSTAFAR_ALL, 0, 10, 60, &options,
                                             NULL, NULL, NULL, ERR));
    MUST(mustafar_cache_export(cache, 0, 1, 0, 0, 100, &out, bitmaps, ERR));
    ones = 0;
    for (i = 0; i < 100 * 64; ++i) {
        const bool survives = (bitmaps[i / 8] >> (i % 8) & 1) != 0;
        ones += survives;
        CHECK(survives ? values[i] == dense[i] : values[i] == 0.0F);
    }
    CHECK(ones == 50 * 64 + 50 * 32);
    options.method = MUSTAFAR_PRUNE_TOKEN_TOPK; /* again, replacing the mark, one head */
    options.keep = 10;
    EXPECT(MUSTAFAR_OK,
           mustafar_cache_prune(cache, 0, 1, 0, 20, 30, &options, NULL, NULL, NULL, ERR));
    MUST(mustafar_cache_export(
        cache, 0, 1, 0, 20, 30,
        &(mustafar_tensor){values, MUSTAFAR_F32, 0, 2, 0, {10, 64, 0, 0}, {64, 1, 0, 0}}, bitmaps,
        ERR));
    ones = 0;
    for (i = 0; i < 10 * 64; ++i) { ones += bitmaps[i / 8] >> (i % 8) & 1; }
    CHECK(ones == 100);
    /* a mark of another count than the encoding's k cannot be packed */
    {
        blob before = snapshot_of(cache);
        EXPECT(MUSTAFAR_BAD_STATE, mustafar_cache_compress(cache, 0, ERR));
        CHECK(unchanged(cache, &before));
        blob_free(&before);
    }
    options.method = MUSTAFAR_PRUNE_NONE;
    options.keep = 0;
    EXPECT(MUSTAFAR_OK, mustafar_cache_prune(cache, MUSTAFAR_ALL, MUSTAFAR_ALL, 0, 0, 68, &options,
                                             NULL, NULL, NULL, ERR));
    MUST(mustafar_cache_export(cache, 0, 1, 0, 0, 100, &out, bitmaps, ERR));
    CHECK(memcmp(values, dense, sizeof dense) == 0); /* the dense values stayed */
    EXPECT(MUSTAFAR_BAD_STATE, mustafar_cache_prune(cache, 0, 0, 0, 0, 69, &options, NULL, NULL,
                                                    NULL, ERR)); /* window */
    EXPECT(MUSTAFAR_OK, mustafar_cache_compress(cache, 0, ERR));
    CHECK(body_of(cache, 0, 0) == 68 && body_of(cache, 1, 0) == 0);
    options.method = MUSTAFAR_PRUNE_RECIPE;
    EXPECT(MUSTAFAR_BAD_STATE, mustafar_cache_prune(cache, 0, 0, 0, 60, 68, &options, NULL, NULL,
                                                    NULL, ERR)); /* packed */
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_prune(cache, 1, 0, 0, 5, 4, &options, NULL, NULL, NULL, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_prune(cache, 1, 0, 0, 90, 101, &options, NULL, NULL, NULL, ERR));
    mustafar_cache_destroy(cache);
}

static void prune_options_refused(void) {
    mustafar_cache* cache = make_cache(context, usual(), "mustafar-50", 1000, 0);
    static const struct {
        uint32_t method, keep, of;
        float threshold;
        uint32_t reserved;
    } bad[] = {{8, 0, 0, 0, 0},  {UINT32_MAX, 0, 0, 0, 0}, {2, 0, 0, 0, 0},        {2, 65, 0, 0, 0},
               {3, 2, 0, 0, 0},  {3, 0, 4, 0, 0},          {3, 5, 4, 0, 0},        {3, 2, 5, 0, 0},
               {4, 0, 0, 0, 0},  {4, 65, 0, 0, 0},         {5, 0, 0, 0, 0},        {5, 33, 0, 0, 0},
               {6, 0, 0, -1, 0}, {6, 0, 0, NAN, 0},        {6, 0, 0, INFINITY, 0}, {0, 0, 0, 0, 1},
               {7, 0, 0, 0, 0}};
    static const struct { /* a number that the method does not use */
        uint32_t method, keep, of;
        float threshold;
        const char* names;
    } unused[] = {{0, 5, 0, 0, "options.keep = 5"},
                  {0, 0, 4, 0, "options.of = 4"},
                  {0, 0, 0, 0.5F, "options.threshold = 0.5"},
                  {0, 0, 0, NAN, "options.threshold = nan"},
                  {1, 5, 0, 0, "options.keep = 5"},
                  {2, 5, 4, 0, "options.of = 4"},
                  {2, 5, 0, 0.5F, "options.threshold = 0.5"},
                  {3, 2, 4, 0.5F, "options.threshold = 0.5"},
                  {4, 5, 4, 0, "options.of = 4"},
                  {5, 5, 4, 0, "options.of = 4"},
                  {6, 5, 0, 0.5F, "options.keep = 5"},
                  {6, 0, 4, 0.5F, "options.of = 4"},
                  {7, UINT32_MAX, 0, 0, "options.keep = 4294967295"}};
    float weights[2 * 64];
    uint8_t mask[64 * 8] = {0};
    mustafar_prune_options options = MUSTAFAR_PRUNE_OPTIONS_INIT;
    mustafar_tensor tensor;
    blob before;
    size_t i;
    must_append_all(cache, 1, 100);
    before = snapshot_of(cache);
    for (i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
        options.method = bad[i].method;
        options.keep = bad[i].keep;
        options.of = bad[i].of;
        options.threshold = bad[i].threshold;
        options.reserved = bad[i].reserved;
        CHECK_CASE(mustafar_cache_prune(cache, 0, 0, 0, 0, 64, &options, NULL, NULL, NULL, ERR) ==
                       MUSTAFAR_INVALID_ARGUMENT,
                   "case %d: method %u keep %u of %u: %s", (int)i, (unsigned)bad[i].method,
                   (unsigned)bad[i].keep, (unsigned)bad[i].of, last.message);
    }
    for (i = 0; i < sizeof unused / sizeof unused[0]; ++i) {
        mustafar_status status;
        options.method = unused[i].method;
        options.keep = unused[i].keep;
        options.of = unused[i].of;
        options.threshold = unused[i].threshold;
        options.reserved = 0;
        status = mustafar_cache_prune(cache, 0, 0, 0, 0, 64, &options, NULL, NULL, NULL, ERR);
        CHECK_CASE(status == MUSTAFAR_INVALID_ARGUMENT &&
                       strstr(last.message, unused[i].names) != NULL,
                   "unused %d: %s", (int)i, last.message);
    }
    memset(&options, 0, sizeof options);
    options.struct_size = (uint32_t)sizeof options;
    for (i = 0; i < 128; ++i) { weights[i] = 1.0F; }
    tensor = view(weights, MUSTAFAR_F32, 2, 64, 0, 0); /* one head is named: leading dimension 1 */
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_prune(cache, 0, 0, 0, 0, 64, &options, &tensor, NULL, NULL, ERR));
    tensor = view(weights, MUSTAFAR_F32, 1, 63, 0, 0);
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_prune(cache, 0, 0, 0, 0, 64, &options, &tensor, NULL, NULL, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_prune(cache, 0, 0, 0, 0, 64, &options, NULL, &tensor, NULL, ERR));
    tensor = view(weights, MUSTAFAR_F16, 1, 64, 0, 0);
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_prune(cache, 0, 0, 0, 0, 64, &options, &tensor, NULL, NULL, ERR));
    tensor = view(mask, MUSTAFAR_U8, 1, 64, 8, 0); /* a mask without method MASK */
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_prune(cache, 0, 0, 0, 0, 64, &options, NULL, NULL, &tensor, ERR));
    options.method = MUSTAFAR_PRUNE_MASK;
    tensor = view(mask, MUSTAFAR_U8, 1, 64, 7, 0);
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_cache_prune(cache, 0, 0, 0, 0, 64, &options, NULL, NULL, &tensor, ERR));
    weights[3] = NAN;
    options.method = MUSTAFAR_PRUNE_RECIPE;
    tensor = view(weights, MUSTAFAR_F32, 1, 64, 0, 0);
    {
        const mustafar_status status =
            mustafar_cache_prune(cache, 0, 0, 0, 0, 64, &options, &tensor, NULL, NULL, ERR);
        CHECK_CASE(status == MUSTAFAR_INVALID_ARGUMENT || status == MUSTAFAR_NON_FINITE, "%s",
                   last.message);
    }
    CHECK(unchanged(cache, &before));
    blob_free(&before);
    EXPECT(MUSTAFAR_OK, mustafar_cache_prune(cache, 0, 0, 0, 0, 64, NULL, NULL, NULL, NULL,
                                             ERR)); /* as the recipe says */
    mustafar_cache_destroy(cache);
}

static void caller_masks(void) {
    mustafar_cache* cache = make_cache(
        context, usual(), JSON "\"k\":{\"method\":\"mask\"},\"v\":{\"method\":\"mask\"}}", 1000, 0);
    mustafar_prune_options options = MUSTAFAR_PRUNE_OPTIONS_INIT;
    static uint8_t mask[2 * 68 * 8], bitmaps[68 * 8];
    static float values[68 * 64];
    const mustafar_tensor mask_view = view(mask, MUSTAFAR_U8, 2, 68, 8, 0);
    const mustafar_tensor out = view(values, MUSTAFAR_F32, 68, 64, 0, 0);
    uint64_t state = 5;
    size_t i;
    uint32_t head;
    blob before;
    for (i = 0; i < sizeof mask; ++i) { mask[i] = (uint8_t)(random_next(&state) >> 56); }
    memset(mask + 8 * 5, 0, 8);    /* a row without survivors */
    memset(mask + 8 * 6, 0xff, 8); /* and one that keeps all */
    must_append(cache, 0, 1, 100, 0);
    before = snapshot_of(cache);
    EXPECT(MUSTAFAR_BAD_STATE,
           mustafar_cache_compress(cache, MUSTAFAR_ALL, ERR)); /* rows without a mark */
    CHECK(unchanged(cache, &before));
    blob_free(&before);
    options.method = MUSTAFAR_PRUNE_MASK;
    EXPECT(MUSTAFAR_OK, mustafar_cache_prune(cache, 0, MUSTAFAR_ALL, 0, 0, 68, &options, NULL, NULL,
                                             &mask_view, ERR));
    EXPECT(MUSTAFAR_OK, mustafar_cache_prune(cache, 0, MUSTAFAR_ALL, 1, 0, 68, &options, NULL, NULL,
                                             &mask_view, ERR));
    EXPECT(MUSTAFAR_OK, mustafar_cache_compress(cache, 0, ERR));
    for (head = 0; head < 4; ++head) {
        CHECK(body_of(cache, 0, head % 2) == 68);
        EXPECT(MUSTAFAR_OK,
               mustafar_cache_export(cache, 0, head % 2, head / 2, 0, 68, &out, bitmaps, ERR));
        CHECK(memcmp(bitmaps, mask + head % 2 * sizeof bitmaps, sizeof bitmaps) == 0);
    }
    mustafar_cache_destroy(cache);
}

/* ---- evict ---------------------------------------------------------------------------------------- */

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

/* ---- bytes and stats ------------------------------------------------------------------------------ */

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

static void reserve_means_append_cannot_run_out(void) {
    const mustafar_geometry geometry = usual();
    mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
    counter counts = {0};
    mustafar_allocator allocator = counting_allocator(&counts);
    mustafar_recipe* recipe = make_recipe("lean");
    mustafar_context* own = NULL;
    mustafar_cache* cache = NULL;
    int64_t calls;
    uint32_t t;
    options.max_tokens = 5000;
    options.reserve_tokens = 600;
    MUST(mustafar_context_create(NULL, &allocator, NULL, &own, ERR));
    MUST(mustafar_cache_create(own, &geometry, recipe, &options, &cache, ERR));
    calls = counts.calls;
    counts.fail_at = -(calls + 1); /* no more memory from here */
    for (t = 0; t < 600; ++t) {
        if (!EXPECT(MUSTAFAR_OK, append_rows(cache, 0, 1, 1, 0, ERR)) ||
            !EXPECT(MUSTAFAR_OK, append_rows(cache, 1, 1, 1, 0, ERR))) {
            break;
        }
    }
    CHECK(counts.calls == calls);
    counts.fail_at = 0;
    mustafar_cache_destroy(cache);
    mustafar_recipe_destroy(recipe);
    mustafar_context_destroy(own);
    CHECK(counts.live == 0 && counts.misuse == 0);
}

int main(void) {
    size_t i;
    context = make_context(1);
    create_refuses_geometry();
    create_refuses_the_rest();
    empty_cache();
    null_and_indices();
    append_capacity();
    non_finite_is_refused_and_named();
    too_large_is_refused();
    truncate_refused_leaves_the_cache();
    for (i = 0; i < RECIPES; ++i) {
        chunks_of_any_size_give_the_bytes_of_single_appends(recipes[i]);
        tentative_tokens_leave_no_trace(recipes[i]);
        commit_equals_append(recipes[i]);
        truncate_is_exact_or_refused(recipes[i]);
        fork_isolation(recipes[i]);
        exported_rows_fit_the_recipe(recipes[i]);
        evict_by_position(recipes[i]);
        bytes_by_part(recipes[i]);
    }
    prune_marks_and_unmarks();
    prune_options_refused();
    caller_masks();
    evict_by_score();
    stats_count();
    reserve_means_append_cannot_run_out();
    CHECK(stats_of(context).caches == 0 && stats_of(context).pages == 0);
    mustafar_context_destroy(context);
    return check_summary("capi/cache");
}
