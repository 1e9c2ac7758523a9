# SPDX-License-Identifier: Apache-2.0
"""Array texts (../README.md, "Arrays") with the standard library: bits, bytes and numbers."""

from __future__ import annotations

import struct
from collections.abc import Sequence

# Per dtype: letter of its bits and of its values in `struct`, digits of an element.
LETTERS = {"f32": ("I", "f", 8), "f16": ("H", "e", 4), "bf16": ("H", "", 4), "u8": ("B", "B", 2)}
# Per dtype: bits of sign and mantissa, smallest exponent, where the exponent begins.
RANDOM = {"f32": (0x807FFFFF, 120, 23), "f16": (0x83FF, 8, 10), "bf16": (0x807F, 120, 7)}
M64 = (1 << 64) - 1


def splitmix64(seed: int, index: int) -> int:
    z = ((seed << 32) + index + 1) * 0x9E3779B97F4A7C15 & M64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & M64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & M64
    return z ^ (z >> 31)


def random_bits(dtype: str, seed: int, first: int, count: int) -> list[int]:
    words = (splitmix64(seed, first + index) for index in range(count))
    if dtype == "u8":
        return [z & 0xFF for z in words]
    kept, smallest, at = RANDOM[dtype]
    return [z & kept | (smallest + ((z >> 32) & 7)) << at for z in words]


def dtype_of(text: str) -> str:
    kind, *rest = text.split(";")[0].split(":")
    return rest[0] if kind in ("gen", "all") else kind


def read_array(text: str, count: int = 0) -> tuple[str, list[int]]:
    """Dtype and bits of the elements; `count` of them for texts that do not say how many."""
    body, *patches = text.split(";")
    kind, *rest = body.split(":")
    dtype = dtype_of(text)
    if kind == "all":
        bits = [int(rest[1], 16)] * count
    elif kind == "gen":
        mask = int(rest[2], 16) if rest[2:] else M64
        first = int(rest[3]) if rest[3:] else 0
        bits = [one & mask for one in random_bits(dtype, int(rest[1]), first, count)]
    else:
        data, (letter, _, digits) = bytes.fromhex(rest[0]), LETTERS[dtype]
        bits = list(struct.unpack(f">{2 * len(data) // digits}{letter}", data))
    for patch in patches:
        index, value = patch.split("=")
        bits[int(index)] = int(value, 16)
    return dtype, bits


def to_bytes(dtype: str, bits: Sequence[int]) -> bytes:
    """As they travel: little-endian, one after the other."""
    return struct.pack(f"<{len(bits)}{LETTERS[dtype][0]}", *bits)


def numbers(dtype: str, data: bytes) -> list[float]:
    """What the elements mean."""
    if dtype == "bf16":
        words = struct.unpack(f"<{len(data) // 2}H", data)
        dtype, data = "f32", struct.pack(f"<{len(words)}I", *(word << 16 for word in words))
    letter, size = LETTERS[dtype][1], LETTERS[dtype][2] // 2
    return [float(one) for one in struct.unpack(f"<{len(data) // size}{letter}", data)]
