/* SPDX-License-Identifier: Apache-2.0
 * recipe.h: names, shorthands, JSON, canonical text and digest, what a recipe means for a geometry. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

static mustafar_recipe* const untouched = (mustafar_recipe*)(uintptr_t)0x5a5a5a50;

static const char* const names[] = {"dense",
                                    "mustafar-50",
                                    "mustafar-70",
                                    "k50-v70",
                                    "kivi-4",
                                    "kivi-2",
                                    "int8",
                                    "int4",
                                    "int2",
                                    "k4v2",
                                    "mustafar-50-int4",
                                    "mustafar-70-int8",
                                    "mustafar-70-int4",
                                    "lean",
                                    "leaner"};
#define RECIPE "{\"schema\":\"mustafar.recipe\",\"version\":1"

enum { NAMES = sizeof names / sizeof names[0] };

static void list(void) {
    const size_t count = mustafar_recipe_count();
    size_t i, n;
    CHECK(count >= NAMES);
    for (i = 0; i < count; ++i) {
        const char* name = mustafar_recipe_name(i);
        const char* sentence = mustafar_recipe_sentence(i);
        if (CHECK(name != NULL && sentence != NULL)) {
            CHECK_CASE(strlen(sentence) > 10 && strchr(sentence, '\n') == NULL, "%s", name);
            mustafar_recipe_destroy(make_recipe(name));
        }
    }
    CHECK(mustafar_recipe_name(count) == NULL && mustafar_recipe_sentence(count) == NULL);
    CHECK(mustafar_recipe_name(SIZE_MAX) == NULL && mustafar_recipe_sentence(SIZE_MAX) == NULL);
    for (n = 0; n < NAMES; ++n) {
        bool found = false;
        for (i = 0; i < count; ++i) {
            found = found || strcmp(mustafar_recipe_name(i), names[n]) == 0;
        }
        CHECK_CASE(found, "%s", names[n]);
    }
}

static void canonical_text_is_a_fixed_point(const char* text) {
    mustafar_recipe* recipe = make_recipe(text);
    const char* json = mustafar_recipe_json(recipe);
    const char* digest = mustafar_recipe_digest(recipe);
    mustafar_recipe* again;
    size_t i;
    CHECK_CASE(json[0] == '{' && strpbrk(json, "\n\t") == NULL, "%s", text);
    CHECK_CASE(strlen(digest) == 32, "%s", text);
    for (i = 0; digest[i] != '\0'; ++i) { CHECK(strchr("0123456789abcdef", digest[i]) != NULL); }
    again = make_recipe(json);
    CHECK_CASE(strcmp(mustafar_recipe_json(again), json) == 0, "%s", text);
    CHECK_CASE(strcmp(mustafar_recipe_digest(again), digest) == 0, "%s", text);
    mustafar_recipe_destroy(again);
    mustafar_recipe_destroy(recipe);
}

static const char* const shorthands[] = {"k64i4/v128i2", "kdi4c/vdi4",   "k64i4m/vdi2/w64/s4",
                                         "k40/v40",      "kd/vd",        "kdi4g32/vdi2g64",
                                         "k64/v64i8/w0", "k64i4/vdi2/s4"};

static void canonical(void) {
    mustafar_recipe *a, *b;
    size_t i;
    for (i = 0; i < NAMES; ++i) { canonical_text_is_a_fixed_point(names[i]); }
    for (i = 0; i < sizeof shorthands / sizeof shorthands[0]; ++i) {
        canonical_text_is_a_fixed_point(shorthands[i]);
    }
    a = make_recipe("int4");
    b = make_recipe("kdi4/vdi4");
    CHECK(strcmp(mustafar_recipe_digest(a), mustafar_recipe_digest(b)) ==
          0); /* the name does not count */
    mustafar_recipe_destroy(b);
    b = make_recipe("kdi4/vdi2");
    CHECK(strcmp(mustafar_recipe_digest(a), mustafar_recipe_digest(b)) != 0);
    mustafar_recipe_destroy(b);
    b = make_recipe("  \n\t" RECIPE "}");
    CHECK(mustafar_recipe_json(b)[0] == '{');
    mustafar_recipe_destroy(b);
    mustafar_recipe_destroy(a);
    CHECK(mustafar_recipe_json(NULL) == NULL);
    CHECK(mustafar_recipe_digest(NULL) == NULL);
    mustafar_recipe_destroy(NULL);
}

static void text_need_not_end_in_nul(void) {
    const size_t length = strlen("lean");
    fence memory = fence_make(length);
    mustafar_recipe* recipe = NULL;
    memcpy(memory.data, "lean", length);
    EXPECT(MUSTAFAR_OK, mustafar_recipe_parse((const char*)memory.data, length, &recipe, ERR));
    mustafar_recipe_destroy(recipe);
    fence_free(&memory);
    recipe = NULL;
    EXPECT(MUSTAFAR_OK, mustafar_recipe_parse("leaner and more", 6, &recipe, ERR));
    mustafar_recipe_destroy(recipe);
}

