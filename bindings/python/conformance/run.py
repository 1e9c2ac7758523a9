#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The conformance vectors (tests/conformance) through the package `mustafar`.

run.py VECTORS RAN [--backend NAME] [--only ID]

VECTORS is the folder of the JSON files. RAN is written: `ran ID` or `failed ID why`, a line per
case. The status is 0 when every case ran, whatever came out: tests/conformance/check_ran.py judges.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

from steps import Case, CaseError

import mustafar


def runs_on_ref(context: mustafar.Context) -> bool:
    """The strict tolerances are for the reference rows alone."""
    return all(context.kernel(op).backend == "ref" for op in ("attend", "unpack", "merge"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vectors", type=pathlib.Path)
    parser.add_argument("ran", type=pathlib.Path)
    parser.add_argument("--backend", default="")
    parser.add_argument("--only", metavar="ID")
    arguments = parser.parse_args()
    failures = count = 0
    allocator = mustafar.CountingAllocator()
    context = mustafar.Context(allocator=allocator, backend=arguments.backend)
    with context, arguments.ran.open("w", encoding="utf-8") as ran:
        strict = runs_on_ref(context)
        for path in sorted(arguments.vectors.glob("*.json")):
            for case in json.loads(path.read_text(encoding="utf-8"))["cases"]:
                if arguments.only not in (None, case["id"]):
                    continue
                count += 1
                try:
                    Case(context, case, strict).run()
                    ran.write(f"ran {case['id']}\n")
                except CaseError as error:
                    failures += 1
                    why = str(error).replace("\n", " ")
                    ran.write(f"failed {case['id']} {why}\n")
                    print(f"failed {case['id']}: {why}")
    print(f"{count - failures} ran, {failures} failed")
    if allocator.live_bytes:
        print(f"{allocator.live_bytes} bytes leaked")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
