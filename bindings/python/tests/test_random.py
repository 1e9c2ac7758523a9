# SPDX-License-Identifier: Apache-2.0
"""Random calls: an answer or one of our errors, and a cache that stays consistent."""

from __future__ import annotations

import os

import numpy
import pytest
from conftest import GEOMETRY, queries, rows

import mustafar

pytest.importorskip("hypothesis", reason="hypothesis is not here (package python3-hypothesis)")
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

SEED = int(os.environ.get("MUSTAFAR_SEED", "1") or 1)
QUICK = settings(
    max_examples=int(os.environ.get("MUSTAFAR_LONG", "60") or 60),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    stateful_step_count=25,
    print_blob=True,
)

dtypes = some.sampled_from(["f2", "f4", "f8", "u2", "i2", ">f2", ">f4", "u1", "i4", "?", "c8", "O"])
# At most one large extent, so that no array is larger than some 40 MB.
extents = some.builds(
    lambda few, last: [*few, *last],
    some.lists(some.integers(0, 4), max_size=4),
    some.sampled_from([[], [64], [2, 64]]),
)


@some.composite
def arrays(draw: some.DrawFn) -> numpy.ndarray:
    """Any small array: of any type, with any strides, sometimes read-only."""
    shape = draw(extents)
    dtype = numpy.dtype(draw(dtypes))
    array = numpy.ones([2 * extent + 1 for extent in shape]).astype(dtype)
    for axis in range(len(shape)):
        step = draw(some.sampled_from([1, 2, -1, -2]))
        array = numpy.swapaxes(numpy.swapaxes(array, 0, axis)[::step], 0, axis)
    array = numpy.asarray(array[tuple(slice(extent) for extent in shape)])
    if draw(some.booleans()) and len(shape) > 0:
        array = numpy.broadcast_to(array[:1], shape) if shape[0] else array
    if draw(some.booleans()):
        array.flags.writeable = False
    return array


@seed(SEED)
@QUICK
@given(k=arrays(), v=arrays(), q=arrays(), out=arrays(), layer=some.integers(-1, 3))
def test_arrays_of_any_kind(
    k: numpy.ndarray, v: numpy.ndarray, q: numpy.ndarray, out: numpy.ndarray, layer: int
) -> None:
    with mustafar.Context(threads=1) as context:
        with mustafar.Cache(context, GEOMETRY, "lean", max_tokens=8) as cache:
            for call in (
                lambda: cache.append(layer, k, v),
                lambda: mustafar.attend([cache], layer, q, out=out),
                lambda: cache.attend(layer, q),
                lambda: mustafar.merge(context, k, v, q, v, out=out, lse=v),
                lambda: cache.evict(0, 0, k),
                lambda: cache.evict_scores(0, 0, k),
            ):
                try:
                    call()
                except mustafar.Error as error:
                    assert error.code != mustafar.InternalError.default_code


numbers = some.integers() | some.sampled_from([0, 1, 2**31, 2**32 - 1, 2**64]) | some.floats()


@seed(SEED)
@QUICK
@given(some.lists(numbers, min_size=6, max_size=6), some.text(max_size=8))
def test_numbers_of_any_size(n: list[int], text: str) -> None:
    # plan takes 3 ns per token: not a second for each of the largest counts
    tokens = 2**22 if 2**22 < n[0] < 2**32 else n[0]
    with mustafar.Context(threads=1, quota_bytes=1_000_000) as context:
        with mustafar.Cache(context, GEOMETRY, "lean", max_tokens=64) as cache:
            cache.append(0, rows(4), rows(4))
            for call in (
                lambda: cache.truncate(n[0]),
                lambda: cache.export(n[0], n[1], n[2], 0, 1),
                lambda: cache.prune(n[0], n[1], n[2], n[3], n[4], keep=n[5], threshold=n[1]),
                lambda: cache.bytes(n[0], n[1]),
                lambda: mustafar.plan("lean", GEOMETRY, tokens, n[1], max_tokens=n[2]),
                lambda: mustafar.Cache(context, GEOMETRY, "lean", max_tokens=n[0]).close(),
                lambda: mustafar.Geometry(*n[:5]) and context.kernel(text),
                lambda: mustafar.Cache(context, mustafar.Geometry(*n[:5]), text, max_tokens=n[5]),
                lambda: mustafar.Context(threads=n[0], quota_bytes=n[1], backend=text).close(),
                lambda: cache.attend(0, queries()[0], scale=n[0], softcap=n[1], q_position=n[2]),
            ):
                try:
                    call()
                except mustafar.Error as error:
                    assert error.code != mustafar.InternalError.default_code


class Model(RuleBasedStateMachine):
    """A dense cache and a list of rows: what is in one is in the other, after any steps."""

    def __init__(self) -> None:
        super().__init__()
        self.allocator = mustafar.CountingAllocator()
        self.context = mustafar.Context(allocator=self.allocator, threads=1)
        self.cache = mustafar.Cache(self.context, GEOMETRY, "dense", max_tokens=200)
        self.k = numpy.zeros((0, 2, 64), numpy.float16)
        self.tentative = 0

    def teardown(self) -> None:
        self.cache.close()
        self.context.close()
        assert self.allocator.live_blocks == 0

    @rule(tokens=some.integers(1, 40), value=some.integers(0, 99), tentative=some.booleans())
    def append(self, tokens: int, value: int, tentative: bool) -> None:
        k = rows(tokens, value)
        try:
            self.cache.append(0, k, k, tentative=tentative)
        except mustafar.CapacityError:
            assert len(self.k) + tokens > 200
        except mustafar.BadStateError:
            assert self.tentative and not tentative
        else:
            self.k = numpy.concatenate([self.k, k])
            self.tentative += tokens if tentative else 0

    @rule()
    def commit(self) -> None:
        self.cache.commit()
        self.tentative = 0

    @precondition(lambda self: len(self.k) > 0)
    @rule(share=some.floats(0, 1))
    def truncate(self, share: float) -> None:
        length = int(len(self.k) * share)
        try:
            self.cache.truncate(length)
        except mustafar.NotExactError as error:
            assert error.smallest_exact > length
            length = error.smallest_exact
            self.cache.truncate(length)
        self.tentative = max(0, self.tentative - (len(self.k) - length))
        self.k = self.k[:length]

    @rule()
    def fork(self) -> None:
        fork = self.cache.fork()
        self.cache.close()
        self.cache = fork

    @rule()
    def reset(self) -> None:
        self.cache.reset()
        self.k, self.tentative = self.k[:0], 0

    @invariant()
    def same(self) -> None:
        length = self.cache.length(0)
        assert (length.total, length.tentative) == (len(self.k), self.tentative)
        numpy.testing.assert_array_equal(self.cache.export(0, 1, 0), self.k[:, 1])
        assert self.allocator.live_bytes == self.context.stats().live_bytes


TestModel = Model.TestCase
TestModel.settings = settings(QUICK, max_examples=max(10, QUICK.max_examples // 4))
