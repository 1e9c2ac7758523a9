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

from mustafar_client import Attended, BadReply, Client, ConnectionLost, Part, ProblemError, Retry

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


def pairs(tensors: dict[str, Any]) -> list[tuple[Any, Any]]:
    """0.k, 0.v, 1.k, ... as a pair per layer."""
    made = [make_tensor(tensors[name]) for name in sorted(tensors)]
    return list(zip(made[::2], made[1::2], strict=True))


def described(answer: Any) -> Any:
    """An answer as JSON: tensors and files by their digests."""
    if isinstance(answer, Attended):
        parts = {name: getattr(answer, name) for name in ("out", "lse", "weights", "dropped")}
        return {name: described(one) for name, one in parts.items() if one is not None}
    if isinstance(answer, numpy.ndarray):
        dtype = {"float16": "f16", "float32": "f32", "uint16": "bf16"}[answer.dtype.name]
        digest = hashlib.sha256(answer.tobytes()).hexdigest()
        return {"dtype": dtype, "shape": list(answer.shape), "sha256": digest}
    if isinstance(answer, bytes):
        return {"bytes": len(answer), "sha256": hashlib.sha256(answer).hexdigest()}
    if isinstance(answer, dict):
        return {name: described(one) for name, one in answer.items()}
    return answer


class Runner:
    def __init__(self, options: argparse.Namespace) -> None:
        self.root: Path = options.root
        self.names = {"@": options.name + "--"}  # what stands for it in arguments, and what it is
        scenario = json.loads(options.scenario.read_text())
        self.steps, self.ignore = scenario["steps"], set(scenario["ignore"])
        quick = Retry(attempts=4, first_wait=0.02)
        self.clients = {
            "": Client(options.url, token=options.token),
            "read": Client(options.url, token=options.read_token),
            "none": Client(options.url),
            "unix": Client(unix=options.unix, token=options.token),
            "faults": Client(options.faults, token=options.token, retry=quick, timeout=2),
            "no-streams": Client(options.faults + "/no-streams", token=options.token, retry=quick),
        }

    def named(self, value: Any) -> Any:
        """@ in arguments is the name of this runner, so that all can use one server; $NAME is what a step saved."""
        if isinstance(value, str):
            return self.names.get(value) or value.replace("@", self.names["@"])
        if isinstance(value, list):
            return [self.named(one) for one in value]
        if isinstance(value, dict):
            return {self.named(key): self.named(one) for key, one in value.items()}
        return value

    def common(self, value: Any, ignore: set[str]) -> Any:
        """A reply without what differs between runners and runs."""
        if isinstance(value, str):
            for name, meaning in self.names.items():
                value = value.replace(meaning, name)
            return value
        if isinstance(value, list):
            return [self.common(one, ignore) for one in value]
        if isinstance(value, dict):
            return {key: self.common(one, ignore) for key, one in value.items() if key not in ignore}
        return value

    def ask(self, step: dict[str, Any]) -> Any:
        client = self.clients[step.get("via", "")]
        call = step["call"]
        place = self.named(step.get("path", []))
        tensors = step.get("tensors", {})
        query = {"from_" if name == "from" else name: one for name, one in self.named(step.get("query", {})).items()}
        if call == "append_layers":
            return client.append_layers(place[0], pairs(tensors), **query)
        if call == "append_caches":
            parts = self.named(step["parts"])
            return client.append_caches(
                {id: Part(pairs(one["tensors"]), one.get("expect")) for id, one in parts.items()}
            )
        if call == "attend_caches":
            queries = {self.named(id): make_tensor(one) for id, one in tensors.items()}
            found = client.attend_caches(place[0], queries, **query)
            return {self.common(id, set()): one for id, one in found.items()}
        if call == "put_snapshot_content":
            content = bytearray(client.get_snapshot_content(self.named(step["content_of"])))
            if "spoil" in step:
                content[step["spoil"]] ^= 0xFF
            return client.put_snapshot_content(place[0], content)
        if call == "put_trace":
            return client.put_trace(place[0], (self.root / step["file"]).read_bytes())
        if call == "post_jobs":
            return client.post_jobs(self.named(step["body"]), idempotency_key=self.named(step["key"]))
        if call == "watch_job":
            events = [event for event in client.watch_job(place[0]) if event.kind != "progress"]
            rows = [event.data for event in events if event.kind == "row"]
            return {"kinds": [event.kind for event in events], "rows": rows, "done": events[-1].data}
        if "body" in step:
            place.append(self.named(step["body"]))
        made = {name: make_tensor(one) for name, one in tensors.items()}
        return getattr(client, call)(*place, **made, **query)

    def run(self, step: dict[str, Any]) -> str:
        problem = ""
        try:
            answer = described(self.ask(step))
        except ProblemError as error:
            problem = error.slug
            answer = {"problem": problem, "status": error.status, "members": error.members}
        except ConnectionLost:
            answer = problem = "lost"
        except BadReply:
            answer = problem = "bad-reply"
        if problem != step.get("problem", ""):
            return f"failed {problem or 'no problem'}: {answer}"
        for name, way in step.get("save", {}).items():
            found = answer
            for key in way:
                found = found[key]
            self.names["$" + name] = found
        if "only" in step:
            answer = {name: answer[name] for name in step["only"]}
        if step.get("first_line"):
            answer = answer.split("\n")[0]
        ignore = self.ignore - set(step.get("keep", []))
        return hashlib.sha256(canonical(self.common(answer, ignore))).hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("url", "faults", "unix", "token", "read-token", "name"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--root", type=Path, required=True)
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
