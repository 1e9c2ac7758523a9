/* SPDX-License-Identifier: Apache-2.0
 * Provokes every reachable error text and compares the lot with error_texts.golden, so that wording is reviewed
 * as a diff. `capi_error_texts --update` rewrites the golden file; `--print` only prints. Numbers that depend on
 * the size of internal records are shown as #. */
#define _POSIX_C_SOURCE 200809L
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

#define GOLDEN MUSTAFAR_SOURCE_DIR "/tests/capi/error_texts.golden"
#define JSON "{\"schema\":\"mustafar.recipe\",\"version\":1,"

static blob texts;
static mustafar_context* context;

static void put(const char* text) { blob_write(&texts, text, strlen(text)); }

static void show_as(mustafar_status status, bool mask) {
    char line[700];
    size_t i, n = 0, unprintable = 0;
    CHECK_CASE(status != MUSTAFAR_OK && status == last.code, "%s: \"%s\"",
               mustafar_status_name(status), last.message);
    CHECK_CASE(strncmp(last.message, "mustafar_", 9) == 0 && strstr(last.message, ": ") != NULL,
               "\"%s\"", last.message);
    for (i = 0; last.message[i] != '\0' && n + 2 < sizeof line; ++i) {
        const bool digit = isdigit((unsigned char)last.message[i]) != 0;
        unprintable += last.message[i] < ' ' || last.message[i] > '~';
        if (!mask || !digit) {
            line[n++] = last.message[i];
        } else if (n == 0 || line[n - 1] != '#') {
            line[n++] = '#';
        }
    }
    line[n] = '\0';
    if (strncmp(line, "mustafar_context_create", 23) == 0 && strstr(line, "there are: ") != NULL) {
        strcpy(strstr(line, "there are: ") + 11, "..."); /* what runs here depends on the machine */
    }
    CHECK_CASE(unprintable == 0, "\"%s\"", last.message);
    put(mustafar_status_name(status) + strlen("MUSTAFAR_"));
    put("  ");
    put(line);
    put("\n");
}

#define SHOW(call) show_as((call), false)
#define SHOW_MASKED(call) show_as((call), true)

static void heading(const char* text) {
    put("\n# ");
    put(text);
    put("\n");
}

static void contexts(void) {
    mustafar_context_options options = MUSTAFAR_CONTEXT_OPTIONS_INIT;
    const mustafar_context_options good = options;
    mustafar_kernel_info row = {0};
    mustafar_log_hook hook;
    counter counts = {0};
    mustafar_allocator allocator = counting_allocator(&counts);
    mustafar_context* out = NULL;
    heading("info, context");
    row.struct_size = (uint32_t)sizeof row;
    /* an index beyond the end: its text counts the rows of this build, tests/capi/info.c has it */
    SHOW(mustafar_kernel_at(0, NULL, ERR));
    row.struct_size = 8;
    SHOW(mustafar_kernel_at(0, &row, ERR));
    row.struct_size = (uint32_t)sizeof row;
    SHOW(mustafar_context_create(NULL, NULL, NULL, NULL, ERR));
    options.struct_size = 4;
    SHOW(mustafar_context_create(&options, NULL, NULL, &out, ERR));
    {
        struct {
            mustafar_context_options options;
            uint64_t tail;
        } newer = {good, 5};
        newer.options.struct_size = (uint32_t)sizeof newer;
        SHOW(mustafar_context_create(&newer.options, NULL, NULL, &out, ERR));
    }
    options = good;
    options.reserved = 1;
    SHOW(mustafar_context_create(&options, NULL, NULL, &out, ERR));
    options = good;
    options.flags = 64;
    SHOW(mustafar_context_create(&options, NULL, NULL, &out, ERR));
    options = good;
    options.threads = UINT32_MAX;
    SHOW(mustafar_context_create(&options, NULL, NULL, &out, ERR));
    options = good;
    memset(options.backend, 'x', sizeof options.backend);
    SHOW(mustafar_context_create(&options, NULL, NULL, &out, ERR));
    options = good;
    strcpy(options.backend, "quantum");
    SHOW(mustafar_context_create(&options, NULL, NULL, &out, ERR));
    strcpy(options.backend, "ref");
    options.flags = MUSTAFAR_CONTEXT_REFUSE_REF;
    SHOW(mustafar_context_create(&options, NULL, NULL, &out, ERR));
    setenv("MUSTAFAR_FORCE_BACKEND", "warp9", 1);
    SHOW(mustafar_context_create(NULL, NULL, NULL, &out, ERR));
    unsetenv("MUSTAFAR_FORCE_BACKEND");
    allocator.release = NULL;
    SHOW(mustafar_context_create(NULL, &allocator, NULL, &out, ERR));
    memset(&hook, 0, sizeof hook);
    hook.struct_size = (uint32_t)sizeof hook;
    SHOW(mustafar_context_create(NULL, NULL, &hook, &out, ERR));
    SHOW(mustafar_context_kernel(context, "sort", &row, ERR));
    SHOW(mustafar_context_get_stats(NULL, NULL, ERR));
}

