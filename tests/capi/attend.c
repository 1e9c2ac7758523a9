/* SPDX-License-Identifier: Apache-2.0
 * attend.h: against the formula in double over what export shows; options; drop_mass. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

#define JSON "{\"schema\":\"mustafar.recipe\",\"version\":1,"

static mustafar_context* context;

static const char* const recipes[] = {
    "dense",
    "mustafar-50",
    "mustafar-70-int4",
    "leaner",
    "kivi-2",
    "kdi8/vdi8/w0",
    "kdi4g32/vdi2g32",
    "k32i4m/vdi2/w16/s3",
    JSON "\"k\":{\"method\":\"threshold\",\"threshold\":0.3},\"v\":{\"method\":\"threshold\","
         "\"threshold\":0.2,\"bits\":8}}",
    JSON "\"k\":{\"method\":\"n_m\",\"n\":2,\"m\":4},\"v\":{\"method\":\"channels\",\"keep\":24}}",
    JSON
    "\"k\":{\"method\":\"channel_topk\",\"keep\":16},\"v\":{\"sparsity\":0.7,\"rule\":\"paper\"}}"};

/* One attend call against the formula, query by query; errors are in shares of what the row may err. */
typedef struct question {
    uint32_t q_len;
    const mustafar_attend_options* options; /* NULL = defaults */
    bool sinks;
} question;

static double worst(double a, double b) { return a > b ? a : b; }

