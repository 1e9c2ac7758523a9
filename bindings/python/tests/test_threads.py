# SPDX-License-Identifier: Apache-2.0
"""Threads, signals and callbacks: a clear error or the right answer, never a crash."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable

import numpy
import pytest
from conftest import GEOMETRY, queries, rows

import mustafar


def together(*works: Callable[[], None]) -> list[BaseException]:
    """Runs works in threads that start at the same time; returns what they raised."""
    raised: list[BaseException] = []
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], None]) -> None:
        barrier.wait()
        try:
            work()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_const_calls_overlap(cache: mustafar.Cache) -> None:
    cache.append(0, rows(500), rows(500, 1))
    q = queries(q_len=8)
    expected = cache.attend(0, q[0])

    def attend() -> None:
        for _ in range(20):
            numpy.testing.assert_array_equal(cache.attend(0, q[0]), expected)

    def ask() -> None:
        for _ in range(50):
            cache.stats(), cache.bytes(), cache.positions(0, 0)
            cache.fork().close()

    assert together(attend, attend, ask) == []


def test_changes_are_refused_while_in_use(cache: mustafar.Cache) -> None:
    """One thread attends without end; another changes, and is told so or gets its turn."""
    cache.append(0, rows(900), rows(900, 1))
    q = queries(q_len=128)[0]
    stop = threading.Event()
    refused = 0

    def attend() -> None:
        while not stop.is_set():
            with contextlib.suppress(mustafar.BusyError):  # the other one was first
                cache.attend(0, q)

    def change() -> None:
        nonlocal refused
        for _ in range(200):
            try:
                cache.append(0, rows(1), rows(1), tentative=True)
                cache.truncate(900)
            except mustafar.BusyError as error:
                refused += 1
                assert "in use by another thread" in str(error)
                time.sleep(0.001)
        stop.set()

    assert together(attend, change) == []
    assert refused > 0
    cache.truncate(900)
    assert cache.length(0).total == 900


def test_close_is_refused_while_in_use(context: mustafar.Context) -> None:
    cache = mustafar.Cache(context, GEOMETRY, "lean", max_tokens=1000)
    cache.append(0, rows(1000), rows(1000, 1))
    inside = threading.Event()

    def attend() -> None:
        q = queries(8, 128)
        inside.set()
        with contextlib.suppress(mustafar.ClosedError):  # close() may have been first
            mustafar.attend([cache] * 8, 0, q)

    thread = threading.Thread(target=attend)
    thread.start()
    inside.wait()
    while thread.is_alive() and not cache.closed:
        with contextlib.suppress(mustafar.BusyError):
            cache.close()
        time.sleep(0.001)
    thread.join()
    cache.close()


def test_the_gil_is_released(context: mustafar.Context) -> None:
    """While one thread is inside the library, another one runs Python."""
    cache = mustafar.Cache(context, GEOMETRY, "lean", max_tokens=1000)
    cache.append(0, rows(1000), rows(1000, 1))
    done = threading.Event()

    def attend() -> None:
        mustafar.attend([cache] * 8, 0, queries(8, 128))
        done.set()

    thread = threading.Thread(target=attend)
    thread.start()
    steps = 0
    while not done.is_set():
        steps += 1
        time.sleep(0.001)
    thread.join()
    assert steps > 3
    cache.close()


def test_last_reference_dropped_in_another_thread(allocator: mustafar.CountingAllocator) -> None:
    def work() -> None:
        for _ in range(20):
            context = mustafar.Context(allocator=allocator, threads=1)
            cache = mustafar.Cache(context, GEOMETRY, "lean", max_tokens=100)
            cache.append(0, rows(64), rows(64))
            del context, cache

    assert together(work, work) == []


def test_keyboard_interrupt_between_steps(cache: mustafar.Cache) -> None:
    """An interrupt comes between two calls: the cache holds whole tokens and goes on."""
    one = rows(1)
    appended = 0

    def interrupt() -> None:
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        while True:
            if appended == 900:
                cache.reset()
                appended = 0
            cache.append(0, one, one)
            appended += 1
    thread.join()
    assert abs(cache.length(0).total - appended) <= 1
    cache.append(0, one, one)
    assert numpy.isfinite(cache.attend(0, queries()[0])).all()


def test_interrupt_inside_a_stream(cache: mustafar.Cache) -> None:
    cache.append(0, rows(100), rows(100, 1))

    class Impatient(io.BytesIO):
        def write(self, data: object) -> int:
            raise KeyboardInterrupt

        def read(self, count: int | None = -1) -> bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.save(Impatient())
    with mustafar.Context() as other, pytest.raises(KeyboardInterrupt):
        mustafar.Cache.load(other, Impatient())
    assert cache.length(0).total == 100


def test_log_to_logging(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("mustafar.test")
    with caplog.at_level(logging.DEBUG, "mustafar.test"):
        with mustafar.Context(log=logger) as context:
            with mustafar.Cache(context, GEOMETRY, "lean", max_tokens=10) as cache:
                cache.append(0, rows(3), rows(3))
    assert any("append" in record.getMessage() for record in caplog.records)
    assert {record.levelno for record in caplog.records} <= {10, 20, 30, 40}


def test_log_level_of_the_logger() -> None:
    logger = logging.getLogger("mustafar.quiet")
    logger.setLevel(logging.ERROR)
    lines: list[str] = []
    logger.addFilter(lambda record: bool(lines.append(record.getMessage())) or True)
    with mustafar.Context(log=logger) as context:
        mustafar.Cache(context, GEOMETRY, "lean", max_tokens=10).append(0, rows(3), rows(3))
    assert lines == []


def test_a_log_that_calls_back_is_refused(allocator: mustafar.CountingAllocator) -> None:
    seen: list[BaseException] = []
    cache: mustafar.Cache | None = None

    def log(level: int, text: str) -> None:
        try:
            if cache is not None:
                cache.length()
        except mustafar.Error as error:
            seen.append(error)

    context = mustafar.Context(log=log, log_level=mustafar.LogLevel.TRACE, allocator=allocator)
    cache = mustafar.Cache(context, GEOMETRY, "lean", max_tokens=10)
    cache.append(0, rows(1), rows(1))
    assert seen and all(isinstance(error, mustafar.BusyError) for error in seen)
    cache.close()
    context.close()


def test_a_log_that_raises_does_no_harm(capsys: pytest.CaptureFixture[str]) -> None:
    def log(level: int, text: str) -> None:
        raise RuntimeError("a broken log")

    hook = pytest.MonkeyPatch()
    told: list[object] = []
    hook.setattr("sys.unraisablehook", told.append)
    with mustafar.Context(log=log, log_level=4) as context:
        with mustafar.Cache(context, GEOMETRY, "lean", max_tokens=10) as cache:
            cache.append(0, rows(1), rows(1))
            assert cache.length(0).total == 1
    hook.undo()
    assert told


def test_a_log_that_is_interrupted() -> None:
    def log(level: int, text: str) -> None:
        if "append" in text:
            raise KeyboardInterrupt

    with mustafar.Context(log=log, log_level=4) as context:
        with mustafar.Cache(context, GEOMETRY, "lean", max_tokens=10) as cache:
            with pytest.raises(KeyboardInterrupt):
                cache.append(0, rows(1), rows(1))
                for _ in range(100):
                    pass
            assert cache.length(0).total == 1


def test_a_cycle_through_the_log_is_collected(allocator: mustafar.CountingAllocator) -> None:
    class Keeper:
        context: mustafar.Context

        def log(self, level: int, text: str) -> None: ...

    keeper = Keeper()
    keeper.context = mustafar.Context(log=keeper.log, log_level=4, allocator=allocator)
    cache = mustafar.Cache(keeper.context, GEOMETRY, "lean", max_tokens=10)
    gone = weakref.ref(keeper)
    del keeper, cache
    gc.collect()
    assert gone() is None and allocator.live_blocks == 0


def test_log_arguments() -> None:
    with pytest.raises(mustafar.InvalidArgumentError, match="log"):
        mustafar.Context(log=3)  # type: ignore[arg-type]
    with pytest.raises(mustafar.InvalidArgumentError, match="log"):
        mustafar.Context(log_level=4)
