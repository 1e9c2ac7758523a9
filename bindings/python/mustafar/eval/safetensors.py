# SPDX-License-Identifier: Apache-2.0
"""A strict reader of safetensors files: whatever does not follow every rule is refused.

file   = length (u64, little endian) header buffer
header = JSON object of `length` bytes; may end in spaces
entry  = "name": {"dtype": D, "shape": [n, ...], "data_offsets": [begin, end]}, these keys only
"__metadata__" maps strings to strings. Entries cover the buffer without gap or overlap.
"""

from __future__ import annotations

import json
import math
import mmap
from pathlib import Path
from typing import Any

import numpy

from .._arrays import Float32
from .errors import DATA, EvaluationError

__all__ = ["Tensors"]

_HEADER_MAX = 64 << 20
_DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


class Tensors:
    """The tensors of one file, read as float32 on demand. The file stays mapped while it lives."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as stream:
                size = path.stat().st_size
                self._require(size >= 8, f"{size} bytes, a file has 8 or more")
                self._data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise EvaluationError(
                DATA, f"{path}: cannot be read: {error.strerror or error}"
            ) from error
        length = int.from_bytes(self._data[:8], "little")
        limit = min(_HEADER_MAX, size - 8)
        self._require(length <= limit, f"its header claims {length} bytes of {limit} possible")
        self._begin = 8 + length
        try:
            content = json.loads(self._data[8 : self._begin], object_pairs_hook=_no_repeats)
            self._require(isinstance(content, dict), "its header is not an object")
        except (ValueError, RecursionError) as error:
            raise self._wrong(f"its header is no JSON: {error}") from error
        content.pop("__metadata__", None)
        self._entries: dict[str, dict[str, Any]] = content
        self._check(size - self._begin)

    def _wrong(self, text: str) -> EvaluationError:
        return EvaluationError(DATA, f"{self._path}: not a whole safetensors file: {text}")

    def _require(self, holds: bool, text: str) -> None:
        if not holds:
            raise self._wrong(text)

    def _check(self, size: int) -> None:
        """Every entry is well formed, and together they cover the buffer exactly."""
        ranges = []
        for name, entry in self._entries.items():
            keys = {"dtype", "shape", "data_offsets"}
            good = isinstance(entry, dict) and set(entry) == keys
            self._require(good, f"{name}: an entry has dtype, shape and data_offsets")
            shape, offsets = entry["shape"], entry["data_offsets"]
            good = all(
                isinstance(numbers, list) and all(type(n) is int and n >= 0 for n in numbers)
                for numbers in (shape, offsets)
            )
            self._require(good and len(offsets) == 2, f"{name}: shape or data_offsets is wrong")
            dtype = _DTYPES.get(str(entry["dtype"]))
            known = ", ".join(_DTYPES)
            self._require(
                dtype is not None, f"{name}: dtype {entry['dtype']!r} is not one of {known}"
            )
            expected = math.prod(shape) * numpy.dtype(dtype).itemsize
            held = offsets[1] - offsets[0]
            self._require(held == expected, f"{name}: {held} bytes, shape {shape} takes {expected}")
            ranges.append((offsets[0], offsets[1], name))
        at = 0
        for begin, end, name in sorted(ranges):
            self._require(
                begin == at, f"{name} begins at byte {begin}, the one before ends at {at}"
            )
            at = end
        self._require(at == size, f"{size} bytes follow the header, its tensors take {at}")

    def names(self) -> list[str]:
        """Names of the tensors."""
        return list(self._entries)

    def read(self, name: str, shape: tuple[int, ...]) -> Float32:
        """The tensor `name` as float32; it must have `shape` and finite values."""
        entry = self._entries.get(name)
        if entry is None:
            raise EvaluationError(DATA, f"{self._path}: there is no tensor {name}")
        if tuple(entry["shape"]) != shape:
            raise EvaluationError(
                DATA,
                f"{self._path}: {name} has shape {entry['shape']}, config.json asks {list(shape)}",
            )
        begin, end = entry["data_offsets"]
        raw = numpy.frombuffer(
            self._data[self._begin + begin : self._begin + end], _DTYPES[entry["dtype"]]
        ).reshape(shape)
        if entry["dtype"] == "BF16":  # the upper half of a float32
            values: Float32 = (raw.astype(numpy.uint32) << 16).view(numpy.float32)
        else:
            values = raw.astype(numpy.float32)
        if not numpy.isfinite(values).all():
            raise EvaluationError(DATA, f"{self._path}: {name} holds a NaN or an infinity")
        return values
