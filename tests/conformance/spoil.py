#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Does a runner compare anything? Writes the vectors with one wrong expectation in every case; a
runner must then fail every case.

    spoil.py FOLDER RUNNER [ARGS...]    runs `RUNNER FOLDER/N FOLDER/N/ran.log ARGS...` twice, each
                                        time with another expectation wrong; RUNNER may be
                                        "INTERPRETER PROGRAM"
"""

import json
import pathlib
import shlex
import subprocess
import sys
import zlib
from typing import Any, Callable

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE / "generator"))

from write import json_text, twin_text  # noqa: E402

Step = dict[str, Any]


def other_digit(text: str) -> str:
    """The last hex digit changes."""
    return text[:-1] + ("1" if text[-1] != "1" else "2") if text[-1] != ":" else text + "00"


def other_number(text: str) -> str:
    """The last number becomes large."""
    dtype = text.split(":")[0]
    large = {"f32": "50000000", "f16": "7bff", "bf16": "5000"}[dtype]
    return text[: -len(large)] + large


def one_more(value: Any) -> Any:
    return [value[0] + 1, *value[1:]] if isinstance(value, list) and value else value + 1


SPOILERS: dict[str, Callable[[Any], Any]] = {
    "snapshot": other_digit,
    "bitmaps": other_digit,
    "values": lambda v: other_number(v) if isinstance(v, str) else v + 1,
    "out": other_number,
    "lse": other_number,
    "weights": other_number,
    "canonical": lambda text: text + " ",
    "status": lambda status: "INTERNAL",
    "names": lambda names: "no.such.argument",
    "error_values": one_more,
    "positions": one_more,
    "window_least": lambda count: count + 10**12,
    "positions_least": lambda count: count + 10**12,
}
COUNTS = {
    "state": ("committed", "tentative", "rows", "body"),
    "bytes": ("bitmaps", "meta", "slack"),
    "stats": ("longest", "rows", "body_rows", "evicted_rows", "pages", "dense_bytes",
              "appended_tokens", "packed_rows", "shared_pages"),
    "side": ("keep", "bits", "encoding", "method", "group", "centred", "row_bytes", "page_bytes"),
    "window": ("recent", "sink", "step", "budget"),
}  # fmt: skip
INPUTS = {"evict": ("positions",)}


def spoilable(step: Step) -> list[str]:
    op = step["op"]
    keys = [key for key in SPOILERS if key in step and key not in INPUTS.get(op, ())]
    keys += [key for key in COUNTS.get(op, ()) if key in step and key not in keys]
    return keys + ([] if "status" in step else ["status"])


def spoil(case: Step, turn: int) -> None:
    places = [(step, key) for step in case["steps"] for key in spoilable(step)]
    at = (zlib.crc32(case["id"].encode()) + 7919 * turn) % len(places)
    step, key = places[at]
    if key == "status" and "status" not in step:
        step[key] = "BAD_STATE"
    elif key in COUNTS.get(step["op"], ()) and isinstance(step[key], int):
        step[key] += 1
    else:
        step[key] = SPOILERS[key](step[key])


def write(folder: pathlib.Path, turn: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((HERE / "vectors").glob("*.json")):
        cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
        for case in cases:
            spoil(case, turn)
        (folder / path.name).write_text(json_text(path.stem, cases), encoding="utf-8")
        twin = folder / (path.stem + ".txt")
        twin.write_text(twin_text(path.stem, cases), encoding="utf-8")


def check(ran: pathlib.Path) -> int:
    """What a runner cannot say is check_ran.py's business, and cannot be spoiled here."""
    verdicts: dict[str, set[str]] = {"failed": set(), "ran": set(), "cannot": set()}
    for line in ran.read_text(encoding="utf-8").splitlines():
        verdict, name = line.split()[:2]
        verdicts[verdict].add(name)
    ids = (HERE / "manifest.txt").read_text(encoding="utf-8").split()
    tried = [name for name in ids if name not in verdicts["cannot"]]
    passed = [name for name in tried if name not in verdicts["failed"]]
    print(f"{len(tried) - len(passed)} of {len(tried)} spoiled cases failed")
    for name in passed[:20]:
        print(f"  passed with a wrong expectation: {name}")
    return 1 if passed or not tried else 0


def main(words: list[str]) -> int:
    if len(words) < 2:
        print(__doc__)
        return 2
    status = 0
    for turn in range(2):
        folder = pathlib.Path(words[0]) / str(turn)
        write(folder, turn)
        ran = folder / "ran.log"
        command = [*shlex.split(words[1]), str(folder), str(ran), *words[2:]]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        status |= check(ran)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
