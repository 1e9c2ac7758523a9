#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the C ABI of a built library with the one checked in here.

    ./dev abi               compare; status 1 and an explanation where they differ
    ./dev abi --update      write the checked-in files anew, on purpose

Three files together are the ABI: symbols.txt (what the library exports), constants.txt (values of the
enums and macros in the public headers, which no debug data carries) and baseline.abi (functions and
types, written by abidw from debug data). README.md beside this file says what may change.
"""
import argparse
import difflib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
HEADERS = HERE.parent / "include"
SYMBOLS = HERE / "symbols.txt"
CONSTANTS = HERE / "constants.txt"
BASELINE = HERE / "baseline.abi"
BASELINE_MACHINE = "x86_64"  # layouts differ elsewhere; there only symbols and constants are compared
SKIPPED = 77

UPDATE = """
If this is what you want, write it down:  ./dev abi --update
and commit capi/abi/ together with the change, the header's comment and the test. Something that was
added needs no more than that. Something that was removed, reordered or retyped breaks callers that are
already compiled: it also takes a new MUSTAFAR_ABI_VERSION in CMakeLists.txt (capi/abi/README.md).
"""


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def symbols_of(library: Path) -> list[str]:
    """Exported names, sorted; the version node itself is left out."""
    names = set()
    for line in run("nm", "--dynamic", "--defined-only", str(library)).splitlines():
        kind, name = line.split()[-2:]
        if kind != "A":
            names.add(name)
    return sorted(names)


def constants_of(headers: Path) -> list[str]:
    """`NAME value` for each enumerator and each macro with a value, as written, sorted."""
    found = set()
    for header in sorted(headers.glob("mustafar/*.h")):
        text = re.sub(r"/\*.*?\*/", " ", header.read_text(encoding="ascii"), flags=re.S)
        text = text.replace("\\\n", " ")
        for name, value in re.findall(r"^[ \t]*#[ \t]*define[ \t]+(MUSTAFAR_\w+)[ \t]+(.+)$", text, re.M):
            if not re.search(r"__attribute__|#", value) and not name.startswith("MUSTAFAR_VERSION"):
                found.add(f"{name} {' '.join(value.split())}")
        for body in re.findall(r"\benum\b[^{;]*\{(.*?)\}", text, re.S):
            for entry in filter(None, (part.strip() for part in body.split(","))):
                name, _, value = (part.strip() for part in entry.partition("="))
                if not value:
                    sys.exit(f"{header.name}: {name} has no value; every public enumerator states its own")
                found.add(f"{name} {' '.join(value.split())}")
    return sorted(found)


def abi_of(library: Path) -> str:
    """abidw's description, free of paths, so that the same sources give the same text anywhere."""
    text = run("abidw", "--headers-dir", str(HEADERS), "--drop-private-types", "--no-corpus-path",
               "--no-comp-dir-path", "--no-show-locs", "--no-elf-needed", "--exported-interfaces-only",
               str(library))
    # Sources are named relative to the tree; abidw has no switch for it, and abidiff wants them distinct.
    return text.replace(f"path='{HERE.parent.parent}/", "path='")


def diff(title: str, old: list[str], new: list[str]) -> bool:
    lines = list(difflib.unified_diff(old, new, "checked in", "built", lineterm="", n=0))
    if lines:
        print(f"{title}:")
        print("\n".join("  " + line for line in lines if not line.startswith("@@")))
    return bool(lines)


def check_symbols(library: Path) -> bool:
    new = symbols_of(library)
    foreign = [name for name in new if not name.split("@")[0].startswith("mustafar_")]
    if foreign:
        print("exported, though not ours (capi/abi/mustafar.map lets only mustafar_* out):")
        print("\n".join("  " + name for name in foreign))
    differ = diff("exported symbols differ", read(SYMBOLS), new)
    declared = set()
    for header in HEADERS.glob("mustafar/*.h"):
        text = re.sub(r"/\*.*?\*/", " ", header.read_text(encoding="ascii"), flags=re.S)
        declared.update(re.findall(r"\bMUSTAFAR_API\b[^;{]*?\b(mustafar_\w+)\s*\(", text))
    exported = {name.split("@")[0] for name in new}
    for name in sorted(declared - exported):
        print(f"declared in a header, but not exported: {name}")
    for name in sorted(exported - declared):
        print(f"exported, but declared in no header: {name}")
    return not (foreign or differ or declared ^ exported)


def check_types(library: Path) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "built.abi"
        built.write_text(abi_of(library), encoding="utf-8")
        done = subprocess.run(["abidiff", str(BASELINE), str(built)], capture_output=True, text=True)
    if done.returncode == 0:
        return True
    if done.returncode < 0 or done.returncode & 3:  # a signal, or abidiff's bits for its own errors
        sys.exit(f"abidiff failed ({done.returncode}): {done.stderr.strip() or done.stdout.strip()}")
    print("functions or types differ (abidiff):")
    print("\n".join("  " + line for line in (done.stdout + done.stderr).rstrip().splitlines()))
    if done.returncode & 8:
        print("  abidiff calls this incompatible with callers that are already compiled")
    return False


def read(path: Path) -> list[str]:
    return path.read_text(encoding="ascii").splitlines() if path.exists() else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", type=Path, required=True, help="libmustafar.so with debug data")
    parser.add_argument("--update", action="store_true", help="write the checked-in files anew")
    parser.add_argument("--only", choices=["symbols", "constants", "types"], help="one comparison of the three")
    options = parser.parse_args()
    if not options.library.exists():
        sys.exit(f"{options.library} is not there; ./dev build makes it")

    why_no_types = ""
    if not shutil.which("abidw") or not shutil.which("abidiff"):
        why_no_types = "abidw and abidiff are not here (package abigail-tools)"
    elif platform.machine() != BASELINE_MACHINE:
        why_no_types = f"the baseline is of {BASELINE_MACHINE}, this machine is {platform.machine()}"

    if options.update:
        if why_no_types:
            sys.exit(f"cannot write the baseline: {why_no_types}")
        SYMBOLS.write_text("\n".join(symbols_of(options.library)) + "\n", encoding="ascii")
        CONSTANTS.write_text("\n".join(constants_of(HEADERS)) + "\n", encoding="ascii")
        BASELINE.write_text(abi_of(options.library), encoding="utf-8")
        print(f"wrote {SYMBOLS.name}, {CONSTANTS.name}, {BASELINE.name}; `git diff capi/abi` shows what changed")
        return 0

    good = True
    if options.only in (None, "symbols"):
        good &= check_symbols(options.library)
    if options.only in (None, "constants"):
        good &= not diff("public constants differ", read(CONSTANTS), constants_of(HEADERS))
    if options.only in (None, "types"):
        if why_no_types:
            print(f"types are not compared: {why_no_types}")
            if options.only:
                return SKIPPED
        else:
            good &= check_types(options.library)
    if not good:
        print(UPDATE)
        return 1
    count = len(read(SYMBOLS)), len(read(CONSTANTS))
    print(f"the ABI is the checked-in one: {count[0]} functions, {count[1]} constants")
    return 0


if __name__ == "__main__":
    sys.exit(main())
