# SPDX-License-Identifier: Apache-2.0
"""A proxy before a real mustafard that loses, delays and refuses, by the name of the cache or job in the path:

    ...busy     the first two requests to a path are answered with 503, Retry-After: 0, and go no further
    ...later    every request is answered with 503, Retry-After: 3600
    ...lost     the first request to a path is done, and its answer thrown away
    ...cut      of the first answer to a path half the body arrives
    ...stall    no answer ever
    ...html     502 with a page, as a gateway answers
    .../events  each stream is cut behind its third event
    /no-streams/...  the rest of the path, but streams are answered with 503

All others pass. It also listens on a UNIX socket, where everything passes."""

from __future__ import annotations

import http.client
import json
import re
import socket
import socketserver
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler
from pathlib import Path

HOP = {"connection", "keep-alive", "transfer-encoding"}
SAME_HOST = {"host"}


class Faults:
    """Listens on `port` of the loopback and on `unix`; `forwarded` counts what reached mustafard, per request."""

    def __init__(self, port: int, unix: Path) -> None:
        self.target = port
        self.seen: Counter[str] = Counter()
        self.forwarded: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.ended = threading.Event()
        handler = type("BoundHandler", (Handler,), {"faults": self})
        self.tcp = _Tcp(("127.0.0.1", 0), handler)
        self.unix = _Unix(str(unix), handler)
        self.port = self.tcp.server_address[1]
        for server in (self.tcp, self.unix):
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self.ended.set()
        for server in (self.tcp, self.unix):
            server.shutdown()
            server.server_close()

    def count(self, key: str) -> int:
        with self.lock:
            self.seen[key] += 1
            return self.seen[key]


class _Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class _Unix(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class Handler(BaseHTTPRequestHandler):
    faults: Faults
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together

    def setup(self) -> None:
        super().setup()
        if self.connection.family != socket.AF_UNIX:
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def address_string(self) -> str:
        return "client"

    def log_message(self, *_: object) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def relay(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        streams = not self.path.startswith("/no-streams/")
        self.path = self.path.removeprefix("/no-streams")
        kind = self.kind() if streams or not self.path.endswith("/events") else "later"
        times = self.faults.count(f"{self.command} {self.path}")
        if (kind == "busy" and times <= 2) or kind == "later":
            self.busy("3600" if kind == "later" else "0")
        elif kind == "stall":
            self.faults.ended.wait(30)
            self.close_connection = True
        elif kind == "html":
            self.answer(502, {"Content-Type": "text/html"}, b"<h1>Bad gateway</h1>")
        elif self.path.endswith("/events"):
            self.stream(body)
        else:
            self.plain(body, kind if times == 1 else "")

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = relay

    def kind(self) -> str:
        if self.connection.family == socket.AF_UNIX:
            return ""
        found = re.search(r"--(busy|later|lost|cut|stall|html)\b", self.path)
        return found.group(1) if found else ""

    def ask(self, body: bytes) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        with self.faults.lock:
            self.faults.forwarded[f"{self.command} {self.path.split('?')[0]}"] += 1
        upstream = http.client.HTTPConnection("127.0.0.1", self.faults.target, timeout=30)
        fields = {name: value for name, value in self.headers.items() if name.lower() not in HOP | SAME_HOST}
        upstream.request(self.command, self.path, body or None, fields)
        return upstream, upstream.getresponse()

    def plain(self, body: bytes, fault: str) -> None:
        upstream, reply = self.ask(body)
        data = reply.read()
        upstream.close()
        fields = {name: value for name, value in reply.getheaders() if name.lower() not in HOP}
        if fault == "lost":
            self.close_connection = True
            return
        self.answer(reply.status, fields, data, cut=fault == "cut")

    def answer(self, status: int, fields: dict[str, str], body: bytes, cut: bool = False) -> None:
        self.send_response_only(status)
        for name, value in fields.items():
            if name.lower() != "content-length":
                self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.wfile.flush()
        self.close_connection = self.close_connection or cut

    def busy(self, after: str) -> None:
        problem = {
            "type": "urn:mustafar:problem:busy",
            "title": "The queue is full",
            "status": 503,
            "detail": "asked to wait by the proxy",
            "instance": "urn:request:proxy",
        }
        fields = {"Content-Type": "application/problem+json", "Retry-After": after}
        self.answer(503, fields, json.dumps(problem).encode())

    def stream(self, body: bytes) -> None:
        upstream, reply = self.ask(body)
        self.send_response_only(reply.status)
        self.send_header("Content-Type", reply.getheader("Content-Type", ""))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        events = 0
        while line := reply.readline():
            self.wfile.write(line)
            self.wfile.flush()
            events += line.startswith(b"id:")
            if events == 3 and line == b"\n":
                break
        upstream.close()
        time.sleep(0.01)