static void check_against_formula(const mustafar_cache* cache, uint32_t layer, question ask,
                                  const char* what) {
    const mustafar_geometry g = geometry_of(cache);
    const uint32_t group = g.q_heads / g.kv_heads, length = length_of(cache, layer);
    const size_t out_size = (size_t)ask.q_len * g.q_heads * g.head_dim_v,
                 stats_size = (size_t)ask.q_len * g.q_heads;
    const mustafar_attend_options defaults = MUSTAFAR_ATTEND_OPTIONS_INIT;
    const mustafar_attend_options* o = ask.options != NULL ? ask.options : &defaults;
    const double scale = o->scale != 0 ? (double)o->scale : 1 / sqrt((double)g.head_dim_k);
    const attend_budget budget = budget_of(context, cache);
    uint32_t widest = 1, h, i, r, c;
    float *q, *out, *lse, *weights, sinks[64];
    double* expected = malloc(g.head_dim_v * sizeof *expected);
    double out_error = 0, lse_error = 0, weight_error = 0, sum_error = 0;
    mustafar_tensor q_view, out_view, lse_view, weights_view, sinks_view;
    for (h = 0; h < g.kv_heads; ++h) {
        widest = rows_of(cache, layer, h) > widest ? rows_of(cache, layer, h) : widest;
    }
    widest += 3; /* w may be larger */
    q = malloc(sizeof(float) * stats_size * g.head_dim_k);
    out = malloc(sizeof(float) * out_size);
    lse = malloc(sizeof(float) * stats_size);
    weights = malloc(sizeof(float) * stats_size * widest);
    memset(weights, 0x7f, sizeof(float) * stats_size * widest);
    fill_rows(q, 4242, 0, ask.q_len, g.q_heads, g.head_dim_k);
    for (h = 0; h < g.q_heads; ++h) { sinks[h] = (float)h / 3 - 1; }
    q_view = view(q, MUSTAFAR_F32, 1, ask.q_len, g.q_heads, g.head_dim_k);
    out_view = view(out, MUSTAFAR_F32, 1, ask.q_len, g.q_heads, g.head_dim_v);
    lse_view = view(lse, MUSTAFAR_F32, 1, ask.q_len, g.q_heads, 0);
    weights_view = view(weights, MUSTAFAR_F32, 1, ask.q_len, g.q_heads, widest);
    sinks_view = view(sinks, MUSTAFAR_F32, g.q_heads, 0, 0, 0);
    if (!EXPECT(MUSTAFAR_OK,
                mustafar_attend(&cache, 1, layer, &q_view, ask.sinks ? &sinks_view : NULL,
                                ask.options, &out_view, &lse_view, &weights_view, NULL, ERR))) {
        goto done;
    }
    for (h = 0; h < g.q_heads; ++h) {
        const uint32_t kv = h / group, rows = rows_of(cache, layer, kv);
        float* k = malloc(sizeof(float) * (rows + 1) * g.head_dim_k);
        float* v = malloc(sizeof(float) * (rows + 1) * g.head_dim_v);
        int32_t* positions = malloc(sizeof(int32_t) * (rows + 1));
        unsigned char* seen = calloc(rows + 1, 1);
        double* row_weights = malloc(sizeof(double) * (rows + 1));
        if (rows > 0) {
            const mustafar_tensor k_view = view(k, MUSTAFAR_F32, rows, g.head_dim_k, 0, 0);
            const mustafar_tensor v_view = view(v, MUSTAFAR_F32, rows, g.head_dim_v, 0, 0);
            MUST(mustafar_cache_export(cache, layer, kv, 0, 0, rows, &k_view, NULL, ERR));
            MUST(mustafar_cache_export(cache, layer, kv, 1, 0, rows, &v_view, NULL, ERR));
            MUST(mustafar_cache_positions(cache, layer, kv, positions, rows, ERR));
        }
        for (i = 0; i < ask.q_len; ++i) {
            const int64_t at =
                (o->flags & MUSTAFAR_ATTEND_AT ? o->q_position : (int64_t)length - ask.q_len) + i;
            const size_t index = (size_t)i * g.q_heads + h;
            double reference, factor, sum = 0, size = 1e-3, score = 0;
            for (r = 0; r < rows; ++r) {
                seen[r] = positions[r] <= at && (o->sliding_window == 0 ||
                                                 positions[r] > at - (int64_t)o->sliding_window);
            }
            reference = plain_attention(q + index * g.head_dim_k, k, v, rows, seen, g.head_dim_k,
                                        g.head_dim_v, scale, o->softcap,
                                        ask.sinks ? &sinks[h] : NULL, expected, row_weights);
            for (r = 0; r < rows; ++r) {
                const double weight = row_weights[r];
                score = worst(score, weight > 0 ? fabs(log(weight) + reference) : 0);
            }
            factor = budget_factor(&budget, score);
            for (c = 0; c < g.head_dim_v; ++c) { size = worst(size, fabs(expected[c])); }
            for (c = 0; c < g.head_dim_v; ++c) {
                out_error = worst(out_error, fabs(expected[c] - out[index * g.head_dim_v + c]) /
                                                 (size * budget.out * factor));
            }
            if (isinf(reference)) {
                lse_error = worst(lse_error, lse[index] == -INFINITY ? 0 : 1e9);
            } else {
                lse_error = worst(lse_error, fabs(reference - lse[index]) /
                                                 lse_room(&budget, score, reference));
            }
            for (r = 0; r < widest; ++r) {
                const double want = r < rows ? row_weights[r] : 0;
                const float got = weights[index * widest + r];
                sum += got;
                weight_error =
                    worst(weight_error, want == 0 ? (got == 0 ? 0 : 1e9)
                                                  : fabs(want - got) / (budget.weight * factor));
            }
            if (!ask.sinks) {
                sum_error = worst(sum_error, fabs(sum - (isinf(reference) ? 0 : 1)));
            }
        }
        free(k);
        free(v);
        free(positions);
        free(seen);
        free(row_weights);
    }
    CHECK_CASE(out_error < 1, "%s: out %.3g", what, out_error);
    CHECK_CASE(lse_error < 1, "%s: lse %.3g", what, lse_error);
    CHECK_CASE(weight_error < 1, "%s: weights %.3g", what, weight_error);
    CHECK_CASE(sum_error < 1e-5, "%s: weights sum to 1 +- %.3g", what, sum_error);
done:
    free(q);
    free(out);
    free(lse);
    free(weights);
    free(expected);
}

