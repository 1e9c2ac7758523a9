# SPDX-License-Identifier: Apache-2.0
"""One line on stderr that says how far the work is, where stderr is a terminal."""

from __future__ import annotations

import sys
import time

__all__ = ["Progress"]

_WIDTH = 24


class Progress:
    """`total` units of cost, whatever they are; silent where nobody looks."""

    def __init__(self, total: float) -> None:
        self._total = max(total, 1e-9)
        self._done = 0.0  # measured in this run
        self._known = 0.0  # measured before
        self._begin = time.monotonic()
        self._shown = sys.stderr.isatty()

    def skip(self, cost: float) -> None:
        """`cost` was there already."""
        self._known += cost

    def step(self, cost: float) -> None:
        """`cost` is done."""
        self._done += cost

    def show(self, what: str) -> None:
        """The bar, and what is being done now."""
        if not self._shown:
            return
        share = min(1.0, (self._done + self._known) / self._total)
        bar = "#" * round(share * _WIDTH)
        seconds = time.monotonic() - self._begin
        left = "..."
        if self._done > 0.01 * self._total:
            left = _clock(seconds * (self._total - self._known - self._done) / self._done)
        text = f"[{bar:<{_WIDTH}}] {share:4.0%}  {_clock(seconds)}, left {left}  {what}"
        print(f"\r\x1b[K{text[:100]}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Leaves an empty line."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    whole = int(max(0, seconds))
    return f"{whole // 60}:{whole % 60:02d}"
