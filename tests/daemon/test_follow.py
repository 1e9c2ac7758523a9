# SPDX-License-Identifier: Apache-2.0
"""Following jobs (events, long polls), and what is left of them when the daemon ends."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from jobs_client import ENDLESS, SMALL, TINY, TRACES, Events, cancel, finish, get, head_of, slow_socket, submit, wait
from service import BINARY, LONG, Service, read_replies

ROUNDS = 200 if LONG else 4
MANY_EVENTS = {**TINY, "threads": [1, 2, 3, 4], "recipes": ["dense"] + [f"k{n}/v{n}" for n in range(1, 32)]}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("follow")
    service = Service("--trace-dir", str(TRACES), "--workers", "1", "--max-streams", "3", "--write-timeout", "1.5",
                      folder=folder)
    yield service
    assert service.stop() == 0


def test_events_tell_everything(one: Service) -> None:
    stream = Events(one, submit(one, SMALL)["id"])
    assert "Content-Type: text/event-stream" in stream.head and "Connection: close" in stream.head
    assert "Content-Length" not in stream.head and "Transfer-Encoding" not in stream.head
    events = stream.rest()
    assert [number for number, _, _ in events] == list(range(1, len(events) + 1))
    names = [event for _, event, _ in events]
    assert names[0] == "progress" and names[-1] == "done" and names.count("row") == 2 and names.count("result") == 1
    done = events[-1][2]
    assert done == get(one, done["id"]) and done["version"] == len(events) and done["state"] == "done"
    result = one.ask("GET", f"/v1/results/{done['results'][0]}").json
    for (_, _, data), row in zip((event for event in events if event[1] == "row"), result["rows"], strict=True):
        flat = {name: value for name, value in row.items() if name not in ("layers", "samples")}
        assert data == {"result": result["id"], "row": {**flat, "threads": 1}}
    shares = [data["progress"] for _, event, data in events if event == "progress"]
    assert shares == sorted(shares)

    for last in (0, 1, len(events) - 2, len(events) - 1):  # who comes back gets what is behind, and no more
        assert Events(one, done["id"], last).rest() == events[last:]
    assert Events(one, done["id"], len(events)).rest() == []
    lost = Events(one, done["id"], len(events) + 7).rest()  # of another process, say
    assert [event for _, event, _ in lost] == ["reset", "done"] and lost[0][2] == lost[1][2] == done
    for wrong in ("x", "-1", "1.5"):
        assert Events(one, done["id"], wrong).status == 400
    with one.raw() as sock:
        sock.sendall(head_of(done["id"]).replace(b"GET", b"HEAD"))
        assert sock.recv(4096).startswith(b"HTTP/1.1 200") and sock.recv(4096) == b""


def test_events_that_are_no_longer_kept(one: Service) -> None:
    job = submit(one, {**MANY_EVENTS, "threads": list(range(1, 9))})["id"]
    done = wait(one, job)
    assert done["version"] > 256 + 10
    events = Events(one, job).rest()
    assert [event for _, event, _ in events] == ["reset", "done"]
    assert events[0][2] == done and events[0][2]["rows"] == 256
    kept = Events(one, job, done["version"] - 256).rest()
    assert [number for number, _, _ in kept] == list(range(done["version"] - 255, done["version"] + 1))
    assert Events(one, job, done["version"] - 257).rest()[0][1] == "reset"


def test_long_polls_hold_no_worker(one: Service) -> None:
    job = submit(one, ENDLESS)["id"]
    wait(one, job, rows=1)
    socks = [one.raw() for _ in range(40)]
    for sock in socks:
        sock.sendall(f"GET /v1/jobs/{job}?wait=30&version=1000000 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    one.until(lambda: one.ask("GET", "/v1/activity").json["in_flight"] >= 40)
    start = time.monotonic()
    for _ in range(20):
        assert one.ask("GET", "/v1/recipes").status == 200
    assert time.monotonic() - start < 25  # who waits has 30 s
    assert one.ask("GET", "/v1/activity").json["in_flight"] >= 40
    for sock in socks[:10]:
        sock.close()  # nobody waits for these any more
    start = time.monotonic()
    short = one.ask("GET", f"/v1/jobs/{job}?wait=0.3&version=1000000").json
    assert 0.3 <= time.monotonic() - start < 25 and short["state"] == "running"
    version = get(one, job)["version"]
    changed = one.ask("GET", f"/v1/jobs/{job}?wait=30&version={version}").json
    assert changed["version"] > version
    start = time.monotonic()
    cancel(one, job)
    for sock in socks[10:]:
        (status, body), = read_replies(sock, 1)
        assert status == 200 and json.loads(body)["state"] == "cancelled"
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")  # the connection goes on
        assert read_replies(sock, 1)[0][0] == 200
        sock.close()
    assert time.monotonic() - start < 25


def test_streams_are_bounded(one: Service) -> None:
    job = submit(one, ENDLESS)["id"]
    streams = [Events(one, job) for _ in range(3)]
    refused = one.ask("GET", f"/v1/jobs/{job}/events")
    assert (refused.status, refused.problem, refused.json["limit_streams"]) == (503, "too-many-streams", 3)
    assert one.metric("mustafard_streams") == 3
    streams[0].close()
    limit = time.monotonic() + 60
    while one.metric("mustafard_streams") == 3:
        assert time.monotonic() < limit
        time.sleep(0.02)
    streams[0] = Events(one, job)
    assert streams[0].status == 200
    cancel(one, job)
    for stream in streams:
        assert stream.rest()[-1][2]["state"] == "cancelled"


@pytest.mark.skipif(not LONG, reason="waits for 15 seconds; MUSTAFAR_LONG=1 runs it")
def test_silence_is_broken_by_pings(one: Service) -> None:
    slow, job = submit(one, ENDLESS)["id"], submit(one, TINY)["id"]
    stream = Events(one, job)
    first = stream.next()
    assert first is not None and first[1] == "progress"
    assert stream.until(b"\n\n") == b": ping"
    cancel(one, slow)
    assert stream.rest()[-1][1] == "done"


def test_a_reader_that_stops_is_dropped(one: Service) -> None:
    slow = submit(one, ENDLESS)["id"]  # so that the stream is there before its events are
    job = submit(one, {**MANY_EVENTS, "threads": list(range(1, 9))})["id"]
    with slow_socket(one) as sock:
        sock.sendall(head_of(job))
        assert sock.recv(12) == b"HTTP/1.1 200"
        before = one.memory("VmRSS")
        cancel(one, slow)
        done = wait(one, job)
        assert done["state"] == "done"  # nobody waits for it
        limit = time.monotonic() + 60
        while one.metric("mustafard_streams") == 1:
            assert time.monotonic() < limit
            time.sleep(0.1)
        assert one.metric('mustafard_http_rejected_total{reason="slow-reader"}') == 1
        assert one.memory("VmRSS") - before < 32 << 20
    assert Events(one, job, done["version"] - 1).rest()[-1][1] == "done"


def test_sigterm_interrupts_a_job_and_ends_its_streams(tmp_path: Path) -> None:
    flags = ("--data-dir", str(tmp_path / "data"))
    service = Service(*flags, folder=tmp_path)
    running, waiting = submit(service, {**ENDLESS, "threads": [1, 2]})["id"], submit(service, TINY)["id"]
    wait(service, running, rows=1)
    stream, queued = Events(service, running), Events(service, waiting)
    poll = service.raw()
    poll.sendall(f"GET /v1/jobs/{waiting}?wait=30 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    service.until(lambda: service.ask("GET", "/v1/activity").json["in_flight"] >= 3)  # two streams and the poll
    start = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - start < 25  # the poll has 30 s
    events = stream.rest()
    assert events[-1][1] == "done" and events[-1][2]["state"] == "interrupted"
    assert [event for _, event, _ in queued.rest()] == ["progress"]  # it will be run by the next one
    (status, body), = read_replies(poll, 1)
    assert (status, json.loads(body)["state"]) == (200, "queued")
    with Service(*flags, folder=tmp_path) as service:
        assert get(service, running) == events[-1][2]
        result, = events[-1][2]["results"]
        kept = service.ask("GET", f"/v1/results/{result}").json
        assert kept["complete"] is False and len(kept["rows"]) == 1
        assert [event for _, event, _ in Events(service, running, 3).rest()] == ["reset", "done"]
        assert wait(service, waiting)["state"] == "done"


def test_kill_9_keeps_what_was_told(tmp_path: Path) -> None:
    random_numbers = random.Random(int(os.environ.get("MUSTAFAR_SEED", "1"), 0))
    data = tmp_path / "data"
    seen: dict[str, int] = {}  # rows of each result that a client was told of
    ran, interrupted = 0, 0
    for _ in range(ROUNDS):
        service = Service("--data-dir", str(data), folder=tmp_path)
        job = submit(service, MANY_EVENTS)["id"]
        stream = Events(service, job)
        limit = time.monotonic() + random_numbers.uniform(0.02, 0.4)
        told: dict[str, int] = {}
        ended = False
        while time.monotonic() < limit and (event := stream.next()):
            if event[1] == "row":
                told[event[2]["result"]] = told.get(event[2]["result"], 0) + 1
            ended = ended or event[1] == "done"
        service.process.kill()
        service.process.wait()
        service.log.close()
        stream.close()
        with Service("--data-dir", str(data), folder=tmp_path) as after:
            found = wait(after, job)  # one that had not begun is run now
            assert found["state"] in ("interrupted", "done") and (not ended or found["state"] == "done"), found
            interrupted += found["state"] == "interrupted"
            earlier = random_numbers.sample(sorted(seen), min(len(seen), 4))
            seen.update(told)
            for result in (*told, *earlier):
                kept = after.ask("GET", f"/v1/results/{result}").json
                assert len(kept["rows"]) >= seen[result] and all(row["digest"] for row in kept["rows"])
            counted = after.ask("GET", f"/v1/results?job={found['id']}").json["results"]
            assert sum(one["rows"] for one in counted) == found["rows"]
            assert [one["complete"] for one in counted].count(True) >= found["items_done"]
        ran += 1
    with closing(sqlite3.connect(data / "mustafard.sqlite3")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    print(f"{ran} kills, {interrupted} jobs interrupted, {len(seen)} results checked: nothing told was lost")
    assert interrupted > 0


def test_history_of_a_newer_daemon_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Service("--data-dir", str(data), folder=tmp_path) as service:
        finish(service, TINY)
    file = data / "mustafard.sqlite3"
    assert file.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA user_version = 9")
    before = file.read_bytes()
    refused = subprocess.run([BINARY, "--port", "0", "--data-dir", str(data), "--log-level", "off"], capture_output=True,
                             text=True, timeout=30, check=False)
    assert refused.returncode == 1 and "version 9" in refused.stderr and "mustafard.sqlite3" in refused.stderr
    assert file.read_bytes() == before


@pytest.mark.parametrize("damage", ["header", "page", "text"])
def test_damaged_history_is_set_aside(tmp_path: Path, damage: str) -> None:
    data = tmp_path / "data"
    with Service("--data-dir", str(data), folder=tmp_path) as service:
        finish(service, TINY)
    file = data / "mustafard.sqlite3"
    content = bytearray(file.read_bytes())
    if damage == "text":
        content = bytearray(b"this is no database\n" * 400)
    else:
        at = 0 if damage == "header" else 4096  # the page of the first table
        content[at:at + 64] = b"\xa5" * 64
    file.write_bytes(content)
    with Service("--data-dir", str(data), folder=tmp_path) as service:
        assert service.ask("GET", "/v1/jobs").json == {"jobs": [], "next": None}
        assert finish(service, TINY)["rows"] == 1
    kept, = data.glob("mustafard.sqlite3.damaged-*Z")
    assert kept.read_bytes() == content
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    told, = (line for line in lines if line["event"] == "history set aside")
    assert told["level"] == "error" and told["kept_as"] == str(kept) and told["why"]


def test_old_results_are_forgotten(tmp_path: Path) -> None:
    with Service("--max-results", "3", folder=tmp_path) as service:
        made = [finish(service, {**TINY, "threads": [1, 2] if i == 0 else [1]}) for i in range(4)]
        listed = [job["id"] for job in service.ask("GET", "/v1/jobs").json["jobs"]]
        assert listed == [job["id"] for job in made[:0:-1]]
        assert len(service.ask("GET", "/v1/results").json["results"]) == 3
        assert service.metric('mustafard_jobs{state="done"}') == 3


def test_no_job_begins_where_the_daemon_cannot_listen(tmp_path: Path) -> None:
    data = tmp_path / "data"
    service = Service("--data-dir", str(data), folder=tmp_path)
    running, waiting = submit(service, ENDLESS)["id"], submit(service, TINY)["id"]
    wait(service, running, rows=1)
    service.process.kill()
    service.process.wait()
    service.log.close()
    for flags in (["--check-config"], ["--host", "203.0.113.1", "--token-file", "none"]):
        subprocess.run([BINARY, "--port", "0", "--data-dir", str(data), *flags], capture_output=True, timeout=30, check=False)
    with Service("--data-dir", str(data), folder=tmp_path) as service:
        assert get(service, running)["state"] == "interrupted"
        assert wait(service, waiting)["state"] == "done"
    ended = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if '"job ended"' in line]
    assert [(line["job"], line["state"]) for line in ended] == [(waiting, "done")]


def test_the_signal_ends_an_endless_job_at_once(tmp_path: Path) -> None:
    service = Service(folder=tmp_path)
    submit(service, ENDLESS)
    time.sleep(0.2)
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(60) == 0
    service.log.close()
