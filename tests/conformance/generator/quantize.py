# SPDX-License-Identifier: Apache-2.0
"""Values to codes and back: docs/format.md 2.3. Groups along a channel over tokens: KIVI, arXiv
2402.02750, 3.1. Arithmetic is binary32, one rounding per operation, a true division; reading back
is exact (here in float64)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bits import Floats

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    scale: np.float16
    zero: np.float16
    codes: "list[int]"

    def meta(self) -> bytes:
        return self.scale.tobytes() + self.zero.tobytes()

    def values(self) -> Doubles:
        return np.float64(self.zero) + np.array(self.codes, np.float64) * np.float64(self.scale)


def quantize(kept: Floats, bits: int) -> Group:
    if len(kept) == 0:
        return Group(np.float16(0), np.float16(0), [])
    levels = np.float32(2**bits - 1)
    lo, hi = np.float32(kept.min()), np.float32(kept.max())
    zero = np.float16(lo) + np.float16(0)  # -0 becomes +0
    scale = np.float16(np.float32(hi - lo) / levels)
    if scale == 0:
        return Group(np.float16(0), zero, [0] * len(kept))
    steps = (kept - np.float32(zero)) / np.float32(scale)
    codes = np.clip(np.rint(steps), 0, levels)
    return Group(scale, zero, [int(code) for code in codes])


def pack_codes(codes: "list[int]", bits: int) -> bytes:
    """Code i takes the bits i * b and up; bits behind the last are 0."""
    word = sum(code << (i * bits) for i, code in enumerate(codes))
    return word.to_bytes((len(codes) * bits + 7) // 8, "little")