static void every_recipe_and_option(void) {
    mustafar_attend_options options[8];
    size_t i, r;
    for (i = 0; i < 8; ++i) {
        const mustafar_attend_options defaults = MUSTAFAR_ATTEND_OPTIONS_INIT;
        options[i] = defaults;
    }
    options[1].scale = 0.3F;
    options[2].softcap = 2.5F;
    options[3].sliding_window = 17;
    options[4].flags = MUSTAFAR_ATTEND_AT;
    options[4].q_position = 40;
    options[5].flags = MUSTAFAR_ATTEND_AT;
    options[5].q_position = 100000;
    options[6].flags = MUSTAFAR_ATTEND_AT;
    options[6].q_position = INT32_MAX;
    options[6].sliding_window = UINT32_MAX;
    options[7].sliding_window = 1;
    options[7].scale = -1.5F;
    for (r = 0; r < sizeof recipes / sizeof recipes[0]; ++r) {
        const mustafar_geometry geometry = make_geometry(2, 6, 2, 64, 96, MUSTAFAR_F16);
        mustafar_cache* cache =
            make_cache(context, geometry, recipes[r], 1000, MUSTAFAR_CACHE_AUTO);
        const int32_t gone[4] = {33, 34, 40, 63};
        must_append_all(cache, 21, 1);
        check_against_formula(cache, 0, (question){1, NULL, false}, recipes[r]);
        must_append_all(cache, 21, 170);
        for (i = 0; i < 8; ++i) {
            check_against_formula(cache, 1, (question){1, &options[i], false}, recipes[r]);
            check_against_formula(cache, 1, (question){5, &options[i], i % 2 == 0}, recipes[r]);
        }
        MUST(mustafar_cache_evict(cache, 1, 1, gone, 4, 0, ERR));
        must_append(cache, 1, 21, 3, MUSTAFAR_APPEND_TENTATIVE);
        for (i = 0; i < 8; ++i) {
            check_against_formula(cache, 1, (question){4, &options[i], i % 2 == 1}, recipes[r]);
        }
        check_against_formula(cache, 1, (question){174, NULL, false},
                              recipes[r]); /* prefill: all of them */
        mustafar_cache_destroy(cache);
    }
}

static void geometries(void) {
    static const struct {
        uint32_t q, kv, dk, dv;
        mustafar_dtype dtype;
    } cases[] = {{1, 1, 32, 32, MUSTAFAR_F16},
                 {8, 1, 128, 128, MUSTAFAR_BF16},
                 {4, 4, 80, 256, MUSTAFAR_F16},
                 {12, 3, 256, 40, MUSTAFAR_BF16},
                 {64, 1, 40, 32, MUSTAFAR_F16}};
    size_t i;
    for (i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        const mustafar_geometry geometry =
            make_geometry(1, cases[i].q, cases[i].kv, cases[i].dk, cases[i].dv, cases[i].dtype);
        mustafar_cache* cache =
            make_cache(context, geometry, "mustafar-50-int4", 400, MUSTAFAR_CACHE_AUTO);
        must_append_all(cache, 5, 100);
        check_against_formula(cache, 0, (question){2, NULL, true}, "geometries");
        mustafar_cache_destroy(cache);
    }
}

