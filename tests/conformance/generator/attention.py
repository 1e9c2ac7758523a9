# SPDX-License-Identifier: Apache-2.0
"""Softmax attention in float64: capi/include/mustafar/attend.h. Sums are rounded once (math.fsum),
so that no BLAS and no order shows. Softcap: Gemma 2, arXiv 2408.00118, section 2; learned sinks:
one more score without a value (gpt-oss); merge of partial results: online softmax, Milakov and
Gimelshein, arXiv 1805.02867."""

import math
from dataclasses import dataclass

import numpy as np

from bits import Floats
from model import Cache
from prune import Bools
from quantize import Doubles


@dataclass
class Options:
    scale: float = 0.0
    softcap: float = 0.0
    sliding_window: int = 0
    q_position: "int | None" = None
    sinks: "Floats | None" = None


@dataclass
class Result:
    out: Doubles
    lse: Doubles
    weights: "list[Doubles]"  # per query and head, of all rows of its kv head


def one_query(
    keys: Doubles, values: Doubles, q: Doubles, seen: Bools, options: Options, sink: Doubles
) -> "tuple[Doubles, float, Doubles]":
    scale = float(np.float32(options.scale)) or 1.0 / np.sqrt(keys.shape[1])
    scores = [scale * math.fsum(row * q) for row in keys]
    if options.softcap:
        cap = float(np.float32(options.softcap))
        scores = [cap * math.tanh(score / cap) for score in scores]
    scores = [score if sees else -math.inf for score, sees in zip(scores, seen)]
    everything = [*scores, *sink]
    top = max(everything, default=-math.inf)
    if top == -math.inf:
        return np.zeros(values.shape[1]), -math.inf, np.zeros(len(scores))
    lse = top + math.log(math.fsum(math.exp(score - top) for score in everything))
    weights = np.array([math.exp(score - lse) for score in scores])
    out = [math.fsum(weights * column) for column in values.T]
    return np.array(out), lse, weights


def attend(caches: "list[Cache]", layer: int, q: Doubles, options: Options) -> Result:
    """q: [count, q_len, q_heads, d_k]."""
    g = caches[0].geometry
    out = np.zeros((*q.shape[:3], g.head_dim_v))
    lse = np.zeros(q.shape[:3])
    weights: list[Doubles] = []
    for c, cache in enumerate(caches):
        first = cache.length(layer) - q.shape[1]
        if options.q_position is not None:
            first = options.q_position
        for i in range(q.shape[1]):
            for h in range(g.q_heads):
                head = cache.heads[layer][h // g.group]
                keys = np.array([head.values(r, "k") for r in head.rows]).reshape(-1, g.head_dim_k)
                values = np.array([head.values(r, "v") for r in head.rows])
                at = np.array([row.position for row in head.rows])
                seen = at <= first + i
                if options.sliding_window:
                    seen = seen & (at > first + i - options.sliding_window)
                sink = np.zeros(0)
                if options.sinks is not None:
                    sink = options.sinks[h : h + 1].astype(np.float64)
                values = values.reshape(-1, g.head_dim_v)
                got = one_query(keys, values, q[c, i, h], seen, options, sink)
                out[c, i, h], lse[c, i, h] = got[0], got[1]
                weights.append(got[2])
    return Result(out, lse, weights)


def merge(
    out_a: Doubles, lse_a: Doubles, out_b: Doubles, lse_b: Doubles
) -> "tuple[Doubles, Doubles]":
    out, lse = np.zeros(out_a.shape), np.full(lse_a.shape, -np.inf)
    for i, (a, b) in enumerate(zip(lse_a, lse_b)):
        if max(a, b) == -np.inf:
            continue
        lse[i] = max(a, b) + np.log(np.exp(a - max(a, b)) + np.exp(b - max(a, b)))
        part_a = np.exp(a - lse[i]) * out_a[i] if a > -np.inf else 0.0
        part_b = np.exp(b - lse[i]) * out_b[i] if b > -np.inf else 0.0
        out[i] = part_a + part_b
    return out, lse
