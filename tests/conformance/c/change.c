/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps that make or change caches. */
#include <stdlib.h>
#include <string.h>

#include "steps.h"

static void keep_cache(struct runner* runner, const struct step* step, const char* key,
                       mustafar_cache* made) {
    const int64_t slot = number_of(step, key, 0);
    if (made == NULL) { return; }
    mustafar_cache_destroy(runner->caches[slot]);
    runner->caches[slot] = made;
}

static mustafar_cache_options options_of(const struct step* step) {
    mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
    options.max_tokens = (uint32_t)number_of(step, "max_tokens", 0);
    options.reserve_tokens = (uint32_t)number_of(step, "reserve_tokens", 0);
    options.flags = number_of(step, "auto", 1) != 0 ? MUSTAFAR_CACHE_AUTO : 0;
    return options;
}

static bool create(struct runner* runner, const struct step* step) {
    mustafar_recipe* recipe = recipe_of(runner, step);
    if (recipe == NULL) { return true; }
    const mustafar_geometry geometry = geometry_of(runner, step);
    const mustafar_cache_options options = options_of(step);
    mustafar_cache* made = NULL;
    runner->status =
        mustafar_cache_create(runner->context, &geometry, recipe, &options, &made, &runner->error);
    mustafar_recipe_destroy(recipe);
    keep_cache(runner, step, "cache", made);
    return true;
}

static bool append(struct runner* runner, const struct step* step) {
    const mustafar_geometry g = geometry_of(runner, step);
    const int64_t tokens = number_of(step, "tokens", 0);
    const int64_t count_k = number_of(step, "k_count", tokens * g.kv_heads * g.head_dim_k);
    const int64_t count_v = number_of(step, "v_count", tokens * g.kv_heads * g.head_dim_v);
    struct array k = {0, 0, 0, NULL};
    struct array v = {0, 0, 0, NULL};
    const bool read = read_array(&k, text_of(step, "k"), (size_t)count_k) &&
                      read_array(&v, text_of(step, "v"), (size_t)count_v);
    if (read) {
        mustafar_tensor view_k = view(&k, 3, tokens, g.kv_heads, g.head_dim_k, 0);
        mustafar_tensor view_v = view(&v, 3, tokens, g.kv_heads, g.head_dim_v, 0);
        use_layout(&view_k, &k, step, "k");
        use_layout(&view_v, &v, step, "v");
        const uint32_t flags = number_of(step, "tentative", 0) != 0 ? MUSTAFAR_APPEND_TENTATIVE : 0;
        runner->status = mustafar_cache_append(cache_of(runner, step), index_of(step, "layer"),
                                               &view_k, &view_v, flags, &runner->error);
    }
    free_array(&k);
    free_array(&v);
    return read;
}

static uint32_t method_of(const struct step* step) {
    static const char* const names[] = {"recipe",   "none",         "token_topk", "n_m",
                                        "channels", "channel_topk", "threshold",  "mask"};
    uint32_t method = 0; /* the order of MUSTAFAR_PRUNE_... */
    while (method < 8 && strcmp(text_of(step, "method"), names[method]) != 0) { ++method; }
    return method;
}

