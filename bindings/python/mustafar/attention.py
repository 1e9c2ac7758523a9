# SPDX-License-Identifier: Apache-2.0
"""Attention over compressed caches, and the merge of partial results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy

from . import _mustafar as c
from ._arrays import Float32, Tensor, empty_f32, shape_of
from ._handles import handle_of
from .context import Context
from .errors import InvalidArgumentError

if TYPE_CHECKING:
    from .cache import Cache

__all__ = ["attend", "merge"]


@overload
def attend(
    caches: Sequence[Cache],
    layer: int,
    q: Tensor,
    sinks: Tensor | None = None,
    *,
    out: None = None,
    lse: Tensor | None = None,
    weights: Tensor | None = None,
    dropped: Tensor | None = None,
    with_lse: Literal[False] = False,
    **options: float,
) -> Float32: ...


@overload
def attend(
    caches: Sequence[Cache],
    layer: int,
    q: Tensor,
    sinks: Tensor | None = None,
    *,
    out: None = None,
    weights: Tensor | None = None,
    dropped: Tensor | None = None,
    with_lse: Literal[True],
    **options: float,
) -> tuple[Float32, Float32]: ...


@overload
def attend(
    caches: Sequence[Cache],
    layer: int,
    q: Tensor,
    sinks: Tensor | None = None,
    *,
    out: Tensor,
    lse: Tensor | None = None,
    weights: Tensor | None = None,
    dropped: Tensor | None = None,
    with_lse: bool = False,
    **options: float,
) -> Any: ...


def attend(
    caches: Sequence[Cache],
    layer: int,
    q: Tensor,
    sinks: Tensor | None = None,
    *,
    out: Any = None,
    lse: Any = None,
    weights: Tensor | None = None,
    dropped: Tensor | None = None,
    with_lse: bool = False,
    **options: float,
) -> Any:
    """Attends one layer of caches of any lengths; query i stands at position length - q_len + i.

    q        [len(caches), q_len, q_heads, head_dim_k], f16, f32, or bf16 as uint16
    sinks    f32 [q_heads]: learned sinks
    out      [len(caches), q_len, q_heads, head_dim_v]; None = a new float32 array; returned
    lse      f32 [len(caches), q_len, q_heads] to be filled; with_lse=True returns (out, a new one)
    weights  f32 [len(caches), q_len, q_heads, w], w >= rows of any kv head, to be filled
    dropped  f32 like lse, to be filled: bound of the weight that drop_mass left out
    options  scale (0 = 1/sqrt(head_dim_k)), softcap, sliding_window, drop_mass, q_position
    """
    try:
        items = caches if isinstance(caches, (list, tuple)) else list(caches)
        handles = [cache._handle for cache in items]
        made_for = items[0]._shape if items else None
    except (AttributeError, TypeError):
        raise InvalidArgumentError("mustafar_attend: caches must be a sequence of Cache") from None
    if out is None or with_lse:
        shape = shape_of(q, "mustafar_attend: q")
        if len(shape) != 4:
            raise InvalidArgumentError(
                f"mustafar_attend: q.shape = {shape}; give [count, q_len, q_heads, head_dim_k]"
            )
        heads, d = made_for or shape[2:]
        if out is None:
            out = empty_f32((len(handles), shape[1], heads, d))
        if with_lse:
            if lse is not None:
                raise InvalidArgumentError("mustafar_attend: give lse or with_lse, not both")
            lse = empty_f32((len(handles), shape[1], heads))
    given: dict[str, Any] | None = None
    if options:
        given = dict(options)
        if given.get("q_position", 0) is None:
            del given["q_position"]
        given["flags"] = c.MUSTAFAR_ATTEND_AT if "q_position" in given else 0
    c.mustafar_attend(handles, layer, q, sinks, given, out, lse, weights, dropped)
    return (out, lse) if with_lse else out


def single_query(q: Tensor) -> Tensor:
    """q of one cache with the dimension of caches in front."""
    try:
        return q[None]
    except (TypeError, IndexError, NotImplementedError):
        return numpy.asarray(q)[None]


def merge(
    context: Context,
    out_a: Tensor,
    lse_a: Tensor,
    out_b: Tensor,
    lse_b: Tensor,
    *,
    out: Any = None,
    lse: Any = None,
) -> tuple[Any, Any]:
    """Joins partial results over disjoint rows of the same queries; returns (out, lse).

    `out` may be out_a or out_b itself, `lse` likewise; None = new float32 arrays.
    """
    owner = handle_of(context, Context, "context")
    if out is None:
        out = empty_f32(shape_of(out_a, "mustafar_merge: out_a"))
    if lse is None:
        lse = empty_f32(shape_of(lse_a, "mustafar_merge: lse_a"))
    c.mustafar_merge(owner, out_a, lse_a, out_b, lse_b, out, lse)
    return out, lse
