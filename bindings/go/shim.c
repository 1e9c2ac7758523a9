/* SPDX-License-Identifier: Apache-2.0 */
#include "shim.h"

/* The call with an error of its own; what it returns ends up in error.code in any case. */
#define CALL(result, call)                                                                         \
    do {                                                                                           \
        (result).struct_size = sizeof(mustafar_error);                                             \
        (result).code = (call);                                                                    \
    } while (0)

/* A tensor on the stack of the call; NULL where it is absent. */
static const mustafar_tensor *tensor(const mustafar_go_view *view, mustafar_tensor *out) {
    int i;
    if (view->ndim == 0) return NULL;
    out->data = view->data;
    out->dtype = view->dtype;
    out->device = 0;
    out->ndim = view->ndim;
    out->reserved = 0;
    for (i = 0; i < MUSTAFAR_MAX_DIMS; ++i) {
        out->shape[i] = view->shape[i];
        out->strides[i] = view->strides[i];
    }
    return out;
}

/* ---- info, context ------------------------------------------------------------------------------ */

mustafar_go_kernel mustafar_go_kernel_at(size_t index) {
    mustafar_go_kernel result = {0};
    result.info.struct_size = sizeof result.info;
    CALL(result.error, mustafar_kernel_at(index, &result.info, &result.error));
    return result;
}

static void log_line(void *user, int32_t level, const char *text) {
    mustafarGoLog((uintptr_t)user, level, (char *)text);
}

mustafar_go_context mustafar_go_context_create(mustafar_context_options options,
                                               mustafar_go_counts *counts, uintptr_t log,
                                               int32_t level) {
    mustafar_go_context result = {0};
    const mustafar_allocator allocator = {(uint32_t)sizeof allocator, 0, counts,
                                          mustafar_go_counted_allocate,
                                          mustafar_go_counted_release};
    const mustafar_log_hook hook = {(uint32_t)sizeof hook, level, (void *)log, log_line};
    options.struct_size = sizeof options;
    CALL(result.error,
         mustafar_context_create(&options, counts != NULL ? &allocator : NULL,
                                 log != 0 ? &hook : NULL, &result.context, &result.error));
    return result;
}

mustafar_go_kernel mustafar_go_context_kernel(const mustafar_context *context, const char *op) {
    mustafar_go_kernel result = {0};
    result.info.struct_size = sizeof result.info;
    CALL(result.error, mustafar_context_kernel(context, op, &result.info, &result.error));
    return result;
}

mustafar_go_context_stats mustafar_go_context_get_stats(const mustafar_context *context) {
    mustafar_go_context_stats result = {0};
    result.stats.struct_size = sizeof result.stats;
    CALL(result.error, mustafar_context_get_stats(context, &result.stats, &result.error));
    return result;
}

/* ---- recipe ------------------------------------------------------------------------------------- */

mustafar_go_recipe mustafar_go_recipe_parse(const char *text, size_t bytes) {
    mustafar_go_recipe result = {0};
    CALL(result.error, mustafar_recipe_parse(text, bytes, &result.recipe, &result.error));
    if (result.error.code == MUSTAFAR_OK) {
        result.json = mustafar_recipe_json(result.recipe);
        result.digest = mustafar_recipe_digest(result.recipe);
    }
    return result;
}

mustafar_go_side mustafar_go_recipe_side(const mustafar_recipe *recipe, mustafar_geometry geometry,
                                         uint32_t layer, uint32_t kv_head, uint32_t side) {
    mustafar_go_side result = {0};
    geometry.struct_size = sizeof geometry;
    result.info.struct_size = sizeof result.info;
    CALL(result.error, mustafar_recipe_side(recipe, &geometry, layer, kv_head, side, &result.info,
                                            &result.error));
    return result;
}

mustafar_go_numbers mustafar_go_recipe_window(const mustafar_recipe *recipe,
                                              mustafar_geometry geometry, uint32_t layer,
                                              uint32_t kv_head) {
    mustafar_go_numbers result = {0};
    uint32_t *n = result.number;
    geometry.struct_size = sizeof geometry;
    CALL(result.error, mustafar_recipe_window(recipe, &geometry, layer, kv_head, n, n + 1, n + 2,
                                              n + 3, &result.error));
    return result;
}

mustafar_go_bytes mustafar_go_plan(const mustafar_recipe *recipe, mustafar_geometry geometry,
                                   mustafar_cache_options options, uint32_t tokens,
                                   uint32_t layer) {
    mustafar_go_bytes result = {0};
    geometry.struct_size = sizeof geometry;
    options.struct_size = sizeof options;
    result.bytes.struct_size = sizeof result.bytes;
    CALL(result.error,
         mustafar_plan(recipe, &geometry, &options, tokens, layer, &result.bytes, &result.error));
    return result;
}

