# SPDX-License-Identifier: Apache-2.0
"""Array texts (tests/conformance/README.md, "Arrays") as NumPy arrays; bf16 is uint16."""

from __future__ import annotations

from typing import Any

import numpy
import numpy.typing

Array = numpy.typing.NDArray[Any]

BITS: dict[str, type[numpy.unsignedinteger[Any]]] = {
    "f32": numpy.uint32,
    "f16": numpy.uint16,
    "bf16": numpy.uint16,
    "u8": numpy.uint8,
}
VIEWS = {"f32": numpy.float32, "f16": numpy.float16, "bf16": numpy.uint16, "u8": numpy.uint8}
# Per dtype: bits of sign and mantissa, smallest exponent, where the exponent begins.
RANDOM = {"f32": (0x807FFFFF, 120, 23), "f16": (0x83FF, 8, 10), "bf16": (0x807F, 120, 7)}


def splitmix64(seed: int, first: int, count: int) -> numpy.typing.NDArray[numpy.uint64]:
    """Steele, Lea and Flood, OOPSLA 2014, as a counter."""
    index = numpy.arange(first + 1, first + count + 1, dtype=numpy.uint64)
    z = (index + numpy.uint64(seed << 32)) * numpy.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    return z ^ (z >> numpy.uint64(31))


def random_bits(dtype: str, seed: int, first: int, count: int) -> Array:
    z = splitmix64(seed, first, count)
    if dtype == "u8":
        return (z & numpy.uint64(0xFF)).astype(numpy.uint8)
    kept, smallest, at = RANDOM[dtype]
    exponent = (z >> numpy.uint64(32)) & numpy.uint64(7)
    bits = (z & numpy.uint64(kept)) | (exponent + numpy.uint64(smallest)) << numpy.uint64(at)
    return bits.astype(BITS[dtype])


def read_array(text: str, count: int = 0) -> tuple[str, Array]:
    """Dtype and flat array of a text; `count` elements for those that do not say how many."""
    body, *patches = text.split(";")
    kind, *rest = body.split(":")
    if kind in ("gen", "all"):
        dtype, value, *more = rest
        if kind == "all":
            bits = numpy.full(count, int(value, 16), BITS[dtype])
        else:
            mask = int(more[0], 16) if more else ~0
            bits = random_bits(dtype, int(value), int(more[1]) if more[1:] else 0, count)
            bits &= BITS[dtype](mask & numpy.iinfo(BITS[dtype]).max)
    else:
        dtype = kind
        big_endian = numpy.dtype(BITS[dtype]).newbyteorder(">")
        bits = numpy.frombuffer(bytes.fromhex(rest[0]), big_endian).astype(BITS[dtype])
    for patch in patches:
        index, value = patch.split("=")
        bits[int(index)] = int(value, 16)
    return dtype, bits.view(VIEWS[dtype])


def numbers(dtype: str, array: Array) -> numpy.typing.NDArray[numpy.float64]:
    """What the elements mean."""
    if dtype == "bf16":
        array = (array.astype(numpy.uint32) << 16).view(numpy.float32)
    return array.astype(numpy.float64)
