# SPDX-License-Identifier: Apache-2.0
"""Memory: what runs out, and what stays behind; counted by the allocator and by Python itself."""

from __future__ import annotations

import gc
import io
import sys

import numpy
import pytest
from conftest import GEOMETRY, queries, rows

import mustafar


def scenario(context: mustafar.Context) -> None:
    """A bit of everything."""
    with mustafar.Cache(context, GEOMETRY, "lean", max_tokens=300) as cache:
        cache.append(0, rows(150), rows(150, 1))
        cache.append(0, rows(2), rows(2), tentative=True)
        cache.commit(0)
        cache.evict(0, 1, [7, 8])
        fork = cache.fork()
        fork.truncate(151)
        fork.append(1, rows(1), rows(1))
        mustafar.attend([cache, fork], 0, queries(2), with_lse=True)
        stream = io.BytesIO()
        cache.save(stream)
        stream.seek(0)
        mustafar.Cache.load(context, stream)


def test_memory_that_runs_out_anywhere(allocator: mustafar.CountingAllocator) -> None:
    """Fails the nth allocation, for all n: an OutOfMemoryError, and nothing stays."""
    failures = 0
    for n in range(10_000):
        with mustafar.Context(allocator=allocator, threads=1) as context:
            allocator.fail_after = n
            try:
                scenario(context)
                break
            except mustafar.OutOfMemoryError:
                failures += 1
            finally:
                allocator.fail_after = -1
        gc.collect()
        assert allocator.live_blocks == 0, f"after failure {n}"
    assert failures > 10


def test_nothing_stays(allocator: mustafar.CountingAllocator) -> None:
    for _ in range(3):
        with mustafar.Context(allocator=allocator) as context:
            scenario(context)
            gc.collect()
            assert context.stats().caches == 0
        assert allocator.live_bytes == 0
    assert allocator.allocations > 0


def test_live_bytes_are_those_of_the_context(allocator: mustafar.CountingAllocator) -> None:
    with mustafar.Context(allocator=allocator) as context:
        with mustafar.Cache(context, GEOMETRY, "lean", max_tokens=300) as cache:
            cache.append(0, rows(200), rows(200))
            assert allocator.live_bytes == context.stats().live_bytes >= cache.bytes().total


def test_failing_calls_drop_every_reference(dense: mustafar.Cache) -> None:
    """10,000 failures of each kind: no array stays held, no object is left."""
    dense.append(0, rows(4), rows(4))
    k, v, q = rows(1), rows(1).astype("f8"), queries()
    out = numpy.zeros((1, 1, 4, 64), "f4")[..., ::-1]
    handle = dense._handle
    gc.collect()
    counts = [sys.getrefcount(value) for value in (k, v, q, out, dense, handle)]
    blocks = sys.getallocatedblocks()
    for _ in range(10_000):
        for call in (
            lambda: dense.append(0, k, v),
            lambda: mustafar.attend([dense], 0, q, out=out),
            lambda: mustafar.attend([dense, None], 0, q),  # type: ignore[list-item]
        ):
            with pytest.raises(mustafar.InvalidArgumentError):
                call()
    gc.collect()
    assert [sys.getrefcount(value) for value in (k, v, q, out, dense, handle)] == counts
    assert sys.getallocatedblocks() < blocks + 500


def test_good_calls_drop_every_reference(dense: mustafar.Cache) -> None:
    k, q, sinks = rows(1), queries(), numpy.zeros(4, "f4")
    out, lse = numpy.zeros((1, 1, 4, 64), "f4"), numpy.zeros((1, 1, 4), "f4")
    dense.append(0, k, k)
    gc.collect()
    counts = [sys.getrefcount(value) for value in (k, q, sinks, out, lse, dense._handle)]
    blocks = sys.getallocatedblocks()
    for _ in range(2_000):
        dense.truncate(0)
        dense.append(0, k, k)
        mustafar.attend([dense], 0, q, sinks, out=out, lse=lse, scale=1.0)
        dense.stats(), dense.length(), dense.positions(0, 0), dense.export_bitmaps(0, 0, 0)
        dense.recipe.side(GEOMETRY, 0, 0, 0), dense.geometry, dense.bytes()
    gc.collect()
    assert [sys.getrefcount(value) for value in (k, q, sinks, out, lse, dense._handle)] == counts
    assert sys.getallocatedblocks() < blocks + 500


def test_arrays_are_held_during_a_call_only(dense: mustafar.Cache) -> None:
    data = bytearray(4 * 2 * 64)
    view = memoryview(data).cast("f", (1, 2, 64))
    dense.append(0, view, view)
    view.release()
    data.extend(b"more")  # refused with BufferError while a buffer is held
