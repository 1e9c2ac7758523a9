# SPDX-License-Identifier: Apache-2.0
"""Which recipes are dominated, and what the pictures say of them."""

from __future__ import annotations

from mustafar.eval.results import Row, _dominated
from mustafar.eval.svg import BITS, NEEDLE, pareto, scatter


def row(recipe: str, size: int, bits: float | None, needle: float, copy: float) -> Row:
    return {
        "recipe": recipe,
        "bytes_per_token": size,
        "bits_per_byte": bits,
        "bits_per_byte_change": None if bits is None else bits - 1,
        "bits_per_byte_low": None,
        "bits_per_byte_high": None,
        "needle": needle,
        "needle_low": needle - 0.1,
        "needle_high": min(1, needle + 0.1),
        "copy": copy,
    }


ROWS = [
    row("dense", 100, 1.0, 1.0, 1.0),
    row("same", 50, 1.0, 1.0, 1.0),
    row("small", 20, 1.1, 0.9, 0.5),
    row("large", 30, 1.2, 0.9, 0.4),
    row("trade", 30, 1.2, 0.95, 0.4),
    row("twin", 20, 1.1, 0.9, 0.5),
]


def test_dominated_is_worse_nowhere_better() -> None:
    rows = [dict(entry) for entry in ROWS]
    _dominated(rows)
    found = {entry["recipe"]: entry["dominated_by"] for entry in rows}
    assert found == {
        "dense": ["same"],
        "same": [],
        "small": [],  # its twin is equal, so neither beats the other
        "large": ["small", "trade", "twin"],
        "trade": [],  # more bytes and bits than small, but it finds more needles
        "twin": [],
    }
    by_bits = {entry["recipe"]: entry["dominated_by_bits"] for entry in rows}
    assert by_bits["trade"] == ["small", "twin"]


def test_what_was_not_measured_dominates_nothing() -> None:
    rows = [dict(entry) for entry in ROWS[:1]] + [row("unknown", 10, None, 1.0, 1.0)]
    _dominated(rows)
    assert [entry["dominated_by"] for entry in rows] == [[], []]


def test_the_front_of_each_measure() -> None:
    assert [entry["recipe"] for entry in pareto(ROWS, BITS)] == ["same", "small", "twin"]
    names = [entry["recipe"] for entry in pareto(ROWS, NEEDLE)]
    assert names == ["same", "trade", "small", "twin"]


def test_the_picture_names_the_front_and_greys_the_rest() -> None:
    picture = scatter(ROWS, BITS, "a <b> & c")
    assert "a &lt;b&gt; &amp; c" in picture
    assert picture.count('class="dot on"') == 3
    assert picture.count('class="dot"') == 3
    assert 'class="best">same</text>' in picture
    assert 'class="soft">dense</text>' in picture
    assert scatter([row("unknown", 10, None, 1.0, 1.0)], BITS, "nothing") == ""