static void one_recipe(const char* text) {
    mustafar_recipe* recipe = NULL;
    SHOW(mustafar_recipe_parse(text, strlen(text), &recipe, ERR));
}

static void recipes(void) {
    static const char* const texts_of_recipes[] = {
        "leanest",
        " ",
        "k64i4",
        "k64i4/",
        "k64i3/v64",
        "k0/v64",
        "k64/v64/x3",
        "k64/v64c",
        "{",
        "{}",
        "[1]",
        "{\"schema\":\"mustard\",\"version\":1}",
        "{\"schema\":\"mustafar.recipe\",\"version\":2}",
        JSON "\"colour\":3}",
        JSON "\"k\":{\"kep\":3}}",
        JSON "\"k\":{\"bits\":5}}",
        JSON "\"k\":{\"keep\":0}}",
        JSON "\"k\":{\"keep\":\"2/1\"}}",
        JSON "\"k\":{\"keep\":64,\"sparsity\":0.5}}",
        JSON "\"k\":{\"sparsity\":1.5}}",
        JSON "\"k\":{\"method\":\"magic\"}}",
        JSON "\"k\":{\"method\":\"n_m\",\"n\":5,\"m\":4}}",
        JSON "\"k\":{\"method\":\"n_m\"}}",
        JSON "\"k\":{\"method\":\"threshold\"}}",
        JSON "\"k\":{\"method\":\"threshold\",\"threshold\":-1}}",
        JSON "\"k\":{\"method\":\"token_topk\"}}",
        JSON "\"k\":{\"method\":\"none\",\"keep\":\"1/2\"}}",
        JSON "\"k\":{\"rule\":\"paper\",\"keep\":64}}",
        JSON "\"k\":{\"axis\":\"channel\"}}",
        JSON "\"v\":{\"axis\":\"channel\",\"bits\":4}}",
        JSON "\"k\":{\"axis\":\"channel\",\"bits\":4,\"keep\":\"1/2\"}}",
        JSON "\"window\":{\"step\":16},\"k\":{\"axis\":\"channel\",\"bits\":4}}",
        JSON "\"k\":{\"group\":32}}",
        JSON "\"v\":{\"centre\":\"mean\"}}",
        JSON "\"k\":{\"centre\":\"median\"}}",
        JSON "\"k\":{\"centre\":[1,40000]}}",
        JSON "\"window\":{\"step\":5}}",
        JSON "\"window\":{\"recent\":-1}}",
        JSON "\"window\":[]}",
        JSON "\"budget\":\"many\"}",
        JSON "\"layers\":[{\"k\":{}}]}",
        JSON "\"layers\":[{\"at\":\"3-1\"}]}",
        JSON "\"layers\":[{\"at\":\"x\"}]}",
        JSON "\"protect\":[5000]}",
        JSON "\"precise\":1}",
        JSON "\"k\":{\"bits\":4},\"k\":{}}",
        JSON "\"k\":{}} and more"};
    static const char* const unfit[] = {"k65/vd",
                                        "kdi4g64/vd",
                                        JSON "\"k\":{\"method\":\"n_m\",\"n\":3,\"m\":7}}",
                                        JSON "\"k\":{\"centre\":[1,2,3]}}",
                                        JSON "\"layers\":[{\"at\":\"2\"}]}",
                                        JSON
                                        "\"layers\":[{\"at\":\"0\",\"heads\":[{\"at\":\"9\"}]}]}",
                                        JSON "\"layers\":[{\"at\":\"0\",\"budget\":[1,2,3]}]}",
                                        JSON "\"protect\":[3]}",
                                        JSON "\"budget\":10}"};
    const mustafar_geometry geometry = make_geometry(2, 4, 2, 48, 48, MUSTAFAR_F16);
    mustafar_side_info info = {0};
    mustafar_recipe* recipe = NULL;
    size_t i;
    heading("recipe");
    info.struct_size = (uint32_t)sizeof info;
    SHOW(mustafar_recipe_parse(NULL, 0, &recipe, ERR));
    SHOW(mustafar_recipe_parse("lean", 0, &recipe, ERR));
    for (i = 0; i < sizeof texts_of_recipes / sizeof texts_of_recipes[0]; ++i) {
        one_recipe(texts_of_recipes[i]);
    }
    recipe = make_recipe("lean");
    SHOW(mustafar_recipe_side(recipe, &geometry, 2, 0, 0, &info, ERR));
    SHOW(mustafar_recipe_side(recipe, &geometry, 0, 2, 0, &info, ERR));
    SHOW(mustafar_recipe_side(recipe, &geometry, 0, 0, 2, &info, ERR));
    mustafar_recipe_destroy(recipe);
    for (i = 0; i < sizeof unfit / sizeof unfit[0]; ++i) {
        recipe = make_recipe(unfit[i]);
        SHOW(mustafar_recipe_side(recipe, &geometry, 0, 0, 0, &info, ERR));
        mustafar_recipe_destroy(recipe);
    }
}

