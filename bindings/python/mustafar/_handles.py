# SPDX-License-Identifier: Apache-2.0
"""What Context, Recipe and Cache have in common: they own a handle and give it back once."""

from __future__ import annotations

from types import TracebackType
from typing import NoReturn, TypeVar

from . import _mustafar as c
from .errors import InvalidArgumentError

Self = TypeVar("Self", bound="Owner")


class Owner:
    """Owns one C object. A context manager; `close` may be called any number of times."""

    __slots__ = ("__weakref__", "_handle")
    _handle: c.Handle
    _instead_of_pickle = ""

    def close(self) -> None:
        """Gives the C object back now; without it, that happens with the last reference.

        Refused (BusyError) while another thread is inside a call.
        """
        self._handle.close()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._handle.closed

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled or copied: it owns memory of this process; "
            f"{self._instead_of_pickle}"
        )


def handle_of(value: object, kind: type[Owner], argument: str) -> c.Handle:
    """The handle of `value`, which must be a `kind`."""
    if not isinstance(value, kind):
        raise InvalidArgumentError(
            f"{argument} is a {type(value).__name__}; a {kind.__name__} is needed"
        )
    return value._handle
