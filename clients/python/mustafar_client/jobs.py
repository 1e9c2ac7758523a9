# SPDX-License-Identifier: Apache-2.0
"""Experiments: start one once, follow it until it ends."""

from __future__ import annotations

import http.client
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from ._operations import Operations
from ._schemas import Job, JobRequest
from .errors import BadReply, ClientError, ConnectionLost, ProblemError
from .transport import Reply, problem_of, segment

ENDED = ("done", "failed", "cancelled", "interrupted")
QUIET = 45.0  # seconds without a line; the server sends one every 15
POLL = 25.0  # seconds of one long poll
LINE_MAX = 1 << 24


@dataclass(frozen=True)
class Event:
    """kind: progress, row, result, done, reset. `data` of done and reset is the job."""

    id: int
    kind: str
    data: Any


class Jobs(Operations):
    """Part of Client."""

    def post_jobs(self, body: JobRequest, *, idempotency_key: str | None = None) -> Job:
        """Starts an experiment: POST /v1/jobs. It is started once, however often the request is sent: with a key
        of your own even by a program that was started again."""
        key = idempotency_key or str(uuid.uuid4())
        fields = {"Idempotency-Key": f'"{key}"'}
        return cast("Job", self._json("POST", "/v1/jobs", body=body, headers=fields, safe=True))

    def get_result_csv(self, id: str) -> str:
        """The rows of a result as a table: GET /v1/results/{id}, text/csv."""
        return self._text("GET", f"/v1/results/{segment(id)}", safe=True, accept="text/csv")

    def follow_job(self, id: str, after: int = 0) -> Iterator[Event]:
        """One stream of events behind number `after`: GET /v1/jobs/{id}/events. It ends behind `done`;
        ConnectionLost where it is cut. `watch_job` goes on by itself."""
        fields = {"Accept": "text/event-stream"}
        if after > 0:
            fields["Last-Event-ID"] = str(after)
        target = self._target(f"/v1/jobs/{segment(id)}/events", None)
        limit = time.monotonic() + self.timeout
        connection, answer = self._open("GET", target, None, fields, limit)
        try:
            if answer.status != 200:
                raise problem_of(Reply(answer.status, answer.msg, answer.read()))
            if connection.sock is not None:
                connection.sock.settimeout(QUIET)
            yield from _events(answer)
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionLost(f"{self}: the events of {id}: {error!r}", "sent") from error
        finally:
            answer.close()
            connection.close()

    def watch_job(self, id: str, after: int = 0) -> Iterator[Event]:
        """All events of a job up to `done`, whatever happens to connections in between. Where streams cannot be
        had, it asks again and again, and `row` and `result` events are left out."""
        failures = 0
        last = after
        while True:
            try:
                for event in self.follow_job(id, last):
                    failures = 0
                    last = max(last, event.id)
                    yield event
                    if event.kind == "done":
                        return
            except ConnectionLost as lost:
                failure: ClientError = lost
            except (BadReply, ProblemError) as refused:
                if isinstance(refused, ProblemError) and refused.status != 503:
                    raise
                break  # too many streams, or a proxy that knows none
            else:
                failure = ConnectionLost(f"{self}: the events of {id} ended before the job did", "sent")
            failures += 1
            if failures >= self.retry.attempts:
                raise failure
            time.sleep(self.retry.wait(failures, 0))
        yield from self._poll(id, last)

    def wait_job(self, id: str) -> Job:
        """Waits until a job has ended."""
        for event in self.watch_job(id):
            if event.kind == "done":
                return cast("Job", event.data)
        raise BadReply(f"{id}: no end was told")

    def _poll(self, id: str, last: int) -> Iterator[Event]:
        while True:
            wait = min(POLL, self.timeout / 2)
            job = self.get_job(id, wait=wait, version=last)
            if job["version"] != last or job["state"] in ENDED:
                last = job["version"]
                if job["state"] in ENDED:
                    yield Event(last, "done", job)
                    return
                names = ("progress", "what", "items_done", "items", "state")
                yield Event(last, "progress", {name: job[name] for name in names})  # type: ignore[literal-required]


def _events(answer: http.client.HTTPResponse) -> Iterator[Event]:
    """Server-sent events of a body; a cut one is dropped."""
    if not answer.headers.get("Content-Type", "").startswith("text/event-stream"):
        raise BadReply(f"events came as {answer.headers.get('Content-Type')}, not as text/event-stream")
    number, kind, data = 0, "message", []
    while line := answer.readline(LINE_MAX):
        if not line.endswith(b"\n"):
            raise ConnectionLost("an event is cut", "sent")
        name, _, value = line.decode().rstrip("\r\n").partition(":")
        value = value.removeprefix(" ")
        if name == "id" and value.isdigit():
            number = int(value)
        elif name == "event":
            kind = value
        elif name == "data":
            data.append(value)
        elif line.strip() == b"":
            if data:
                yield Event(number, kind, _parse("\n".join(data)))
            kind, data = "message", []


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadReply(f"an event that is not JSON: {text[:80]!r}") from error
