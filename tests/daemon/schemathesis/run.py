#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""schemathesis on a real mustafard: requests made from /openapi.json, good and bad, alone and in sequences.

A status, media type or schema that the document does not have, a request that it refuses though it is invalid, any
500: a failure. MUSTAFAR_SCHEMATHESIS names the folder where ./dev put schemathesis (requirements.txt); without it the
test is skipped. At least 2,000 cases, with MUSTAFAR_LONG 20,000; MUSTAFAR_SEED repeats a run."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
SITE = os.environ.get("MUSTAFAR_SCHEMATHESIS", "")
CASES = 20000 if "MUSTAFAR_LONG" in os.environ else 2000
START = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"


def prepare(service) -> None:
    """Names that hooks.py puts into requests."""
    geometry = {"layers": 2, "q_heads": 4, "kv_heads": 2, "head_dim": 32}
    for i, recipe in enumerate(("lean", "k8i4/v8i2", "kdi4c/vdi4/w4/s2")):
        body = {"geometry": geometry, "recipe": recipe, "max_tokens": 4096}
        assert service.ask("PUT", f"/v1/caches/c{i}", body).status in (200, 201)
        for layer in range(2):
            rows = bytes(100 * 2 * 2 * 32 * 2)
            path = f"/v1/caches/c{i}/layers/{layer}/append?dtype=f16&tokens=100&expect=0"
            assert service.ask("POST", path, rows).status == 200
    for i in range(2):
        service.ask("PUT", f"/v1/snapshots/s{i}", {"cache": f"c{i}"})
        service.ask("PUT", f"/v1/recipes/r{i}", service.ask("GET", "/v1/recipes/lean").json["recipe"])


def run_once(url: str, folder: Path, per_operation: int, seed: int) -> tuple[int, str]:
    """Cases that were made, and the report where something failed."""
    environment = {**os.environ, "PYTHONPATH": SITE, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [
        sys.executable, "-c", START, "--config-file", str(HERE / "schemathesis.toml"), "run", url, "--checks", "all",
        "--max-examples", str(per_operation), "--seed", str(seed), "--no-color", "--generation-database", "none",
        "--warnings", "off", "--continue-on-failure",
        "--exclude-operation-id", "post_drain"]  # it ends the service, as it says; tests of keeping ask it  # fmt: skip
    environment["PYTHONPATH"] += f":{HERE}"
    done = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True)
    made = re.search(r"^ *([\d,]+) generated", done.stdout, re.MULTILINE)
    if done.returncode or made is None:
        return 0, f"seed {seed}\n{done.stdout[-20000:]}\n{done.stderr[-4000:]}"
    return int(made.group(1).replace(",", "")), ""


def main() -> int:
    if not SITE or not (Path(SITE) / "schemathesis").is_dir():
        print("skipped: schemathesis is not here (./dev installs it from PyPI into the build folder)")
        return 77
    from service import COMMITTED, Service

    operations = sum(len(one) for one in COMMITTED["paths"].values())
    # What is chosen anew in long runs is the same in others: a commit passes or does not.
    fresh = random.randrange(1 << 31) if "MUSTAFAR_LONG" in os.environ else 1479171278
    seed = int(os.environ.get("MUSTAFAR_SEED") or fresh)
    made, rounds, start = 0, 0, time.monotonic()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        flags = ("--data-dir", f"{text}/data", "--memory-quota", "256m", "--allow-blind-append", "--log-level", "error",
                 "--workers", "2")  # fmt: skip
        with Service(*flags, folder=folder) as service:
            prepare(service)
            while made < CASES:
                # Half of the cases do not depend on the number asked for.
                per_operation = max(4, min(500, (CASES - made) // (2 * operations)))
                url = f"http://127.0.0.1:{service.port}/openapi.json"
                got, report = run_once(url, folder, per_operation, seed + rounds)
                if report:
                    print(report)
                    return 1
                made += got
                rounds += 1
            answered = sum(
                float(line.rsplit(" ", 1)[1])
                for line in service.ask("GET", "/metrics").body.decode().splitlines()
                if line.startswith("mustafard_http_requests_total") and 'code="2' in line)  # fmt: skip
            peak = service.memory() >> 20
            status = service.stop()
    print(f"{made} cases in {rounds} rounds from seed {seed}, {time.monotonic() - start:.0f} s: 0 failures; "
          f"{answered:.0f} requests were done, peak {peak} MiB, mustafard ended with status {status}")  # fmt: skip
    # Names of jobs, results and traces are rarely met: a twelfth done shows that the hooks still work.
    return 0 if status == 0 and answered * 12 > made else 1


if __name__ == "__main__":
    sys.exit(main())