static void create(const mustafar_geometry* geometry, const mustafar_cache_options* options,
                   const char* text) {
    mustafar_recipe* recipe = make_recipe(text);
    mustafar_cache* out = NULL;
    SHOW(mustafar_cache_create(context, geometry, recipe, options, &out, ERR));
    mustafar_recipe_destroy(recipe);
}

static void creation(void) {
    static const struct {
        int field;
        uint32_t value;
    } wrong[] = {{0, 3},   {1, 0},  {2, 5},   {2, 2000},         {2, 256}, {3, 0},
                 {4, 100}, {4, 16}, {5, 576}, {6, MUSTAFAR_F32}, {7, 9}};
    mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
    mustafar_geometry geometry = make_geometry(2, 4, 2, 64, 64, MUSTAFAR_F16);
    size_t i;
    heading("create");
    options.max_tokens = 100;
    create(NULL, &options, "lean");
    create(&geometry, NULL, "lean");
    for (i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
        mustafar_geometry bad = geometry;
        memcpy((char*)&bad + 4 * wrong[i].field, &wrong[i].value, 4);
        create(&bad, &options, "lean");
    }
    options.max_tokens = 0;
    create(&geometry, &options, "lean");
    options.max_tokens = 100;
    options.reserve_tokens = 101;
    create(&geometry, &options, "lean");
    options.reserve_tokens = 0;
    options.flags = 2;
    create(&geometry, &options, "lean");
    options.flags = MUSTAFAR_CACHE_AUTO;
    create(&geometry, &options, JSON "\"v\":{\"method\":\"mask\"}}");
    {
        mustafar_context_options poor_options = MUSTAFAR_CONTEXT_OPTIONS_INIT;
        mustafar_context* const rich = context;
        mustafar_recipe* recipe = make_recipe("lean");
        mustafar_cache* out = NULL;
        poor_options.quota_bytes = 1000;
        MUST(mustafar_context_create(&poor_options, NULL, NULL, &context, ERR));
        SHOW_MASKED(mustafar_cache_create(context, &geometry, recipe, &options, &out, ERR));
        mustafar_context_destroy(context);
        context = rich;
        mustafar_recipe_destroy(recipe);
    }
    {
        counter counts = {0};
        mustafar_allocator allocator = counting_allocator(&counts);
        mustafar_context* const rich = context;
        mustafar_recipe* recipe = make_recipe("lean");
        mustafar_cache* out = NULL;
        MUST(mustafar_context_create(NULL, &allocator, NULL, &context, ERR));
        counts.fail_at = -1;
        SHOW_MASKED(mustafar_cache_create(context, &geometry, recipe, &options, &out, ERR));
        mustafar_context_destroy(context);
        context = rich;
        mustafar_recipe_destroy(recipe);
    }
}