static bool prune(struct runner* runner, const struct step* step) {
    static const char* const names[] = {"channel_weights", "token_weights", "mask"};
    const mustafar_geometry g = geometry_of(runner, step);
    const uint32_t side = side_of(step);
    const uint32_t head = index_of(step, "head");
    const int64_t heads = head == MUSTAFAR_ALL ? g.kv_heads : 1;
    const int64_t d = side == MUSTAFAR_SIDE_K ? g.head_dim_k : g.head_dim_v;
    const int64_t begin = number_of(step, "begin", 0);
    const int64_t end = number_of(step, "end", 0);
    const int64_t range = end > begin ? end - begin : 0;
    const int64_t second[] = {d, range, range};
    mustafar_prune_options options = MUSTAFAR_PRUNE_OPTIONS_INIT;
    options.method = method_of(step);
    options.keep = (uint32_t)number_of(step, "keep", 0);
    options.of = (uint32_t)number_of(step, "of", 0);
    options.threshold = real_of(step, "threshold", 0.0F);
    struct array arrays[3];
    mustafar_tensor views[3];
    const mustafar_tensor* given[3] = {NULL, NULL, NULL};
    bool read = true;
    memset(arrays, 0, sizeof(arrays));
    for (int i = 0; i < 3 && read; ++i) {
        const char* text = text_of(step, names[i]);
        const int64_t last = i == 2 ? d / 8 : 1;
        if (text == NULL) { continue; }
        read = read_array(&arrays[i], text, (size_t)(heads * second[i] * last));
        views[i] = view(&arrays[i], i == 2 ? 3 : 2, heads, second[i], last, 0);
        given[i] = &views[i];
    }
    if (read) {
        runner->status = mustafar_cache_prune(cache_of(runner, step), index_of(step, "layer"), head,
                                              side, (uint32_t)begin, (uint32_t)end, &options,
                                              given[0], given[1], given[2], &runner->error);
    }
    for (int i = 0; i < 3; ++i) { free_array(&arrays[i]); }
    return read;
}

static bool evict(struct runner* runner, const struct step* step) {
    int64_t list[MOST_LIST];
    int32_t positions[MOST_LIST];
    const size_t count = list_of(step, "positions", list);
    for (size_t i = 0; i < count; ++i) { positions[i] = (int32_t)list[i]; }
    const uint32_t flags = number_of(step, "keep", 0) != 0 ? MUSTAFAR_EVICT_KEEP : 0;
    runner->status =
        mustafar_cache_evict(cache_of(runner, step), index_of(step, "layer"),
                             index_of(step, "head"), positions, count, flags, &runner->error);
    return true;
}

static bool evict_scores(struct runner* runner, const struct step* step) {
    mustafar_cache* cache = cache_of(runner, step);
    const uint32_t layer = index_of(step, "layer");
    const uint32_t head = index_of(step, "head");
    uint32_t rows = 0;
    if (mustafar_cache_rows(cache, layer, head, &rows, NULL, NULL) != MUSTAFAR_OK) {
        return fail("mustafar_cache_rows failed");
    }
    struct array scores;
    if (!read_array(&scores, text_of(step, "scores"), (size_t)number_of(step, "count", rows))) {
        return false;
    }
    const uint32_t budget = (uint32_t)number_of(step, "budget", 0);
    float* values = malloc(scores.count * sizeof(float) + 1);
    for (size_t i = 0; values != NULL && i < scores.count; ++i) {
        values[i] = value_of(&scores, i);
    }
    runner->status = mustafar_cache_evict_scores(cache, layer, head, values, scores.count, budget,
                                                 &runner->error);
    free(values);
    free_array(&scores);
    return true;
}

/* ---- save and load --------------------------------------------------------------------------- */

static int32_t write_all(void* user, const void* data, size_t bytes) {
    struct array* out = user;
    uint8_t* grown = realloc(out->bytes, out->count + bytes + 1);
    if (grown == NULL) { return 1; }
    out->bytes = grown;
    memcpy(out->bytes + out->count, data, bytes);
    out->count += bytes;
    return 0;
}

struct reader {
    const uint8_t* data;
    size_t bytes, at;
};

static int32_t read_some(void* user, void* out, size_t bytes, size_t* got) {
    struct reader* reader = user;
    const size_t left = reader->bytes - reader->at;
    *got = bytes < left ? bytes : left;
    memcpy(out, reader->data + reader->at, *got);
    reader->at += *got;
    return 0;
}

