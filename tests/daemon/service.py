# SPDX-License-Identifier: Apache-2.0
"""A real mustafard on a free port of the loopback, and what tests ask of it. Standard library only, but for
jsonschema, which checks every reply against /openapi.json where it is here."""

from __future__ import annotations

import atexit
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    import jsonschema
except ImportError:
    jsonschema = None

BINARY = os.environ["MUSTAFARD"]
HERE = Path(__file__).resolve().parent
COMMITTED = json.loads((HERE.parents[1] / "daemon" / "openapi.json").read_text())
OCTETS = {"Content-Type": "application/octet-stream"}
JSON = {"Content-Type": "application/json"}
LONG = "MUSTAFAR_LONG" in os.environ


class Reply:
    def __init__(self, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """What stands behind urn:mustafar:problem:."""
        assert self.headers["Content-Type"] == "application/problem+json", self.body
        return self.json["type"].rsplit(":", 1)[1]


def check_contract(method: str, path: str, reply: Reply) -> None:
    """The reply is one that /openapi.json knows: status, media type, schema."""
    path = path.split("?")[0]
    for template, operations in COMMITTED["paths"].items():
        if re.fullmatch(re.sub(r"\{[a-z]+\}", "[^/]+", template), path):
            break
    else:
        assert reply.status in (400, 401, 404, 421), (path, reply.status)
        return
    operation = operations.get("get" if method == "HEAD" else method.lower())
    if operation is None:
        return
    known = operation["responses"].get(str(reply.status))
    assert known is not None, f"{method} {path}: {reply.status} is not documented: {reply.body[:200]!r}"
    if method == "HEAD" or not reply.body:
        return
    media = reply.headers["Content-Type"].split(";")[0]
    assert media in known["content"], (method, path, reply.status, media)
    schema = known["content"][media].get("schema")
    if schema and jsonschema is not None:
        whole = {**schema, "components": COMMITTED["components"]}
        jsonschema.validate(reply.json, whole)


class Service:
    """One process. Flags are those of mustafard; `before` runs in it before mustafard does."""

    def __init__(self, *flags: str, folder: Path | None = None, before: Callable[[], None] | None = None) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="mustafard-"))
        port_file = self.folder / "port"
        port_file.unlink(missing_ok=True)
        self.log = open(self.folder / "log", "ab")
        level = [] if "--log-level" in flags else ["--log-level", "info"]
        self.process = subprocess.Popen(
            [BINARY, "--port", "0", "--port-file", str(port_file), *level, *flags],
            stderr=self.log, stdout=subprocess.DEVNULL, preexec_fn=before)
        atexit.register(self.process.kill)  # a test that failed has not stopped it
        limit = time.monotonic() + 30
        while not port_file.exists():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < limit, "mustafard does not listen"
            time.sleep(0.01)
        self.port = int(port_file.read_text())
        self.connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        """Ends it as systemd would, and returns its status."""
        if self.connection is not None:
            self.connection.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self.log.close()
        return status

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None,
            check: bool = True) -> Reply:
        """One request on a kept connection. dict and list bodies are sent as JSON, bytes as octets."""
        fields = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            fields = {**JSON, **fields}
        elif isinstance(body, bytes):
            fields = {**OCTETS, **fields}
        for attempt in (0, 1):
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            try:
                self.connection.request(method, path, body, fields)
                answer = self.connection.getresponse()
                break
            except (ConnectionError, http.client.BadStatusLine):
                self.connection.close()
                self.connection = None
                if attempt:
                    raise
        reply = Reply(answer.status, answer.msg, answer.read())
        if answer.will_close:
            self.connection.close()
            self.connection = None
        if check:
            check_contract(method, path, reply)
        return reply

    def raw(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def memory(self, what: str = "VmHWM") -> int:
        """Bytes: VmRSS, or VmHWM, the peak."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{what}:\s+(\d+) kB", text, re.MULTILINE).group(1)) * 1024

    def until(self, ready: Callable[[], bool], seconds: float = 60) -> None:
        limit = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < limit, "it did not come true"
            time.sleep(0.01)

    def logged(self, event: str) -> bool:
        return f'"{event}"' in (self.folder / "log").read_text()

    def metric(self, name: str) -> float:
        text = self.ask("GET", "/metrics").body.decode()
        return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE).group(1))

    def check_memory(self) -> None:
        """What the quota counts is what the library holds."""
        parts = ("pages", "tables", "workspace")
        total = sum(self.metric(f'mustafard_cache_bytes{{part="{part}"}}') for part in parts)
        assert self.metric("mustafard_memory_used_bytes") == total

    def make_cache(self, name: str, recipe: Any = "lean", **options: Any) -> Reply:
        geometry = {"layers": 2, "q_heads": 4, "kv_heads": 2, "head_dim": 64}
        body = {"geometry": geometry, "recipe": recipe, "max_tokens": 100000, **options}
        return self.ask("PUT", f"/v1/caches/{name}", body)

    def append(self, name: str, data: bytes, tokens: int, expect: int, layer: int = 0, extra: str = "",
               headers: dict[str, str] | None = None) -> Reply:
        query = f"dtype=f32&tokens={tokens}&expect={expect}{extra}"
        return self.ask("POST", f"/v1/caches/{name}/layers/{layer}/append?{query}", data, headers)

    def attend(self, name: str, data: bytes, q_tokens: int, layer: int = 0, extra: str = "") -> Reply:
        query = f"dtype=f32&q_tokens={q_tokens}{extra}"
        return self.ask("POST", f"/v1/caches/{name}/layers/{layer}/attend?{query}", data)


def read_replies(sock: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """`count` replies, or fewer where the connection ends: (status, body)."""
    replies = []
    data = b""
    while len(replies) < count:
        head, mark, rest = data.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
        need = int(length.group(1)) if length else 0
        if mark and len(rest) >= need:
            replies.append((int(head.split()[1]), rest[:need]))
            data = rest[need:]
            continue
        try:
            more = sock.recv(65536)
        except ConnectionError:
            more = b""
        if not more:
            break
        data += more
    return replies


def floats(count: int, seed: int = 1) -> bytes:
    """`count` f32 in (-1, 1) that look random, without numpy."""
    import random
    import struct

    random_numbers = random.Random(seed)
    return struct.pack(f"<{count}f", *(random_numbers.uniform(-1, 1) for _ in range(count)))
