# SPDX-License-Identifier: Apache-2.0
"""Binary file objects as the callbacks of save and load."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from .errors import InvalidArgumentError


def writer(target: Any) -> Callable[[bytes], None]:
    """Writes all of what it is given, also to raw files that take a part at a time."""
    write: Any = getattr(target, "write", None)
    if not callable(write):
        raise InvalidArgumentError(
            f"target is a {type(target).__name__}; give a path or a binary file object"
        )

    def write_all(data: bytes) -> None:
        while data:
            written = write(data)
            if written is None and not isinstance(target, io.RawIOBase):
                return  # says nothing, takes all
            if not isinstance(written, int) or written <= 0:
                raise BlockingIOError(f"{target!r} took no bytes")
            data = data[written:]

    return write_all


def reader(source: Any) -> Callable[[int], bytes]:
    """Reads what is there, up to a number of bytes; b"" at the end."""
    read: Any = getattr(source, "read", None)
    if not callable(read):
        raise InvalidArgumentError(
            f"source is a {type(source).__name__}; give a path or a binary file object"
        )

    def read_some(count: int) -> bytes:
        data = read(count)
        if data is None:
            raise BlockingIOError(f"{source!r} has nothing to read yet")
        return bytes(data)

    return read_some
