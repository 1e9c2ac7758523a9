/* SPDX-License-Identifier: Apache-2.0
 * mustafar_plan says to the byte what mustafar_cache_bytes then finds and what the allocator handed out. */
#include <stdio.h>
#include <string.h>

#include "common.h"

#define JSON "{\"schema\":\"mustafar.recipe\",\"version\":1,"

static counter counts;
static mustafar_context* context;

static bool equal(const mustafar_bytes* a, const mustafar_bytes* b) {
    return a->total == b->total && a->values == b->values && a->bitmaps == b->bitmaps &&
           a->meta == b->meta && a->slack == b->slack && a->window == b->window &&
           a->positions == b->positions && a->tables == b->tables;
}

static const char* text_of(const mustafar_bytes* b, char* text, size_t size) {
    snprintf(text, size,
             "total %llu values %llu bitmaps %llu meta %llu slack %llu window %llu positions %llu "
             "tables %llu",
             (unsigned long long)b->total, (unsigned long long)b->values,
             (unsigned long long)b->bitmaps, (unsigned long long)b->meta,
             (unsigned long long)b->slack, (unsigned long long)b->window,
             (unsigned long long)b->positions, (unsigned long long)b->tables);
    return text;
}

static void plan_equals_cache(const char* recipe_text, mustafar_geometry geometry,
                              mustafar_cache_options options, uint32_t tokens) {
    mustafar_recipe* recipe = make_recipe(recipe_text);
    mustafar_cache* cache = NULL;
    mustafar_bytes planned = {0}, found = {0};
    const int64_t before = counts.live_bytes - (int64_t)stats_of(context).work_bytes;
    uint64_t sum = 0;
    uint32_t layer;
    char a[256], b[256];
    planned.struct_size = found.struct_size = (uint32_t)sizeof planned;
    MUST(mustafar_cache_create(context, &geometry, recipe, &options, &cache, ERR));
    if (tokens > 0) { must_append_all(cache, 1, tokens); }
    EXPECT(MUSTAFAR_OK,
           mustafar_plan(recipe, &geometry, &options, tokens, MUSTAFAR_ALL, &planned, ERR));
    EXPECT(MUSTAFAR_OK, mustafar_cache_bytes(cache, MUSTAFAR_ALL, MUSTAFAR_ALL, &found, ERR));
    if (planned.exact == 1) {
        CHECK_CASE(equal(&planned, &found), "%s d %u tokens %u\n  planned %s\n  found   %s",
                   recipe_text, (unsigned)geometry.head_dim_k, (unsigned)tokens,
                   text_of(&planned, a, sizeof a), text_of(&found, b, sizeof b));
    } else {
        CHECK_CASE(planned.total >= found.total, "%s d %u tokens %u: planned %llu, found %llu",
                   recipe_text, (unsigned)geometry.head_dim_k, (unsigned)tokens,
                   (unsigned long long)planned.total, (unsigned long long)found.total);
    }
    CHECK_CASE((int64_t)found.total ==
                   counts.live_bytes - (int64_t)stats_of(context).work_bytes - before,
               "%s d %u tokens %u: bytes %llu, the allocator handed out %lld", recipe_text,
               (unsigned)geometry.head_dim_k, (unsigned)tokens, (unsigned long long)found.total,
               (long long)(counts.live_bytes - (int64_t)stats_of(context).work_bytes - before));
    for (layer = 0; layer < geometry.layers; ++layer) {
        EXPECT(MUSTAFAR_OK,
               mustafar_plan(recipe, &geometry, &options, tokens, layer, &planned, ERR));
        EXPECT(MUSTAFAR_OK, mustafar_cache_bytes(cache, layer, MUSTAFAR_ALL, &found, ERR));
        CHECK_CASE(planned.exact == 1 ? equal(&planned, &found) : planned.total >= found.total,
                   "%s layer %u\n  planned %s\n  found   %s", recipe_text, (unsigned)layer,
                   text_of(&planned, a, sizeof a), text_of(&found, b, sizeof b));
        sum += found.total;
    }
    MUST(mustafar_cache_bytes(cache, MUSTAFAR_ALL, MUSTAFAR_ALL, &found, ERR));
    CHECK(sum <= found.total);
    mustafar_cache_destroy(cache);
    mustafar_recipe_destroy(recipe);
}