static void empty_cache_gives_zeros_and_minus_infinity(void) {
    const mustafar_geometry geometry = make_geometry(1, 2, 1, 32, 32, MUSTAFAR_F16);
    mustafar_cache* cache = make_cache(context, geometry, "lean", 100, MUSTAFAR_CACHE_AUTO);
    mustafar_attend_options options = MUSTAFAR_ATTEND_OPTIONS_INIT;
    float q[64], out[64], lse[2], weights[2], sinks[2] = {0.5F, -3.0F};
    const mustafar_tensor q_view = view(q, MUSTAFAR_F32, 1, 1, 2, 32),
                          out_view = view(out, MUSTAFAR_F32, 1, 1, 2, 32);
    const mustafar_tensor lse_view = view(lse, MUSTAFAR_F32, 1, 1, 2, 0),
                          weights_view = view(weights, MUSTAFAR_F32, 1, 1, 2, 1);
    const mustafar_tensor sinks_view = view(sinks, MUSTAFAR_F32, 2, 0, 0, 0);
    const mustafar_cache* list[1];
    int i, wrong = 0;
    list[0] = cache;
    fill_rows(q, 1, 0, 1, 2, 32);
    memset(out, 0x33, sizeof out);
    EXPECT(MUSTAFAR_INVALID_ARGUMENT,
           mustafar_attend(list, 1, 0, &q_view, NULL, NULL, &out_view, NULL, NULL, NULL, ERR));
    options.flags = MUSTAFAR_ATTEND_AT; /* q_len is longer than the cache without it */
    EXPECT(MUSTAFAR_OK, mustafar_attend(list, 1, 0, &q_view, NULL, &options, &out_view, &lse_view,
                                        &weights_view, NULL, ERR));
    for (i = 0; i < 64; ++i) { wrong += out[i] != 0.0F; }
    CHECK(wrong == 0 && lse[0] == -INFINITY && lse[1] == -INFINITY && weights[0] == 0 &&
          weights[1] == 0);
    EXPECT(MUSTAFAR_OK, mustafar_attend(list, 1, 0, &q_view, &sinks_view, &options, &out_view,
                                        &lse_view, NULL, NULL, ERR));
    CHECK(fabsf(lse[0] - 0.5F) < 1e-6F && fabsf(lse[1] + 3.0F) < 1e-6F && out[0] == 0.0F);
    /* rows there, but behind the query */
    must_append_all(cache, 1, 10);
    options.q_position = -5;
    {
        const mustafar_status status = mustafar_attend(list, 1, 0, &q_view, NULL, &options,
                                                       &out_view, &lse_view, NULL, NULL, ERR);
        CHECK_CASE(status == MUSTAFAR_INVALID_ARGUMENT ||
                       (status == MUSTAFAR_OK && lse[0] == -INFINITY),
                   "%s", mustafar_status_name(status));
    }
    mustafar_cache_destroy(cache);
}

/* Scores beyond float: keys of 1e38 and 2e38 in bf16 against a query of 100. Every backend says what the
 * exact softmax is: the larger key takes all. */
static void scores_beyond_float(void) {
    const mustafar_geometry geometry = make_geometry(1, 1, 1, 32, 32, MUSTAFAR_BF16);
    mustafar_cache* cache = make_cache(context, geometry, "dense", 100, MUSTAFAR_CACHE_AUTO);
    float k[3 * 32], v[3 * 32], q[32], out[32];
    const mustafar_tensor k_view = view(k, MUSTAFAR_F32, 3, 1, 32, 0),
                          v_view = view(v, MUSTAFAR_F32, 3, 1, 32, 0),
                          q_view = view(q, MUSTAFAR_F32, 1, 1, 1, 32),
                          out_view = view(out, MUSTAFAR_F32, 1, 1, 1, 32);
    const mustafar_cache* list[1];
    int i, wrong = 0;
    list[0] = cache;
    for (i = 0; i < 3 * 32; ++i) {
        k[i] = i / 32 == 1 ? 2e38F : 1e38F;
        v[i] = (float)(i / 32);
    }
    for (i = 0; i < 32; ++i) { q[i] = 100.0F; }
    EXPECT(MUSTAFAR_OK, mustafar_cache_append(cache, 0, &k_view, &v_view, 0, ERR));
    EXPECT(MUSTAFAR_OK,
           mustafar_attend(list, 1, 0, &q_view, NULL, NULL, &out_view, NULL, NULL, NULL, ERR));
    for (i = 0; i < 32; ++i) { wrong += out[i] != 1.0F; }
    CHECK_CASE(wrong == 0, "out %g", (double)out[0]);
    mustafar_cache_destroy(cache);
}

