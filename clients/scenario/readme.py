#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the example in the README of each client, as its reader would, against a mustafard of our own."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

CLIENTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CLIENTS.parent / "tests" / "daemon"))
DEFAULT = "http://127.0.0.1:8642"
LINES = 32  # an example is no longer


def example(language: str, mark: str) -> str:
    text = (CLIENTS / language / "README.md").read_text()
    blocks = re.findall(rf"^```{mark}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    if len(blocks) != 1 or DEFAULT not in blocks[0]:
        sys.exit(f"clients/{language}/README.md: one {mark} block with {DEFAULT} in it is expected")
    if len(blocks[0].splitlines()) > LINES:
        sys.exit(f"clients/{language}/README.md: the example has more than {LINES} lines")
    return str(blocks[0])


def python(folder: Path, program: str) -> list[str]:
    (folder / "main.py").write_text(program)
    os.environ["PYTHONPATH"] = str(CLIENTS / "python")
    return [sys.executable, "main.py"]


def go(folder: Path, program: str) -> list[str]:
    (folder / "main.go").write_text(program)
    module = "module example.org/try\n\ngo 1.19\n\nrequire mustafarclient v0.0.0\n\n"
    (folder / "go.mod").write_text(f"{module}replace mustafarclient => {CLIENTS}/go\n")
    os.environ.update(GOFLAGS="-mod=mod", GOPROXY="off", GOTOOLCHAIN="local", GOWORK="off", CGO_ENABLED="0")
    return [os.environ["GO"], "run", "."]


def rust(folder: Path, program: str) -> list[str]:
    (folder / "src").mkdir()
    (folder / "src" / "main.rs").write_text(program)
    package = '[package]\nname = "try"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n[dependencies]\n'
    (folder / "Cargo.toml").write_text(package + f'mustafar-client = {{ path = "{CLIENTS}/rust" }}\n')
    os.environ["CARGO_TARGET_DIR"] = os.environ["WORK"] + "/readme"
    return [os.environ["CARGO"], "run", "--offline", "--quiet"]


def typescript(folder: Path, program: str) -> list[str]:
    package = folder / "node_modules" / "mustafar-client"
    shutil.copytree(Path(os.environ["WORK"]) / "typescript" / "src", package / "dist" / "src")
    shutil.copy(CLIENTS / "typescript" / "package.json", package)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "main.ts").write_text(program)
    options = ["--strict", "--target", "es2022", "--module", "node16", "--lib", "es2022,dom"]
    subprocess.run([os.environ["TSC"], *options, "main.ts"], cwd=folder, check=True)
    return [os.environ["NODE"], "main.js"]


LANGUAGES: dict[str, tuple[str, Callable[[Path, str], list[str]], str]] = {
    "python": ("python", python, ""),
    "go": ("go", go, "GO"),
    "rust": ("rust", rust, "CARGO"),
    "typescript": ("ts", typescript, "TSC"),
}


def main() -> int:
    from service import Service

    failed = 0
    outputs = set()
    for language, (mark, prepare, tool) in LANGUAGES.items():
        if language == "python" and importlib.util.find_spec("numpy") is None:
            print("python: skipped, NumPy is not here (package python3-numpy)")
            continue
        if tool and not Path(os.environ.get(tool, "")).is_file():
            print(f"{language}: skipped, {tool.lower()} is not here")
            continue
        with Service() as service, tempfile.TemporaryDirectory() as name:
            program = example(language, mark).replace(DEFAULT, f"http://127.0.0.1:{service.port}")
            command = prepare(Path(name), program)
            done = subprocess.run(command, cwd=name, capture_output=True, text=True, timeout=240)
        print(f"{language}: {done.stdout.strip() or 'no output'}{done.stderr}")
        failed += done.returncode != 0 or not done.stdout
        outputs.add(done.stdout.strip())
    if len(outputs) > 1:
        print("the examples do the same and should print the same")
        return 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
