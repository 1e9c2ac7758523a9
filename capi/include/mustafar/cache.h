/* SPDX-License-Identifier: Apache-2.0
 *
 * A cache holds the keys and values of one sequence, all layers. Every kv head of a layer has its
 * rows in three places, oldest first: `sink` dense rows, the packed body, the dense window.
 *
 *     | sink | body: pages of 32 packed rows | window: `recent` rows or more, tentative last |
 *
 * Threads    calls on `const mustafar_cache *` may overlap on one cache; any other call needs it
 *            alone.
 * Ownership  belongs to the caller. Destroying NULL is allowed.
 * Errors     after a failed call the cache is exactly what it was before. */
#ifndef MUSTAFAR_CACHE_H
#define MUSTAFAR_CACHE_H

#include "context.h"
#include "recipe.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mustafar_cache mustafar_cache;

/* Pack rows as they leave the window, `step` at a time. Without it only mustafar_cache_compress
 * packs. */
#define MUSTAFAR_CACHE_AUTO 1u

typedef struct mustafar_cache_options {
    uint32_t struct_size; /* caller's sizeof; set by MUSTAFAR_CACHE_OPTIONS_INIT */
    uint32_t max_tokens;  /* per layer, 1 .. 2^31-1; 0 is refused: there is no good default */
    uint32_t
        reserve_tokens; /* tables and, for fixed-stride rows, pages for so many tokens are taken
                                at creation, so that append cannot run out (but where a fork
                                shares pages: they are copied before a write and do not come back
                                to the reserve; and where K has a scale per channel, each truncate
                                with KEEP_PACKED but the first may cost a page); 0 = none */
    uint32_t flags;     /* MUSTAFAR_CACHE_AUTO */
} mustafar_cache_options;

#define MUSTAFAR_CACHE_OPTIONS_INIT \
    {(uint32_t)sizeof(mustafar_cache_options), 0, 0, MUSTAFAR_CACHE_AUTO}

/* ---- create, destroy ------------------------------------------------------------------------- */

/* Creates an empty cache. Everything that recipe, geometry and backend cannot do together is
 * refused here: UNSUPPORTED (head_dim, layer named by the recipe but not there, method `mask` with
 * AUTO, ...), INVALID_ARGUMENT, OUT_OF_MEMORY.                                         Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_cache_create(
    mustafar_context *context, const mustafar_geometry *geometry, const mustafar_recipe *recipe,
    const mustafar_cache_options *options, mustafar_cache **out, mustafar_error *error);

MUSTAFAR_API void mustafar_cache_destroy(mustafar_cache *cache);

/* A second cache with the same content. Pages are shared copy-on-write, windows are copied.
 * O(pages + window bytes). OUT_OF_MEMORY.                                              Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_cache_fork(const mustafar_cache *cache,
                                                                   mustafar_cache **out,
                                                                   mustafar_error *error);

/* ---- change ---------------------------------------------------------------------------------- */

/* The tokens of this append may be attended and truncated; they are packed only after commit. */
#define MUSTAFAR_APPEND_TENTATIVE 1u

/* Appends token rows to one layer; they take the next positions. No allocation in steady state but
 * pages.
 *   k  [tokens, kv_heads, head_dim_k], v  [tokens, kv_heads, head_dim_v]; f16, bf16 or f32, any
 *      strides.
 * The resulting bytes are those of appending the rows one at a time.
 *   INVALID_ARGUMENT shape, stride, dtype, layer; NON_FINITE also names values that the stored
 *   type, or an f16 scale where bits < 16 (at most 65504; 32752 for a centred side), cannot hold;
 *   CAPACITY; OUT_OF_MEMORY; BAD_STATE committed tokens behind tentative ones, or a row that leaves
 *   the window with a mark that does not fit (see mustafar_cache_compress).            Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status
mustafar_cache_append(mustafar_cache *cache, uint32_t layer, const mustafar_tensor *k,
                      const mustafar_tensor *v, uint32_t flags, mustafar_error *error);

/* Makes the tentative tokens of `layer` (or MUSTAFAR_ALL) committed; with AUTO, packs what leaves
 * the window. OUT_OF_MEMORY.                                                           Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_cache_commit(mustafar_cache *cache,
                                                                     uint32_t layer,
                                                                     mustafar_error *error);

/* How mustafar_cache_prune chooses. Zeros (besides struct_size) mean: as the recipe says. A number
 * that `method` does not use must be 0; with MUSTAFAR_PRUNE_RECIPE that is every one of them. */
typedef struct mustafar_prune_options {
    uint32_t struct_size; /* caller's sizeof */
    uint32_t method;      /* MUSTAFAR_PRUNE_... */
    uint32_t keep;     /* TOKEN_TOPK, CHANNELS: elements of a row; CHANNEL_TOPK: rows of every 32;
                             N_M: n */
    uint32_t of;       /* N_M: m, a divisor of head_dim */
    float threshold;   /* THRESHOLD: smallest magnitude kept, >= 0 */
    uint32_t reserved; /* 0 */
} mustafar_prune_options;