static void drop_mass_keeps_its_bound(void) {
    enum { HEADS = 4, D = 64, N = HEADS * D };
    static const float masses[] = {1e-4F, 1e-2F, 0.2F, 1.0F};
    const mustafar_geometry geometry = make_geometry(1, HEADS, 2, D, D, MUSTAFAR_F16);
    mustafar_cache* cache = make_cache(context, geometry, "mustafar-50", 1000, MUSTAFAR_CACHE_AUTO);
    const mustafar_cache* list[1];
    float q[N], exact[N], out[N], lse[HEADS], lse2[HEADS], dropped[HEADS];
    const mustafar_tensor q_view = view(q, MUSTAFAR_F32, 1, 1, HEADS, D),
                          exact_view = view(exact, MUSTAFAR_F32, 1, 1, HEADS, D);
    const mustafar_tensor out_view = view(out, MUSTAFAR_F32, 1, 1, HEADS, D),
                          lse_view = view(lse, MUSTAFAR_F32, 1, 1, HEADS, 0);
    const mustafar_tensor lse2_view = view(lse2, MUSTAFAR_F32, 1, 1, HEADS, 0),
                          dropped_view = view(dropped, MUSTAFAR_F32, 1, 1, HEADS, 0);
    const attend_budget budget = budget_of(context, cache);
    mustafar_attend_options options = MUSTAFAR_ATTEND_OPTIONS_INIT;
    int i, c, h;
    list[0] = cache;
    must_append_all(cache, 3, 500);
    fill_rows(q, 3, 0, 1, HEADS, D);
    options.scale = 2.0F; /* weights far apart */
    EXPECT(MUSTAFAR_OK, mustafar_attend(list, 1, 0, &q_view, NULL, &options, &exact_view, &lse_view,
                                        NULL, &dropped_view, ERR));
    for (h = 0; h < HEADS; ++h) { CHECK(dropped[h] == 0.0F); }
    for (i = 0; i < 4; ++i) {
        options.drop_mass = masses[i];
        EXPECT(MUSTAFAR_OK, mustafar_attend(list, 1, 0, &q_view, NULL, &options, &out_view,
                                            &lse2_view, NULL, &dropped_view, ERR));
        for (h = 0; h < HEADS; ++h) {
            const double rounding =
                2 * budget.out * budget_factor(&budget, fabs((double)lse[h])) + 1e-6;
            double difference = 0;
            for (c = 0; c < D; ++c) {
                difference = worst(difference, fabs((double)out[h * D + c] - exact[h * D + c]));
            }
            CHECK_CASE(dropped[h] >= 0 && dropped[h] <= masses[i] * 1.00001F, "mass %g dropped %g",
                       (double)masses[i], (double)dropped[h]);
            /* |v| < 1.1 here; left out or renormalised, out moves by at most 2 * dropped * max |v| */
            CHECK_CASE(difference <=
                           2.2 * (double)dropped[h] / (1.0001 - (double)dropped[h]) + rounding,
                       "mass %g: %g", (double)masses[i], difference);
            CHECK(fabsf(lse[h] - lse2[h]) < 1e-5F); /* the scores were all read */
        }
    }
    mustafar_cache_destroy(cache);
}

int main(void) {
    context = make_context(1);
    every_recipe_and_option();
    geometries();
    empty_cache_gives_zeros_and_minus_infinity();
    scores_beyond_float();
    drop_mass_keeps_its_bound();
    CHECK(stats_of(context).caches == 0);
    mustafar_context_destroy(context);
    return check_summary("capi/attend");
}
