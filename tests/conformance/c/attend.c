/* SPDX-License-Identifier: Apache-2.0
 *
 * attend and merge. */
#include <math.h>
#include <string.h>

#include "steps.h"

static mustafar_attend_options options_of(const struct step* step) {
    mustafar_attend_options options = MUSTAFAR_ATTEND_OPTIONS_INIT;
    options.scale = real_of(step, "scale", 0.0F);
    options.softcap = real_of(step, "softcap", 0.0F);
    options.sliding_window = (uint32_t)number_of(step, "sliding_window", 0);
    options.drop_mass = real_of(step, "drop_mass", 0.0F);
    if (text_of(step, "q_position") != NULL) {
        options.flags = MUSTAFAR_ATTEND_AT;
        options.q_position = number_of(step, "q_position", 0);
    }
    return options;
}

/* `out` of the step is exact. What was left out is a sum of V rows of at most `value_most`, with
 * weights of at most `dropped`, which is at most drop_mass. */
static bool certificate_holds(const struct runner* runner, const struct step* step,
                              const struct array* out, const struct array* dropped) {
    struct array exact;
    if (!read_array(&exact, text_of(step, "out"), 0)) { return false; }
    const size_t d = out->count / dropped->count;
    const double most = (double)real_of(step, "value_most", 0.0F);
    const double mass = (double)real_of(step, "drop_mass", 0.0F) * (1.0 + 1e-6);
    const double tolerance = tolerance_of(runner, step, "out") * most;
    bool good = exact.count == out->count || fail("out: another count");
    for (size_t i = 0; good && i < dropped->count; ++i) {
        const double bound = (double)value_of(dropped, i);
        good = (bound >= 0.0 && bound <= mass) || fail("dropped = %g is no bound", bound);
        for (size_t c = i * d; good && c < (i + 1) * d; ++c) {
            const double difference = fabs((double)value_of(out, c) - (double)value_of(&exact, c));
            good = difference <= bound * most + tolerance ||
                   fail("out is farther from the exact one than `dropped` allows");
        }
    }
    free_array(&exact);
    return good;
}

enum { Q, SINKS, OUT, LSE, WEIGHTS, DROPPED, ARRAYS };

static bool make_arrays(const struct step* step, const mustafar_geometry* g, size_t queries,
                        struct array arrays[ARRAYS]) {
    const char* name = text_of(step, "out_dtype");
    const mustafar_dtype dtype = name != NULL ? dtype_named(name, strlen(name)) : MUSTAFAR_F32;
    const char* sinks = text_of(step, "sinks");
    const size_t width = (size_t)number_of(step, "weights_width", 0);
    return read_array(&arrays[Q], text_of(step, "q"), queries * g->head_dim_k) &&
           (sinks == NULL || read_array(&arrays[SINKS], sinks, g->q_heads)) &&
           make_array(&arrays[OUT], dtype, queries * g->head_dim_v) &&
           make_array(&arrays[LSE], MUSTAFAR_F32, queries) &&
           make_array(&arrays[WEIGHTS], MUSTAFAR_F32, queries * width) &&
           make_array(&arrays[DROPPED], MUSTAFAR_F32, queries);
}

static bool attend(struct runner* runner, const struct step* step, struct array arrays[ARRAYS]) {
    const mustafar_geometry g = geometry_of(runner, step);
    const mustafar_cache* caches[MOST_CACHES];
    int64_t slots[MOST_LIST];
    const size_t count = list_of(step, "caches", slots);
    for (size_t i = 0; i < count; ++i) { caches[i] = runner->caches[slots[i]]; }
    const int64_t n = (int64_t)count;
    const int64_t len = number_of(step, "q_len", 1);
    const int64_t heads = g.q_heads;
    const int64_t width = number_of(step, "weights_width", 0);
    if (!make_arrays(step, &g, (size_t)(n * len * heads), arrays)) { return false; }
    mustafar_tensor q = view(&arrays[Q], 4, n, len, heads, g.head_dim_k);
    use_layout(&q, &arrays[Q], step, "q");
    const mustafar_tensor sinks = view(&arrays[SINKS], 1, heads, 0, 0, 0);
    const mustafar_tensor out = view(&arrays[OUT], 4, n, len, heads, g.head_dim_v);
    const mustafar_tensor lse = view(&arrays[LSE], 3, n, len, heads, 0);
    const mustafar_tensor weights = view(&arrays[WEIGHTS], 4, n, len, heads, width);
    const mustafar_tensor dropped = view(&arrays[DROPPED], 3, n, len, heads, 0);
    const mustafar_attend_options options = options_of(step);
    const bool drops = options.drop_mass > 0.0F;
    runner->status = mustafar_attend(
        caches, count, index_of(step, "layer"), &q, text_of(step, "sinks") != NULL ? &sinks : NULL,
        &options, &out, &lse, width > 0 ? &weights : NULL, drops ? &dropped : NULL, &runner->error);
    if (runner->status != MUSTAFAR_OK) { return true; }
    return expect_close(runner, step, "lse", &arrays[LSE], false) &&
           (width == 0 || expect_close(runner, step, "weights", &arrays[WEIGHTS], false)) &&
           (drops ? certificate_holds(runner, step, &arrays[OUT], &arrays[DROPPED])
                  : expect_close(runner, step, "out", &arrays[OUT], true));
}

bool run_attend(struct runner* runner, const struct step* step) {
    struct array arrays[ARRAYS];
    memset(arrays, 0, sizeof(arrays));
    const bool good = attend(runner, step, arrays);
    for (int i = 0; i < ARRAYS; ++i) { free_array(&arrays[i]); }
    return good;
}

bool run_merge(struct runner* runner, const struct step* step) {
    static const char* const names[] = {"out_a", "lse_a", "out_b", "lse_b"};
    const int64_t rows = number_of(step, "rows", 0);
    const int64_t d = number_of(step, "dim", 0);
    struct array arrays[6];
    mustafar_tensor views[6];
    bool good = true;
    memset(arrays, 0, sizeof(arrays));
    for (int i = 0; good && i < 4; ++i) {
        good = read_array(&arrays[i], text_of(step, names[i]), (size_t)(i % 2 ? rows : rows * d));
    }
    good = good && make_array(&arrays[4], arrays[0].dtype, (size_t)(rows * d)) &&
           make_array(&arrays[5], MUSTAFAR_F32, (size_t)rows);
    if (good) {
        for (int i = 0; i < 6; ++i) {
            views[i] =
                i % 2 ? view(&arrays[i], 1, rows, 0, 0, 0) : view(&arrays[i], 2, rows, d, 0, 0);
        }
        runner->status = mustafar_merge(runner->context, &views[0], &views[1], &views[2], &views[3],
                                        &views[4], &views[5], &runner->error);
        good =
            runner->status != MUSTAFAR_OK || (expect_close(runner, step, "out", &arrays[4], true) &&
                                              expect_close(runner, step, "lse", &arrays[5], false));
    }
    for (int i = 0; i < 6; ++i) { free_array(&arrays[i]); }
    return good;
}
