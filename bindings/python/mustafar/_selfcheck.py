# SPDX-License-Identifier: Apache-2.0
"""A minute of everything in a second: does this installation compute what it should?"""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy

from . import Cache, Context, CountingAllocator, Error, Geometry, attend, merge
from ._arrays import Float32

GEOMETRY = Geometry(layers=2, q_heads=4, kv_heads=2, head_dim_k=64)


def dense_attention(q: Float32, k: Float32, v: Float32) -> Float32:
    """softmax(q.k / sqrt(d)) v in float64, the last query sees all tokens; q [q_heads, d]."""
    group = q.shape[0] // k.shape[1]
    wide_k = numpy.repeat(k, group, axis=1).astype(numpy.float64)
    wide_v = numpy.repeat(v, group, axis=1).astype(numpy.float64)
    scores = numpy.einsum("hd,thd->ht", q, wide_k) / numpy.sqrt(q.shape[-1])
    weights = numpy.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    out: Float32 = numpy.einsum("ht,thd->hd", weights, wide_v).astype(numpy.float32)
    return out


def checks() -> Iterator[tuple[str, bool]]:
    """Names and results, one after the other."""
    random = numpy.random.default_rng(1)
    # Values that float16 holds exactly, so that the dense recipe must be exact.
    k, v = (random.standard_normal((300, 2, 64)).astype(numpy.float16) for _ in range(2))
    q = random.standard_normal((1, 4, 64)).astype(numpy.float32)
    allocator = CountingAllocator()
    with Context(allocator=allocator) as context:
        with Cache(context, GEOMETRY, "dense", max_tokens=512) as dense:
            dense.append(0, k, v)
            expected = dense_attention(q[0], k.astype(numpy.float32), v.astype(numpy.float32))
            error = float(numpy.abs(dense.attend(0, q)[0] - expected).max())
            yield f"dense attention: error {error:.1e}", error < 1e-3
        with Cache(context, GEOMETRY, "lean", max_tokens=512) as lean:
            lean.append(0, k, v)
            error = float(numpy.abs(lean.attend(0, q)[0] - expected).max())
            yield f"lean attention: error {error:.2f}", error < 1.0
            share = lean.bytes(0).total / (300 * 2 * 2 * 64 * 2)
            yield f"lean bytes: {share:.0%} of float16", share < 1.0
            snapshot = io.BytesIO()
            lean.save(snapshot, "self-check")
            snapshot.seek(0)
            with Cache.load(context, snapshot, model_id="self-check") as loaded:
                same = numpy.array_equal(loaded.attend(0, q), lean.attend(0, q))
                yield "save and load: the same bits", same
            with lean.fork() as fork:
                fork.truncate(299)
                lengths = fork.length(0).total, lean.length(0).total
                yield "fork and truncate", lengths == (299, 300)
        with (
            Cache(context, GEOMETRY, "dense", max_tokens=512) as one,
            Cache(context, GEOMETRY, "dense", max_tokens=512) as two,
        ):
            one.append(1, k[:200], v[:200])
            two.append(1, k[200:], v[200:])
            parts = [attend([part], 1, q[None], with_lse=True) for part in (one, two)]
            out, _ = merge(context, *parts[0], *parts[1])
            error = float(numpy.abs(out[0, 0] - expected).max())
            yield f"merge of two halves: error {error:.1e}", error < 1e-3
        try:
            Cache(context, Geometry(1, 1, 1, 100), "dense", max_tokens=1)
            yield "refusal of head_dim 100", False
        except Error as refused:
            yield f"refusal: {refused.name}", True
    yield f"memory: {allocator.live_bytes} bytes left", allocator.live_bytes == 0
