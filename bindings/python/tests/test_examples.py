# SPDX-License-Identifier: Apache-2.0
"""Examples, the README's block and `python -m mustafar` run as they are written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SOURCE

import mustafar

FOLDER = SOURCE / "bindings/python"
EXAMPLES = sorted((FOLDER / "examples").glob("*.py"))


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=SOURCE,
        env=os.environ | environment,
    )


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples(path: Path) -> None:
    done = run("-W", "error", str(path))
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 1
    assert len(path.read_text().splitlines()) <= 32


def test_the_blocks_of_the_readme() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (FOLDER / "README.md").read_text(), re.M | re.S)
    for block, expected in zip(blocks, ("(1, 8, 128)", "'n'\n"), strict=True):
        done = run("-W", "error", "-c", block)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(expected)


def test_examples_of_the_readme_exist() -> None:
    text = (FOLDER / "README.md").read_text()
    for path in EXAMPLES:
        assert path.name in text


def test_main() -> None:
    done = run("-m", "mustafar")
    assert done.returncode == 0, done.stdout + done.stderr
    assert mustafar.version() in done.stdout and "the self-check passed" in done.stdout
    assert "attend_ref" in done.stdout and "FAILED" not in done.stdout
    assert run("-m", "mustafar", "--version").stdout.strip() == mustafar.version()


def test_main_fails_when_it_must() -> None:
    done = run("-m", "mustafar", MUSTAFAR_FORCE_BACKEND="nonsense")
    assert done.returncode == 1 and "FAILED" in done.stdout
