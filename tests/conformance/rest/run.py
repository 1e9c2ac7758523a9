#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The conformance vectors (tests/conformance) over HTTP, on a mustafard that is started for them.

    run.py VECTORS RAN [--daemon FILE] [--backend NAME] [--only ID]

VECTORS is the folder of the JSON files. RAN is written, a line per case: `ran ID`, `failed ID why`,
or `cannot ID why` where HTTP has no words for a step. The status is 0 when every case was looked
at, whatever came out: tests/conformance/check_ran.py judges.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "daemon"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vectors", type=Path)
    parser.add_argument("ran", type=Path)
    parser.add_argument(
        "--daemon", default=os.environ.get("MUSTAFARD"), help="MUSTAFARD unless given"
    )
    parser.add_argument("--backend", default="")
    parser.add_argument("--only", metavar="ID")
    arguments = parser.parse_args()
    if not arguments.daemon:
        parser.error("--daemon: which mustafard?")
    os.environ["MUSTAFARD"] = arguments.daemon

    from service import Service

    from problems import CaseError
    from steps import Case
    from wire import NoForm, Wire

    counts = {"ran": 0, "failed": 0, "cannot": 0}
    # Snapshots are flushed to the disk: memory is faster where there is some.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        flags = ["--data-dir", f"{folder}/data", "--log-level", "error", "--workers", "1"]
        if arguments.backend:
            flags += ["--backend", arguments.backend]
        with Service(*flags, folder=Path(folder)) as service, arguments.ran.open("w") as ran:
            wire = Wire(service)
            for path in sorted(arguments.vectors.glob("*.json")):
                for case in json.loads(path.read_text(encoding="utf-8"))["cases"]:
                    if arguments.only not in (None, case["id"]):
                        continue
                    verdict, why = "ran", ""
                    try:
                        Case(
                            wire, case, arguments.backend == "ref", Path(folder) / "data/snapshots"
                        ).run()
                    except CaseError as error:
                        verdict, why = "failed", " " + " ".join(str(error).split())
                    except NoForm as error:
                        verdict, why = "cannot", f" {error}"
                    ran.write(f"{verdict} {case['id']}{why}\n")
                    counts[verdict] += 1
                    if verdict == "failed" or arguments.only:
                        print(f"{verdict} {case['id']}{why}")
            left = [one["id"] for one in wire.json("GET", "/v1/caches")["caches"]]
            used = sum(
                service.metric(f'mustafard_cache_bytes{{part="{part}"}}')
                for part in ("pages", "tables")
            )
            status = service.stop()
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    if left or used or status:
        print(f"caches {left} and {used:.0f} bytes were left, mustafard ended with status {status}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
