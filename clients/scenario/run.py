#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One scenario through the clients of all languages against one mustafard, and a table of what each made of it.

    clients/scenario/run.py --mustafard build/bin/mustafard python=clients/python/scenario/run.py go=build/...
    clients/scenario/run.py ... --update      writes the digests of the first runner into scenario.json

Status 0: every runner ran every step, with the expected digest. 1: not so. 2: wrong command line."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from faults import Faults

HERE = Path(__file__).resolve().parent
SCENARIO = HERE / "scenario.json"
TOKENS = {"admin": "scenario-admin-token", "read": "scenario-read-token"}
LIMIT = 120  # seconds of one runner


class Service:
    """A mustafard of our own: reference kernels, so that tensors are the same on every machine."""

    def __init__(self, binary: str, folder: Path) -> None:
        self.folder = folder
        tokens = folder / "tokens"
        tokens.touch(0o600)
        tokens.write_text("".join(f"{scope} {token}\n" for scope, token in TOKENS.items()))
        (folder / "data").mkdir()
        flags = ["--port", "0", "--port-file", str(folder / "port"), "--data-dir", str(folder / "data"),
                 "--token-file", str(tokens), "--backend", "ref", "--memory-quota", "256m"]  # fmt: skip
        if "--trace-dir" in subprocess.run([binary, "--help"], capture_output=True, text=True).stdout:
            flags += ["--trace-dir", str(HERE.parents[1] / "tests" / "data" / "traces")]
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen([binary, *flags], stdout=subprocess.DEVNULL, stderr=self.log)
        limit = time.monotonic() + 30
        while not (folder / "port").exists():
            if self.process.poll() is not None or time.monotonic() > limit:
                self.stop()
                sys.exit("mustafard does not start:\n" + (folder / "log").read_text())
            time.sleep(0.01)
        self.port = int((folder / "port").read_text())

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30)
        self.log.close()
        return status


def check_served(binary: str, steps: list[dict[str, Any]]) -> None:
    """Every route that a step needs is one of this mustafard."""
    document = json.loads(subprocess.run([binary, "--print-openapi"], capture_output=True, check=True).stdout)
    lacks = sorted({step["needs"] for step in steps if step.get("needs", "/healthz") not in document["paths"]})
    if lacks:
        sys.exit(f"not served by this mustafard: {', '.join(lacks)}")


def run_one(name: str, command: str, scenario: Path, service: Service, faults: Faults) -> dict[str, str]:
    """What a runner wrote: step -> digest or `failed ...`."""
    out = service.folder / f"{name}.txt"
    arguments = {
        "--scenario": scenario, "--url": f"http://127.0.0.1:{service.port}", "--out": out,
        "--faults": f"http://127.0.0.1:{faults.port}", "--unix": service.folder / "unix", "--name": name,
        "--token": TOKENS["admin"], "--read-token": TOKENS["read"],
        "--root": HERE.parents[1],
    }  # fmt: skip
    words = command.split() + [str(word) for pair in arguments.items() for word in pair]
    try:
        done = subprocess.run(words, timeout=LIMIT, capture_output=True, text=True)
        if done.returncode != 0:
            print(f"{name}: ended with {done.returncode}: {done.stderr[-2000:]}")
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"{name}: {error}")
    lines = out.read_text().splitlines() if out.exists() else []
    return dict(line.split(" ", 1) for line in lines)


def check_forwarded(faults: Faults, names: list[str], expected: dict[str, int]) -> list[str]:
    """A request that may not be repeated reached mustafard once, one that may be did so twice."""
    wrong = []
    for key, count in expected.items():
        for name in names:
            seen = faults.forwarded[key.replace("@", name + "--")]
            if seen != count:
                wrong.append(f"{name}: {key} was sent on {seen} times, {count} expected")
    return wrong


def table(steps: list[dict[str, Any]], results: dict[str, dict[str, str]]) -> list[str]:
    """Prints it, and returns what is wrong."""
    wrong = []
    width = max(len(step["id"]) for step in steps)
    print(f"{'step':<{width}}  {'expected':<12}  " + "  ".join(f"{name:<12}" for name in results))
    for step in steps:
        cells, expected = [], step.get("digest", "-")
        for name, lines in results.items():
            got = lines.get(step["id"], "missing")
            same = got == expected
            cells.append("=" if same else got[:12])
            if not same:
                wrong.append(f"{name}: {step['id']}: {got[:400]}")
        print(f"{step['id']:<{width}}  {expected[:12]:<12}  " + "  ".join(f"{cell:<12}" for cell in cells))
    for name, lines in results.items():
        more = set(lines) - {step["id"] for step in steps}
        wrong += [f"{name}: {one}: there is no such step" for one in sorted(more)]
    return wrong


def update(scenario: dict[str, Any], lines: dict[str, str]) -> None:
    for step in scenario["steps"]:
        got = lines.get(step["id"], "")
        if len(got) == 64:
            step["digest"] = got
    head = {name: value for name, value in scenario.items() if name != "steps"}
    text = "".join(f" {json.dumps(name)}: {json.dumps(value)},\n" for name, value in head.items())
    steps = ",\n".join("  " + json.dumps(step) for step in scenario["steps"])
    SCENARIO.write_text("{\n" + text + ' "steps": [\n' + steps + "\n ]\n}\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mustafard", required=True)
    parser.add_argument("--update", action="store_true", help="believe the first runner")
    parser.add_argument("runner", nargs="+", help="NAME=COMMAND, or NAME=skip WHY")
    options = parser.parse_args()
    runners = dict(one.split("=", 1) for one in options.runner)
    for name in [name for name, command in runners.items() if command.startswith("skip ")]:
        print(f"{name}: skipped: {runners.pop(name).removeprefix('skip ')}")
    scenario = json.loads(SCENARIO.read_text())
    steps = scenario["steps"]
    check_served(options.mustafard, steps)
    folder = Path(tempfile.mkdtemp(prefix="mustafar-scenario-", dir=os.environ.get("TMPDIR")))
    chosen = folder / "scenario.json"
    chosen.write_text(json.dumps({**scenario, "steps": steps}))
    service = Service(options.mustafard, folder)
    faults = Faults(service.port, folder / "unix")
    try:
        results = {name: run_one(name, command, chosen, service, faults) for name, command in runners.items()}
    finally:
        faults.stop()
        status = service.stop()
        shutil.rmtree(folder)
    if options.update:
        update(scenario, next(iter(results.values())))
        steps = [step for step in scenario["steps"] if step["id"] in {one["id"] for one in steps}]
    wrong = table(steps, results)
    wrong += check_forwarded(faults, list(runners), scenario["forwarded"])
    wrong += [f"mustafard ended with {status}"] if status else []
    for line in wrong:
        print(line)
    print(f"{len(steps)} steps, {len(runners)} runners, {len(wrong)} differences")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
