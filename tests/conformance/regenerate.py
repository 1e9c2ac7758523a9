#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes vectors/ and manifest.txt from the generator, or with --check compares them with it.

regenerate.py [--check]     status 0: in step, 1: not, 77: NumPy is not installed
"""

import argparse
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE / "generator"))

try:
    import numpy  # noqa: F401
except ImportError:
    print("NumPy is not installed (package python3-numpy)")
    sys.exit(77)

import cases_attend  # noqa: E402
import cases_errors  # noqa: E402
import cases_evict  # noqa: E402
import cases_life  # noqa: E402
import cases_pack  # noqa: E402
import cases_recipe  # noqa: E402
from write import json_text, twin_text  # noqa: E402

MODULES = (cases_recipe, cases_pack, cases_life, cases_evict, cases_attend, cases_errors)


def generate() -> dict[pathlib.Path, str]:
    files: dict[pathlib.Path, str] = {}
    ids: list[str] = []
    for module in MODULES:
        for topic, make in module.TOPICS.items():
            cases = [case.json(topic) for case in make()]
            ids += [case["id"] for case in cases]
            files[HERE / "vectors" / f"{topic}.json"] = json_text(topic, cases)
            files[HERE / "vectors" / f"{topic}.txt"] = twin_text(topic, cases)
    doubled = sorted({name for name in ids if ids.count(name) > 1})
    if doubled:
        raise SystemExit(f"ids given twice: {doubled}")
    files[HERE / "manifest.txt"] = "".join(f"{name}\n" for name in sorted(ids))
    return files


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    files = generate()
    here = {HERE / "manifest.txt", *(HERE / "vectors").glob("*")}
    differing = [path for path in here if path not in files]
    for path, text in files.items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        differing.append(path)
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for path in differing:
        print("differs" if check else "written", path.relative_to(HERE))
    print(f"{len(files[HERE / 'manifest.txt'].splitlines())} cases in {len(files) // 2} topics")
    return 1 if check and differing else 0


if __name__ == "__main__":
    sys.exit(main())
