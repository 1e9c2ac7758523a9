/* SPDX-License-Identifier: Apache-2.0
 * attend.h: merge of the attention over two parts. */
#include <math.h>
#include <string.h>

#include "common.h"

static mustafar_context* context;

static double worst(double a, double b) { return a > b ? a : b; }

static void merge_of_parts_is_the_whole(void) {
    enum { HEADS = 4, D = 64, N = HEADS * D, TOKENS = 100 };
    const mustafar_geometry geometry = make_geometry(1, HEADS, 2, D, D, MUSTAFAR_F16);
    mustafar_cache *whole = make_cache(context, geometry, "dense", 1000, MUSTAFAR_CACHE_AUTO),
                   *a = NULL, *b = NULL;
    static float k[TOKENS * 2 * D], v[TOKENS * 2 * D];
    float q[N], out[N], out_a[N], out_b[N], lse[HEADS], lse_a[HEADS], lse_b[HEADS],
        sinks[HEADS] = {1, -2, 0.5F, 3};
    const mustafar_tensor q_view = view(q, MUSTAFAR_F32, 1, 1, HEADS, D),
                          out_view = view(out, MUSTAFAR_F32, 1, 1, HEADS, D);
    const mustafar_tensor a_view = view(out_a, MUSTAFAR_F32, 1, 1, HEADS, D),
                          b_view = view(out_b, MUSTAFAR_F32, 1, 1, HEADS, D);
    const mustafar_tensor lse_view = view(lse, MUSTAFAR_F32, 1, 1, HEADS, 0),
                          lse_a_view = view(lse_a, MUSTAFAR_F32, 1, 1, HEADS, 0);
    const mustafar_tensor lse_b_view = view(lse_b, MUSTAFAR_F32, 1, 1, HEADS, 0),
                          sinks_view = view(sinks, MUSTAFAR_F32, HEADS, 0, 0, 0);
    mustafar_tensor kv, vv;
    mustafar_attend_options options = MUSTAFAR_ATTEND_OPTIONS_INIT;
    const mustafar_cache* list[1];
    double error = 0;
    int cut, i;
    options.flags = MUSTAFAR_ATTEND_AT;
    options.q_position = 1000;
    fill_rows(k, 1, 0, TOKENS, 2, D);
    fill_rows(v, 2, 0, TOKENS, 2, D);
    fill_rows(q, 3, 0, 1, HEADS, D);
    kv = view(k, MUSTAFAR_F32, TOKENS, 2, D, 0);
    vv = view(v, MUSTAFAR_F32, TOKENS, 2, D, 0);
    MUST(mustafar_cache_append(whole, 0, &kv, &vv, 0, ERR));
    list[0] = whole;
    EXPECT(MUSTAFAR_OK, mustafar_attend(list, 1, 0, &q_view, &sinks_view, &options, &out_view,
                                        &lse_view, NULL, NULL, ERR));
    for (cut = 0; cut <= TOKENS; cut += 20) {
        a = make_cache(context, geometry, "dense", 1000, MUSTAFAR_CACHE_AUTO);
        b = make_cache(context, geometry, "dense", 1000, MUSTAFAR_CACHE_AUTO);
        if (cut > 0) {
            kv = view(k, MUSTAFAR_F32, cut, 2, D, 0);
            vv = view(v, MUSTAFAR_F32, cut, 2, D, 0);
            MUST(mustafar_cache_append(a, 0, &kv, &vv, 0, ERR));
        }
        if (cut < TOKENS) {
            kv = view(k + cut * 2 * D, MUSTAFAR_F32, TOKENS - cut, 2, D, 0);
            vv = view(v + cut * 2 * D, MUSTAFAR_F32, TOKENS - cut, 2, D, 0);
            MUST(mustafar_cache_append(b, 0, &kv, &vv, 0, ERR));
        }
        list[0] = a;
        MUST(mustafar_attend(list, 1, 0, &q_view, NULL, &options, &a_view, &lse_a_view, NULL, NULL,
                             ERR));
        list[0] = b;
        MUST(mustafar_attend(list, 1, 0, &q_view, &sinks_view, &options, &b_view, &lse_b_view, NULL,
                             NULL, ERR));
        EXPECT(MUSTAFAR_OK, mustafar_merge(context, &a_view, &lse_a_view, &b_view, &lse_b_view,
                                           &a_view, &lse_a_view, ERR));
        for (i = 0; i < N; ++i) { error = worst(error, fabs((double)out[i] - out_a[i])); }
        for (i = 0; i < HEADS; ++i) { error = worst(error, fabs((double)lse[i] - lse_a[i]) / 10); }
        mustafar_cache_destroy(a);
        mustafar_cache_destroy(b);
    }
    CHECK_CASE(error < 3e-7, "%.3g", error);
    mustafar_cache_destroy(whole);
}