static void changes(void) {
    mustafar_cache* cache = make_cache(context, make_geometry(2, 4, 2, 64, 64, MUSTAFAR_F16),
                                       "lean", 200, MUSTAFAR_CACHE_AUTO);
    float rows[4 * 2 * 64] = {0};
    mustafar_tensor k = view(rows, MUSTAFAR_F32, 4, 2, 64, 0), v = k, bad = k;
    mustafar_prune_options prune = MUSTAFAR_PRUNE_OPTIONS_INIT;
    float scores[150] = {0};
    int32_t positions[2] = {50, 50}, out_positions[3];
    must_append_all(cache, 1, 150);
    heading("append, commit");
    SHOW(mustafar_cache_append(NULL, 0, &k, &v, 0, ERR));
    SHOW(mustafar_cache_append(cache, 2, &k, &v, 0, ERR));
    SHOW(mustafar_cache_append(cache, 0, NULL, &v, 0, ERR));
    SHOW(mustafar_cache_append(cache, 0, &k, &v, 4, ERR));
    bad.ndim = 2;
    SHOW(mustafar_cache_append(cache, 0, &bad, &v, 0, ERR));
    bad = k;
    bad.shape[1] = 4;
    SHOW(mustafar_cache_append(cache, 0, &bad, &v, 0, ERR));
    bad = k;
    bad.shape[0] = 3;
    SHOW(mustafar_cache_append(cache, 0, &k, &bad, 0, ERR));
    bad.shape[0] = 0;
    SHOW(mustafar_cache_append(cache, 0, &bad, &bad, 0, ERR));
    bad.shape[0] = -1;
    SHOW(mustafar_cache_append(cache, 0, &bad, &bad, 0, ERR));
    bad.shape[0] = INT64_C(1) << 40;
    SHOW(mustafar_cache_append(cache, 0, &bad, &bad, 0, ERR));
    bad = k;
    bad.dtype = MUSTAFAR_U8;
    SHOW(mustafar_cache_append(cache, 0, &bad, &v, 0, ERR));
    bad.dtype = 77;
    SHOW(mustafar_cache_append(cache, 0, &bad, &v, 0, ERR));
    bad = k;
    bad.device = 1;
    SHOW(mustafar_cache_append(cache, 0, &bad, &v, 0, ERR));
    bad = k;
    bad.reserved = 3;
    SHOW(mustafar_cache_append(cache, 0, &bad, &v, 0, ERR));
    bad = k;
    bad.data = NULL;
    SHOW(mustafar_cache_append(cache, 0, &bad, &v, 0, ERR));
    bad.data = (char*)rows + 1;
    SHOW(mustafar_cache_append(cache, 0, &bad, &v, 0, ERR));
    bad = k;
    bad.strides[1] = INT64_C(1) << 61;
    SHOW(mustafar_cache_append(cache, 0, &bad, &v, 0, ERR));
    bad.strides[1] = INT64_MAX;
    SHOW(mustafar_cache_append(cache, 0, &bad, &v, 0, ERR));
    rows[128 + 64 + 5] = NAN;
    SHOW(mustafar_cache_append(cache, 0, &k, &v, 0, ERR));
    rows[128 + 64 + 5] = 70000;
    SHOW(mustafar_cache_append(cache, 0, &k, &v, 0, ERR));
    rows[128 + 64 + 5] = 0;
    SHOW(append_rows(cache, 0, 1, 51, 0, ERR));
    must_append(cache, 1, 1, 2, MUSTAFAR_APPEND_TENTATIVE);
    SHOW(append_rows(cache, 1, 1, 1, 0, ERR));
    SHOW(mustafar_cache_commit(cache, 7, ERR));
    heading("evict, truncate");
    SHOW(mustafar_cache_evict(cache, 1, 0, positions, 1, 0, ERR));
    SHOW(mustafar_cache_evict(cache, 0, 5, positions, 1, 0, ERR));
    SHOW(mustafar_cache_evict(cache, 0, 0, positions, 2, 0, ERR));
    SHOW(mustafar_cache_evict(cache, 0, 0, NULL, 2, 0, ERR));
    positions[0] = 149;
    SHOW(mustafar_cache_evict(cache, 0, 0, positions, 1, 0, ERR));
    positions[0] = 150;
    SHOW(mustafar_cache_evict(cache, 0, 0, positions, 1, 0, ERR));
    SHOW(mustafar_cache_evict_scores(cache, 0, 0, scores, 149, 100, ERR));
    SHOW(mustafar_cache_evict_scores(cache, 0, 0, scores, 150, 31, ERR));
    SHOW(mustafar_cache_evict_scores(cache, 0, 0, scores, 150, 0, ERR));
    scores[7] = NAN;
    SHOW(mustafar_cache_evict_scores(cache, 0, 0, scores, 150, 100, ERR));
    SHOW(mustafar_cache_truncate(cache, 100, 0, ERR));
    SHOW(mustafar_cache_truncate(cache, 100, 2, ERR));
    heading("ask");
    SHOW(mustafar_cache_positions(cache, 0, 0, out_positions, 3, ERR));
    SHOW(mustafar_cache_export(cache, 0, 0, 0, 148, 152, &k, NULL, ERR));
    SHOW(mustafar_cache_export(cache, 0, 0, 9, 0, 4, &k, NULL, ERR));
    {
        mustafar_tensor out = view(rows, MUSTAFAR_F32, 4, 64, 0, 0);
        out.strides[0] = 63;
        SHOW(mustafar_cache_export(cache, 0, 0, 0, 0, 4, &out, NULL, ERR));
    }
    {
        const mustafar_geometry geometry = geometry_of(cache);
        const mustafar_cache_options options = {sizeof options, 100, 0, MUSTAFAR_CACHE_AUTO};
        mustafar_recipe* recipe = make_recipe("lean");
        mustafar_bytes bytes = {0};
        bytes.struct_size = (uint32_t)sizeof bytes;
        SHOW(mustafar_plan(recipe, &geometry, &options, 101, 0, &bytes, ERR));
        mustafar_recipe_destroy(recipe);
    }
    mustafar_cache_destroy(cache);

    heading("prune, compress");
    cache =
        make_cache(context, make_geometry(1, 1, 1, 64, 64, MUSTAFAR_F16), "mustafar-50", 200, 0);
    must_append_all(cache, 1, 100);
    SHOW(mustafar_cache_prune(cache, 0, 0, 0, 0, 69, NULL, NULL, NULL, NULL, ERR));
    SHOW(mustafar_cache_prune(cache, 0, 0, 0, 9, 2, NULL, NULL, NULL, NULL, ERR));
    SHOW(mustafar_cache_prune(cache, 0, 0, 0, 90, 120, NULL, NULL, NULL, NULL, ERR));
    prune.method = 12;
    SHOW(mustafar_cache_prune(cache, 0, 0, 0, 0, 10, &prune, NULL, NULL, NULL, ERR));
    prune.method = MUSTAFAR_PRUNE_TOKEN_TOPK;
    SHOW(mustafar_cache_prune(cache, 0, 0, 0, 0, 10, &prune, NULL, NULL, NULL, ERR));
    prune.keep = 1000;
    SHOW(mustafar_cache_prune(cache, 0, 0, 0, 0, 10, &prune, NULL, NULL, NULL, ERR));
    prune.method = MUSTAFAR_PRUNE_N_M;
    prune.keep = 2;
    prune.of = 5;
    SHOW(mustafar_cache_prune(cache, 0, 0, 0, 0, 10, &prune, NULL, NULL, NULL, ERR));
    prune.method = MUSTAFAR_PRUNE_RECIPE;
    SHOW(mustafar_cache_prune(cache, 0, 0, 0, 0, 10, &prune, NULL, NULL, NULL, ERR));
    prune.method = MUSTAFAR_PRUNE_THRESHOLD;
    prune.keep = 0;
    SHOW(mustafar_cache_prune(cache, 0, 0, 0, 0, 10, &prune, NULL, NULL, NULL, ERR));
    prune.of = 0;
    prune.threshold = -1;
    SHOW(mustafar_cache_prune(cache, 0, 0, 0, 0, 10, &prune, NULL, NULL, NULL, ERR));
    prune.method = MUSTAFAR_PRUNE_MASK;
    SHOW(mustafar_cache_prune(cache, 0, 0, 0, 0, 10, &prune, NULL, NULL, NULL, ERR));
    prune.threshold = 0;
    SHOW(mustafar_cache_prune(cache, 0, 0, 0, 0, 10, &prune, NULL, NULL, NULL, ERR));
    scores[7] = -1;
    bad = view(scores, MUSTAFAR_F32, 1, 64, 0, 0);
    SHOW(mustafar_cache_prune(cache, 0, 0, 0, 0, 10, NULL, &bad, NULL, NULL, ERR));
    prune.method = MUSTAFAR_PRUNE_TOKEN_TOPK;
    prune.keep = 10;
    MUST(mustafar_cache_prune(cache, 0, 0, 0, 0, 10, &prune, NULL, NULL, NULL, ERR));
    SHOW(mustafar_cache_compress(cache, 0, ERR));
    prune.method = MUSTAFAR_PRUNE_NONE;
    prune.keep = 0;
    MUST(mustafar_cache_prune(cache, 0, 0, 0, 0, 10, &prune, NULL, NULL, NULL, ERR));
    MUST(mustafar_cache_compress(cache, 0, ERR));
    SHOW(mustafar_cache_prune(cache, 0, 0, 0, 0, 10, &prune, NULL, NULL, NULL, ERR));
    mustafar_cache_destroy(cache);
    cache = make_cache(context, make_geometry(1, 1, 1, 64, 64, MUSTAFAR_F16),
                       JSON "\"k\":{\"method\":\"mask\"}}", 200, 0);
    must_append_all(cache, 1, 100);
    SHOW(mustafar_cache_compress(cache, 0, ERR));
    mustafar_cache_destroy(cache);
}

