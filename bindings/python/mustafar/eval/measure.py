# SPDX-License-Identifier: Apache-2.0
"""Units of measurement: some items or rows of text whose prefill all recipes share."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from .._arrays import Float32
from ..context import Context
from .attention import KeysValues
from .decode import Plan, filled, forced, prefill, prefill_packed, score
from .model import Ints, Llama
from .tasks import Item, Tasks

__all__ = ["ItemsUnit", "Result", "TextUnit", "Unit", "units_of"]

Result = dict[str, Any]  # plain JSON: it goes through the state file

_UNIT_TOKENS = 72_000  # prompts of a unit: their keys and values stay in memory
_TEXT_ROWS = 16
_GREEDY_STEPS = 64


@dataclass(frozen=True)
class ItemsUnit:
    """Items of one task and one length."""

    name: str
    items: list[Item]

    @property
    def cost(self) -> int:
        """Tokens that each recipe is fed."""
        return sum(len(item.fed) for item in self.items)

    def prefill(self, model: Llama, context: Context) -> list[KeysValues]:
        """What the recipes start from."""
        return prefill(model, context, [item.prompt[: item.prefix] for item in self.items])

    def measure(
        self,
        model: Llama,
        context: Context,
        plan: Plan,
        prefixes: list[KeysValues],
        dense: Result | None,
    ) -> Result:
        """Bytes of each answer that are guessed: before the first wrong one, and in all."""
        room = [len(item.prompt) + len(item.answer) for item in self.items]
        with filled(model, context, plan, prefixes, room) as caches:
            fed = [item.fed for item in self.items]
            logits = score(model, plan, caches, fed, [len(item.answer) for item in self.items])
        right = [rows.argmax(axis=1) == item.answer for rows, item in zip(logits, self.items)]
        return {
            "items": [item.name for item in self.items],
            "exact": [int(numpy.argmin(numpy.append(row, False))) for row in right],
            "right": [int(row.sum()) for row in right],
        }


@dataclass(frozen=True)
class TextUnit:
    """Rows of held-out text."""

    name: str
    first: int  # number of the first row
    rows: Ints  # [count, length]
    start: int  # bytes that are prefilled

    @property
    def cost(self) -> int:
        """Tokens that each recipe is fed: behind the prefix twice, and through the packed prefill."""
        return self.rows.size * 2 - self.rows.shape[0] * self.start

    def prefill(self, model: Llama, context: Context) -> list[KeysValues]:
        """What the recipes start from."""
        return prefill(model, context, list(self.rows[:, : self.start]))

    def measure(
        self,
        model: Llama,
        context: Context,
        plan: Plan,
        prefixes: list[KeysValues],
        dense: Result | None,
    ) -> Result:
        """Bits of the bytes behind the prefix, with either prefill; bytes of the caches; speed.

        Greedy decoding is timed token by token. With `dense`, the result of the dense cache, its
        tokens are fed, so that one pass tells where a recipe alone would leave its path, and how
        often it would choose otherwise.
        """
        count, length = self.rows.shape
        room = [length] * count
        steps = min(_GREEDY_STEPS, length - self.start)
        result: Result = {"rows": list(range(self.first, self.first + count))}
        with filled(model, context, plan, prefixes, room) as caches:
            with contextlib.ExitStack() as stack:
                forks = [stack.enter_context(cache.fork()) for cache in caches]
                begin = time.perf_counter()
                given = None if dense is None else numpy.array(dense["greedy"])
                chosen = forced(model, forks, self.rows[:, self.start], steps, given)
                result["seconds"] = time.perf_counter() - begin
                result["attend_seconds"] = sum(fork.stats().attend_ns for fork in forks) / 1e9
                result["decoded"] = chosen.size
                result["greedy"] = chosen.tolist()
            result["bits"] = self._bits(model, plan, caches)
            result["cache_bytes"] = [cache.bytes().total for cache in caches]
        with filled(model, context, plan, [[] for _ in room], room) as caches:
            prefill_packed(model, caches, list(self.rows[:, : self.start]))
            result["bits_packed"] = self._bits(model, plan, caches)
        return result

    def _bits(self, model: Llama, plan: Plan, caches: Sequence[Any]) -> list[float]:
        tail = self.rows[:, self.start :]
        wanted = [tail.shape[1] - 1] * len(tail)
        logits = score(model, plan, caches, list(tail[:, :-1]), wanted)
        return [_bits(rows, row[1:]) for rows, row in zip(logits, tail)]


Unit = ItemsUnit | TextUnit


def _bits(logits: Float32, tokens: Ints) -> float:
    """Mean of -log2 p(token)."""
    wide = logits.astype(numpy.float64)
    wide -= wide.max(axis=1, keepdims=True)
    chosen = wide[numpy.arange(len(tokens)), tokens]
    return float((numpy.log(numpy.exp(wide).sum(axis=1)) - chosen).mean() / numpy.log(2))


def units_of(tasks: Tasks) -> list[Unit]:
    """Text first, then the tasks in turn: what is done when somebody stops is a fair sample."""
    units: list[tuple[int, int, Unit]] = []
    if tasks.text is not None:
        for begin in range(0, len(tasks.text.rows), _TEXT_ROWS):
            rows = tasks.text.rows[begin : begin + _TEXT_ROWS]
            unit = TextUnit(f"text/{begin}", begin, rows, tasks.text.prefix)
            units.append((begin // _TEXT_ROWS, 0, unit))
    groups: dict[tuple[str, int], list[Item]] = {}
    for item in tasks.items:
        groups.setdefault((item.kind, item.length), []).append(item)
    for (kind, length), items in groups.items():
        share = max(1, _UNIT_TOKENS // max(length, 1))
        for number, begin in enumerate(range(0, len(items), share)):
            part = items[begin : begin + share]
            units.append((number, 1, ItemsUnit(f"{kind}/{length}/{begin}", part)))
    units.sort(key=lambda entry: entry[:2])
    return [unit for _, _, unit in units]
