# SPDX-License-Identifier: Apache-2.0
"""Raw bits of f16, bf16 and f32, and the array texts of the vectors (README.md, "Arrays")."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.uint16]

MASK64 = (1 << 64) - 1
DIGITS = {"f32": 8, "f16": 4, "bf16": 4, "u8": 2}


def splitmix64(seed: int, index: int) -> int:
    """Steele, Lea and Flood, OOPSLA 2014, as a counter: element `index` of stream `seed`."""
    z = ((seed << 32) + index + 1) * 0x9E3779B97F4A7C15 & MASK64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK64
    return z ^ (z >> 31)


def random_bits(dtype: str, seed: int, index: int) -> int:
    """Bits of a number of either sign, magnitude 2^-7 to 2, without any rounding."""
    z = splitmix64(seed, index)
    exponent = (z >> 32) & 7
    if dtype == "f16":
        return (z & 0x83FF) | (8 + exponent) << 10
    if dtype == "bf16":
        return (z & 0x807F) | (120 + exponent) << 7
    if dtype == "f32":
        return (z & 0x807FFFFF) | (120 + exponent) << 23
    return z & 0xFF


class Array:
    """An array of a vector: its text, and what the text means."""

    def __init__(self, text: str, count: int) -> None:
        self.text, self.count = text, count
        head, *patches = text.split(";")
        kind, *rest = head.split(":")
        if kind == "gen":
            self.dtype = rest[0]
            mask = int(rest[2], 16) if len(rest) > 2 else MASK64
            seed = int(rest[1])
            first = int(rest[3]) if len(rest) > 3 else 0
            bits = [random_bits(self.dtype, seed, first + i) & mask for i in range(count)]
        elif kind == "all":
            self.dtype = rest[0]
            bits = [int(rest[1], 16)] * count
        else:
            self.dtype = kind
            width = DIGITS[kind]
            bits = [int(rest[0][at : at + width], 16) for at in range(0, len(rest[0]), width)]
        for patch in patches:
            at, value = patch.split("=")
            bits[int(at)] = int(value, 16)
        assert len(bits) == count, (text, len(bits), count)
        self.bits = bits

    def f32(self) -> Floats:
        return to_f32(self.bits, self.dtype)


def to_f32(bits: "list[int] | Halves", dtype: str) -> Floats:
    if dtype == "f32":
        return np.array(bits, dtype=np.uint32).view(np.float32)
    halves = np.array(bits, dtype=np.uint16)
    if dtype == "f16":
        return halves.view(np.float16).astype(np.float32)
    return (halves.astype(np.uint32) << 16).view(np.float32)


def round_half(values: Floats, dtype: str) -> Halves:
    """Nearest f16 or bf16, ties to even (docs/format.md 1.1)."""
    values = np.asarray(values, dtype=np.float32)
    if dtype == "f16":
        with np.errstate(over="ignore"):
            return values.astype(np.float16).view(np.uint16)
    bits = values.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def text_of(values: "npt.NDArray[np.float32] | npt.NDArray[np.float64]") -> str:
    """An expected array as `f32:` bits."""
    bits = np.asarray(values, dtype=np.float32).reshape(-1).view(np.uint32)
    return "f32:" + "".join(f"{int(b):08x}" for b in bits)


def text_of_half(values: "npt.NDArray[np.float64]", dtype: str) -> str:
    bits = round_half(np.asarray(values, dtype=np.float32).reshape(-1), dtype)
    return dtype + ":" + "".join(f"{int(b):04x}" for b in bits)