static void attention(void) {
    mustafar_cache* cache = make_cache(context, make_geometry(2, 4, 2, 64, 64, MUSTAFAR_F16),
                                       "lean", 200, MUSTAFAR_CACHE_AUTO);
    mustafar_cache* other = make_cache(context, make_geometry(2, 4, 4, 64, 64, MUSTAFAR_F16),
                                       "lean", 200, MUSTAFAR_CACHE_AUTO);
    mustafar_context* second = make_context(1);
    mustafar_cache* foreign = make_cache(second, make_geometry(2, 4, 2, 64, 64, MUSTAFAR_F16),
                                         "lean", 200, MUSTAFAR_CACHE_AUTO);
    static float q[2 * 4 * 64 * 8], out[2 * 4 * 64 * 8], lse[64], sinks[4];
    const mustafar_tensor q1 = view(q, MUSTAFAR_F32, 1, 1, 4, 64),
                          out1 = view(out, MUSTAFAR_F32, 1, 1, 4, 64);
    const mustafar_tensor q2 = view(q, MUSTAFAR_F32, 2, 1, 4, 64),
                          out2 = view(out, MUSTAFAR_F32, 2, 1, 4, 64);
    const mustafar_tensor q8 = view(q, MUSTAFAR_F32, 1, 8, 4, 64),
                          out8 = view(out, MUSTAFAR_F32, 1, 8, 4, 64);
    const mustafar_tensor lse1 = view(lse, MUSTAFAR_F32, 1, 1, 4, 0),
                          weights = view(lse, MUSTAFAR_F32, 1, 1, 4, 3);
    const mustafar_tensor sinks_view = view(sinks, MUSTAFAR_F32, 4, 0, 0, 0);
    mustafar_attend_options options = MUSTAFAR_ATTEND_OPTIONS_INIT;
    const mustafar_attend_options good = options;
    mustafar_tensor overlapping = out1, flat;
    const mustafar_cache* list[2];
    must_append_all(cache, 1, 5);
    must_append_all(other, 1, 5);
    must_append_all(foreign, 1, 5);
    list[0] = list[1] = cache;
#define ATTEND(count, layer, Q, OUT, WEIGHTS)                                                      \
    mustafar_attend(list, count, layer, Q, NULL, &options, OUT, NULL, WEIGHTS, NULL, ERR)
    heading("attend");
    SHOW(mustafar_attend(NULL, 1, 0, &q1, NULL, NULL, &out1, NULL, NULL, NULL, ERR));
    SHOW(ATTEND(1, 3, &q1, &out1, NULL));
    SHOW(ATTEND(2, 0, &q1, &out1, NULL));
    SHOW(ATTEND(1, 0, &q1, &out8, NULL));
    SHOW(ATTEND(1, 0, &q8, &out8, NULL));
    SHOW(ATTEND(1, 0, &q1, &out1, &weights));
    overlapping.strides[2] = 0;
    SHOW(ATTEND(1, 0, &q1, &overlapping, NULL));
    list[1] = NULL;
    SHOW(ATTEND(2, 0, &q2, &out2, NULL));
    list[1] = other;
    SHOW(ATTEND(2, 0, &q2, &out2, NULL));
    list[1] = foreign;
    SHOW(ATTEND(2, 0, &q2, &out2, NULL));
    options.flags = 8;
    SHOW(ATTEND(1, 0, &q1, &out1, NULL));
    options = good;
    options.scale = NAN;
    SHOW(ATTEND(1, 0, &q1, &out1, NULL));
    options = good;
    options.softcap = -1;
    SHOW(ATTEND(1, 0, &q1, &out1, NULL));
    options = good;
    options.drop_mass = 2;
    SHOW(ATTEND(1, 0, &q1, &out1, NULL));
    options = good;
    options.reserved[0] = 1;
    SHOW(ATTEND(1, 0, &q1, &out1, NULL));
    options = good;
    q[64 + 3] = INFINITY;
    SHOW(ATTEND(1, 0, &q1, &out1, NULL));
    q[64 + 3] = 0;
    sinks[2] = NAN;
    SHOW(mustafar_attend(list, 1, 0, &q1, &sinks_view, NULL, &out1, NULL, NULL, NULL, ERR));
    heading("merge");
    flat = view(out, MUSTAFAR_F32, 4, 64, 0, 0);
    SHOW(mustafar_merge(NULL, &out1, &lse1, &out1, &lse1, &out1, &lse1, ERR));
    SHOW(mustafar_merge(context, &out1, &lse1, &flat, &lse1, &out1, &lse1, ERR));
    SHOW(mustafar_merge(context, &out1, &out1, &out1, &lse1, &out1, &lse1, ERR));
    lse[1] = NAN;
    SHOW(mustafar_merge(context, &out1, &lse1, &out1, &lse1, &out1, &lse1, ERR));
#undef ATTEND
    mustafar_cache_destroy(cache);
    mustafar_cache_destroy(other);
    mustafar_cache_destroy(foreign);
    mustafar_context_destroy(second);
}

