# SPDX-License-Identifier: Apache-2.0
"""NumPy arrays as bodies: float16 is f16, float32 is f32, uint16 holds the bits of bf16. Little-endian, row-major."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import BadReply, ClientError

if TYPE_CHECKING:
    import numpy.typing

    Array = numpy.typing.NDArray[Any]

try:
    import numpy
except ImportError:  # all but tensors works without
    numpy = None  # type: ignore[assignment]

NAMES = {"float16": "f16", "float32": "f32", "uint16": "bf16"}
KINDS = {name: kind for kind, name in NAMES.items()}


def _need() -> None:
    if numpy is None:
        raise ClientError("tensors need NumPy: pip install numpy, or the package python3-numpy")


def as_array(value: Any, what: str, ndim: int) -> Array:
    """`value` as a contiguous little-endian array of a type that is sent."""
    _need()
    array = numpy.asarray(value)
    if array.dtype.name not in NAMES:
        raise ClientError(f"{what}: {array.dtype} is not sent; float16, float32, or uint16 with the bits of bf16")
    if array.ndim != ndim:
        raise ClientError(f"{what}: shape {array.shape} has {array.ndim} axes, {ndim} are expected")
    return numpy.ascontiguousarray(array, array.dtype.newbyteorder("<"))


def numpy_f32(value: Any) -> Array:
    """Numbers as f32, whatever they are."""
    _need()
    return numpy.asarray(value, numpy.float32)


def dtype_name(array: Array) -> str:
    return NAMES[array.dtype.name]


def data_of(array: Array) -> memoryview:
    """Its bytes, not copied."""
    return array.reshape(-1).view(numpy.uint8).data


def array_of(data: bytes | memoryview, dtype: str, shape: tuple[int, ...]) -> Array:
    """The tensor of a reply. It owns its bytes, so that it can be written to."""
    _need()
    if dtype not in KINDS:
        raise BadReply(f"a tensor of type {dtype!r} is not known")
    flat = numpy.frombuffer(data, numpy.dtype(KINDS[dtype]).newbyteorder("<"))
    count = 1
    for size in shape:
        count *= size
    if flat.size != count:
        raise BadReply(f"a tensor of shape {shape} came with {flat.size} elements")
    return flat.reshape(shape).astype(KINDS[dtype])
