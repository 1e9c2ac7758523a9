# SPDX-License-Identifier: Apache-2.0
"""The two attentions of the decoder: dense in float32, and on compressed caches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy
import numpy.typing

from .._arrays import Float32
from ..attention import attend
from ..cache import Cache
from .model import Config

__all__ = ["CacheAttention", "DenseAttention", "KeysValues", "RecordingAttention"]

_BLOCK = 256  # queries at a time: scores of a block stay in the processor's cache

Float16 = numpy.typing.NDArray[numpy.float16]
KeysValues = list[tuple[Float16, Float16]]  # of one sequence: K and V [tokens, kv_heads, d] a layer


class DenseAttention:
    """Causal attention over sequences laid end to end, each from its first token on.

    The reference: float32 and NumPy alone, nothing of the library, nothing rounded to 16 bits.
    """

    def __init__(self, config: Config, lengths: Sequence[int]) -> None:
        self._group = config.q_heads // config.kv_heads
        ends = numpy.cumsum(lengths)
        self._ranges = [(int(end) - n, int(end)) for end, n in zip(ends, lengths, strict=True)]
        self._k = self._v = numpy.empty((0, 0, 0), numpy.float32)

    def keep(self, layer: int, k: Float32, v: Float32) -> None:
        """The whole sequences: this is a prefill."""
        self._k, self._v = k, v

    def attend(self, layer: int, q: Float32) -> Float32:
        """softmax(q.k / sqrt(d)) v over the tokens up to each query."""
        out = numpy.empty((*q.shape[:2], self._v.shape[2]), numpy.float32)
        for begin, end in self._ranges:
            k, v = self._k[begin:end], self._v[begin:end]
            out[begin:end] = _causal(q[begin:end], k, v, self._group)
        return out


def _causal(q: Float32, k: Float32, v: Float32, group: int) -> Float32:
    tokens, heads, d = q.shape
    keys = numpy.ascontiguousarray(k.transpose(1, 2, 0))  # [kv_heads, d, tokens]
    values = numpy.ascontiguousarray(v.transpose(1, 0, 2))  # [kv_heads, tokens, d]
    scaled = (q * numpy.float32(d**-0.5)).reshape(tokens, -1, group, d)
    out = numpy.empty((tokens, heads // group, group, v.shape[2]), numpy.float32)
    later = numpy.triu(numpy.full((_BLOCK, _BLOCK), -numpy.inf, numpy.float32), 1)
    seen = numpy.tri(_BLOCK, dtype=numpy.float32)
    for begin in range(0, tokens, _BLOCK):
        end = min(begin + _BLOCK, tokens)
        rows = end - begin
        for head in range(heads // group):
            queries = scaled[begin:end, head].transpose(1, 0, 2).reshape(group * rows, d)
            scores = (queries @ keys[head, :, :end]).reshape(group, rows, end)
            scores[:, :, begin:] += later[:rows, :rows]
            scores -= scores.max(axis=2, keepdims=True)
            numpy.maximum(scores, -80, out=scores)  # subnormal weights take ages and add nothing
            numpy.exp(scores, out=scores)
            scores[:, :, begin:] *= seen[:rows, :rows]
            total = scores.sum(axis=2)
            mixed = scores.reshape(group * rows, end) @ values[head, :end]
            mixed = mixed.reshape(group, rows, -1) / total[:, :, None]
            out[begin:end, head] = mixed.transpose(1, 0, 2)
    return out.reshape(tokens, heads, -1)


class CacheAttention:
    """Attention on caches: `counts[i]` new tokens of cache i, laid end to end.

    Caches with equally many new tokens share a call. Tentative tokens are packed by no recipe:
    with `tentative`, the new tokens read each other dense until the caller commits them.
    """

    def __init__(
        self, caches: Sequence[Cache], counts: Sequence[int], *, tentative: bool = False
    ) -> None:
        self._caches, self._tentative = caches, tentative
        ends = numpy.cumsum(counts)
        self._ranges = [(int(end) - n, int(end)) for end, n in zip(ends, counts, strict=True)]
        self._groups: list[tuple[list[Cache], Sequence[int], int]] = []
        for count in sorted(set(counts)):
            members = [i for i, n in enumerate(counts) if n == count]
            self._groups.append(([caches[i] for i in members], members, count))

    def keep(self, layer: int, k: Float32, v: Float32) -> None:
        """Appends; rows that leave the window are packed."""
        for cache, (begin, end) in zip(self._caches, self._ranges, strict=True):
            cache.append(layer, k[begin:end], v[begin:end], tentative=self._tentative)

    def attend(self, layer: int, q: Float32) -> Float32:
        """Attends on what the caches hold, packed rows as they are."""
        if len(self._groups) == 1:
            caches, _, count = self._groups[0]
            return attend(caches, layer, q.reshape(len(caches), count, *q.shape[1:])).reshape(
                len(q), q.shape[1], -1
            )
        out = numpy.empty(q.shape, numpy.float32)
        for caches, members, count in self._groups:
            rows = numpy.concatenate([numpy.arange(*self._ranges[i]) for i in members])
            result = attend(caches, layer, q[rows].reshape(len(caches), count, *q.shape[1:]))
            out[rows] = result.reshape(len(rows), q.shape[1], -1)
        return out


class RecordingAttention(CacheAttention):
    """The same, and `sequences[i]` keeps what the caches were given, in float16 as they hold it."""

    def __init__(self, caches: Sequence[Cache], counts: Sequence[int]) -> None:
        super().__init__(caches, counts)
        self.sequences: list[KeysValues] = [[] for _ in caches]

    def keep(self, layer: int, k: Float32, v: Float32) -> None:
        """Appends and records."""
        for cache, kept, (begin, end) in zip(
            self._caches, self.sequences, self._ranges, strict=True
        ):
            kept.append((k[begin:end].astype(numpy.float16), v[begin:end].astype(numpy.float16)))
            cache.append(layer, *kept[-1])
