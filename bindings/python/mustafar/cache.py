# SPDX-License-Identifier: Apache-2.0
"""Caches: the keys and values of one sequence."""

from __future__ import annotations

import os
from typing import Any, BinaryIO, Literal, Union, overload

import numpy

from . import _mustafar as c
from ._arrays import (
    Float32,
    Int32,
    Tensor,
    UInt8,
    empty_f32,
    float32_array,
    int32_array,
    mask_bits,
    optional_f32,
)
from ._handles import Owner, handle_of
from ._streams import reader, writer
from .attention import attend, single_query
from .context import Context
from .errors import InvalidArgumentError
from .recipe import Recipe, RecipeLike, geometry_dict, options_dict, recipe_of
from .types import (
    ALL,
    Bytes,
    CacheOptions,
    CacheStats,
    DType,
    Geometry,
    Length,
    PruneMethod,
    Rows,
    Side,
)

__all__ = ["Cache"]

Path = Union[str, "os.PathLike[str]"]


class Cache(Owner):
    """The keys and values of one sequence, all layers.

    max_tokens      most tokens of a layer; required, there is no good default
    reserve_tokens  memory for so many tokens is taken now
    auto            rows are packed as they leave the window; without it, only by `compress`

    Questions (and attend, fork, save) may overlap on one cache, from any threads; what changes a
    cache needs it alone: a call that does not fit is refused with BusyError.
    """

    __slots__ = ("_shape",)
    _shape: tuple[int, int]  # q_heads, head_dim_v
    _instead_of_pickle = "use save() and Cache.load(), or fork() for a copy in memory"

    def __init__(
        self,
        context: Context,
        geometry: Geometry,
        recipe: RecipeLike,
        *,
        max_tokens: int,
        reserve_tokens: int = 0,
        auto: bool = True,
    ) -> None:
        owner = handle_of(context, Context, "context")
        shape = geometry_dict(geometry)
        options = options_dict(max_tokens, reserve_tokens, auto)
        self._handle = c.mustafar_cache_create(owner, shape, recipe_of(recipe)._handle, options)
        self._shape = geometry.q_heads, geometry.head_dim_v

    @classmethod
    def _adopt(cls, handle: c.Handle) -> Cache:
        cache = cls.__new__(cls)
        cache._handle = handle
        geometry = cache.geometry
        cache._shape = geometry.q_heads, geometry.head_dim_v
        return cache

    # ---- change

    def append(self, layer: int, k: Tensor, v: Tensor, *, tentative: bool = False) -> None:
        """Appends tokens: k [tokens, kv_heads, head_dim_k], v likewise; f16, f32 or bf16 bits."""
        flags = c.MUSTAFAR_APPEND_TENTATIVE if tentative else 0
        c.mustafar_cache_append(self._handle, layer, k, v, flags)

    def commit(self, layer: int = ALL) -> None:
        """Makes tentative tokens committed."""
        c.mustafar_cache_commit(self._handle, layer)

    def prune(
        self,
        layer: int,
        kv_head: int,
        side: int,
        begin: int,
        end: int,
        *,
        method: int = PruneMethod.RECIPE,
        keep: int = 0,
        of: int = 0,
        threshold: float = 0.0,
        channel_weights: Tensor | None = None,
        token_weights: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> None:
        """Marks survivors of dense rows at positions [begin, end) outside the window, no packing.

        channel_weights [kv_heads, head_dim] and token_weights [kv_heads, end - begin] weigh
        magnitudes; mask [kv_heads, end - begin, head_dim] of bool, or its bits, is for the method
        MASK. Where one kv_head is named, the leading dimension of the three is 1.
        """
        options = {"method": method, "keep": keep, "of": of, "threshold": threshold}
        weights = optional_f32(channel_weights, "channel_weights")
        tokens = optional_f32(token_weights, "token_weights")
        bits = mask_bits(mask)
        c.mustafar_cache_prune(
            self._handle, layer, kv_head, side, begin, end, options, weights, tokens, bits
        )

    def compress(self, layer: int = ALL) -> None:
        """Packs every row outside the window."""
        c.mustafar_cache_compress(self._handle, layer)

    def evict(self, layer: int, kv_head: int, positions: Any, *, keep: bool = False) -> None:
        """Removes rows for good, by ascending positions; with `keep`, those are what stays."""
        flags = c.MUSTAFAR_EVICT_KEEP if keep else 0
        array = int32_array(positions, "positions")
        c.mustafar_cache_evict(self._handle, layer, kv_head, array, flags)

    def evict_scores(self, layer: int, kv_head: int, scores: Any, budget: int = 0) -> None:
        """Removes the rows with the lowest scores (one per row) until `budget` rows are left.

        budget 0 = as the recipe says; sinks and window stay.
        """
        array = float32_array(scores, "scores")
        c.mustafar_cache_evict_scores(self._handle, layer, kv_head, array, budget)

    def truncate(self, length: int, *, keep_packed: bool = False) -> None:
        """Rolls back to the first `length` tokens, exactly, or raises NotExactError.

        Its `smallest_exact` says how far it can go; keep_packed accepts packed rows in the window.
        """
        flags = c.MUSTAFAR_TRUNCATE_KEEP_PACKED if keep_packed else 0
        c.mustafar_cache_truncate(self._handle, length, flags)

    def reset(self) -> None:
        """Empties the cache; buffers stay."""
        c.mustafar_cache_reset(self._handle)

    # ---- copy

    def fork(self) -> Cache:
        """A second cache with the same content; pages are shared copy-on-write."""
        return Cache._adopt(c.mustafar_cache_fork(self._handle))

    def save(self, target: Path | BinaryIO, model_id: str = "") -> None:
        """Writes a snapshot to a path (replaced whole or not at all) or a binary file object."""
        if isinstance(target, (str, os.PathLike)):
            c.mustafar_cache_save_file(self._handle, model_id, os.fsencode(target))
        else:
            c.mustafar_cache_save(self._handle, model_id, writer(target))

    @classmethod
    def load(
        cls,
        context: Context,
        source: Path | BinaryIO,
        *,
        geometry: Geometry | None = None,
        recipe: RecipeLike | None = None,
        model_id: str | None = None,
        max_tokens: int | None = None,
        reserve_tokens: int = 0,
        auto: bool = True,
    ) -> Cache:
        """A cache from a snapshot. What is given must match; None is taken from the snapshot.

        reserve_tokens and auto count only together with max_tokens (0 = as saved).
        """
        owner = handle_of(context, Context, "context")
        shape = None if geometry is None else geometry_dict(geometry)
        told = None if recipe is None else recipe_of(recipe)._handle
        options = None if max_tokens is None else options_dict(max_tokens, reserve_tokens, auto)
        if isinstance(source, (str, os.PathLike)):
            path = os.fsencode(source)
            handle = c.mustafar_cache_load_file(owner, shape, told, model_id, options, path)
        else:
            read = reader(source)
            handle = c.mustafar_cache_load(owner, shape, told, model_id, options, read)
        return cls._adopt(handle)

    # ---- ask

    @overload
    def attend(
        self,
        layer: int,
        q: Tensor,
        sinks: Tensor | None = None,
        *,
        with_lse: Literal[False] = False,
        **options: float,
    ) -> Float32: ...

    @overload
    def attend(
        self,
        layer: int,
        q: Tensor,
        sinks: Tensor | None = None,
        *,
        with_lse: Literal[True],
        **options: float,
    ) -> tuple[Float32, Float32]: ...

    def attend(
        self,
        layer: int,
        q: Tensor,
        sinks: Tensor | None = None,
        *,
        with_lse: bool = False,
        **options: Any,
    ) -> Any:
        """`mustafar.attend` on this cache alone, without the dimension of caches.

        q [q_len, q_heads, head_dim_k] -> [q_len, q_heads, head_dim_v], float32
        """
        query = single_query(q)
        if with_lse:
            out, lse = attend([self], layer, query, sinks, with_lse=True, **options)
            return out[0], lse[0]
        return attend([self], layer, query, sinks, **options)[0]

    def length(self, layer: int = 0) -> Length:
        """Committed and tentative tokens of a layer."""
        return Length(*c.mustafar_cache_length(self._handle, layer))

    def rows(self, layer: int, kv_head: int) -> Rows:
        """Rows a kv head holds after evictions."""
        return Rows(*c.mustafar_cache_rows(self._handle, layer, kv_head))

    def positions(self, layer: int, kv_head: int) -> Int32:
        """Positions of the rows of a kv head, ascending."""
        array = numpy.empty(self.rows(layer, kv_head).rows, numpy.int32)
        c.mustafar_cache_positions(self._handle, layer, kv_head, array)
        return array

    def export(
        self, layer: int, kv_head: int, side: int, begin: int = 0, end: int | None = None
    ) -> Float32:
        """Values of rows [begin, end) as attend sees them, [end - begin, head_dim]."""
        return self._export(layer, kv_head, side, begin, end, False)[0]

    def export_bitmaps(
        self, layer: int, kv_head: int, side: int, begin: int = 0, end: int | None = None
    ) -> tuple[Float32, UInt8]:
        """The same, with survivors as bits [end - begin, head_dim / 8], lowest bit first."""
        values, bitmaps = self._export(layer, kv_head, side, begin, end, True)
        assert bitmaps is not None
        return values, bitmaps

    def _export(
        self, layer: int, kv_head: int, side: int, begin: int, end: int | None, bits: bool
    ) -> tuple[Float32, UInt8 | None]:
        rows = self.rows(layer, kv_head).rows
        stop = rows if end is None else end
        if not 0 <= begin <= stop <= rows:
            raise InvalidArgumentError(
                f"mustafar_cache_export: begin = {begin}, end = {stop} leaves the {rows} rows"
            )
        geometry = self.geometry
        d = geometry.head_dim_v if side == Side.V else geometry.head_dim_k
        values = empty_f32((stop - begin, d))
        bitmaps = numpy.empty((stop - begin, d // 8), numpy.uint8) if bits else None
        c.mustafar_cache_export(self._handle, layer, kv_head, side, begin, stop, (values, bitmaps))
        return values, bitmaps

    @property
    def geometry(self) -> Geometry:
        """What the cache was made with."""
        fields = c.mustafar_cache_describe(self._handle)[0]
        return Geometry(**{**fields, "dtype": DType(fields["dtype"])})

    @property
    def options(self) -> CacheOptions:
        """What the cache was made with."""
        fields = c.mustafar_cache_describe(self._handle)[1]
        auto = bool(fields.pop("flags") & c.MUSTAFAR_CACHE_AUTO)
        return CacheOptions(auto=auto, **fields)

    @property
    def recipe(self) -> Recipe:
        """What the cache was made with."""
        return Recipe(c.mustafar_cache_describe(self._handle)[2])

    def bytes(self, layer: int = ALL, kv_head: int = ALL) -> Bytes:
        """Bytes of the cache, of one layer, or of one kv head."""
        return Bytes(**c.mustafar_cache_bytes(self._handle, layer, kv_head))

    def stats(self) -> CacheStats:
        """Rows, pages, calls, times and kernels."""
        return CacheStats(**c.mustafar_cache_get_stats(self._handle))

    def to_pandas(self) -> Any:
        """Rows and bytes as a DataFrame, one line per layer and kv head. Needs pandas."""
        import pandas

        geometry = self.geometry
        return pandas.DataFrame(
            {"layer": layer, "kv_head": head}
            | self.rows(layer, head).to_dict()
            | self.bytes(layer, head).to_dict()
            for layer in range(geometry.layers)
            for head in range(geometry.kv_heads)
        )

    def __repr__(self) -> str:
        if self.closed:
            return "Cache(closed)"
        length, total = self.length(), self.bytes().total
        return f"<Cache: {length.committed} + {length.tentative} tokens, {total} bytes>"
