#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the steps of the scenario through the Python client; clients/scenario/README.md says what a runner does."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import struct
import sys
from pathlib import Path
from typing import Any

import numpy

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mustafar_client import Attended, BadReply, Client, ConnectionLost, ProblemError, Retry

KEPT = {"f16": (0x83FF, 8, 10), "bf16": (0x807F, 120, 7), "f32": (0x807FFFFF, 120, 23)}
WORDS = {"f16": "u2", "bf16": "u2", "f32": "u4"}
VIEWS = {"f16": "f2", "bf16": "u2", "f32": "f4"}


def make_tensor(spec: dict[str, Any]) -> Any:
    """The generator of tests/conformance/README.md, from element 0 on."""
    dtype, seed = spec["dtype"], spec["seed"]
    count = math.prod(spec["shape"])
    z = numpy.arange(1, count + 1, dtype=numpy.uint64) + numpy.uint64(seed << 32)
    z *= numpy.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    z ^= z >> numpy.uint64(31)
    kept, smallest, at = KEPT[dtype]
    exponent = (z >> numpy.uint64(32)) & numpy.uint64(7)
    bits = (z & numpy.uint64(kept)) | (exponent + numpy.uint64(smallest)) << numpy.uint64(at)
    words = bits.astype(WORDS[dtype])
    for index, value in spec.get("patch", {}).items():
        words[int(index)] = int(value, 16)
    return words.view(VIEWS[dtype]).reshape(spec["shape"])


def canonical(value: Any) -> bytes:
    """One text per value, the same in every language."""
    if value is None:
        return b"n"
    if isinstance(value, bool):
        return b"t" if value else b"f"
    if isinstance(value, (int, float)):
        if value == int(value) and abs(value) < 2**53:
            return b"i%d;" % int(value)
        return b"d" + struct.pack(">d", value).hex().encode()
    if isinstance(value, str):
        data = value.encode()
        return b"s%d:" % len(data) + data
    if isinstance(value, list):
        return b"[" + b"".join(map(canonical, value)) + b"]"
    return b"{" + b"".join(canonical(key) + canonical(value[key]) for key in sorted(value)) + b"}"


def tensor_reply(array: Any) -> dict[str, Any]:
    dtype = {"float16": "f16", "float32": "f32", "uint16": "bf16"}[array.dtype.name]
    return {"dtype": dtype, "shape": list(array.shape), "sha256": hashlib.sha256(array.tobytes()).hexdigest()}


class Runner:
    def __init__(self, options: argparse.Namespace) -> None:
        self.prefix = options.name + "--"
        scenario = json.loads(options.scenario.read_text())
        self.steps, self.ignore = scenario["steps"], set(scenario["ignore"])
        quick = Retry(attempts=4, first_wait=0.02)
        self.clients = {
            "": Client(options.url, token=options.token),
            "read": Client(options.url, token=options.read_token),
            "none": Client(options.url),
            "unix": Client(unix=options.unix, token=options.token),
            "faults": Client(options.faults, token=options.token, retry=quick, timeout=2),
        }

    def named(self, value: Any) -> Any:
        """@ in arguments is the name of this runner, so that all can use one server."""
        if isinstance(value, str):
            return value.replace("@", self.prefix)
        if isinstance(value, list):
            return [self.named(one) for one in value]
        if isinstance(value, dict):
            return {key: self.named(one) for key, one in value.items()}
        return value

    def common(self, value: Any) -> Any:
        """A reply without what differs between runners and runs."""
        if isinstance(value, str):
            return value.replace(self.prefix, "@")
        if isinstance(value, list):
            return [self.common(one) for one in value]
        if isinstance(value, dict):
            return {key: self.common(one) for key, one in value.items() if key not in self.ignore}
        return value

    def ask(self, step: dict[str, Any]) -> Any:
        client = self.clients[step.get("via", "")]
        arguments = self.named(step.get("path", []))
        tensors = {name: make_tensor(spec) for name, spec in step.get("tensors", {}).items()}
        if "body" in step:
            arguments.append(self.named(step["body"]))
        answer = getattr(client, step["call"])(*arguments, **tensors, **self.named(step.get("query", {})))
        if isinstance(answer, Attended):
            return {"out": tensor_reply(answer.out)} | ({} if answer.lse is None else {"lse": tensor_reply(answer.lse)})
        return answer

    def run(self, step: dict[str, Any]) -> str:
        problem = ""
        try:
            answer = self.ask(step)
        except ProblemError as error:
            problem = error.slug
            answer = {"problem": problem, "status": error.status, "members": error.members}
        except ConnectionLost:
            answer = problem = "lost"
        except BadReply:
            answer = problem = "bad-reply"
        if problem != step.get("problem", ""):
            return f"failed {problem or 'no problem'}: {answer}"
        return hashlib.sha256(canonical(self.common(answer))).hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("url", "faults", "unix", "token", "read-token", "name"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--scenario", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    runner = Runner(options)
    with options.out.open("w") as out:
        for step in runner.steps:
            try:
                line = runner.run(step)
            except Exception as error:
                line = f"failed {error!r}"
            print(step["id"], line.replace("\n", " "), file=out, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