#define MUSTAFAR_PRUNE_OPTIONS_INIT \
    {(uint32_t)sizeof(mustafar_prune_options), MUSTAFAR_PRUNE_RECIPE, 0, 0, 0.0f, 0}

/* Marks the survivors of dense rows, without packing them: attend and export then see the pruned
 * rows. Pruning again replaces the mark; MUSTAFAR_PRUNE_NONE removes it. The dense values stay
 * until the rows are packed.
 *   layer, kv_head   an index or MUSTAFAR_ALL;  side  MUSTAFAR_SIDE_K or MUSTAFAR_SIDE_V
 *   begin, end       positions [begin, end); every row in it must be dense and outside the window
 *                    (not among the first `sink`, the newest `recent` or the tentative tokens)
 *   channel_weights  NULL or f32 [kv_heads, head_dim]: magnitudes are multiplied by these first
 *   token_weights    NULL or f32 [kv_heads, end - begin]: the same per position
 *   mask             method MASK: u8 [kv_heads, end - begin, head_dim / 8], bit c (lowest first) of
 *                    a row is channel c; NULL otherwise
 * Where one kv_head is named, the leading dimension of the three is 1.
 *   INVALID_ARGUMENT (also an option that the method does not use); NON_FINITE a weight beyond
 *   0 .. 65504; BAD_STATE a row in the range is packed or in the window; OUT_OF_MEMORY.
 *                                                                                      Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_cache_prune(
    mustafar_cache *cache, uint32_t layer, uint32_t kv_head, uint32_t side, uint32_t begin,
    uint32_t end, const mustafar_prune_options *options, const mustafar_tensor *channel_weights,
    const mustafar_tensor *token_weights, const mustafar_tensor *mask, mustafar_error *error);

/* Packs every row of `layer` (or MUSTAFAR_ALL) that is outside the window: marked rows with their
 * marks, others as the recipe prunes them. Heads whose K is quantized per channel pack whole
 * groups of 32 and leave the rest dense.
 *   BAD_STATE a mark does not fit the head's encoding (another count than its k), or the recipe's
 *   method is `mask` and a row carries no mark; OUT_OF_MEMORY.                         Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_cache_compress(mustafar_cache *cache,
                                                                       uint32_t layer,
                                                                       mustafar_error *error);

/* Positions given to mustafar_cache_evict are the ones to keep (the window is kept anyway). */
#define MUSTAFAR_EVICT_KEEP 1u

/* Removes rows of one kv head for good, by position. Survivors stay in order, codes are moved and
 * never quantized again, positions are stored from then on.
 *   positions  `count` strictly ascending positions the head holds, none in the window or among the
 *              sinks (with KEEP: positions there are allowed and change nothing)
 *   BAD_STATE the layer has tentative tokens; INVALID_ARGUMENT; OUT_OF_MEMORY (only the table of
 *   positions of a head's first eviction, pages shared with a fork and ragged pages need memory).
 *                                                                                      Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status
mustafar_cache_evict(mustafar_cache *cache, uint32_t layer, uint32_t kv_head,
                     const int32_t *positions, size_t count, uint32_t flags, mustafar_error *error);

/* Removes the rows of one kv head with the lowest scores until it holds `budget` rows, window and
 * sinks included (they always stay). Of equal scores the older token stays.
 *   scores  f32, one per row of the head, in row order (mustafar_cache_rows of them); NaN is
 *           refused
 *   budget  0 = what the recipe says for the head; at least recent + sink
 * Statuses as mustafar_cache_evict; nothing happens when the head holds no more than that.
 *                                                                                      Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_cache_evict_scores(
    mustafar_cache *cache, uint32_t layer, uint32_t kv_head, const float *scores, size_t count,
    uint32_t budget, mustafar_error *error);

/* Accept packed rows inside the window after a deep truncate. */
#define MUSTAFAR_TRUNCATE_KEEP_PACKED 1u

/* Rolls every layer back to its first `length` tokens; layers that are shorter stay. Needs no
 * memory. Exact, as if the tokens had never been appended, for tentative tokens and for every
 * length that asks no packed row back into the window (0 and lengths within the sinks among them);
 * otherwise NOT_EXACT names the smallest exact length above the sinks, unless the flag accepts that
 * the newest rows are packed ones. Once it has, every lower length asks more of them back, those of
 * the rows appended since too: until `recent` newer tokens stand behind the packed rows only
 * tentative tokens roll back without the flag. Rows that come back into the window lose their
 * marks. A frozen centre or channel mask stays frozen until reset, or a length within the
 * sinks.
 *                                                                                      Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_cache_truncate(mustafar_cache *cache,
                                                                       uint32_t length,
                                                                       uint32_t flags,
                                                                       mustafar_error *error);

/* Empties the cache; geometry, recipe and buffers stay. As new for every later call.   Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_cache_reset(mustafar_cache *cache,
                                                                    mustafar_error *error);

/* ---- ask ------------------------------------------------------------------------------------- */

