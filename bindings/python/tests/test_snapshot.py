# SPDX-License-Identifier: Apache-2.0
"""Save and load, by path and by file object."""

from __future__ import annotations

import io
import os
import random
from pathlib import Path

import numpy
import pytest
from conftest import GEOMETRY, queries, rows

import mustafar


@pytest.fixture
def full(cache: mustafar.Cache) -> mustafar.Cache:
    for layer in range(2):
        cache.append(layer, rows(200, layer), rows(200, layer + 5))
    cache.evict(0, 0, [3, 4, 5])
    return cache


def same(a: mustafar.Cache, b: mustafar.Cache) -> bool:
    q = queries()[0]
    return a.bytes() == b.bytes() and all(
        numpy.array_equal(a.attend(layer, q), b.attend(layer, q)) for layer in range(2)
    )


def test_path(full: mustafar.Cache, context: mustafar.Context, tmp_path: Path) -> None:
    path = tmp_path / "cache \u00e9.mst"
    full.save(path, "model-1")
    with mustafar.Cache.load(context, str(path), model_id="model-1") as loaded:
        assert same(full, loaded) and loaded.options == full.options
    with mustafar.Cache.load(
        context, path, geometry=GEOMETRY, recipe="lean", max_tokens=4096
    ) as loaded:
        assert loaded.options.max_tokens == 4096


def test_file_objects(full: mustafar.Cache, context: mustafar.Context, tmp_path: Path) -> None:
    stream = io.BytesIO()
    stream.write(b"before")
    full.save(stream, "m")
    stream.write(b"behind")
    stream.seek(6)
    with mustafar.Cache.load(context, stream, model_id="m") as loaded:
        assert same(full, loaded)
    assert stream.read() == b"behind"
    raw = tmp_path / "raw"
    with open(raw, "wb", buffering=0) as file:
        full.save(file, "m")
    assert raw.read_bytes() == stream.getvalue()[6:-6]
    with open(raw, "rb", buffering=0) as file, mustafar.Cache.load(context, file) as loaded:
        assert same(full, loaded)


def test_streams_that_take_a_little_at_a_time(
    full: mustafar.Cache, context: mustafar.Context
) -> None:
    class Slow(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()
            self.at = 0

        def write(self, data: object) -> int:
            part = bytes(data)[:97]  # type: ignore[call-overload]
            self.data += part
            return len(part)

        def read(self, count: int = -1) -> bytes:
            part = bytes(self.data[self.at : self.at + min(count, 61)])
            self.at += len(part)
            return part

    slow = Slow()
    full.save(slow)  # type: ignore[arg-type]
    with mustafar.Cache.load(context, slow) as loaded:  # type: ignore[arg-type]
        assert same(full, loaded)


def test_streams_that_fail(full: mustafar.Cache, context: mustafar.Context) -> None:
    class Failing(io.RawIOBase):
        def __init__(self, result: object) -> None:
            self.result = result

        def give(self, _: object) -> object:
            if isinstance(self.result, BaseException):
                raise self.result
            return self.result

        write = read = give  # type: ignore[assignment]

    for error in (OSError(28, "full"), ZeroDivisionError(), MemoryError()):
        with pytest.raises(type(error)) as raised:
            full.save(Failing(error))  # type: ignore[arg-type]
        assert raised.value is error
        with pytest.raises(type(error)):
            mustafar.Cache.load(context, Failing(error))  # type: ignore[arg-type]
    for result in (None, 0, -1):
        with pytest.raises(BlockingIOError):
            full.save(Failing(result))  # type: ignore[arg-type]
    with pytest.raises(BlockingIOError):
        mustafar.Cache.load(context, Failing(None))  # type: ignore[arg-type]
    for result in ("text", [1], b"x" * 10_000_000):
        with pytest.raises((TypeError, ValueError)):
            mustafar.Cache.load(context, Failing(result))  # type: ignore[arg-type]
    for target in (3, None, object()):
        with pytest.raises(mustafar.InvalidArgumentError, match="target"):
            full.save(target)  # type: ignore[arg-type]
        with pytest.raises(mustafar.InvalidArgumentError, match="source"):
            mustafar.Cache.load(context, target)  # type: ignore[arg-type]


def test_what_does_not_match(full: mustafar.Cache, context: mustafar.Context) -> None:
    stream = io.BytesIO()
    full.save(stream, "m")
    data = stream.getvalue()

    def load(**given: object) -> mustafar.Cache:
        return mustafar.Cache.load(context, io.BytesIO(data), **given)  # type: ignore[arg-type]

    other = mustafar.Geometry(layers=2, q_heads=8, kv_heads=2, head_dim_k=64)
    for given in ({"geometry": other}, {"recipe": "leaner"}, {"model_id": "n"}, {"model_id": ""}):
        with pytest.raises(mustafar.MismatchError):
            load(**given)
    with pytest.raises(mustafar.MismatchError):
        load(max_tokens=0, auto=False)
    with pytest.raises(mustafar.CapacityError):
        load(max_tokens=100)
    with pytest.raises(mustafar.InvalidArgumentError, match="model_id"):
        full.save(io.BytesIO(), "x" * 2000)
    with pytest.raises(mustafar.InvalidArgumentError, match="model_id"):
        full.save(io.BytesIO(), "a\0b")


def test_damage(full: mustafar.Cache, context: mustafar.Context) -> None:
    stream = io.BytesIO()
    full.save(stream)
    data = stream.getvalue()
    choose = random.Random(4)
    cuts = [0, 1, 8, len(data) // 2, len(data) - 1]
    damaged = [data[:cut] for cut in cuts]
    for _ in range(100):
        at = choose.randrange(len(data))
        damaged.append(data[:at] + bytes([data[at] ^ (1 << choose.randrange(8))]) + data[at + 1 :])
    for bad in damaged:
        with pytest.raises((mustafar.CorruptError, mustafar.MismatchError)):
            mustafar.Cache.load(context, io.BytesIO(bad))
    assert context.stats().caches == 1


def test_files(full: mustafar.Cache, context: mustafar.Context, tmp_path: Path) -> None:
    with pytest.raises(mustafar.IoError) as error:
        mustafar.Cache.load(context, tmp_path / "missing")
    assert error.value.errno == 2 and isinstance(error.value, OSError)
    with pytest.raises(mustafar.IoError):
        full.save(tmp_path / "no" / "folder")
    with pytest.raises(mustafar.InvalidArgumentError, match="path"):
        full.save("a\0b")
    path = tmp_path / "trailing"
    full.save(path)
    with open(path, "ab") as file:
        file.write(b"x")
    with pytest.raises(mustafar.CorruptError):
        mustafar.Cache.load(context, path)
    assert os.listdir(tmp_path) == ["trailing"]