static void merge_edges(void) {
    float a[4] = {1, 2, 3, 4}, b[4] = {5, 6, 7, 8}, out[4], lse_a[2], lse_b[2], lse[2];
    const mustafar_tensor av = view(a, MUSTAFAR_F32, 2, 2, 0, 0),
                          bv = view(b, MUSTAFAR_F32, 2, 2, 0, 0);
    const mustafar_tensor ov = view(out, MUSTAFAR_F32, 2, 2, 0, 0),
                          la = view(lse_a, MUSTAFAR_F32, 2, 0, 0, 0);
    const mustafar_tensor lb = view(lse_b, MUSTAFAR_F32, 2, 0, 0, 0),
                          lo = view(lse, MUSTAFAR_F32, 2, 0, 0, 0);
    const mustafar_tensor wide = view(b, MUSTAFAR_F32, 1, 4, 0, 0);
    static const uint32_t odd[] = {0x7fc00000u, 0x7f800000u};
    int i;
    lse_a[0] = lse_b[0] = -INFINITY; /* two empty parts */
    lse_a[1] = -INFINITY;
    lse_b[1] = 2.5F;
    EXPECT(MUSTAFAR_OK, mustafar_merge(context, &av, &la, &bv, &lb, &ov, &lo, ERR));
    CHECK(out[0] == 0 && out[1] == 0 && lse[0] == -INFINITY);
    CHECK(out[2] == 7 && out[3] == 8 && lse[1] == 2.5F);
    lse_a[0] = lse_b[0] = 3e38F; /* no overflow on the way */
    lse_a[1] = -3e38F;
    lse_b[1] = 80;
    EXPECT(MUSTAFAR_OK, mustafar_merge(context, &av, &la, &bv, &lb, &ov, &lo, ERR));
    CHECK(out[0] == 3 && out[1] == 4 && lse[0] == 3e38F && out[2] == 7 && lse[1] == 80);
    lse_a[0] = logf(3);
    lse_b[0] = 0;
    EXPECT(MUSTAFAR_OK, mustafar_merge(context, &av, &la, &bv, &lb, &ov, &lo, ERR));
    CHECK(fabsf(out[0] - 2) < 1e-6F && fabsf(out[1] - 3) < 1e-6F &&
          fabsf(lse[0] - logf(4)) < 1e-6F);
    EXPECT(MUSTAFAR_OK,
           mustafar_merge(context, &av, &la, &bv, &lb, &bv, &lb, ERR)); /* out may be out_b */
    CHECK(b[0] == out[0] && b[1] == out[1] && lse_b[0] == lse[0]);
    memset(out, 0x31, sizeof out);
    memset(lse, 0x31, sizeof lse);
    for (i = 0; i < 2; ++i) {
        lse_a[1] = float_from_bits(odd[i]);
        EXPECT(MUSTAFAR_NON_FINITE, mustafar_merge(context, &av, &la, &bv, &lb, &ov, &lo, ERR));
        EXPECT(MUSTAFAR_NON_FINITE, mustafar_merge(context, &av, &lb, &bv, &la, &ov, &lo, NULL));
    }
    lse_a[1] = 0;
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_merge(NULL, &av, &la, &bv, &lb, &ov, &lo, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_merge(context, NULL, &la, &bv, &lb, &ov, &lo, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_merge(context, &av, NULL, &bv, &lb, &ov, &lo, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_merge(context, &av, &la, NULL, &lb, &ov, &lo, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_merge(context, &av, &la, &bv, NULL, &ov, &lo, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_merge(context, &av, &la, &bv, &lb, NULL, &lo, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_merge(context, &av, &la, &bv, &lb, &ov, NULL, ERR));
    EXPECT(MUSTAFAR_INVALID_ARGUMENT, mustafar_merge(context, &av, &la, &wide, &lb, &ov, &lo, ERR));
    CHECK(out[0] == float_from_bits(0x31313131u) && lse[1] == float_from_bits(0x31313131u));
}

int main(void) {
    context = make_context(1);
    merge_of_parts_is_the_whole();
    merge_edges();
    CHECK(stats_of(context).caches == 0);
    mustafar_context_destroy(context);
    return check_summary("capi/merge");
}