static void refuses(const char* text, size_t bytes, const char* mentions) {
    mustafar_recipe* recipe = untouched;
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_recipe_parse(text, bytes, &recipe, ERR));
    CHECK_CASE(recipe == untouched, "%s", text != NULL ? text : "NULL");
    CHECK_CASE(strstr(last.message, mentions) != NULL, "\"%s\" does not mention %s", last.message,
               mentions);
}

static void refuses_text(const char* text, const char* mentions) {
    refuses(text, strlen(text), mentions);
}

static void malformed(void) {
    static const char big[4096] = "{";
    mustafar_recipe* recipe = NULL;
    char* deep;
    size_t i;
    refuses(NULL, 4, "text");
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_recipe_parse("lean", 4, NULL, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_recipe_parse("lean", 4, NULL, NULL));
    refuses("lean", 0, "");
    refuses("lean\0er", 7, "");
    refuses(big, sizeof big, "");
    refuses_text("leanest", "leanest");
    refuses_text("LEAN", "LEAN");
    refuses_text(" ", "");
    refuses_text("k64i4", "");
    refuses_text("k64i4/", "");
    refuses_text("k64i3/v64", "i3");
    refuses_text("k0/v64", "");
    refuses_text("k64/v64c", "");
    refuses_text("k99999999999999999999/v64", "");
    refuses_text("k64/v64/w-1", "");
    refuses_text("k64/v64/x3", "");
    refuses_text("kd/vd/w32/w32", "");
    refuses_text("{", "");
    refuses_text("{}", "schema");
    refuses_text("{\"schema\":\"mustafar.recipe\"}", "version");
    refuses_text("{\"schema\":\"mustard\",\"version\":1}", "schema");
    refuses_text(RECIPE "} trailing", "");
    refuses_text(RECIPE ",\"version\":1}", "version");
    refuses_text("{\"schema\":\"mustafar.recipe\",\"version\":2}", "version");
    refuses_text("{\"schema\":\"mustafar.recipe\",\"version\":\"1\"}", "version");
    refuses_text(RECIPE ",\"colour\":3}", "colour");
    refuses_text(RECIPE ",\"k\":{\"kep\":3}}", "k.kep");
    refuses_text(RECIPE ",\"k\":{\"bits\":5}}", "k.bits");
    refuses_text(RECIPE ",\"k\":{\"keep\":-1}}", "k.keep");
    refuses_text(RECIPE ",\"k\":{\"keep\":1e999}}", "");
    refuses_text(RECIPE ",\"k\":{\"sparsity\":1.5}}", "k.sparsity");
    refuses_text(RECIPE ",\"window\":{\"recent\":-1}}", "window.recent");
    refuses_text(RECIPE ",\"window\":{\"step\":5}}", "window.step");
    refuses_text(RECIPE ",\"k\":[]}", "k");
    refuses_text(RECIPE ",\"name\":\"\xff\xfe\"}", "");
    deep = malloc(200001);
    if (deep != NULL) {
        for (i = 0; i < 200000; ++i) { deep[i] = '['; }
        memcpy(deep, "{\"a\":", 5);
        EXPECT(MUSTAFAR_INVALID_ARGUMENT,
               mustafar_recipe_parse(deep, 200000, &recipe, ERR)); /* no deep stack */
        free(deep);
    }
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_recipe_parse("k", 1, &recipe, NULL));
    CHECK(recipe == NULL);
}

static mustafar_side_info side_of(const char* text, uint32_t d, uint32_t side) {
    const mustafar_geometry geometry = make_geometry(2, 4, 2, d, d, MUSTAFAR_F16);
    mustafar_recipe* recipe = make_recipe(text);
    mustafar_side_info info = {0};
    info.struct_size = (uint32_t)sizeof info;
    EXPECT(MUSTAFAR_OK, mustafar_recipe_side(recipe, &geometry, 1, 1, side, &info, ERR));
    mustafar_recipe_destroy(recipe);
    return info;
}

