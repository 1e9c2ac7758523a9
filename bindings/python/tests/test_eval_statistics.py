# SPDX-License-Identifier: Apache-2.0
"""Intervals and tests against values that others computed, and against what they promise."""

from __future__ import annotations

import math

import numpy
import pytest

from mustafar.eval.statistics import mcnemar, paired_interval, ratio_interval, wilson


def test_wilson_equals_published_values() -> None:
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for right, count, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        assert wilson(right, count) == pytest.approx((low, high), abs=5e-5)


def test_mcnemar_is_the_two_sided_binomial_test() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(0, 5) == pytest.approx(2 / 32)
    assert mcnemar(5, 0) == pytest.approx(2 / 32)
    assert mcnemar(1, 9) == pytest.approx(2 * (1 + 10) / 1024)
    assert mcnemar(7, 7) == 1.0
    assert mcnemar(0, 204) == pytest.approx(2 * 0.5**204)


def test_the_paired_interval_covers_the_truth() -> None:
    random = numpy.random.default_rng(1)
    lose, win, count = 0.06, 0.02, 204
    covered = 0
    for _ in range(2000):
        lost, won, _ = random.multinomial(count, [lose, win, 1 - lose - win])
        low, high = paired_interval(int(lost), int(won), count)
        covered += low <= win - lose <= high
    assert 0.93 < covered / 2000 < 0.98


def test_the_paired_interval_of_no_difference_is_not_empty() -> None:
    low, high = paired_interval(0, 0, 20)
    assert low < 0 < high
    assert low == -high


def test_the_ratio_interval_covers_the_truth() -> None:
    random = numpy.random.default_rng(2)
    covered = 0
    for trial in range(200):
        base = random.uniform(1.0, 1.6, 16)
        values = base * (1 + random.normal(0.05, 0.02, 16))
        low, high = ratio_interval(list(values), list(base), trial)
        covered += low <= 0.05 <= high
    assert covered > 200 * 0.86  # 16 rows: resampling is a little too sure


def test_the_ratio_interval_of_one_row_is_unknown() -> None:
    assert all(math.isnan(value) for value in ratio_interval([1.0], [1.0], 0))
