# SPDX-License-Identifier: Apache-2.0
"""What tests of experiments ask of a mustafard, and a reader of its events."""

from __future__ import annotations

import json
import re
import socket
import struct
import time
from pathlib import Path
from typing import Any

from service import Service

TRACES = Path(__file__).resolve().parents[1] / "data" / "traces"
NEEDLE = "tiny-llama-d64-needle-2048"
SMALL: dict[str, Any] = {"traces": [NEEDLE], "tokens": 96, "queries": 4, "layers": [0, 3], "timing": False,
                         "recipes": ["dense", "lean"]}
TINY: dict[str, Any] = {"synthetic": {"geometry": {"layers": 1, "kv_heads": 1, "head_dim": 32}, "tokens": 4},
                        "timing": False, "recipes": ["dense"]}
# Its first row is there at once; its times would take minutes.
ENDLESS: dict[str, Any] = {
    "synthetic": {"geometry": {"layers": 1, "kv_heads": 1, "q_heads": 8, "head_dim": 128}, "tokens": 64},
    "recipes": ["dense"], "lengths": list(range(65520, 65536)), "repeats": 1000, "budget_seconds": 1e6}


def submit(service: Service, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    reply = service.ask("POST", "/v1/jobs", body, {name.replace("_", "-"): value for name, value in headers.items()})
    assert reply.status == 202, reply.body
    assert reply.headers["Location"] == f"/v1/jobs/{reply.json['id']}"
    return dict(reply.json)


def get(service: Service, job: str) -> dict[str, Any]:
    return dict(service.ask("GET", f"/v1/jobs/{job}").json)


def wait(service: Service, job: str, state: str = "", rows: int = 0, seconds: float = 60) -> dict[str, Any]:
    """Until the job has ended, or has that state or so many rows; by long polls."""
    limit = time.monotonic() + seconds
    now = get(service, job)
    while not (now["finished"] or now["state"] == state or (rows and now["rows"] >= rows)):
        assert time.monotonic() < limit, now
        now = service.ask("GET", f"/v1/jobs/{job}?wait=10&version={now['version']}").json
    return now


def finish(service: Service, body: dict[str, Any]) -> dict[str, Any]:
    job = wait(service, submit(service, body)["id"])
    assert job["state"] == "done", job
    return job


def cancel(service: Service, job: str) -> dict[str, Any]:
    assert service.ask("POST", f"/v1/jobs/{job}/cancel", {}).status == 202
    return wait(service, job)


def head_of(job: str, last: object = None) -> bytes:
    field = f"Last-Event-ID: {last}\r\n" if last is not None else ""
    return f"GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: localhost\r\n{field}\r\n".encode()


class Events:
    """A connection that follows a job: (id, event, data) one by one."""

    def __init__(self, service: Service, job: str, last: object = None, timeout: float = 30) -> None:
        self.sock = service.raw()
        self.sock.settimeout(timeout)
        self.sock.sendall(head_of(job, last))
        self.data = b""
        head = self.until(b"\r\n\r\n")
        assert head is not None
        self.head = head.decode()
        self.status = int(self.head.split()[1])

    def until(self, mark: bytes) -> bytes | None:
        while mark not in self.data:
            more = self.sock.recv(65536)
            if not more:
                return None
            self.data += more
        part, _, self.data = self.data.partition(mark)
        return part

    def next(self) -> tuple[int, str, Any] | None:
        """None: the stream has ended."""
        while (frame := self.until(b"\n\n")) is not None:
            found = re.fullmatch(r"id: (\d+)\nevent: (\w+)\ndata: (.*)", frame.decode())
            if found:
                return int(found[1]), found[2], json.loads(found[3])
            assert frame.startswith((b"retry: ", b": ")), frame
        assert self.data == b""
        return None

    def rest(self) -> list[tuple[int, str, Any]]:
        events = []
        while event := self.next():
            events.append(event)
        self.close()
        return events

    def close(self) -> None:
        self.sock.close()


def slow_socket(service: Service) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(30)
    sock.connect(("127.0.0.1", service.port))
    return sock


def trace_file(tokens: int = 8, change: dict[str, str] | None = None, bad_value: bool = False) -> bytes:
    """A trace of one layer: 2 query heads, 1 kv head, 32 channels."""
    shapes = {"layers.0.k": [1, tokens, 32], "layers.0.v": [1, tokens, 32], "layers.0.q": [2, 2, 32]}
    metadata = {"T": str(tokens), "Tq": "2", "scale": "0.1767766952966369", "layers": "1", "q_heads": "2", "kv_heads": "1",
                "head_dim": "32", "model": "made up", "kind": "test", **(change or {})}
    header: dict[str, Any] = {"__metadata__": metadata}
    body = b""
    for name, shape in shapes.items():
        count = shape[0] * shape[1] * shape[2]
        values = [((i * 37 + len(body)) % 101 - 50) / 50 for i in range(count)]
        if bad_value:
            values[5] = float("inf")
        data = struct.pack(f"<{count}e", *values)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body
