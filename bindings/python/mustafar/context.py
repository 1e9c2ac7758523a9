# SPDX-License-Identifier: Apache-2.0
"""Contexts: where caches live; backend, threads, memory and log."""

from __future__ import annotations

import logging
from collections.abc import Callable

from . import _mustafar as c
from ._handles import Owner
from .errors import InvalidArgumentError
from .types import ContextStats, KernelInfo, LogLevel

__all__ = ["Context", "CountingAllocator", "Log"]

CountingAllocator = c.Allocator
"""Memory that counts: live_bytes, live_blocks, allocations; fail_after = n: fails after n more."""

Log = logging.Logger | Callable[[int, str], object]

_TO_LOGGING = {
    c.MUSTAFAR_LOG_ERROR: logging.ERROR,
    c.MUSTAFAR_LOG_WARNING: logging.WARNING,
    c.MUSTAFAR_LOG_INFO: logging.INFO,
    c.MUSTAFAR_LOG_TRACE: logging.DEBUG,
}


def _finest(logger: logging.Logger) -> LogLevel:
    """The finest level that `logger` lets through."""
    wanted = [level for level, number in _TO_LOGGING.items() if logger.isEnabledFor(number)]
    return LogLevel(max(wanted, default=c.MUSTAFAR_LOG_ERROR))


def _hook(log: Log | None, level: int | None) -> tuple[int, Callable[[int, str], object]] | None:
    if log is None:
        return None
    if not isinstance(log, logging.Logger):
        return (LogLevel.INFO if level is None else level, log)
    logger = log

    def write(level: int, text: str) -> None:
        logger.log(_TO_LOGGING.get(level, logging.DEBUG), "%s", text)

    return (_finest(logger) if level is None else level, write)


class Context(Owner):
    """Where caches live. Every call on a context may overlap any other.

    threads      0 = as many as the machine has; results do not depend on it
    quota_bytes  most bytes the context may hold at once; 0 = no limit
    backend      "" = the best available, else one of `backends()`; the environment variable
                 MUSTAFAR_FORCE_BACKEND wins over it
    refuse_ref   never land on the reference rows
    allocator    a CountingAllocator, to count or to make memory run out
    log          a `logging.Logger` or a callable(level, text); neither may call the library
    log_level    the finest LogLevel wanted; None = as the logger is set now, INFO for a callable
    """

    __slots__ = ()
    _instead_of_pickle = "make a new one, and load the caches from snapshots"

    def __init__(
        self,
        *,
        threads: int = 0,
        quota_bytes: int = 0,
        backend: str = "",
        refuse_ref: bool = False,
        allocator: CountingAllocator | None = None,
        log: Log | None = None,
        log_level: int | None = None,
    ) -> None:
        options = {
            "threads": threads,
            "quota_bytes": quota_bytes,
            "flags": c.MUSTAFAR_CONTEXT_REFUSE_REF if refuse_ref else 0,
            "backend": backend,
        }
        if log_level is not None and log is None:
            raise InvalidArgumentError("log_level without log has no effect; give a log, too")
        self._handle = c.mustafar_context_create(options, allocator, _hook(log, log_level))

    def kernel(self, op: str) -> KernelInfo:
        """The row that serves `op` ("attend", "prune", "pack", "unpack", "merge")."""
        return KernelInfo(**c.mustafar_context_kernel(self._handle, op))

    def stats(self) -> ContextStats:
        """Memory and caches of this context."""
        return ContextStats(**c.mustafar_context_get_stats(self._handle))

    def __repr__(self) -> str:
        if self.closed:
            return "Context(closed)"
        stats = self.stats()
        return (
            f"<Context: {stats.threads} threads, {stats.caches} caches, {stats.live_bytes} bytes>"
        )
