/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention over compressed caches, and the merge of partial results.
 *     s_j = softcap(scale q . k_j),  p = softmax(s),  out = sum_j p_j v_j,  lse = ln sum_j e^(s_j)
 * Sums run over the rows a query may see. Body and window are one softmax; the packed rows are
 * read as they are stored. lse is the natural logarithm and absolute (a centre of K is added
 * back), -inf where there is no row, and then out is 0.
 * Threads    const on every cache: calls may overlap. Results do not depend on the number of
 *            threads. */
#ifndef MUSTAFAR_ATTEND_H
#define MUSTAFAR_ATTEND_H

#include "cache.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `q_position` is given; without it the queries are the last q_len tokens of their cache. */
#define MUSTAFAR_ATTEND_AT 1u

typedef struct mustafar_attend_options {
    uint32_t struct_size;    /* caller's sizeof; a zeroed rest is the default */
    uint32_t flags;          /* MUSTAFAR_ATTEND_... */
    int64_t q_position;      /* with AT: position of query 0, 0 .. 2^40, the same for every cache;
                                may lie behind the cache's end (then all rows are seen). Else 0 */
    float scale;             /* 0 = 1 / sqrt(head_dim_k) */
    float softcap;           /* 0 = none; else s -> softcap * tanh(s / softcap) */
    uint32_t sliding_window; /* 0 = none; else w: position p sees p - w + 1 .. p */
    float drop_mass;         /* 0 = exact; else V rows may be left out whose softmax weights sum to
                                at most this (0 .. 1) per query */
    uint32_t reserved[2];    /* 0 */
} mustafar_attend_options;

#define MUSTAFAR_ATTEND_OPTIONS_INIT \
    {(uint32_t)sizeof(mustafar_attend_options), 0, 0, 0.0f, 0.0f, 0, 0.0f, {0, 0}}

/* Attends one layer of `count` caches (of any lengths, one geometry, one context; recipes may
 * differ). Query i of a cache stands at position length - q_len + i (or q_position + i) and sees
 * the rows at its own position and before.
 *   q        [count, q_len, q_heads, head_dim_k], f16 | bf16 | f32, any strides; q_len >= 1
 *   sinks    NULL or f32 [q_heads]: learned sinks, one more score per query head without a value.
 *            When results are merged, give them to exactly one part
 *   options  NULL = defaults
 *   out      [count, q_len, q_heads, head_dim_v], f16 | bf16 | f32
 *   lse      NULL or f32 [count, q_len, q_heads]
 *   weights  NULL or f32 [count, q_len, q_heads, w], w >= rows of any kv head: softmax weight of
 *            each row of the query's kv head in row order, 0 for rows it does not see and behind
 *            the last
 *   dropped  NULL or f32 [count, q_len, q_heads]: with drop_mass, an upper bound of the weight left
 *            out
 * No output may overlap an input or another output. `count` 0 does nothing.
 *   INVALID_ARGUMENT shape, stride, dtype, layer, option; q_len longer than a cache without AT;
 *   NON_FINITE a query or sink that is not finite (values = cache, query, head, channel; channel
 *   -1 for sinks);
 *   OUT_OF_MEMORY workspace.                                                           Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_attend(
    const mustafar_cache *const *caches, size_t count, uint32_t layer, const mustafar_tensor *q,
    const mustafar_tensor *sinks, const mustafar_attend_options *options,
    const mustafar_tensor *out, const mustafar_tensor *lse, const mustafar_tensor *weights,
    const mustafar_tensor *dropped, mustafar_error *error);

/* Merges two partial results over disjoint rows of the same queries (online softmax, Milakov &
 * Gimelshein, arXiv 1805.02867):  m = max(a, b);  lse = m + ln(e^(a-m) + e^(b-m));  out =
 * e^(a-lse) out_a + e^(b-lse) out_b. Two empty parts (-inf) give zeros and -inf. Computed in
 * double; error at most a rounding of each output.
 *   out_a, out_b, out   [..., head_dim_v] of one shape, f16 | bf16 | f32; out may be out_a or out_b
 *                       itself
 *   lse_a, lse_b, lse   f32, the same shape without the last dimension; lse may be lse_a or lse_b
 *                       itself
 * `context` names the backend. INVALID_ARGUMENT; NON_FINITE an lse of NaN or +inf.     Since 0.1 */
MUSTAFAR_API MUSTAFAR_MUST_USE mustafar_status mustafar_merge(
    mustafar_context *context, const mustafar_tensor *out_a, const mustafar_tensor *lse_a,
    const mustafar_tensor *out_b, const mustafar_tensor *lse_b, const mustafar_tensor *out,
    const mustafar_tensor *lse, mustafar_error *error);

#ifdef __cplusplus
}
#endif
#endif /* MUSTAFAR_ATTEND_H */
