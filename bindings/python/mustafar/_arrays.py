# SPDX-License-Identifier: Apache-2.0
"""Conversions to what the C API takes, where a copy is cheap. Keys and values are not copied."""

from __future__ import annotations

from typing import Any

import numpy
import numpy.typing

from .errors import InvalidArgumentError, OutOfMemoryError

Float32 = numpy.typing.NDArray[numpy.float32]
Int32 = numpy.typing.NDArray[numpy.int32]
UInt8 = numpy.typing.NDArray[numpy.uint8]
# Anything with a buffer or `__dlpack__`: NumPy and torch tensors, memoryviews, array.array, ...
Tensor = Any
Shape = tuple[int, ...]


def empty_f32(shape: Shape) -> Float32:
    """An output; a shape that is absurd is an error of ours, like any other."""
    try:
        return numpy.empty(shape, numpy.float32)
    except MemoryError as error:
        raise OutOfMemoryError(f"no memory for an output of shape {shape}: {error}") from error
    except (ValueError, TypeError) as error:
        raise InvalidArgumentError(f"no output of shape {shape} : {error}") from error


def shape_of(value: Tensor, argument: str) -> Shape:
    """The shape of an array, whoever made it."""
    try:
        return tuple(value.shape)
    except (AttributeError, TypeError):
        raise InvalidArgumentError(
            f"{argument} is a {type(value).__name__} without a shape; give an array"
        ) from None


def int32_array(values: Any, argument: str) -> Int32:
    """Positions as int32, refused where that would change them."""
    if isinstance(values, numpy.ndarray) and values.dtype == numpy.int32:
        return numpy.ascontiguousarray(values)
    try:
        wide = numpy.asarray(values)
        if wide.size == 0:
            wide = wide.astype(numpy.int64)
        exact = wide.dtype.kind in "iu" and bool((wide >= -(2**31)).all() and (wide < 2**31).all())
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidArgumentError(f"{argument}: {error}") from error
    if not exact or wide.ndim != 1:
        raise InvalidArgumentError(f"{argument} must be a list of integers that fit 32 bits")
    return numpy.ascontiguousarray(wide, numpy.int32)


def float32_array(values: Any, argument: str) -> Float32:
    """Scores or weights as contiguous float32."""
    try:
        array = numpy.asarray(values, numpy.float32, "C")
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidArgumentError(f"{argument}: {error}") from error
    if array.ndim == 0:
        raise InvalidArgumentError(f"{argument} is a single number; give an array")
    return array


def optional_f32(values: Any, argument: str) -> Float32 | None:
    """The same, where there is one."""
    return None if values is None else float32_array(values, argument)


def mask_bits(mask: Any) -> Any:
    """A bool mask [..., head_dim] as bits [..., head_dim / 8], lowest first; bits as they are."""
    if isinstance(mask, numpy.ndarray) and mask.dtype == numpy.bool_:
        return numpy.packbits(mask, axis=-1, bitorder="little")
    return mask
