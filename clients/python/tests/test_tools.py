# SPDX-License-Identifier: Apache-2.0
"""mypy and ruff, where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CLIENTS


def test_types(tmp_path: Path) -> None:
    if subprocess.run([sys.executable, "-c", "import mypy"], capture_output=True).returncode != 0:
        pytest.skip("mypy is not here (package mypy)")
    cache = os.environ.get("MUSTAFAR_BINARY_DIR", str(tmp_path)) + "/mypy_cache_clients"
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", cache]
    for folder, files in (("python", ["mustafar_client", "scenario/run.py"]), ("", ["generate.py"])):
        done = subprocess.run([*command, *files], cwd=CLIENTS / folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("what", [["check", "--no-cache"], ["format", "--check", "--no-cache"]])
def test_ruff(what: list[str]) -> None:
    ruff = shutil.which("ruff")
    if ruff is None or subprocess.run([ruff, "--version"], capture_output=True).returncode != 0:
        pytest.skip("ruff is not here (optional)")
    configuration = ["--config", str(CLIENTS / "python" / "pyproject.toml")]
    done = subprocess.run([ruff, *what, *configuration, str(CLIENTS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