int main(void) {
    static const uint32_t dims[] = {32, 64, 80, 128, 256};
    static const uint32_t lengths[] = {0, 1, 32, 63, 64, 65, 333};
    static const char* const more[] = {
        "kdi4/vdi2/w8/s4",
        "k20i4m/vdi2/w16/s3",
        "kdi4g32/vdi2g32/w0",
        "kdi2c/vdi2/s5",
        "k1/v31i2/w100",
        JSON "\"window\":{\"recent\":20,\"sink\":2,\"step\":8},\"k\":{\"keep\":\"1/"
             "2\",\"bits\":8},\"v\":{\"keep\":\"1/4\"}}",
        JSON "\"k\":{\"bits\":4},\"v\":{\"bits\":4},\"protect\":[0,-1],\"layers\":[{\"at\":\"1\","
             "\"k\":{\"bits\":16,\"keep\":20},"
             "\"heads\":[{\"at\":\"0\",\"v\":{\"bits\":2}}]}]}",
        JSON "\"k\":{\"method\":\"threshold\",\"threshold\":0.3},\"v\":{\"method\":\"threshold\","
             "\"threshold\":0.2,\"bits\":8}}",
        JSON
        "\"k\":{\"method\":\"n_m\",\"n\":2,\"m\":4},\"v\":{\"method\":\"channels\",\"keep\":24}}",
        JSON "\"k\":{\"method\":\"channel_topk\",\"keep\":16},\"v\":{\"sparsity\":0.7,\"rule\":"
             "\"paper\"}}"};
    mustafar_allocator allocator = counting_allocator(&counts);
    mustafar_context_options context_options = MUSTAFAR_CONTEXT_OPTIONS_INIT;
    mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
    size_t r, d, n;
    context_options.threads = 1;
    MUST(mustafar_context_create(&context_options, &allocator, NULL, &context, ERR));
    for (r = 0; r < mustafar_recipe_count() + sizeof more / sizeof more[0]; ++r) {
        const char* recipe = r < mustafar_recipe_count() ? mustafar_recipe_name(r)
                                                         : more[r - mustafar_recipe_count()];
        for (d = 0; d < 5; ++d) {
            if (r >= mustafar_recipe_count() && dims[d] == 80 && strstr(recipe, "g32") != NULL) {
                continue; /* groups of 32 do not divide 80 */
            }
            for (n = 0; n < 7; n += dims[d] < 128 ? 1 : 3) { /* long rows: 0, 63, 333 */
                options.max_tokens = 100000;
                options.reserve_tokens = 0;
                options.flags = MUSTAFAR_CACHE_AUTO;
                plan_equals_cache(recipe, make_geometry(3, 4, 2, dims[d], dims[d], MUSTAFAR_F16),
                                  options, lengths[n]);
            }
            options.reserve_tokens = 150; /* below, then at the full length */
            plan_equals_cache(recipe, make_geometry(2, 2, 2, dims[d], 64, MUSTAFAR_BF16), options,
                              100);
            plan_equals_cache(recipe, make_geometry(2, 2, 2, dims[d], 64, MUSTAFAR_BF16), options,
                              400);
            options.reserve_tokens = options.max_tokens = 333;
            plan_equals_cache(
                recipe, make_geometry(2, 2, 2, 64, dims[d] == 80 ? 96 : dims[d], MUSTAFAR_F16),
                options, 333);
            options.reserve_tokens = 0;
            options.flags = 0; /* nothing is packed */
            plan_equals_cache(recipe, make_geometry(2, 2, 2, dims[d], dims[d], MUSTAFAR_F16),
                              options, 333);
        }
    }
    options.max_tokens = 4096;
    options.flags = MUSTAFAR_CACHE_AUTO;
    plan_equals_cache("mustafar-50-int4", make_geometry(2, 32, 8, 128, 128, MUSTAFAR_BF16), options,
                      2048);
    mustafar_context_destroy(context);
    CHECK(counts.live == 0 && counts.live_bytes == 0 && counts.misuse == 0);
    return check_summary("capi/plan");
}
