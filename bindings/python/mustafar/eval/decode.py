# SPDX-License-Identifier: Apache-2.0
"""Decoding on caches: filling them, scoring given tokens, and choosing tokens greedily."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy

from .._arrays import Float32
from ..cache import Cache
from ..context import Context
from ..recipe import Recipe
from ..types import Window
from .attention import CacheAttention, KeysValues, RecordingAttention
from .model import Ints, Llama

__all__ = ["Plan", "filled", "forced", "prefill", "prefill_packed", "score"]

CHUNK = 32  # tokens of a sequence in one forward pass where nothing says otherwise
_DENSE = {"schema": "mustafar.recipe", "version": 1, "name": "dense", "precise": True}
_PREFILL_TOKENS = 8192  # rows of one matrix product: enough for BLAS, little enough for caches


@dataclass(frozen=True)
class Plan:
    """A recipe as it is measured."""

    name: str
    recipe: Recipe
    window: Window
    whole: bool  # packs nothing lossy: rows read the same wherever they are

    def run(self, position: int, left: int) -> int:
        """Tokens from `position` on that one pass may take with the result of single tokens.

        A token is appended, then attends. Rows packed by a later append must not be seen by it, so
        a pass ends before the next token that packs.
        """
        if self.whole:
            return min(left, CHUNK)
        dense = self.window.sink + self.window.recent
        step = self.window.step
        packed = max(0, position + 1 - dense) // step * step
        return min(left, CHUNK, dense + packed + step - 1 - position)


def prefill(model: Llama, context: Context, sequences: Sequence[Ints]) -> list[KeysValues]:
    """Keys and values of sequences, as a dense cache gives them.

    Its attention multiplies 16-bit rows in float32, as engines do, and is many times faster than
    NumPy. Every recipe of a run starts from the same prefill.
    """
    kept: list[KeysValues] = []
    batch: list[Ints] = []
    for index, tokens in enumerate(sequences):
        batch.append(tokens)
        last = index + 1 == len(sequences)
        if last or sum(map(len, batch)) + len(sequences[index + 1]) > _PREFILL_TOKENS:
            kept += _prefill(model, context, batch)
            batch = []
    return kept


def _prefill(model: Llama, context: Context, batch: Sequence[Ints]) -> list[KeysValues]:
    sequences: list[KeysValues] = [[] for _ in batch]
    members = [i for i, tokens in enumerate(batch) if len(tokens)]
    counts = [len(batch[i]) for i in members]
    if not members:
        return sequences
    with contextlib.ExitStack() as stack:
        caches = [
            stack.enter_context(Cache(context, model.config.geometry, _DENSE, max_tokens=count))
            for count in counts
        ]
        attention = RecordingAttention(caches, counts)
        positions = numpy.concatenate([numpy.arange(count) for count in counts])
        model.prefill(numpy.concatenate([batch[i] for i in members]), positions, attention)
    for i, recorded in zip(members, attention.sequences, strict=True):
        sequences[i] = recorded
    return sequences


@contextlib.contextmanager
def filled(
    model: Llama, context: Context, plan: Plan, prefixes: Sequence[KeysValues], room: Sequence[int]
) -> Iterator[list[Cache]]:
    """Caches that hold `prefixes`; `room` tokens fit into each. Closed at the end."""
    with contextlib.ExitStack() as stack:
        caches = []
        for prefix, tokens in zip(prefixes, room, strict=True):
            cache = Cache(context, model.config.geometry, plan.recipe, max_tokens=tokens)
            caches.append(stack.enter_context(cache))
            for layer, (k, v) in enumerate(prefix):
                cache.append(layer, k, v)
        yield caches


def score(
    model: Llama,
    plan: Plan,
    caches: Sequence[Cache],
    tokens: Sequence[Ints],
    wanted: Sequence[int],
) -> list[Float32]:
    """Feeds `tokens[i]` to cache i; logits [wanted[i], vocab] behind the last `wanted[i]` of them.

    As if tokens came one at a time; `Plan.run` says why several may go together.
    """
    hidden = [numpy.empty((count, model.config.hidden), numpy.float32) for count in wanted]
    begins = [cache.length().total for cache in caches]
    done = [0] * len(tokens)
    active = [i for i, sequence in enumerate(tokens) if len(sequence)]
    while active:
        runs = [plan.run(begins[i] + done[i], len(tokens[i]) - done[i]) for i in active]
        attention = CacheAttention([caches[i] for i in active], runs)
        parts = [(i, done[i], done[i] + run) for i, run in zip(active, runs, strict=True)]
        out = _pass(model, attention, [(tokens[i][a:b], begins[i] + a) for i, a, b in parts])
        row = 0
        for i, begin, end in parts:
            first = len(tokens[i]) - wanted[i]  # of the tokens whose logits are wanted
            if end > first:
                from_ = max(begin, first)
                hidden[i][from_ - first : end - first] = out[
                    row + from_ - begin : row + end - begin
                ]
            row += end - begin
            done[i] = end
        active = [i for i in active if done[i] < len(tokens[i])]
    return [model.logits(rows) for rows in hidden]


def _pass(model: Llama, attention: CacheAttention, parts: list[tuple[Ints, int]]) -> Float32:
    """One forward pass over runs of tokens, each with the position of its first."""
    positions = [numpy.arange(begin, begin + len(tokens)) for tokens, begin in parts]
    flat = numpy.concatenate([tokens for tokens, _ in parts])
    return model.forward(flat, numpy.concatenate(positions), attention)


def prefill_packed(model: Llama, caches: Sequence[Cache], tokens: Sequence[Ints]) -> None:
    """The harsher prefill: each chunk of 32 tokens attends on what the caches hold, packed.

    A chunk is packed only once it is through, as an engine with chunked prefill would do.
    """
    for begin in range(0, max(map(len, tokens)), CHUNK):
        parts = [(i, rows[begin : begin + CHUNK]) for i, rows in enumerate(tokens)]
        parts = [(i, rows) for i, rows in parts if len(rows)]
        members = [caches[i] for i, _ in parts]
        attention = CacheAttention(members, [len(rows) for _, rows in parts], tentative=True)
        positions = [numpy.arange(begin, begin + len(rows)) for _, rows in parts]
        flat = numpy.concatenate([rows for _, rows in parts])
        model.prefill(flat, numpy.concatenate(positions), attention)
        for cache in members:
            cache.commit()


def forced(
    model: Llama, caches: Sequence[Cache], first: Ints, steps: int, given: Ints | None
) -> tuple[Ints, list[float]]:
    """Greedy tokens [len(caches), steps], one step at a time, starting from the tokens `first`.

    With `given`, those are fed instead of the chosen ones: what would be chosen behind them. The
    seconds of each step come along.
    """
    chosen = numpy.empty((len(caches), steps), numpy.int64)
    begins = numpy.array([cache.length().total for cache in caches])
    seconds = []
    tokens = first
    for step in range(steps):
        begin = time.perf_counter()
        attention = CacheAttention(caches, [1] * len(caches))
        logits = model.logits(model.forward(tokens, begins + step, attention))
        chosen[:, step] = logits.argmax(axis=1)
        seconds.append(time.perf_counter() - begin)
        tokens = chosen[:, step] if given is None else given[:, step]
    return chosen, seconds
