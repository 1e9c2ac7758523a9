/* SPDX-License-Identifier: Apache-2.0
 *
 * A recipe says, per layer, kv head and side, which elements survive (keep), how many bits they
 * take (bits) and how many tokens a head may hold (budget), plus the window. It is immutable JSON
 * text with a version; docs/api.md, "Recipes", has the schema.
 * Threads    recipes never change: every call may overlap any other.
 * Ownership  belongs to the caller; caches keep what they need, so it may be destroyed at once.
 *            Recipes live in the process heap, not in a context. */
#ifndef MUSTAFAR_RECIPE_H
#define MUSTAFAR_RECIPE_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mustafar_recipe mustafar_recipe;

/* Makes a recipe of `text` (`bytes` long, need not be NUL-terminated), which is one of
 *   a name      that mustafar_recipe_name lists: "mustafar-50", "lean", ...
 *   a shorthand for a uniform recipe: K, a slash, V; each side is its letter, the count kept (or
 *   "d" for
 *               all of them), then, where wanted, i8 | i4 | i2 for bits, c for a scale per channel
 *               (K only), m for a mean-centred side, g32 | g64 for channel groups; then optional
 *               /w<recent> and /s<sink>. "k64i4/v128i2", "kdi4c/vdi4", "k64i4m/vdi2/w64/s4"
 *   JSON        anything whose first character that is not white space is '{'
 *   INVALID_ARGUMENT names the path of the key at fault ("layers[1].k.keep"); OUT_OF_MEMORY.
 *                                                                                      Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_recipe_parse(const char *text, size_t bytes,
                                                                     mustafar_recipe **out,
                                                                     mustafar_error *error);

MUSTAFAR_API void mustafar_recipe_destroy(mustafar_recipe *recipe);

/* The canonical JSON: every default written out, keys in one order, no white space. Equal recipes
 * have equal text. NUL-terminated; lives as long as the recipe.                        Since 0.1 */
MUSTAFAR_API const char *mustafar_recipe_json(const mustafar_recipe *recipe);

/* XXH3 (128 bits) of the canonical JSON without "name" and "note", 32 lower-case hex digits,
 * NUL-terminated; lives as long as the recipe.                                         Since 0.1 */
MUSTAFAR_API const char *mustafar_recipe_digest(const mustafar_recipe *recipe);

/* Number of built-in recipes, the name of one and a sentence about it; NULL beyond the end.
 *                                                                                      Since 0.1 */
MUSTAFAR_API size_t mustafar_recipe_count(void);
MUSTAFAR_API const char *mustafar_recipe_name(size_t index);
MUSTAFAR_API const char *mustafar_recipe_sentence(size_t index);

/* What a recipe means for one side of one kv head of a geometry. */
typedef struct mustafar_side_info {
    uint32_t struct_size; /* caller's sizeof */
    uint32_t head_dim;    /* d */
    uint32_t keep;        /* k elements of d kept in each row; 0 where the data decide (ragged) */
    uint32_t bits;        /* 16, 8, 4, 2 */
    uint32_t encoding;    /* MUSTAFAR_ENCODING_... */
    uint32_t method;      /* MUSTAFAR_PRUNE_... */
    uint32_t group;       /* channels per scale of MUSTAFAR_ENCODING_GROUPED, else 0 */
    uint32_t centred;     /* 1: a fixed vector is subtracted first */
    uint64_t row_bytes;   /* bytes of one body row: bitmap, codes, scale and zero; channel-axis
                              scales are spread over 32 rows; 0 for ragged rows */
    uint64_t page_bytes;  /* data bytes of this side in a page of 32 rows, alignment included; 0 for
                              ragged rows */
} mustafar_side_info;

/* Row encodings (docs/format.md, section 3). Tags are never reused. */
enum {
    MUSTAFAR_ENCODING_EXACT =
        1, /* exactly k of d in every row, fixed stride; no bitmap when k = d */
    MUSTAFAR_ENCODING_RAGGED = 2,  /* any number of d in a row, 16-bit row offsets */
    MUSTAFAR_ENCODING_GROUPED = 3, /* k = d, a scale and zero per 32 or 64 channels of a row */
    MUSTAFAR_ENCODING_CHANNEL = 4  /* k = d, a scale and zero per channel over 32 rows */
};

/* Prune methods (docs/format.md, section 2). */
enum {
    MUSTAFAR_PRUNE_RECIPE = 0,       /* whatever the recipe says for this layer, head and side */
    MUSTAFAR_PRUNE_NONE = 1,         /* keep all */
    MUSTAFAR_PRUNE_TOKEN_TOPK = 2,   /* the k largest magnitudes of each row */
    MUSTAFAR_PRUNE_N_M = 3,          /* the n largest of every m neighbouring channels */
    MUSTAFAR_PRUNE_CHANNELS = 4,     /* k whole channels of a head, one mask for all rows */
    MUSTAFAR_PRUNE_CHANNEL_TOPK = 5, /* in each channel, k of every 32 rows */
    MUSTAFAR_PRUNE_THRESHOLD = 6,    /* magnitudes of at least t */
    MUSTAFAR_PRUNE_MASK = 7          /* the bits the caller gives */
};

/* Tells what `recipe` asks of one layer, kv head and side of `geometry`.
 *   INVALID_ARGUMENT index; UNSUPPORTED the recipe does not fit the geometry.          Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_recipe_side(
    const mustafar_recipe *recipe, const mustafar_geometry *geometry, uint32_t layer,
    uint32_t kv_head, uint32_t side, mustafar_side_info *out, mustafar_error *error);

/* The window and budget of one kv head: newest tokens and first tokens kept dense, rows packed at
 * a time, tokens the head may hold after eviction (0 = no limit). Any output may be NULL.
 *                                                                                      Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status
mustafar_recipe_window(const mustafar_recipe *recipe, const mustafar_geometry *geometry,
                       uint32_t layer, uint32_t kv_head, uint32_t *out_recent, uint32_t *out_sink,
                       uint32_t *out_step, uint32_t *out_budget, mustafar_error *error);

#ifdef __cplusplus
}
#endif
#endif /* MUSTAFAR_RECIPE_H */
