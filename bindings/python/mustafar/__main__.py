# SPDX-License-Identifier: Apache-2.0
"""`python -m mustafar`: versions, backends and a self-check; status 1 where the check fails."""

from __future__ import annotations

import argparse
import platform
import sys

import numpy

import mustafar
from mustafar._selfcheck import checks


def show() -> None:
    """What is loaded, and what it can run."""
    print(f"mustafar  {mustafar.version()} (ABI {mustafar.abi_version()}), {mustafar.build_text()}")
    print(f"python    {platform.python_version()}, NumPy {numpy.__version__}")
    print(f"backends  {', '.join(mustafar.backends())}")
    for kernel in mustafar.kernels():
        state = "yes" if kernel.available else f"no: {kernel.reason}"
        print(f"  {kernel.op:<8} {kernel.backend:<12} {kernel.name:<24} {state}")


def check() -> bool:
    """Runs the self-check; prints a line each."""
    good = True
    for name, passed in checks():
        print(f"  {'ok' if passed else 'FAILED':<8} {name}")
        good = good and passed
    return good


def main() -> int:
    """Prints, checks, and says so."""
    parser = argparse.ArgumentParser(prog="python -m mustafar", description=__doc__)
    parser.add_argument("--version", action="store_true", help="only the release")
    if parser.parse_args().version:
        print(mustafar.version())
        return 0
    show()
    print("self-check")
    try:
        good = check()
    except mustafar.Error as error:
        print(f"  FAILED   {type(error).__name__}: {error}")
        good = False
    print("the self-check passed" if good else "the self-check FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
