# SPDX-License-Identifier: Apache-2.0
"""Runs one file of tests: status 0, 1, or 77 where pytest is missing or everything was skipped."""

from __future__ import annotations

import sys
from pathlib import Path

SKIPPED = 77
HERE = Path(__file__).resolve().parent


class Counts:
    """A pytest plugin that counts what ran."""

    def __init__(self) -> None:
        self.ran = 0
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report: object) -> None:
        if getattr(report, "skipped", False):
            self.skipped.append(str(getattr(report, "longrepr", "")))
        elif getattr(report, "when", "") == "call":
            self.ran += 1

    def pytest_collectreport(self, report: object) -> None:
        if getattr(report, "skipped", False):
            self.skipped.append(str(getattr(report, "longrepr", "")))


def main() -> int:
    try:
        import pytest
    except ImportError:
        print("skipped: pytest is not here (package python3-pytest)")
        return SKIPPED
    counts = Counts()
    options = ["-q", "-rs", "-p", "no:cacheprovider", "--rootdir", str(HERE.parent)]
    status = pytest.main([*options, *(str(HERE / name) for name in sys.argv[1:])], [counts])
    if counts.ran == 0 and counts.skipped and status in (0, 5):
        return SKIPPED
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