/* ---- cache: change ------------------------------------------------------------------------------ */

mustafar_go_cache mustafar_go_cache_create(mustafar_context *context, mustafar_geometry geometry,
                                           const mustafar_recipe *recipe,
                                           mustafar_cache_options options) {
    mustafar_go_cache result = {0};
    geometry.struct_size = sizeof geometry;
    options.struct_size = sizeof options;
    CALL(result.error,
         mustafar_cache_create(context, &geometry, recipe, &options, &result.cache, &result.error));
    return result;
}

mustafar_go_cache mustafar_go_cache_fork(const mustafar_cache *cache) {
    mustafar_go_cache result = {0};
    CALL(result.error, mustafar_cache_fork(cache, &result.cache, &result.error));
    return result;
}

mustafar_status mustafar_go_cache_append(mustafar_cache *cache, uint32_t layer, mustafar_go_view k,
                                         mustafar_go_view v, uint32_t flags,
                                         mustafar_error *error) {
    mustafar_tensor views[2];
    error->struct_size = sizeof *error;
    return mustafar_cache_append(cache, layer, tensor(&k, &views[0]), tensor(&v, &views[1]), flags,
                                 error);
}

mustafar_error mustafar_go_cache_commit(mustafar_cache *cache, uint32_t layer) {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    CALL(error, mustafar_cache_commit(cache, layer, &error));
    return error;
}

mustafar_error mustafar_go_cache_prune(mustafar_cache *cache, uint32_t layer, uint32_t kv_head,
                                       uint32_t side, uint32_t begin, uint32_t end,
                                       mustafar_prune_options options,
                                       mustafar_go_view channel_weights,
                                       mustafar_go_view token_weights, mustafar_go_view mask) {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    mustafar_tensor views[3];
    options.struct_size = sizeof options;
    CALL(error,
         mustafar_cache_prune(cache, layer, kv_head, side, begin, end, &options,
                              tensor(&channel_weights, &views[0]),
                              tensor(&token_weights, &views[1]), tensor(&mask, &views[2]), &error));
    return error;
}

mustafar_error mustafar_go_cache_compress(mustafar_cache *cache, uint32_t layer) {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    CALL(error, mustafar_cache_compress(cache, layer, &error));
    return error;
}

mustafar_error mustafar_go_cache_evict(mustafar_cache *cache, uint32_t layer, uint32_t kv_head,
                                       const int32_t *positions, size_t count, uint32_t flags) {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    CALL(error, mustafar_cache_evict(cache, layer, kv_head, positions, count, flags, &error));
    return error;
}

mustafar_error mustafar_go_cache_evict_scores(mustafar_cache *cache, uint32_t layer,
                                              uint32_t kv_head, const float *scores, size_t count,
                                              uint32_t budget) {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    CALL(error, mustafar_cache_evict_scores(cache, layer, kv_head, scores, count, budget, &error));
    return error;
}

mustafar_error mustafar_go_cache_truncate(mustafar_cache *cache, uint32_t length, uint32_t flags) {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    CALL(error, mustafar_cache_truncate(cache, length, flags, &error));
    return error;
}

mustafar_error mustafar_go_cache_reset(mustafar_cache *cache) {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    CALL(error, mustafar_cache_reset(cache, &error));
    return error;
}

/* ---- cache: ask --------------------------------------------------------------------------------- */

mustafar_go_numbers mustafar_go_cache_length(const mustafar_cache *cache, uint32_t layer) {
    mustafar_go_numbers result = {0};
    CALL(result.error,
         mustafar_cache_length(cache, layer, &result.number[0], &result.number[1], &result.error));
    return result;
}

mustafar_go_numbers mustafar_go_cache_rows(const mustafar_cache *cache, uint32_t layer,
                                           uint32_t kv_head) {
    mustafar_go_numbers result = {0};
    CALL(result.error, mustafar_cache_rows(cache, layer, kv_head, &result.number[0],
                                           &result.number[1], &result.error));
    return result;
}

mustafar_error mustafar_go_cache_positions(const mustafar_cache *cache, uint32_t layer,
                                           uint32_t kv_head, int32_t *positions, size_t count) {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    CALL(error, mustafar_cache_positions(cache, layer, kv_head, positions, count, &error));
    return error;
}

mustafar_error mustafar_go_cache_export(const mustafar_cache *cache, uint32_t layer,
                                        uint32_t kv_head, uint32_t side, uint32_t begin,
                                        uint32_t end, mustafar_go_view values, uint8_t *bitmaps) {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    mustafar_tensor view;
    CALL(error, mustafar_cache_export(cache, layer, kv_head, side, begin, end,
                                      tensor(&values, &view), bitmaps, &error));
    return error;
}