/* Tokens appended to a layer: committed ones, and tentative ones behind them. The next token takes
 * position committed + tentative. Any output may be NULL.                              Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_cache_length(const mustafar_cache *cache,
                                                                     uint32_t layer,
                                                                     uint32_t *out_committed,
                                                                     uint32_t *out_tentative,
                                                                     mustafar_error *error);

/* Rows a kv head holds after evictions: all of them, and the packed ones among them. Any output
 * may be NULL.                                                                         Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_cache_rows(const mustafar_cache *cache,
                                                                   uint32_t layer, uint32_t kv_head,
                                                                   uint32_t *out_rows,
                                                                   uint32_t *out_body,
                                                                   mustafar_error *error);

/* Positions of the rows of a kv head, ascending. `count` must equal the row count.     Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status
mustafar_cache_positions(const mustafar_cache *cache, uint32_t layer, uint32_t kv_head,
                         int32_t *out_positions, size_t count, mustafar_error *error);

/* Values of rows [begin, end) of one kv head and side as attend sees them, for tests and pictures.
 *   out_values   f32 | f16 | bf16 [end - begin, head_dim]; pruned elements are 0, or the centre
 *   out_bitmaps  NULL or u8 [end - begin, head_dim / 8], contiguous: survivors (all ones in
 *                unmarked dense rows)                                                  Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_cache_export(
    const mustafar_cache *cache, uint32_t layer, uint32_t kv_head, uint32_t side, uint32_t begin,
    uint32_t end, const mustafar_tensor *out_values, uint8_t *out_bitmaps, mustafar_error *error);

/* What a cache was made with. Any output may be NULL; struct_size of `out_geometry` and
 * `out_options` must be set. `*out_recipe` is the canonical JSON, alive as long as the cache.
 *                                                                                      Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_cache_describe(
    const mustafar_cache *cache, mustafar_geometry *out_geometry,
    mustafar_cache_options *out_options, const char **out_recipe, mustafar_error *error);

/* Bytes of the cache, or of one layer, or of one kv head of it (MUSTAFAR_ALL for either). The
 * record of the cache itself is counted only where both are MUSTAFAR_ALL. Pages shared with forks
 * count in full here and once in the context's stats.                                  Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_cache_bytes(const mustafar_cache *cache,
                                                                    uint32_t layer,
                                                                    uint32_t kv_head,
                                                                    mustafar_bytes *out,
                                                                    mustafar_error *error);

typedef struct mustafar_cache_stats {
    uint32_t struct_size;     /* caller's sizeof */
    uint32_t longest;         /* tokens of the longest layer */
    uint64_t rows;            /* rows held, all layers and kv heads */
    uint64_t body_rows;       /* packed ones among them */
    uint64_t evicted_rows;    /* removed by evict since creation or reset */
    uint64_t pages;           /* pages held */
    uint64_t shared_pages;    /* pages that another cache holds as well */
    uint64_t dense_bytes;     /* what these rows would take as plain 16-bit values */
    uint64_t appended_tokens; /* tokens taken by append, per layer, since creation */
    uint64_t packed_rows;     /* rows packed (K and V count as one), since creation */
    uint64_t attend_calls;    /* layers attended, since creation */
    uint64_t append_ns;       /* wall time in append and commit, packing included */
    uint64_t pack_ns;         /* wall time in prune, quantize and pack, wherever it happened */
    uint64_t attend_ns;     /* wall time in attend (a call over n caches counts a share for each) */
    char attend_kernel[64]; /* rows of the dispatch tables that serve this cache */
    char pack_kernel[64];
} mustafar_cache_stats;

/*                                                                                      Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_cache_get_stats(const mustafar_cache *cache,
                                                                        mustafar_cache_stats *out,
                                                                        mustafar_error *error);

/* ---- plan ------------------------------------------------------------------------------------ */

/* Bytes of a cache of this shape after `tokens` tokens were appended to every layer and committed
 * (with AUTO unset: and not compressed), without data. The numbers are those of
 * mustafar_cache_bytes for such a cache, to the byte; `exact` is 0 where ragged rows make them an
 * upper bound. Window buffers that tentative tokens have made larger do not shrink again.
 *   layer  an index or MUSTAFAR_ALL                                                    Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_plan(const mustafar_recipe *recipe,
                                                             const mustafar_geometry *geometry,
                                                             const mustafar_cache_options *options,
                                                             uint32_t tokens, uint32_t layer,
                                                             mustafar_bytes *out,
                                                             mustafar_error *error);

#ifdef __cplusplus
}
#endif
#endif /* MUSTAFAR_CACHE_H */