static bool save(struct runner* runner, const struct step* step) {
    struct array data = {MUSTAFAR_U8, 1, 0, NULL};
    const int64_t slot = number_of(step, "cache", 0);
    const int64_t earlier = number_of(step, "same_as", -1);
    runner->status = mustafar_cache_save(cache_of(runner, step), text_of(step, "model_id"),
                                         write_all, &data, &runner->error);
    bool good = true;
    if (runner->status == MUSTAFAR_OK) {
        good = expect_bytes(step, "snapshot", data.bytes, data.count);
        if (good && earlier >= 0) {
            const struct array* old = &runner->saved[earlier];
            good = (old->count == data.count && memcmp(old->bytes, data.bytes, data.count) == 0) ||
                   fail("not the bytes of the earlier save");
        }
    }
    free_array(&runner->saved[slot]);
    runner->saved[slot] = data;
    return good;
}

/* Damage is applied to a copy: "patch" offset,byte,..., then "cut" to so many bytes. */
static bool load(struct runner* runner, const struct step* step) {
    const struct array* saved = &runner->saved[number_of(step, "saved", 0)];
    const mustafar_geometry geometry = geometry_of(runner, step);
    const mustafar_cache_options options = options_of(step);
    const bool with_options = text_of(step, "max_tokens") != NULL || text_of(step, "auto") != NULL;
    mustafar_recipe* recipe = text_of(step, "recipe") != NULL ? recipe_of(runner, step) : NULL;
    uint8_t* data = malloc(saved->count + 1);
    if (data == NULL) { return fail("no memory"); }
    memcpy(data, saved->bytes, saved->count);
    int64_t patch[MOST_LIST];
    const size_t patches = list_of(step, "patch", patch);
    for (size_t i = 0; i + 1 < patches; i += 2) { data[patch[i]] = (uint8_t)patch[i + 1]; }
    struct reader reader = {data, (size_t)number_of(step, "cut", (int64_t)saved->count), 0};
    mustafar_cache* made = NULL;
    runner->status =
        mustafar_cache_load(runner->context, text_of(step, "geometry") != NULL ? &geometry : NULL,
                            recipe, text_of(step, "model_id"), with_options ? &options : NULL,
                            read_some, &reader, &made, &runner->error);
    mustafar_recipe_destroy(recipe);
    free(data);
    keep_cache(runner, step, "to", made);
    return true;
}

bool run_change(struct runner* runner, const struct step* step, bool* known) {
    *known = true;
    if (strcmp(step->op, "create") == 0) { return create(runner, step); }
    if (strcmp(step->op, "append") == 0) { return append(runner, step); }
    if (strcmp(step->op, "prune") == 0) { return prune(runner, step); }
    if (strcmp(step->op, "evict") == 0) { return evict(runner, step); }
    if (strcmp(step->op, "evict_scores") == 0) { return evict_scores(runner, step); }
    if (strcmp(step->op, "save") == 0) { return save(runner, step); }
    if (strcmp(step->op, "load") == 0) { return load(runner, step); }
    mustafar_cache* cache = cache_of(runner, step);
    if (strcmp(step->op, "commit") == 0) {
        runner->status = mustafar_cache_commit(cache, index_of(step, "layer"), &runner->error);
    } else if (strcmp(step->op, "compress") == 0) {
        runner->status = mustafar_cache_compress(cache, index_of(step, "layer"), &runner->error);
    } else if (strcmp(step->op, "truncate") == 0) {
        const uint32_t flags =
            number_of(step, "keep_packed", 0) != 0 ? MUSTAFAR_TRUNCATE_KEEP_PACKED : 0;
        runner->status =
            mustafar_cache_truncate(cache, index_of(step, "length"), flags, &runner->error);
    } else if (strcmp(step->op, "reset") == 0) {
        runner->status = mustafar_cache_reset(cache, &runner->error);
    } else if (strcmp(step->op, "fork") == 0) {
        mustafar_cache* made = NULL;
        runner->status = mustafar_cache_fork(cache, &made, &runner->error);
        keep_cache(runner, step, "to", made);
    } else {
        *known = false;
    }
    return true;
}