static int32_t refuse_write(void* user, const void* data, size_t bytes) {
    (void)user;
    (void)data;
    (void)bytes;
    return -3;
}

static int32_t refuse_read(void* user, void* data, size_t bytes, size_t* got) {
    (void)user;
    (void)data;
    (void)bytes;
    *got = 0;
    return 7;
}

static int32_t lying_read(void* user, void* data, size_t bytes, size_t* got) {
    (void)user;
    memset(data, 0, bytes);
    *got = bytes + 1;
    return 0;
}

static void snapshots(void) {
    const mustafar_geometry geometry = make_geometry(1, 2, 1, 32, 64, MUSTAFAR_F16);
    mustafar_geometry wrong = geometry;
    mustafar_cache *cache = make_cache(context, geometry, "lean", 200, MUSTAFAR_CACHE_AUTO),
                   *out = NULL;
    mustafar_recipe* recipe = make_recipe("leaner");
    mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
    char long_id[MUSTAFAR_MODEL_ID_MAX + 2];
    blob bytes;
    size_t i;
    must_append_all(cache, 1, 100);
    bytes = snapshot_of(cache);
    heading("save, load");
    memset(long_id, 'm', sizeof long_id - 1);
    long_id[sizeof long_id - 1] = '\0';
    SHOW(mustafar_cache_save(cache, long_id, blob_write, NULL, ERR));
    SHOW(mustafar_cache_save(cache, "", NULL, NULL, ERR));
    SHOW(mustafar_cache_save(cache, "", refuse_write, NULL, ERR));
    SHOW(mustafar_cache_save_file(cache, "", "/nonexistent/a.mst", ERR));
    SHOW(mustafar_cache_save_file(cache, "", "/proc/a.mst", ERR));
    SHOW(mustafar_cache_save_file(cache, "", "/dev/null/a.mst", ERR));
    SHOW(
        mustafar_cache_load_file(context, NULL, NULL, NULL, NULL, "/nonexistent/a.mst", &out, ERR));
    SHOW(mustafar_cache_load_file(context, NULL, NULL, NULL, NULL, "/tmp", &out, ERR));
    SHOW(mustafar_cache_load_file(context, NULL, NULL, NULL, NULL, "/dev/null", &out, ERR));
    SHOW(mustafar_cache_load(context, NULL, NULL, NULL, NULL, refuse_read, NULL, &out, ERR));
    SHOW(mustafar_cache_load(context, NULL, NULL, NULL, NULL, lying_read, NULL, &out, ERR));
#define LOAD(geometry, recipe, id, options)                                                        \
    (bytes.at = 0,                                                                                 \
     mustafar_cache_load(context, geometry, recipe, id, options, blob_read, &bytes, &out, ERR))
    wrong.head_dim_v = 32;
    SHOW(LOAD(&wrong, NULL, NULL, NULL));
    SHOW(LOAD(NULL, recipe, NULL, NULL));
    SHOW(LOAD(NULL, NULL, "another model", NULL));
    options.max_tokens = 50;
    SHOW(LOAD(NULL, NULL, NULL, &options));
    options.max_tokens = 0;
    options.flags = 0;
    SHOW(LOAD(NULL, NULL, NULL, &options));
    for (i = 0; i < 24; i += 4) { /* magic, version, and what else the header holds */
        bytes.data[i] ^= 0x40;
        SHOW(LOAD(NULL, NULL, NULL, NULL));
        bytes.data[i] ^= 0x40;
    }
    for (i = 1; i < 8; ++i) { /* somewhere in each section */
        const size_t at = bytes.size * i / 8;
        bytes.data[at] ^= 0x40;
        SHOW_MASKED(LOAD(NULL, NULL, NULL, NULL));
        bytes.data[at] ^= 0x40;
    }
    bytes.size -= 5;
    SHOW_MASKED(LOAD(NULL, NULL, NULL, NULL));
#undef LOAD
    bytes.size += 5;
    blob_free(&bytes);
    mustafar_recipe_destroy(recipe);
    mustafar_cache_destroy(cache);
}

