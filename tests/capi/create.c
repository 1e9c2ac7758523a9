/* SPDX-License-Identifier: Apache-2.0
 * cache.h: what create refuses, and what an empty cache is. */
#include <string.h>

#include "cache_scene.h"

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
    scene_begin();
    create_refuses_geometry();
    create_refuses_the_rest();
    empty_cache();
    reserve_means_append_cannot_run_out();
    return scene_end("capi/create");
}
