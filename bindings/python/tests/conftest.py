# SPDX-License-Identifier: Apache-2.0
"""What the tests share: a context whose memory is counted, arrays that float16 holds exactly."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest

import mustafar

SOURCE = Path(os.environ.get("MUSTAFAR_SOURCE_DIR", Path(__file__).resolve().parents[3]))
GEOMETRY = mustafar.Geometry(layers=2, q_heads=4, kv_heads=2, head_dim_k=64)


@pytest.fixture
def allocator() -> Iterator[mustafar.CountingAllocator]:
    """Counts what a test leaves behind: whatever it did, nothing may stay."""
    counting = mustafar.CountingAllocator()
    yield counting
    gc.collect()
    assert counting.live_blocks == 0, f"{counting.live_bytes} bytes leaked"


@pytest.fixture
def context(allocator: mustafar.CountingAllocator) -> Iterator[mustafar.Context]:
    with mustafar.Context(allocator=allocator, threads=1) as made:
        yield made


@pytest.fixture(params=["ref", ""], ids=["ref", "best"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def either(allocator: mustafar.CountingAllocator, backend: str) -> Iterator[mustafar.Context]:
    """The row that sums in double, then the best one here."""
    with mustafar.Context(allocator=allocator, threads=1, backend=backend) as made:
        yield made


@pytest.fixture
def rounding(backend: str) -> float:
    """How far outputs of `either` may lie from the truth: rows of halves are summed in halves."""
    return 1e-6 if backend == "ref" else 2e-3


@pytest.fixture
def cache(context: mustafar.Context) -> Iterator[mustafar.Cache]:
    """Empty; dense in the window, `lean` behind it."""
    with mustafar.Cache(context, GEOMETRY, "lean", max_tokens=1024) as made:
        yield made


@pytest.fixture
def dense(context: mustafar.Context) -> Iterator[mustafar.Cache]:
    with mustafar.Cache(context, GEOMETRY, "dense", max_tokens=1024) as made:
        yield made


def rows(tokens: int, seed: int = 0, heads: int = 2, d: int = 64) -> numpy.ndarray:
    random = numpy.random.default_rng(seed)
    return random.standard_normal((tokens, heads, d)).astype(numpy.float16)


def queries(count: int = 1, q_len: int = 1, seed: int = 9) -> numpy.ndarray:
    random = numpy.random.default_rng(seed)
    return random.standard_normal((count, q_len, 4, 64)).astype(numpy.float32)
