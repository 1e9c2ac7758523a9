# SPDX-License-Identifier: Apache-2.0
"""A library that is missing, too old, or lacks a function: an ImportError that says so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SOURCE

import mustafar
from mustafar import _mustafar as c

NAMES = (SOURCE / "capi/abi/symbols.txt").read_text().split()


def copy_of_package(folder: Path) -> Path:
    """The package, with an extension that asks for a library in its own folder, or nowhere."""
    package = folder / "mustafar"
    shutil.copytree(Path(mustafar.__file__).parent, package, ignore=shutil.ignore_patterns("eval"))
    return package


def start(folder: Path, code: str = "import mustafar", **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(folder)} | environment,
    )
    assert done.returncode == 1, (done.returncode, done.stderr)
    return done.stderr.strip().splitlines()[-1]


def stub(folder: Path, version: str, names: list[str]) -> dict[str, str]:
    """A libmustafar.so.0 of another version with these functions, found before the real one."""
    compiler = os.environ.get("CC") or shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler")
    functions = [name.split("@")[0] for name in names]
    lines = [f'const char *mustafar_version(void) {{ return "{version}"; }}']
    lines += [
        f"int {name}(void) {{ return 12; }}" for name in functions if name != "mustafar_version"
    ]
    source = folder / "stub.c"
    source.write_text("\n".join(lines))
    script = SOURCE / "capi/abi/mustafar.map"
    command = [compiler, "-shared", "-fPIC", "-Wl,-soname,libmustafar.so.0", str(source)]
    command += [f"-Wl,--version-script={script}", "-o", str(folder / "libmustafar.so.0")]
    subprocess.run(command, check=True)
    return {"LD_LIBRARY_PATH": str(folder)}


def test_missing(tmp_path: Path) -> None:
    package = copy_of_package(tmp_path)
    extension = package / Path(c.__file__).name
    data = extension.read_bytes().replace(b"libmustafar.so.0", b"libmustafar.so.9")
    extension.write_bytes(data)
    line = start(tmp_path)
    assert line.startswith("ImportError: mustafar:") and "libmustafar.so.9" in line


def test_older(tmp_path: Path) -> None:
    line = start(copy_of_package(tmp_path).parent, **stub(tmp_path, "0.0.9", NAMES))
    assert line.startswith("ImportError: mustafar: libmustafar 0.0.9 is older than")


def test_without_a_function(tmp_path: Path) -> None:
    names = [name for name in NAMES if not name.startswith("mustafar_attend")]
    line = start(copy_of_package(tmp_path).parent, **stub(tmp_path, "9.0.0", names))
    assert line.startswith("ImportError: mustafar:") and "mustafar_attend" in line
