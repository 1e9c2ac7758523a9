# SPDX-License-Identifier: Apache-2.0
"""mypy --strict on the package, the examples and the tests of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SOURCE

FOLDER = SOURCE / "bindings/python"


def test_types(tmp_path: Path) -> None:
    if subprocess.run([sys.executable, "-c", "import mypy"], capture_output=True).returncode != 0:
        pytest.skip("mypy is not here (package mypy)")
    cache = Path(os.environ.get("MUSTAFAR_BINARY_DIR", tmp_path)) / "mypy_cache"
    files = [
        "mustafar",
        "conformance/run.py",
        *(f"examples/{p.name}" for p in sorted((FOLDER / "examples").glob("*.py"))),
    ]
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(cache), *files]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stub_is_the_extension() -> None:
    """Every name in _mustafar.pyi exists, and nothing that exists is missing there."""
    import ast

    from mustafar import _mustafar as c

    names = set()
    for node in ast.parse((FOLDER / "mustafar/_mustafar.pyi").read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    assert names == {name for name in vars(c) if not name.startswith("_")}
