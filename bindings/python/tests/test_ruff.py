# SPDX-License-Identifier: Apache-2.0
"""ruff, where it is installed (Debian 12 does not have it)."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from conftest import SOURCE

RUFF = shutil.which("ruff")
MODULE = subprocess.run([sys.executable, "-m", "ruff", "--version"], capture_output=True)


@pytest.mark.skipif(not RUFF and MODULE.returncode != 0, reason="ruff is not here (optional)")
@pytest.mark.parametrize("what", [["check", "--no-cache"], ["format", "--check", "--no-cache"]])
def test_ruff(what: list[str]) -> None:
    command = [RUFF] if RUFF else [sys.executable, "-m", "ruff"]
    folder = SOURCE / "bindings/python"
    done = subprocess.run([*command, *what, str(folder)], capture_output=True, text=True)  # type: ignore[list-item]
    assert done.returncode == 0, done.stdout + done.stderr
