/* SPDX-License-Identifier: Apache-2.0
 * attend.h: what it refuses, naming the argument and writing nothing; lists of caches; types and strides of
 * outputs. */
#include <math.h>
#include <string.h>

#include "common.h"

static mustafar_context* context;

static void refusals(void) {
    const mustafar_geometry geometry = make_geometry(2, 2, 1, 32, 32, MUSTAFAR_F16);
    const mustafar_geometry other_geometry = make_geometry(2, 2, 1, 32, 40, MUSTAFAR_F16);
    mustafar_context* second = make_context(1);
    mustafar_cache* cache = make_cache(context, geometry, "lean", 100, MUSTAFAR_CACHE_AUTO);
    mustafar_cache* other = make_cache(context, other_geometry, "lean", 100, MUSTAFAR_CACHE_AUTO);
    mustafar_cache* foreign = make_cache(second, geometry, "lean", 100, MUSTAFAR_CACHE_AUTO);
    const mustafar_attend_options good = MUSTAFAR_ATTEND_OPTIONS_INIT;
    mustafar_attend_options options;
    float q[3 * 128], out[3 * 128], lse[3 * 4], sinks[2] = {0, 0}, pattern[3 * 128];
    mustafar_tensor q_view = view(q, MUSTAFAR_F32, 1, 1, 2, 32);
    const mustafar_tensor out_view = view(out, MUSTAFAR_F32, 1, 1, 2, 32),
                          lse_view = view(lse, MUSTAFAR_F32, 1, 1, 2, 0);
    const mustafar_tensor sinks_view = view(sinks, MUSTAFAR_F32, 2, 0, 0, 0);
    const mustafar_tensor q2 = view(q, MUSTAFAR_F32, 2, 1, 2, 32),
                          out2 = view(out, MUSTAFAR_F32, 2, 1, 2, 32);
    const mustafar_tensor q7 = view(q, MUSTAFAR_F32, 1, 6, 2, 32),
                          out7 = view(out, MUSTAFAR_F32, 1, 6, 2, 32);
    const mustafar_cache* list[2];
    static const uint32_t odd_bits[] = {0x7fc00000u, 0x7f800000u, 0xff800000u};
    size_t i;
    list[0] = list[1] = cache;
    must_append_all(cache, 1, 5);
    must_append_all(other, 1, 5);
    must_append_all(foreign, 1, 5);
    fill_rows(q, 1, 0, 6, 2, 32);
    memset(out, 0x66, sizeof out);
    memset(lse, 0x66, sizeof lse);
    memset(pattern, 0x66, sizeof pattern);
#define ATTEND(caches, count, layer, Q, S, O, OUT)                                                 \
    mustafar_attend(caches, count, layer, Q, S, O, OUT, &lse_view, NULL, NULL, ERR)
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, ATTEND(NULL, 1, 0, &q_view, NULL, NULL, &out_view));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, ATTEND(list, 1, 0, NULL, NULL, NULL, &out_view));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, ATTEND(list, 1, 0, &q_view, NULL, NULL, NULL));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, ATTEND(list, 1, 2, &q_view, NULL, NULL, &out_view));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           ATTEND(list, 1, MUSTAFAR_ALL, &q_view, NULL, NULL, &out_view));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           ATTEND(list, 2, 0, &q_view, NULL, NULL, &out_view)); /* q says 1 */
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_attend(list, 1, 0, &q7, NULL, NULL, &out7, NULL, NULL, NULL, ERR)); /* 6 > 5 */
    list[1] = NULL;
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_attend(list, 2, 0, &q2, NULL, NULL, &out2, NULL, NULL, NULL, ERR));
    list[1] = other;
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_attend(list, 2, 0, &q2, NULL, NULL, &out2, NULL, NULL, NULL, ERR));
    list[1] = foreign;
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_attend(list, 2, 0, &q2, NULL, NULL, &out2, NULL, NULL, NULL, ERR));
    list[1] = cache;
    for (i = 0; i < 9; ++i) {
        mustafar_status expected = MUSTAFAR_INVALID_ARGUMENT;
        options = good;
        switch (i) {
        case 0:
            options.flags = 2, expected = MUSTAFAR_UNSUPPORTED;
            break;
        case 1:
            options.scale = NAN;
            break;
        case 2:
            options.scale = INFINITY;
            break;
        case 3:
            options.softcap = -1;
            break;
        case 4:
            options.softcap = NAN;
            break;
        case 5:
            options.drop_mass = -0.1F;
            break;
        case 6:
            options.drop_mass = 1.5F;
            break;
        case 7:
            options.drop_mass = NAN;
            break;
        default:
            options.reserved[1] = 1;
            break;
        }
        CHECK_CASE(ATTEND(list, 1, 0, &q_view, NULL, &options, &out_view) == expected,
                   "option %d: %s", (int)i, last.message);
    }
    for (i = 0; i < 3; ++i) {
        const float keep = q[32 + 7];
        q[32 + 7] = float_from_bits(odd_bits[i]);
        EXPECT(MUSTAFAR_NON_FINITE, ATTEND(list, 1, 0, &q_view, NULL, NULL, &out_view));
        CHECK(last.values[0] == 0 && last.values[1] == 0 && last.values[2] == 1 &&
              last.values[3] == 7);
        EXPECT(MUSTAFAR_NON_FINITE,
               mustafar_attend(list, 2, 0, &q2, NULL, NULL, &out2, NULL, NULL, NULL, NULL));
        q[32 + 7] = keep;
        sinks[1] = float_from_bits(odd_bits[i]);
        EXPECT(MUSTAFAR_NON_FINITE, ATTEND(list, 1, 0, &q_view, &sinks_view, NULL, &out_view));
        CHECK(last.values[2] == 1 && last.values[3] == -1);
        sinks[1] = 0;
    }
    CHECK(memcmp(out, pattern, sizeof out) == 0 && memcmp(lse, pattern, sizeof lse) == 0);
    EXPECT(MUSTAFAR_OK, mustafar_attend(list, 0, 0, &q_view, NULL, NULL, &out_view, NULL, NULL,
                                        NULL, ERR)); /* nothing */
    CHECK(memcmp(out, pattern, sizeof out) == 0);
    q_view.strides[2] = 0; /* one query for all heads */
    EXPECT(MUSTAFAR_OK, ATTEND(list, 1, 0, &q_view, NULL, NULL, &out_view));