mustafar_go_description mustafar_go_cache_describe(const mustafar_cache *cache) {
    mustafar_go_description result = {0};
    result.geometry.struct_size = sizeof result.geometry;
    result.options.struct_size = sizeof result.options;
    CALL(result.error, mustafar_cache_describe(cache, &result.geometry, &result.options,
                                               &result.recipe, &result.error));
    return result;
}

mustafar_go_bytes mustafar_go_cache_bytes(const mustafar_cache *cache, uint32_t layer,
                                          uint32_t kv_head) {
    mustafar_go_bytes result = {0};
    result.bytes.struct_size = sizeof result.bytes;
    CALL(result.error, mustafar_cache_bytes(cache, layer, kv_head, &result.bytes, &result.error));
    return result;
}

mustafar_go_cache_stats mustafar_go_cache_get_stats(const mustafar_cache *cache) {
    mustafar_go_cache_stats result = {0};
    result.stats.struct_size = sizeof result.stats;
    CALL(result.error, mustafar_cache_get_stats(cache, &result.stats, &result.error));
    return result;
}

/* ---- attention ---------------------------------------------------------------------------------- */

mustafar_status mustafar_go_attend(const mustafar_cache *one, const uintptr_t *many, size_t count,
                                   uint32_t layer, mustafar_go_view q, mustafar_go_view sinks,
                                   mustafar_attend_options options, mustafar_go_view out,
                                   mustafar_go_view lse, mustafar_go_view weights,
                                   mustafar_go_view dropped, mustafar_error *error) {
    mustafar_tensor views[6];
    const mustafar_cache *const *caches = many != NULL ? (const mustafar_cache *const *)many : &one;
    options.struct_size = sizeof options;
    error->struct_size = sizeof *error;
    return mustafar_attend(caches, count, layer, tensor(&q, &views[0]), tensor(&sinks, &views[1]),
                           &options, tensor(&out, &views[2]), tensor(&lse, &views[3]),
                           tensor(&weights, &views[4]), tensor(&dropped, &views[5]), error);
}

mustafar_error mustafar_go_merge(mustafar_context *context, mustafar_go_view out_a,
                                 mustafar_go_view lse_a, mustafar_go_view out_b,
                                 mustafar_go_view lse_b, mustafar_go_view out,
                                 mustafar_go_view lse) {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    mustafar_tensor views[6];
    CALL(error, mustafar_merge(context, tensor(&out_a, &views[0]), tensor(&lse_a, &views[1]),
                               tensor(&out_b, &views[2]), tensor(&lse_b, &views[3]),
                               tensor(&out, &views[4]), tensor(&lse, &views[5]), &error));
    return error;
}

/* ---- snapshots ---------------------------------------------------------------------------------- */

static int32_t write_stream(void *user, const void *data, size_t bytes) {
    return mustafarGoWrite((uintptr_t)user, (void *)data, bytes);
}

static int32_t read_stream(void *user, void *data, size_t bytes, size_t *got) {
    const int64_t count = mustafarGoRead((uintptr_t)user, data, bytes);
    if (count < 0) return -1;
    *got = (size_t)count;
    return 0;
}

mustafar_error mustafar_go_cache_save(const mustafar_cache *cache, const char *model_id,
                                      uintptr_t stream) {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    CALL(error, mustafar_cache_save(cache, model_id, write_stream, (void *)stream, &error));
    return error;
}

mustafar_error mustafar_go_cache_save_file(const mustafar_cache *cache, const char *model_id,
                                           const char *path) {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    CALL(error, mustafar_cache_save_file(cache, model_id, path, &error));
    return error;
}

mustafar_go_cache mustafar_go_cache_load(mustafar_context *context, mustafar_go_expected expected,
                                         const mustafar_recipe *recipe, const char *model_id,
                                         uintptr_t stream) {
    mustafar_go_cache result = {0};
    expected.geometry.struct_size = sizeof expected.geometry;
    expected.options.struct_size = sizeof expected.options;
    CALL(result.error,
         mustafar_cache_load(context, expected.has_geometry ? &expected.geometry : NULL, recipe,
                             model_id, expected.has_options ? &expected.options : NULL, read_stream,
                             (void *)stream, &result.cache, &result.error));
    return result;
}

mustafar_go_cache mustafar_go_cache_load_file(mustafar_context *context,
                                              mustafar_go_expected expected,
                                              const mustafar_recipe *recipe, const char *model_id,
                                              const char *path) {
    mustafar_go_cache result = {0};
    expected.geometry.struct_size = sizeof expected.geometry;
    expected.options.struct_size = sizeof expected.options;
    CALL(result.error,
         mustafar_cache_load_file(context, expected.has_geometry ? &expected.geometry : NULL,
                                  recipe, model_id, expected.has_options ? &expected.options : NULL,
                                  path, &result.cache, &result.error));
    return result;
}
