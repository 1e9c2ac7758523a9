# SPDX-License-Identifier: Apache-2.0
"""One exception per status of the C API, all derived from `Error`."""

from __future__ import annotations

from . import _mustafar as c

__all__ = [
    "BadStateError",
    "BusyError",
    "CapacityError",
    "ClosedError",
    "CorruptError",
    "DeviceError",
    "Error",
    "InternalError",
    "InvalidArgumentError",
    "IoError",
    "MismatchError",
    "NonFiniteError",
    "NotExactError",
    "OutOfMemoryError",
    "UnsupportedError",
]

Values = tuple[int, int, int, int]


class Error(Exception):
    """A call of the library failed and changed nothing.

    `code`, `values` and `message` are the fields of `mustafar_error`; `name` is the symbol of the
    status.
    """

    default_code = c.MUSTAFAR_INTERNAL

    def __init__(
        self, message: str = "", code: int | None = None, values: Values = (0, 0, 0, 0)
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code: int = self.default_code if code is None else code
        self.values: Values = values

    @property
    def name(self) -> str:
        """The symbol of the status, "MUSTAFAR_NON_FINITE" for one."""
        return c.mustafar_status_name(self.code)

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[type[Error], tuple[str, int, Values]]:
        return type(self), (self.message, self.code, self.values)


class InvalidArgumentError(Error, ValueError):
    """Shape, stride, range, type or text of an argument; the message names it."""

    default_code = c.MUSTAFAR_INVALID_ARGUMENT


class UnsupportedError(Error):
    """Well formed, but not served here; the message says what is missing."""

    default_code = c.MUSTAFAR_UNSUPPORTED


class OutOfMemoryError(Error, MemoryError):
    """Quota or allocator."""

    default_code = c.MUSTAFAR_OUT_OF_MEMORY

    @property
    def asked(self) -> int:
        """Bytes that were asked for."""
        return self.values[0]

    @property
    def used(self) -> int:
        """Bytes in use."""
        return self.values[1]

    @property
    def limit(self) -> int:
        """The quota in bytes; 0 where the allocator refused."""
        return self.values[2]


class CapacityError(Error):
    """More than `max_tokens`."""

    default_code = c.MUSTAFAR_CAPACITY

    @property
    def asked(self) -> int:
        """Tokens that were to be added."""
        return self.values[0]

    @property
    def held(self) -> int:
        """Tokens that are there."""
        return self.values[1]

    @property
    def limit(self) -> int:
        """`max_tokens`."""
        return self.values[2]


class BadStateError(Error):
    """The call does not fit the state of the handle."""

    default_code = c.MUSTAFAR_BAD_STATE


class ClosedError(BadStateError):
    """The object was closed."""


class BusyError(BadStateError):
    """Another thread is using the object, or the call came from inside a callback."""


class NonFiniteError(Error, ValueError):
    """NaN, infinity, or beyond what is stored."""

    default_code = c.MUSTAFAR_NON_FINITE

    @property
    def index(self) -> Values:
        """append: side (0 K, 1 V), token, head, channel; attend: cache, query, head, channel.

        A channel of -1 is a learned sink.
        """
        return self.values


class NotExactError(Error):
    """`truncate` asks packed rows back."""

    default_code = c.MUSTAFAR_NOT_EXACT

    @property
    def smallest_exact(self) -> int:
        """The smallest length that can be restored exactly."""
        return self.values[0]


class CorruptError(Error, ValueError):
    """Damaged or malformed bytes."""

    default_code = c.MUSTAFAR_CORRUPT

    @property
    def offset(self) -> int:
        """Byte offset of the section at fault, where known."""
        return self.values[0]


class MismatchError(Error, ValueError):
    """A snapshot of another geometry, recipe, model, options or version."""

    default_code = c.MUSTAFAR_MISMATCH


class IoError(Error, OSError):
    """The file system failed; `errno` says how."""

    default_code = c.MUSTAFAR_IO

    def __init__(
        self, message: str = "", code: int | None = None, values: Values = (0, 0, 0, 0)
    ) -> None:
        super().__init__(message, code, values)
        self.errno = values[0]


class DeviceError(Error):
    """The device or its driver failed."""

    default_code = c.MUSTAFAR_DEVICE


class InternalError(Error):
    """A bug of the library; please report the text."""

    default_code = c.MUSTAFAR_INTERNAL


# The two negative ones are told by the extension itself; to the outside both are BAD_STATE.
BY_CODE: dict[int, type[Error]] = {
    kind.default_code: kind
    for kind in (
        InvalidArgumentError,
        UnsupportedError,
        OutOfMemoryError,
        CapacityError,
        BadStateError,
        NonFiniteError,
        NotExactError,
        CorruptError,
        MismatchError,
        IoError,
        DeviceError,
        InternalError,
    )
} | {-1: ClosedError, -2: BusyError}


def make_error(code: int, message: str, values: Values) -> Error:
    kind = BY_CODE.get(code, Error)
    return kind(message, code if code > 0 else None, values)


c.set_error_factory(make_error)
