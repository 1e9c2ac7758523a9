# SPDX-License-Identifier: Apache-2.0
"""Units of measurement: some items, or rows of text, that are decoded as one batch.

All recipes of a run start from the same prefill of a unit. A unit has keys, under which its results
are stored: one for each item, so that another batch of them needs no new measurement; one for all
of a unit's text.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from .._arrays import Float32
from ..cache import Cache
from ..context import Context
from .attention import KeysValues
from .decode import Plan, filled, forced, prefill, prefill_packed, score
from .model import Ints, Llama
from .tasks import KINDS, Item, Tasks

__all__ = ["ItemsUnit", "Result", "TextUnit", "Unit", "units_of"]

Result = dict[str, Any]  # plain JSON: it goes through the state file

_UNIT_TOKENS = 72_000  # prompts of a unit: their keys and values stay in memory
_TEXT_ROWS = 8
_HARSH_EVERY = 4
_GREEDY_STEPS = 64


@dataclass(frozen=True)
class ItemsUnit:
    """Items of one task, of any lengths."""

    items: list[Item]

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.items[0].kind} {self.items[0].name}.."

    @property
    def keys(self) -> list[str]:
        """A key for each item."""
        return [item.key for item in self.items]

    @property
    def cost(self) -> int:
        """Tokens that each recipe is fed."""
        return sum(len(item.fed) for item in self.items)

    def prefill(self, model: Llama, context: Context) -> dict[str, KeysValues]:
        """What the recipes start from."""
        kept = prefill(model, context, [item.prompt[: item.prefix] for item in self.items])
        return dict(zip(self.keys, kept, strict=True))

    def part(self, keys: Collection[str]) -> ItemsUnit:
        """The items with these keys."""
        return ItemsUnit([item for item in self.items if item.key in keys])

    def measure(
        self,
        model: Llama,
        context: Context,
        plan: Plan,
        prefixes: dict[str, KeysValues],
        dense: Result | None,
    ) -> list[Result]:
        """Bytes of each answer that are guessed: before the first wrong one, and in all."""
        room = [len(item.prompt) + len(item.answer) for item in self.items]
        with filled(model, context, plan, [prefixes[key] for key in self.keys], room) as caches:
            fed = [item.fed for item in self.items]
            logits = score(model, plan, caches, fed, [len(item.answer) for item in self.items])
        right = [
            rows.argmax(axis=1) == item.answer
            for rows, item in zip(logits, self.items, strict=True)
        ]
        return [
            {"exact": int(numpy.argmin(numpy.append(row, False))), "right": int(row.sum())}
            for row in right
        ]


@dataclass(frozen=True)
class TextUnit:
    """Rows of held-out text."""

    rows: Ints  # [count, length]
    start: int  # bytes that are prefilled

    @property
    def name(self) -> str:
        """For people."""
        return "text"

    @property
    def keys(self) -> list[str]:
        """One: its bits, bytes and times belong together."""
        content = hashlib.sha256(self.rows.tobytes()).hexdigest()[:16]
        return [f"text/{len(self.rows)}x{self.rows.shape[1]}/{content}"]

    @property
    def cost(self) -> int:
        """Tokens that each recipe is fed: behind the prefix, and the rows of the packed prefill."""
        return len(self.rows) * (self.rows.shape[1] - self.start) + self.harsh.size

    @property
    def harsh(self) -> Ints:
        """The rows that are also measured with a packed prefill: it takes long."""
        return self.rows[::_HARSH_EVERY]

    def prefill(self, model: Llama, context: Context) -> dict[str, KeysValues]:
        """What the recipes start from."""
        kept = prefill(model, context, list(self.rows[:, : self.start]))
        return {str(row): prefix for row, prefix in enumerate(kept)}

    def part(self, keys: Collection[str]) -> TextUnit:
        """All of it."""
        return self

    def measure(
        self,
        model: Llama,
        context: Context,
        plan: Plan,
        prefixes: dict[str, KeysValues],
        dense: Result | None,
    ) -> list[Result]:
        """Bits of the bytes behind the prefix, with either prefill; bytes of the caches; speed.

        Greedy decoding is timed token by token. With `dense`, the result of the dense cache, its
        tokens are fed, so that one pass tells where a recipe alone would leave its path, and how
        often it would choose otherwise.
        """
        room = [self.rows.shape[1]] * len(self.rows)
        with filled(model, context, plan, list(prefixes.values()), room) as caches:
            result = self._greedy(model, caches, dense)
            result["bits"] = _bits(model, plan, caches, self.rows[:, self.start :])
            result["cache_bytes"] = [cache.bytes().total for cache in caches]
        harsh = self.harsh
        with filled(model, context, plan, [[] for _ in harsh], room[: len(harsh)]) as caches:
            prefill_packed(model, caches, list(harsh[:, : self.start]))
            result["bits_packed"] = _bits(model, plan, caches, harsh[:, self.start :])
        return [result]

    def _greedy(self, model: Llama, caches: Sequence[Cache], dense: Result | None) -> Result:
        """Greedy decoding behind the prefix, on forks of the caches, which stay as they are."""
        steps = min(_GREEDY_STEPS, self.rows.shape[1] - self.start)
        given = None if dense is None else numpy.array(dense["greedy"])
        with contextlib.ExitStack() as stack:
            forks = [stack.enter_context(cache.fork()) for cache in caches]
            chosen, seconds = forced(model, forks, self.rows[:, self.start], steps, given)
        return {
            "greedy": chosen.tolist(),
            "tokens_per_second": len(forks) / float(numpy.median(seconds)),
        }


Unit = ItemsUnit | TextUnit


def _bits(model: Llama, plan: Plan, caches: Sequence[Cache], tail: Ints) -> list[float]:
    """Mean of -log2 p(next byte) for each row of `tail`."""
    wanted = [tail.shape[1] - 1] * len(tail)
    logits = score(model, plan, caches, list(tail[:, :-1]), wanted)
    return [_entropy(rows, row[1:]) for rows, row in zip(logits, tail, strict=True)]


def _entropy(logits: Float32, tokens: Ints) -> float:
    """Mean of -log2 p(token)."""
    wide = logits.astype(numpy.float64)
    wide -= wide.max(axis=1, keepdims=True)
    chosen = wide[numpy.arange(len(tokens)), tokens]
    return float((numpy.log(numpy.exp(wide).sum(axis=1)) - chosen).mean() / numpy.log(2))


def units_of(tasks: Tasks) -> list[Unit]:
    """Text first, then the tasks in turn: what is done when somebody stops is a fair sample."""
    units: list[tuple[float, Unit]] = []
    if tasks.text is not None:
        count = -(-len(tasks.text.rows) // _TEXT_ROWS)
        for group in range(count):  # each spread over the whole text
            part = TextUnit(tasks.text.rows[group::count], tasks.text.prefix)
            units.append((group / count, part))
    for kind in KINDS:
        items = [item for item in tasks.items if item.kind == kind]
        batch: list[Item] = []
        for place, item in enumerate(items):
            batch.append(item)
            full = sum(len(member.prompt) for member in batch) > _UNIT_TOKENS
            if full or place + 1 == len(items):
                units.append(((place + 1 - len(batch)) / len(items), ItemsUnit(batch)))
                batch = []
    units.sort(key=lambda entry: entry[0])
    return [unit for _, unit in units]
