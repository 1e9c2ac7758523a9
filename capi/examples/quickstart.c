/* SPDX-License-Identifier: Apache-2.0
 * The smallest use: a cache, 1000 tokens of keys and values, one query. */
#include <stdio.h>
#include <stdlib.h>

#include <mustafar/mustafar.h>

#define TRY(call)                                                                                  \
    if ((call) != MUSTAFAR_OK) return fprintf(stderr, "%s\n", error.message), 1

int main(void) {
    enum { TOKENS = 1000, Q_HEADS = 8, KV_HEADS = 2, D = 128 };
    static float k[TOKENS * KV_HEADS * D], v[TOKENS * KV_HEADS * D], q[Q_HEADS * D],
        out[Q_HEADS * D];
    for (int i = 0; i < TOKENS * KV_HEADS * D; ++i)
        k[i] = (float)rand() / (float)RAND_MAX - 0.5f, v[i] = (float)rand() / (float)RAND_MAX;
    for (int i = 0; i < Q_HEADS * D; ++i) q[i] = k[i]; /* looks like tokens 0..3 */

    mustafar_error error = MUSTAFAR_ERROR_INIT;
    mustafar_context *context = NULL;
    mustafar_recipe *recipe = NULL;
    mustafar_cache *cache = NULL;
    mustafar_geometry geometry = {sizeof geometry, 1, Q_HEADS, KV_HEADS, D, D, MUSTAFAR_F16, 0};
    mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
    options.max_tokens = 4096;
    TRY(mustafar_context_create(NULL, NULL, NULL, &context, &error));
    /* lean: half of every key at 4 bits, all of every value at 2 */
    TRY(mustafar_recipe_parse("lean", 4, &recipe, &error));
    TRY(mustafar_cache_create(context, &geometry, recipe, &options, &cache, &error));

    mustafar_tensor k_view =
                        {k, MUSTAFAR_F32, 0, 3, 0, {TOKENS, KV_HEADS, D}, {KV_HEADS * D, D, 1}},
                    v_view = k_view;
    mustafar_tensor
        q_view = {q, MUSTAFAR_F32, 0, 4, 0, {1, 1, Q_HEADS, D}, {Q_HEADS * D, Q_HEADS * D, D, 1}},
        out_view = q_view;
    v_view.data = v, out_view.data = out;
    TRY(mustafar_cache_append(cache, 0, &k_view, &v_view, 0, &error));
    TRY(mustafar_attend((const mustafar_cache *const *)&cache, 1, 0, &q_view, NULL, NULL, &out_view,
                        NULL, NULL, NULL, &error));

    mustafar_bytes bytes = {.struct_size = sizeof bytes};
    TRY(mustafar_cache_bytes(cache, MUSTAFAR_ALL, MUSTAFAR_ALL, &bytes, &error));
    printf("out[0] = %.4f; %llu bytes, dense f16 takes %d\n", out[0],
           (unsigned long long)bytes.total, TOKENS * KV_HEADS * D * 4);
    mustafar_cache_destroy(cache);
    mustafar_recipe_destroy(recipe);
    mustafar_context_destroy(context);
    return 0;
}
