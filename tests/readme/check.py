#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles and runs every ```c block of README.md against the built library."""
import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readme", type=Path, required=True)
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--include", type=Path, required=True)
    parser.add_argument("--library", type=Path, required=True)
    options = parser.parse_args()

    text = options.readme.read_text(encoding="utf-8")
    blocks = list(re.finditer(r"^```c\n(.*?)^```$", text, re.M | re.S))
    if not blocks:
        print("README.md has no ```c block: the example that everybody copies is gone")
        return 1
    folder = options.library.resolve().parent
    for block in blocks:
        line = text.count("\n", 0, block.start()) + 2
        with tempfile.TemporaryDirectory() as work:
            source = Path(work) / "readme.c"
            source.write_text(f'#line {line} "README.md"\n' + block.group(1), encoding="utf-8")
            program = Path(work) / "readme"
            subprocess.run([options.compiler, "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror",
                            f"-I{options.include}", str(source), "-o", str(program), f"-L{folder}",
                            "-lmustafar", "-lm", f"-Wl,-rpath,{folder}"], check=True)
            done = subprocess.run([str(program)], cwd=work, capture_output=True, text=True, timeout=60)
            print(done.stdout + done.stderr, end="")
            if done.returncode != 0:
                print(f"README.md:{line}: the program ended with {done.returncode}")
                return 1
    print(f"{len(blocks)} C block(s) of README.md compiled and ran")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error.cmd[0]} failed: the block does not compile")
