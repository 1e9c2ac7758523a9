#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""man_page.py PAGE PROGRAM: the page and `PROGRAM --help` name the same options, and the page is clean mdoc for
mandoc or, without that, for groff; without both only the options are compared."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path


def of_help(text: str) -> set[str]:
    """  -h,--help  this text: the column of names ends with the first blank behind it."""
    columns = re.findall(r"^  (-\S+)", text, re.MULTILINE)
    return {one.lstrip("-") for column in columns for one in column.split(",")}


def of_page(text: str) -> set[str]:
    """.It Fl -port Ar n, and several separated by commas."""
    lines = re.findall(r"^\.It Fl (.*)$", text, re.MULTILINE)
    return {one.split()[0].lstrip("-") for line in lines for one in line.split(" , ")}


def lint(page: str) -> str:
    """What the checker of manual pages says of it."""
    if shutil.which("mandoc"):
        done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True)
        return done.stdout + done.stderr
    if shutil.which("groff"):
        done = subprocess.run(["groff", "-mdoc", "-Tutf8", "-ww", "-z", page], capture_output=True, text=True)
        return done.stdout + done.stderr
    print("neither mandoc nor groff is here: the page is not checked for its form")
    return ""


def main() -> int:
    page, program = sys.argv[1:3]
    text = Path(page).read_text(encoding="utf-8")
    done = subprocess.run([program, "--help"], capture_output=True, text=True, check=True)
    told, written = of_help(done.stdout), of_page(text)
    problems = [f"{page} has no --{name}" for name in sorted(told - written)]
    problems += [f"--help has no --{name}, which {page} has" for name in sorted(written - told)]
    if len(told) < 10:
        problems.append(f"only {len(told)} options were found in --help")
    said = lint(page)
    if said:
        problems.append(said)
    print("\n".join(problems) or f"{len(told)} options, all of them in {Path(page).name}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
