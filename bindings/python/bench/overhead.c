/* SPDX-License-Identifier: Apache-2.0
 * What overhead.py measures, from C: one attend on a cache of one token, and a 64 MB append. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <mustafar/mustafar.h>

#define TRY(call)                                                                                  \
    if ((call) != MUSTAFAR_OK) return fprintf(stderr, "%s\n", error.message), 1

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

int main(void) {
    enum { ROUNDS = 200, CALLS = 1000, TOKENS = 16384, HEADS = 8, D = 128 };
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    mustafar_context *context = NULL;
    mustafar_recipe *recipe = NULL;
    mustafar_cache *small = NULL, *large = NULL;
    mustafar_context_options one_thread = MUSTAFAR_CONTEXT_OPTIONS_INIT;
    mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
    mustafar_geometry tiny = {sizeof tiny, 1, 1, 1, 32, 32, MUSTAFAR_F16, 0};
    mustafar_geometry wide = {sizeof wide, 1, HEADS, HEADS, D, D, MUSTAFAR_F16, 0};
    float row[32] = {1}, out[32];
    mustafar_tensor k = {row, MUSTAFAR_F32, 0, 3, 0, {1, 1, 32}, {32, 32, 1}};
    mustafar_tensor q = {row, MUSTAFAR_F32, 0, 4, 0, {1, 1, 1, 32}, {32, 32, 32, 1}}, result = q;
    uint16_t *rows = malloc(TOKENS * HEADS * D * sizeof *rows);
    mustafar_tensor all = {rows, MUSTAFAR_F16, 0, 3, 0, {TOKENS, HEADS, D}, {HEADS * D, D, 1}};
    double best = 1e18;
    if (rows == NULL) return 1;
    for (size_t i = 0; i < TOKENS * HEADS * D; ++i) rows[i] = 0x3c00;
    result.data = out;
    one_thread.threads = 1;
    options.max_tokens = TOKENS;
    options.flags = 0;
    TRY(mustafar_context_create(&one_thread, NULL, NULL, &context, &error));
    TRY(mustafar_recipe_parse("dense", 5, &recipe, &error));
    TRY(mustafar_cache_create(context, &tiny, recipe, &options, &small, &error));
    TRY(mustafar_cache_create(context, &wide, recipe, &options, &large, &error));
    TRY(mustafar_cache_append(small, 0, &k, &k, 0, &error));
    for (int round = 0; round < ROUNDS; ++round) {
        const double start = now();
        for (int i = 0; i < CALLS; ++i)
            TRY(mustafar_attend((const mustafar_cache *const *)&small, 1, 0, &q, NULL, NULL,
                                &result, NULL, NULL, NULL, &error));
        if ((now() - start) / CALLS < best) best = (now() - start) / CALLS;
    }
    printf("attend %.0f\n", best);
    best = 1e18;
    for (int round = 0; round < 5; ++round) {
        const double start = now();
        TRY(mustafar_cache_append(large, 0, &all, &all, 0, &error));
        if (now() - start < best) best = now() - start;
        TRY(mustafar_cache_reset(large, &error));
    }
    printf("append %.4f\n", TOKENS * HEADS * D * 4 / best);
    free(rows);
    mustafar_cache_destroy(small);
    mustafar_cache_destroy(large);
    mustafar_recipe_destroy(recipe);
    mustafar_context_destroy(context);
    return 0;
}