#undef ATTEND
    mustafar_cache_destroy(cache);
    mustafar_cache_destroy(other);
    mustafar_cache_destroy(foreign);
    mustafar_context_destroy(second);
}

/* A list of caches of unequal lengths and recipes gives what each gives alone, bit for bit. */
static void lists_of_caches(void) {
    enum { COUNT = 5, QLEN = 2, HEADS = 4, D = 64, ROW = QLEN * HEADS * D };
    static const uint32_t lengths[COUNT] = {2, 33, 64, 65, 300};
    static const char* const recipes[COUNT] = {"dense", "mustafar-50", "mustafar-70-int4", "leaner",
                                               "kivi-2"};
    const mustafar_geometry geometry = make_geometry(1, HEADS, 2, D, D, MUSTAFAR_BF16);
    static float q[COUNT * ROW], out[COUNT * ROW], one[ROW], lse[COUNT * QLEN * HEADS],
        one_lse[QLEN * HEADS];
    static uint16_t half[COUNT * ROW], brain[COUNT * ROW];
    const mustafar_cache* list[COUNT];
    mustafar_cache* made[COUNT];
    const mustafar_tensor q_view = view(q, MUSTAFAR_F32, COUNT, QLEN, HEADS, D);
    const mustafar_tensor out_view = view(out, MUSTAFAR_F32, COUNT, QLEN, HEADS, D);
    const mustafar_tensor lse_view = view(lse, MUSTAFAR_F32, COUNT, QLEN, HEADS, 0);
    mustafar_tensor other;
    int i, wrong = 0;
    for (i = 0; i < COUNT; ++i) {
        list[i] = made[i] = make_cache(context, geometry, recipes[i], 1000, MUSTAFAR_CACHE_AUTO);
        must_append_all(made[i], (uint64_t)i, lengths[i]);
    }
    fill_rows(q, 3, 0, COUNT * QLEN, HEADS, D);
    EXPECT(MUSTAFAR_OK, mustafar_attend(list, COUNT, 0, &q_view, NULL, NULL, &out_view, &lse_view,
                                        NULL, NULL, ERR));
    for (i = 0; i < COUNT; ++i) {
        const mustafar_tensor q1 = view(q + i * ROW, MUSTAFAR_F32, 1, QLEN, HEADS, D);
        const mustafar_tensor out1 = view(one, MUSTAFAR_F32, 1, QLEN, HEADS, D);
        const mustafar_tensor lse1 = view(one_lse, MUSTAFAR_F32, 1, QLEN, HEADS, 0);
        EXPECT(MUSTAFAR_OK,
               mustafar_attend(&list[i], 1, 0, &q1, NULL, NULL, &out1, &lse1, NULL, NULL, ERR));
        CHECK_CASE(memcmp(one, out + i * ROW, sizeof one) == 0 &&
                       memcmp(one_lse, lse + i * QLEN * HEADS, sizeof one_lse) == 0,
                   "cache %d", i);
    }
    /* outputs in halves are the f32 ones, rounded; a strided output writes nowhere else */
    other = view(half, MUSTAFAR_F16, COUNT, QLEN, HEADS, D);
    EXPECT(MUSTAFAR_OK,
           mustafar_attend(list, COUNT, 0, &q_view, NULL, NULL, &other, NULL, NULL, NULL, ERR));
    other = view(brain, MUSTAFAR_BF16, COUNT, QLEN, HEADS, D);
    EXPECT(MUSTAFAR_OK,
           mustafar_attend(list, COUNT, 0, &q_view, NULL, NULL, &other, NULL, NULL, NULL, ERR));
    for (i = 0; i < COUNT * ROW; ++i) {
        wrong += half[i] != f16_from_float(out[i]) || brain[i] != bf16_from_float(out[i]);
    }
    CHECK_CASE(wrong == 0, "%d of %d", wrong, COUNT * ROW);
    {
        static float wide[COUNT * ROW * 2];
        memset(wide, 0x44, sizeof wide);
        other = view(wide, MUSTAFAR_F32, COUNT, QLEN, HEADS, D);
        for (i = 0; i < 4; ++i) { other.strides[i] *= 2; }
        EXPECT(MUSTAFAR_OK,
               mustafar_attend(list, COUNT, 0, &q_view, NULL, NULL, &other, NULL, NULL, NULL, ERR));
        wrong = 0;
        for (i = 0; i < COUNT * ROW; ++i) {
            wrong += memcmp(&wide[2 * i], &out[i], 4) != 0 ||
                     wide[2 * i + 1] != float_from_bits(0x44444444u);
        }
        CHECK(wrong == 0);
    }
    for (i = 0; i < COUNT; ++i) { mustafar_cache_destroy(made[i]); }
}
int main(void) {
    context = make_context(1);
    refusals();
    lists_of_caches();
    CHECK(stats_of(context).caches == 0);
    mustafar_context_destroy(context);
    return check_summary("capi/attend_arguments");
}
