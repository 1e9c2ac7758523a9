# SPDX-License-Identifier: Apache-2.0
"""`pip install ./bindings/python` as a stranger does it: a wheel in a new environment.

Builds the library once more, and pip fetches the build backend, which takes minutes: part of
`./dev test python --long 100`, and skipped where there is no network.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import SOURCE

import mustafar

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    plain = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=plain)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not os.environ.get("MUSTAFAR_LONG"):
        pytest.skip("builds the library again: ./dev test python --long 100")
    folder = tmp_path_factory.mktemp("wheel")
    if run(*PIP, "--version", cwd=folder).returncode != 0:
        pytest.skip("pip is not here (package python3-pip)")
    backend = [
        "download",
        "--retries",
        "0",
        "--timeout",
        "10",
        "-d",
        "backend",
        "scikit-build-core",
    ]
    if run(*PIP, *backend, cwd=folder).returncode != 0:
        pytest.skip("pip cannot fetch scikit-build-core (no network?)")
    source = str(SOURCE / "bindings/python")
    done = run(*PIP, "wheel", "--no-deps", "--find-links", "backend", "-w", ".", source, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = folder.glob("mustafar-*.whl")
    return made


def test_content(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.name.startswith(f"mustafar-{mustafar.version()}-")
    assert "mustafar/libmustafar.so.0" in names and "mustafar/py.typed" in names
    assert sum(name.startswith("mustafar/_mustafar.") for name in names) == 2
    assert not [name for name in names if name.endswith((".h", ".c", ".i", ".a", ".cmake"))]


def test_in_a_new_environment(wheel: Path, tmp_path: Path) -> None:
    """NumPy comes from the system, since nothing but the wheel is to be fetched."""
    new = tmp_path / "new"
    made = run(
        sys.executable,
        "-m",
        "venv",
        "--without-pip",
        "--system-site-packages",
        str(new),
        cwd=tmp_path,
    )
    assert made.returncode == 0, made.stderr
    python = str(new / "bin/python")
    install = ["--python", python, "install", "--no-deps", "--no-index", str(wheel)]
    done = run(*PIP, *install, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    check = run(python, "-m", "mustafar", cwd=tmp_path)
    assert check.returncode == 0 and "passed" in check.stdout, check.stdout + check.stderr
    code = "import mustafar; print(mustafar.__file__); print(open('/proc/self/maps').read())"
    told = run(python, "-c", code, cwd=tmp_path).stdout
    assert told.startswith(str(new))
    libraries = {line.split()[-1] for line in told.splitlines() if "libmustafar" in line}
    assert len(libraries) == 1 and libraries.pop().startswith(str(new))
    quickstart = SOURCE / "bindings/python/examples/quickstart.py"
    assert run(python, str(quickstart), cwd=tmp_path).returncode == 0
