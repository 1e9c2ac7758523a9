# SPDX-License-Identifier: Apache-2.0
"""The table of hostile requests in docs/experiments.md: each probe of tests/daemon/test_probes.py, what mustafard answers, and
how much its peak memory (VmHWM) has grown since the start.

    python3 daemon/bench/probes.py build/bin/mustafard
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "daemon"))


def in_words(size: int) -> str:
    return f"{size} B" if size < 1024 else f"{size >> 10} KiB" if size < 1 << 20 else f"{size >> 20} MiB"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mustafard", type=Path)
    os.environ["MUSTAFARD"] = str(parser.parse_args().mustafard.resolve())
    from service import Service
    from test_probes import PROBES, send_probe

    rows, wrong = [], 0
    with Service("--log-level", "error", "--memory-quota", "64m") as service:
        service.ask("GET", "/healthz")
        start = service.memory()
        for name, (data, wanted) in PROBES.items():
            statuses = [status for status, _ in send_probe(service, data)]
            wrong += statuses != wanted
            began = time.monotonic()
            served = service.ask("GET", "/version").status == 200
            wait = (time.monotonic() - began) * 1000
            wrong += not served
            answer = ", ".join(map(str, statuses)) or "closed"
            rows.append((name, in_words(len(data)), answer, f"{wait:.1f}", (service.memory() - start) >> 10))
        status = service.stop()
    print("| probe | sent | answer | next client, ms | peak memory grown, KiB |\n|---|---:|---|---:|---:|")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    print(f"\n{len(rows)} probes, {wrong} answered otherwise than tests/daemon/test_probes.py says; peak memory grew by "
          f"{rows[-1][-1]} KiB in all; mustafard ended with status {status}.")  # fmt: skip
    return 1 if wrong or status else 0


if __name__ == "__main__":
    sys.exit(main())
