/* SPDX-License-Identifier: Apache-2.0
 * cache.h: prune and compress, and what they leave. */
#include <math.h>
#include <string.h>

#include "cache_scene.h"

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
    { /* the same rows, rounded */
        static uint16_t halves[100 * 64];
        mustafar_tensor half_out = view(halves, MUSTAFAR_F16, 100, 64, 0, 0);
        MUST(mustafar_cache_export(cache, 0, 1, 0, 0, 100, &half_out, NULL, ERR));
        for (i = 0; i < 100 * 64; ++i) { CHECK(f16_to_float(halves[i]) == values[i]); }
        half_out.dtype = MUSTAFAR_BF16;
        MUST(mustafar_cache_export(cache, 0, 1, 0, 0, 100, &half_out, NULL, ERR));
        for (i = 0; i < 100 * 64; ++i) { CHECK(halves[i] == bf16_from_float(values[i])); }
    }
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

int main(void) {
    scene_begin();
    prune_marks_and_unmarks();
    prune_options_refused();
    caller_masks();
    return scene_end("capi/prune");
}
