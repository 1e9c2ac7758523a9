# SPDX-License-Identifier: Apache-2.0
"""Intervals and tests: of a share, of a paired difference, of a mean over rows. All at 95 %."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy

__all__ = ["mcnemar", "paired_interval", "ratio_interval", "wilson"]

_Z = 1.959964
_RESAMPLES = 10_000


def wilson(right: int, count: int) -> tuple[float, float]:
    """Interval of a share (Wilson 1927): stays inside 0..1 and is not empty at its ends."""
    share = right / count
    middle = share + _Z**2 / (2 * count)
    spread = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    scale = 1 + _Z**2 / count
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def mcnemar(lost: int, won: int) -> float:
    """Exact two-sided p-value that `lost` and `won` items (one right, the other wrong) differ.

    Items that both answer alike say nothing about the difference and do not count.
    """
    count, less = lost + won, min(lost, won)
    tail: float = sum(math.comb(count, i) for i in range(less + 1)) / 2**count
    return min(1.0, 2 * tail)


def paired_interval(lost: int, won: int, count: int) -> tuple[float, float]:
    """Interval of the difference of two paired shares, (won - lost) / count.

    Wald with half an item added to each of the four cells (Agresti and Min 2005), so that no
    difference in few items is not taken for certainty.
    """
    n, b, c = count + 2.0, lost + 0.5, won + 0.5
    middle = (c - b) / n
    spread = _Z * math.sqrt((b + c) - (c - b) ** 2 / n) / n
    return max(-1.0, middle - spread), min(1.0, middle + spread)


def ratio_interval(
    values: Sequence[float], base: Sequence[float], seed: int
) -> tuple[float, float]:
    """Interval of sum(values) / sum(base) - 1 over paired rows, by resampling rows (bootstrap)."""
    pairs = numpy.array([values, base])
    if pairs.shape[1] < 2:
        return float("nan"), float("nan")
    random = numpy.random.default_rng(seed)
    drawn = random.integers(pairs.shape[1], size=(_RESAMPLES, pairs.shape[1]))
    sums = pairs[:, drawn].sum(axis=2)
    low, high = numpy.quantile(sums[0] / sums[1] - 1, (0.025, 0.975))
    return float(low), float(high)
