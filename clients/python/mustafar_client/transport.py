# SPDX-License-Identifier: Apache-2.0
"""Requests over kept connections, with time limits, and repeated only where that is safe."""

from __future__ import annotations

import http.client
import json
import random
import select
import socket
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ._problems import PROBLEMS
from .errors import PREFIX, BadReply, ClientError, ConnectionLost, ProblemError

JSON = "application/json"
PROBLEM = "application/problem+json"
IDLE = 20.0  # seconds; the server closes an idle connection after 30

Body = bytes | bytearray | memoryview


@dataclass(frozen=True)
class Retry:
    """How often a request is repeated, and how long to wait in between.

    A request that never left, and one answered with 503 (nothing was done then), is always repeated; one whose
    answer was lost only if to do it twice is to do it once."""

    attempts: int = 4
    first_wait: float = 0.1  # seconds; doubled each time, and spread by half
    longest_wait: float = 10.0  # a server that asks for more (Retry-After) gets no further attempt

    def wait(self, attempt: int, asked: float) -> float:
        spread = 0.75 + random.random() / 2
        wait: float = self.first_wait * 2 ** (attempt - 1) * spread
        return max(asked, min(wait, self.longest_wait))


@dataclass(frozen=True)
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def media(self) -> str:
        return self.headers.get("Content-Type", "").split(";")[0].strip()

    def is_answer(self) -> bool:
        """/readyz says with 503 what it says with 200."""
        good = self.status < 300 or self.status == 304 or self.media == JSON
        return good and self.media != PROBLEM

    def document(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise BadReply(f"{self.status} with a body that is not JSON: {self.body[:80]!r}") from error


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def segment(value: str | int) -> str:
    """One segment of a path."""
    return urllib.parse.quote(str(value), safe="")


def _query_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Transport:
    """Part of Client. May be used from several threads; each request has a connection of its own."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8642",
        *,
        unix: str | None = None,
        token: str | None = None,
        timeout: float = 60.0,
        retry: Retry | None = None,
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        if unix is None and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ClientError(f"{url!r} is no address; http://HOST:PORT is expected")
        self._parts = parts
        self._unix = unix
        self._token = token
        self.timeout = timeout
        self.retry = retry or Retry()
        self._idle: list[tuple[float, http.client.HTTPConnection]] = []

    def close(self) -> None:
        while self._idle:
            self._idle.pop()[1].close()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        safe: bool = False,
        timeout: float | None = None,
    ) -> Reply:
        """One request, for what the other methods do not offer (If-Match, say). Raises ProblemError and
        ConnectionLost. `safe`: it may be repeated although it may have been done; `timeout`: of all attempts
        together."""
        target = self._target(path, query)
        limit = time.monotonic() + (self.timeout if timeout is None else timeout)
        attempt = 0
        while True:
            attempt += 1
            asked = 0.0
            failure: ClientError
            try:
                reply = self._once(method, target, body, headers or {}, limit)
                if reply.is_answer():
                    return reply
                failure = problem_of(reply)
                again = reply.status == 503
                asked = _seconds(reply.headers.get("Retry-After"))
            except ConnectionLost as lost:
                failure, again = lost, safe or not lost.args[1:]
            wait = self.retry.wait(attempt, asked)
            late = time.monotonic() + wait >= limit or asked > self.retry.longest_wait
            if not again or late or attempt >= self.retry.attempts:
                raise failure
            time.sleep(wait)

    # ---- for generated methods ------------------------------------------------------------------------

    def _json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        safe: bool = False,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Any:
        fields = dict(headers or {})
        data = None
        if body is not None:
            data = json.dumps(body, allow_nan=False).encode()
            fields["Content-Type"] = JSON
        reply = self.request(method, path, query=query, body=data, headers=fields, safe=safe, timeout=timeout)
        return reply.document() if reply.body else None

    def _text(self, method: str, path: str, *, safe: bool = False, accept: str = "*/*") -> str:
        return self.request(method, path, headers={"Accept": accept}, safe=safe).body.decode()

    # ---- one attempt ----------------------------------------------------------------------------------

    def _target(self, path: str, query: Mapping[str, Any] | None) -> str:
        given = {name: _query_text(one) for name, one in (query or {}).items() if one is not None}
        base = "" if self._unix is not None else self._parts.path.rstrip("/")
        return base + path + ("?" + urllib.parse.urlencode(given) if given else "")

    def _fields(self, more: Mapping[str, str]) -> dict[str, str]:
        fields = {"Accept": "*/*", "User-Agent": "mustafar-client-python", **more}
        if self._token is not None:
            fields["Authorization"] = f"Bearer {self._token}"
        return fields

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        if self._unix is not None:
            return _UnixConnection(self._unix, timeout)
        secure = self._parts.scheme == "https"
        host, port = self._parts.hostname or "", self._parts.port
        if secure:
            return http.client.HTTPSConnection(host, port, timeout=timeout)
        return http.client.HTTPConnection(host, port, timeout=timeout)

    def _take(self, timeout: float) -> http.client.HTTPConnection:
        """A kept connection that the server has not closed, or a new one."""
        while self._idle:
            since, kept = self._idle.pop()
            if time.monotonic() - since < IDLE and kept.sock and not _readable(kept.sock):
                kept.sock.settimeout(timeout)
                return kept
            kept.close()
        return self._connect(timeout)

    def _open(
        self, method: str, target: str, body: Body | None, headers: Mapping[str, str], limit: float
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """The head of the answer. A ConnectionLost with one argument says that nothing was sent."""
        left = max(limit - time.monotonic(), 0.001)
        connection = self._take(left)
        if connection.sock is None:
            try:
                connection.connect()
            except OSError as error:
                connection.close()
                raise ConnectionLost(f"{self}: {error}") from error
        sent: OSError | None = None
        try:
            try:
                connection.request(method, target, body, self._fields(headers))
            except (BrokenPipeError, ConnectionResetError) as error:
                sent = error  # refused while the body was on its way: the answer may be there all the same
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise ConnectionLost(f"{self}: {method} {target}: {sent or error!r}", "sent") from error

    def _once(self, method: str, target: str, body: Body | None, headers: Mapping[str, str], limit: float) -> Reply:
        connection, answer = self._open(method, target, body, headers, limit)
        try:
            reply = Reply(answer.status, answer.msg, answer.read())
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise ConnectionLost(f"{self}: {method} {target}: {error!r}", "sent") from error
        if answer.will_close:
            connection.close()
        else:
            self._idle.append((time.monotonic(), connection))
        return reply

    def __str__(self) -> str:
        return self._unix or f"{self._parts.scheme}://{self._parts.netloc}"


def problem_of(reply: Reply) -> ClientError:
    """The exception for a reply that is none of success."""
    if reply.media != PROBLEM:
        return BadReply(f"{reply.status} {reply.media or 'without a media type'}: {reply.body[:80]!r}")
    document = reply.document()
    if not isinstance(document, dict):
        return BadReply(f"{reply.status} with a problem that is no object")
    slug = str(document.get("type", "")).removeprefix(PREFIX)
    return PROBLEMS.get(slug, ProblemError)(document)


def _seconds(text: str | None) -> float:
    return float(text) if text is not None and text.isascii() and text.isdigit() else 0.0


def _readable(sock: socket.socket) -> bool:
    """Bytes or an end where nothing was asked: the connection is of no use."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