static void row_bytes(void) {
    /* issue 3, Must show 2: d = 128 */
    static const struct {
        const char* recipe;
        uint32_t side, keep, bits, bytes;
    } rows[] = {{"k64/v40", 0, 64, 16, 144},     {"k64/v40", 1, 40, 16, 96},
                {"k64i8/v40i8", 0, 64, 8, 84},   {"k64i8/v40i8", 1, 40, 8, 60},
                {"k64i4/v40i4", 0, 64, 4, 52},   {"k64i4/v40i4", 1, 40, 4, 40},
                {"k64i2/v40i2", 0, 64, 2, 36},   {"k64i2/v40i2", 1, 40, 2, 30},
                {"int4", 0, 128, 4, 68},         {"int4", 1, 128, 4, 68},
                {"dense", 0, 128, 16, 256},      {"dense", 1, 128, 16, 256},
                {"mustafar-50", 0, 64, 16, 144}, {"mustafar-70", 1, 40, 16, 96},
                {"k50-v70", 0, 64, 16, 144},     {"k50-v70", 1, 40, 16, 96},
                {"lean", 0, 64, 4, 52},          {"lean", 1, 128, 2, 36},
                {"leaner", 0, 40, 4, 40},        {"leaner", 1, 128, 2, 36},
                {"int8", 0, 128, 8, 132},        {"int2", 1, 128, 2, 36},
                {"k4v2", 0, 128, 4, 68},         {"k4v2", 1, 128, 2, 36}};
    size_t i;
    for (i = 0; i < sizeof rows / sizeof rows[0]; ++i) {
        const mustafar_side_info info = side_of(rows[i].recipe, 128, rows[i].side);
        CHECK_CASE(info.keep == rows[i].keep && info.bits == rows[i].bits &&
                       info.row_bytes == rows[i].bytes,
                   "%s side %u: keep %u bits %u row_bytes %u", rows[i].recipe,
                   (unsigned)rows[i].side, (unsigned)info.keep, (unsigned)info.bits,
                   (unsigned)info.row_bytes);
        CHECK(info.head_dim == 128 && info.group == 0 && info.encoding == MUSTAFAR_ENCODING_EXACT);
        CHECK(info.page_bytes >= 32 * info.row_bytes && info.page_bytes % 64 == 0);
    }
    CHECK(side_of("kivi-4", 128, 0).encoding == MUSTAFAR_ENCODING_CHANNEL);
    CHECK(side_of("kdi4g32/vdi4", 128, 0).encoding == MUSTAFAR_ENCODING_GROUPED);
    CHECK(side_of("kdi4g32/vdi4", 128, 0).group == 32);
    CHECK(side_of("k64i4m/vdi2", 128, 0).centred == 1);
    CHECK(side_of("k64i4m/vdi2", 128, 1).centred == 0);
    CHECK(side_of("mustafar-70", 80, 0).keep == 25); /* 5 d / 16 */
}

static void side_refuses(void) {
    const mustafar_geometry good = make_geometry(2, 4, 2, 64, 64, MUSTAFAR_F16);
    mustafar_geometry geometry = good;
    mustafar_recipe* recipe = make_recipe("mustafar-50");
    mustafar_recipe* wide = make_recipe("k100/vd");
    mustafar_side_info info, before;
    uint32_t recent = 7, sink = 7, step = 7, budget = 7;
    memset(&info, 0x5a, sizeof info);
    info.struct_size = (uint32_t)sizeof info;
    before = info;
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_recipe_side(NULL, &good, 0, 0, 0, &info, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_recipe_side(recipe, NULL, 0, 0, 0, &info, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_recipe_side(recipe, &good, 0, 0, 0, NULL, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_recipe_side(recipe, &good, 2, 0, 0, &info, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_recipe_side(recipe, &good, MUSTAFAR_ALL, 0, 0, &info, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_recipe_side(recipe, &good, 0, 2, 0, &info, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_recipe_side(recipe, &good, 0, 0, 2, &info, NULL));
    EXPECT(MUSTAFAR_UNSUPPORTED, mustafar_recipe_side(wide, &good, 0, 0, 0, &info, ERR));
    CHECK(strstr(last.message, "100") != NULL && strstr(last.message, "64") != NULL);
    geometry.head_dim_k = 100;
    EXPECT(MUSTAFAR_UNSUPPORTED, mustafar_recipe_side(recipe, &geometry, 0, 0, 0, &info, ERR));
    CHECK(memcmp(&info, &before, sizeof info) == 0);

    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_recipe_window(NULL, &good, 0, 0, &recent, &sink, &step, &budget, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_recipe_window(recipe, NULL, 0, 0, &recent, &sink, &step, &budget, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_recipe_window(recipe, &good, 2, 0, &recent, &sink, &step, &budget, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_recipe_window(recipe, &good, 0, 2, &recent, &sink, &step, &budget, NULL));
    EXPECT(MUSTAFAR_UNSUPPORTED,
           mustafar_recipe_window(wide, &good, 0, 0, &recent, &sink, &step, &budget, ERR));
    CHECK(recent == 7 && sink == 7 && step == 7 && budget == 7);
    EXPECT(MUSTAFAR_OK, mustafar_recipe_window(recipe, &good, 0, 0, NULL, NULL, NULL, NULL, ERR));
    EXPECT(MUSTAFAR_OK,
           mustafar_recipe_window(recipe, &good, 1, 1, &recent, &sink, &step, &budget, ERR));
    CHECK(recent == 32 && sink == 0 && step == 32 && budget == 0);
    mustafar_recipe_destroy(recipe);
    mustafar_recipe_destroy(wide);
    recipe = make_recipe("k40/v40/w64/s4");
    EXPECT(MUSTAFAR_OK,
           mustafar_recipe_window(recipe, &good, 0, 0, &recent, &sink, NULL, NULL, ERR));
    CHECK(recent == 64 && sink == 4);
    mustafar_recipe_destroy(recipe);
}

int main(void) {
    list();
    canonical();
    text_need_not_end_in_nul();
    malformed();
    row_bytes();
    side_refuses();
    return check_summary("capi/recipe");
}
