# SPDX-License-Identifier: Apache-2.0
"""From what was measured to a row per recipe. Shares and changes are fractions; None = unknown."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from .decode import Plan
from .measure import ItemsUnit, Result, TextUnit, Unit
from .model import Llama
from .state import State
from .statistics import mcnemar, paired_interval, ratio_interval, wilson
from .tasks import KINDS, Item

__all__ = ["Row", "rows_of"]

Row = dict[str, Any]

# By what the answers of a task are broken down: the key of the row, and of an item.
_BREAKDOWNS = {
    "needle": ("length", "depth", "needles"),
    "copy": ("length", "segment", "segment_kind"),
    "chain": ("length", "steps"),
}
DEPTHS = 5  # bins of the depth of a needle


def rows_of(
    model: Llama, units: list[Unit], plans: list[Plan], state: State, seed: int
) -> list[Row]:
    """A row per recipe, dense first, with what the state has of it."""
    rows = []
    for plan in plans:
        row = _bytes(model, plan)
        row |= _text(units, plans[0], plan, state, seed)
        row |= _tasks(units, plans[0], plan, state)
        row["measured"] = row["items"] > 0 or row["text_rows"] > 0
        row["complete"] = all(
            state.get(key, plan.recipe.digest) for unit in units for key in unit.keys
        )
        rows.append(row)
    _dominated(rows)
    return rows


def _bytes(model: Llama, plan: Plan) -> Row:
    """What the library says that packed rows take; means over layers and kv heads."""
    geometry = model.config.geometry
    heads = [(i, h) for i in range(geometry.layers) for h in range(geometry.kv_heads)]
    k, v = (
        sum(plan.recipe.side(geometry, i, h, side).row_bytes for i, h in heads) for side in (0, 1)
    )
    dense = len(heads) * 2 * (geometry.head_dim_k + geometry.head_dim_v)
    return {
        "model": model.name,
        "recipe": plan.name,
        "digest": plan.recipe.digest,
        "step": plan.window.step,
        "bytes_per_token": k + v,
        "row_bytes_k": k / len(heads),
        "row_bytes_v": v / len(heads),
        "of_dense": (k + v) / dense,
    }


def _text(units: list[Unit], dense: Plan, plan: Plan, state: State, seed: int) -> Row:
    """Bits per byte with both prefills, cache bytes, speed, agreement."""
    pairs: list[tuple[Result, Result]] = []
    for unit in units:
        if isinstance(unit, TextUnit):
            mine = state.get(unit.keys[0], plan.recipe.digest)
            base = state.get(unit.keys[0], dense.recipe.digest)
            if mine is not None and base is not None:
                pairs.append((mine, base))
    row: Row = {}
    for name, key in (("bits_per_byte", "bits"), ("bits_packed_prefill", "bits_packed")):
        values = [bits for mine, _ in pairs for bits in mine[key]]
        bases = [bits for _, base in pairs for bits in base[key]]
        known = bool(values)
        row[name] = sum(values) / len(values) if known else None
        row[f"{name}_change"] = sum(values) / sum(bases) - 1 if known else None
        low, high = ratio_interval(values, bases, seed) if known else (math.nan, math.nan)
        row[f"{name}_low"], row[f"{name}_high"] = _finite(low), _finite(high)
    tokens = [
        (a, b) for mine, base in pairs for a, b in zip(mine["greedy"], base["greedy"], strict=True)
    ]
    same = [[x == y for x, y in zip(a, b, strict=True)] for a, b in tokens]
    prefix = [([*flags, False]).index(False) for flags in same]
    bytes_ = [value for mine, _ in pairs for value in mine["cache_bytes"]]
    row["agreement"] = _mean(flag for flags in same for flag in flags)
    row["agreement_prefix"] = _mean(prefix)
    row["cache_bytes"] = _mean(bytes_)
    row["text_rows"] = len(bytes_)
    row["tokens_per_second"] = _mean(mine["tokens_per_second"] for mine, _ in pairs)
    return row


def _tasks(units: list[Unit], dense: Plan, plan: Plan, state: State) -> Row:
    """Accuracy of each task, beside that of the dense cache on the same items."""
    row: Row = {"items": 0}
    for kind in KINDS:
        found = list(_answers(units, kind, dense, plan, state))
        row |= _accuracy(kind, found)
        row["items"] += len(found)
        for key in _BREAKDOWNS[kind]:
            row[f"{kind}_by_{key}"] = _split(found, key)
        if kind == "needle":
            row["needle_by_place"] = _split(found, "length", "depth")
    return row


class _Answer:
    """One item, answered by a recipe and by the dense cache."""

    def __init__(self, item: Item, exact: int, right: int, dense: int) -> None:
        self.item, self.copied, self.right_bytes = item, exact, right
        self.right, self.dense = exact == len(item.answer), dense == len(item.answer)


def _answers(
    units: list[Unit], kind: str, dense: Plan, plan: Plan, state: State
) -> Iterable[_Answer]:
    for unit in units:
        if isinstance(unit, ItemsUnit) and unit.items[0].kind == kind:
            for item in unit.items:
                mine = state.get(item.key, plan.recipe.digest)
                base = state.get(item.key, dense.recipe.digest)
                if mine is not None and base is not None:
                    yield _Answer(item, mine["exact"], mine["right"], base["exact"])


def _accuracy(kind: str, found: list[_Answer]) -> Row:
    count = len(found)
    right = sum(answer.right for answer in found)
    lost = sum(answer.dense and not answer.right for answer in found)
    won = sum(answer.right and not answer.dense for answer in found)
    low, high = wilson(right, count) if count else (None, None)
    change_low, change_high = paired_interval(lost, won, count) if count else (None, None)
    total = sum(len(answer.item.answer) for answer in found)
    return {
        kind: right / count if count else None,
        f"{kind}_low": low,
        f"{kind}_high": high,
        f"{kind}_items": count,
        f"{kind}_lost": lost,
        f"{kind}_won": won,
        f"{kind}_change": (won - lost) / count if count else None,
        f"{kind}_change_low": change_low,
        f"{kind}_change_high": change_high,
        f"{kind}_p": mcnemar(lost, won) if count else None,
        f"{kind}_bytes": sum(a.right_bytes for a in found) / total if count else None,
        f"{kind}_exact_length": _mean(answer.copied for answer in found),
    }


def _field(item: Item, key: str) -> str | None:
    """What an item is counted under; None where it does not say."""
    if key == "length":
        return str(item.length)
    value = item.fields.get(key)
    if key == "depth" and isinstance(value, (int, float)):
        low = min(int(value * DEPTHS), DEPTHS - 1) / DEPTHS
        return f"{low:.1f}-{low + 1 / DEPTHS:.1f}"
    return None if value is None else str(value)


def _split(found: list[_Answer], *keys: str) -> dict[str, dict[str, float | int]]:
    """Accuracy for each value of the keys; several are joined by a slash."""
    groups: dict[str, list[_Answer]] = {}
    for answer in found:
        names = [_field(answer.item, key) for key in keys]
        known = [name for name in names if name is not None]
        if len(known) == len(keys):
            groups.setdefault("/".join(known), []).append(answer)
    order = sorted(groups, key=lambda name: (len(name), name))
    return {
        name: {
            "accuracy": sum(answer.right for answer in groups[name]) / len(groups[name]),
            "items": len(groups[name]),
        }
        for name in order
    }


def _dominated(rows: list[Row]) -> None:
    """Recipes that take no more bytes and are nowhere worse, once somewhere better.

    `dominated_by` counts bits per byte, needle and copy; `dominated_by_bits` bits per byte alone.
    """
    for name, measures in (
        ("dominated_by", {"bits_per_byte": 1, "needle": -1, "copy": -1}),
        ("dominated_by_bits", {"bits_per_byte": 1}),
    ):
        known = {key: sign for key, sign in measures.items() if rows[0].get(key) is not None}
        points = [
            (
                row["recipe"],
                [row["bytes_per_token"], *(_signed(row, k, s) for k, s in known.items())],
            )
            for row in rows
        ]
        for row, (_, mine) in zip(rows, points, strict=True):
            row[name] = [
                other
                for other, point in points
                if known and point != mine and all(a <= b for a, b in zip(point, mine, strict=True))
            ]


def _signed(row: Row, key: str, sign: int) -> float:
    value: float | None = row[key]
    return math.inf if value is None else sign * value


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return sum(listed) / len(listed) if listed else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
