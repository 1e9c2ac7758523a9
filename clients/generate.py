#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes what the four clients have in common with daemon/openapi.json: types, problem types, plain operations.

    clients/generate.py           writes the files
    clients/generate.py --check   changes nothing; status 1 and the names of those that differ

Operations with tensors or streams are written by hand in each client; the tests of each name one that is missing."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from generator import go, model, python, rust, typescript

HERE = Path(__file__).resolve().parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    options = parser.parse_args()
    api = model.read_api(HERE.parent / "daemon" / "openapi.json")
    differ = []
    for language in (python, go, rust, typescript):
        for name, text in language.files(api).items():
            file = HERE / name
            if file.exists() and file.read_text() == text:
                continue
            differ.append(name)
            if not options.check:
                file.write_text(text)
    for name in differ:
        print(f"clients/{name} {'differs: run clients/generate.py' if options.check else 'written'}")
    plain = sum(one.plain for one in api.operations)
    print(
        f"{len(api.operations)} operations ({plain} generated), {len(api.structs)} types, {len(api.problems)} problems"
    )
    return 1 if options.check and differ else 0


if __name__ == "__main__":
    sys.exit(main())
