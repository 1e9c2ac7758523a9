# SPDX-License-Identifier: Apache-2.0
"""Decoding on caches: runs of tokens equal single tokens, prefills agree, recipes cost."""

from __future__ import annotations

import numpy
import pytest
from eval_files import DATA, write_model

import mustafar
from mustafar.eval import DenseAttention, Llama
from mustafar.eval.decode import CHUNK, Plan, filled, forced, prefill, prefill_packed, score

PREFIX, TAIL = 150, 90


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Llama:
    return Llama(write_model(tmp_path_factory.mktemp("models") / "tiny"))


def plan(model: Llama, text: str, step: int = 32, sink: int = 0) -> Plan:
    content = mustafar.Recipe(text).to_dict()
    content["window"] |= {"step": step, "sink": sink}
    content["precise"] = True  # sums in halves depend on how many queries read at once
    recipe = mustafar.Recipe(content)
    return Plan(text, recipe, recipe.window(model.config.geometry, 0, 0), text == "dense")


def tokens(begin: int, count: int) -> numpy.ndarray:
    raw = (DATA / "tasks/heldout_text.txt").read_bytes()[begin : begin + count]
    return numpy.frombuffer(raw, numpy.uint8).astype(numpy.int64)


def tail_logits(
    model: Llama, context: mustafar.Context, plan: Plan, sequences: list[numpy.ndarray]
) -> list[numpy.ndarray]:
    """Logits behind the last TAIL tokens of each sequence, the others prefilled."""
    prefixes = prefill(model, context, [row[:-TAIL] for row in sequences])
    room = [len(row) for row in sequences]
    with filled(model, context, plan, prefixes, room) as caches:
        tails = [row[-TAIL:] for row in sequences]
        return score(model, plan, caches, tails, [TAIL] * len(tails))


class OneByOne(Plan):
    """The same recipe, fed token by token."""

    def run(self, position: int, left: int) -> int:
        return 1


@pytest.mark.parametrize(
    ("recipe", "step", "sink"),
    [("lean", 32, 0), ("int4", 8, 0), ("kivi-2", 32, 0), ("leaner", 16, 4), ("int2", 1, 0)],
)
def test_runs_of_tokens_equal_single_tokens(
    model: Llama, context: mustafar.Context, recipe: str, step: int, sink: int
) -> None:
    together = plan(model, recipe, step, sink)
    alone = OneByOne(*(getattr(together, name) for name in ("name", "recipe", "window", "whole")))
    sequences = [tokens(0, PREFIX + TAIL), tokens(5000, PREFIX + TAIL - 17)]
    a = tail_logits(model, context, together, sequences)
    b = tail_logits(model, context, alone, sequences)
    for x, y in zip(a, b, strict=True):
        # Products of other shapes round otherwise, and so do the 16 bits of the cache.
        assert numpy.abs(x - y).max() < 2e-3 * numpy.abs(y).max()
    if step > 1:
        runs = [together.run(position, 99) for position in range(PREFIX, PREFIX + TAIL)]
        assert max(runs) == min(step, CHUNK)


def test_a_run_ends_before_the_token_that_packs(model: Llama, context: mustafar.Context) -> None:
    """What `run` predicts is what the cache does: the packed rows change at no other token."""
    sixteen = plan(model, "lean", 16, 4)
    with mustafar.Cache(context, model.config.geometry, sixteen.recipe, max_tokens=200) as cache:
        row = numpy.ones((1, 2, 32), numpy.float16)
        packed_at = []
        for position in range(160):
            before = cache.rows(0, 0).body
            cache.append(0, row, row)
            if cache.rows(0, 0).body != before:
                packed_at.append(position)
        begins, position = [], 0
        while position < 160:
            begins.append(position)
            position += sixteen.run(position, 160 - position)
    assert packed_at
    assert set(packed_at) <= set(begins)


def test_a_dense_cache_equals_dense_attention(model: Llama, context: mustafar.Context) -> None:
    row = tokens(9000, PREFIX + TAIL)
    found = tail_logits(model, context, plan(model, "dense"), [row])[0]
    attention = DenseAttention(model.config, [len(row)])
    expected = model.logits(model.forward(row, numpy.arange(len(row)), attention))[-TAIL:]
    # Keys and values are rounded to 16 bits.
    assert numpy.abs(found - expected).max() < 4e-3 * numpy.abs(expected).max()


def test_recipes_differ_as_they_should(model: Llama, context: mustafar.Context) -> None:
    row = tokens(9000, PREFIX + TAIL)
    dense, fine, coarse = (
        tail_logits(model, context, plan(model, name, 1), [row])[0]
        for name in ("dense", "int8", "int2")
    )
    assert 0 < numpy.abs(fine - dense).mean() < numpy.abs(coarse - dense).mean() / 10


def test_packed_prefill_reads_packed_rows(model: Llama, context: mustafar.Context) -> None:
    row = tokens(0, 200)
    geometry = model.config.geometry
    values = {}
    for name in ("dense", "int2"):
        with mustafar.Cache(context, geometry, name, max_tokens=200) as cache:
            prefill_packed(model, [cache], [row])
            assert cache.length().committed == 200
            assert cache.length().tentative == 0
            assert cache.rows(0, 0).body == 160
            # Layer 0 does not depend on attention; the window of layer 1 does.
            values[name] = [cache.export(layer, 0, mustafar.Side.K, 190) for layer in (0, 1)]
    assert (values["dense"][0] == values["int2"][0]).all()
    assert (values["dense"][1] != values["int2"][1]).any()


def test_greedy_decoding_follows_what_it_is_given(model: Llama, context: mustafar.Context) -> None:
    row = tokens(0, PREFIX)
    prefixes = prefill(model, context, [row[:-1]])
    dense = plan(model, "dense")
    with filled(model, context, dense, prefixes, [PREFIX + 20]) as caches:
        with caches[0].fork() as fork:
            free, seconds = forced(model, [fork], row[-1:], 12, None)
        again, _ = forced(model, caches, row[-1:], 12, free)
    assert (free == again).all()
    assert len(seconds) == 12