static blob read_golden(void) {
    blob bytes = {0};
    char block[4096];
    size_t got;
    FILE* file = fopen(GOLDEN, "rb");
    while (file != NULL && (got = fread(block, 1, sizeof block, file)) > 0) {
        blob_write(&bytes, block, got);
    }
    if (file != NULL) { fclose(file); }
    return bytes;
}

/* Prints the first lines that differ. */
static void print_difference(const blob* golden) {
    const char *a = (const char*)golden->data, *b = (const char*)texts.data;
    size_t i = 0, line = 0;
    int number = 1;
    while (i < golden->size && i < texts.size && a[i] == b[i]) {
        if (a[i++] == '\n') {
            line = i;
            ++number;
        }
    }
    printf("%s:%d differs\n-%.*s\n+%.*s\n", GOLDEN, number, (int)strcspn(a + line, "\n"), a + line,
           (int)strcspn(b + line, "\n"), b + line);
    printf("when the new text is better: capi_error_texts --update, and review the diff\n");
}

int main(int argc, char** argv) {
    blob golden;
    unsetenv("MUSTAFAR_FORCE_BACKEND");
    context = make_context(1);
    put("# Every error text that a caller can meet, by topic. Written by capi_error_texts "
        "--update.\n");
    contexts();
    recipes();
    creation();
    changes();
    attention();
    snapshots();
    mustafar_context_destroy(context);
    if (argc > 1 && strcmp(argv[1], "--print") == 0) {
        printf("%.*s", (int)texts.size, (const char*)texts.data);
    } else if (argc > 1 && strcmp(argv[1], "--update") == 0) {
        FILE* file = fopen(GOLDEN, "wb");
        CHECK(file != NULL && fwrite(texts.data, 1, texts.size, file) == texts.size);
        if (file != NULL) { fclose(file); }
    } else {
        blob_write(&texts, "", 1); /* a NUL for printing */
        --texts.size;
        golden = read_golden();
        blob_write(&golden, "", 1);
        --golden.size;
        if (!CHECK(blob_equal(&golden, &texts))) { print_difference(&golden); }
        blob_free(&golden);
    }
    blob_free(&texts);
    return check_summary("capi/error_texts");
}
