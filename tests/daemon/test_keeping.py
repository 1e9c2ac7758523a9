# SPDX-License-Identifier: Apache-2.0
"""How long caches stay: TTL, pins, and the oldest that goes when there is no room."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path

import pytest
from service import Service, floats, read_replies

ROW = 2 * 2 * 64


def test_patch_is_a_merge_patch(service: Service) -> None:
    made = service.make_cache("patch", ttl_seconds=3600, labels={"model": "a", "run": "1"}, pinned=True).json
    assert (made["ttl_seconds"], made["labels"], made["pinned"]) == (3600, {"model": "a", "run": "1"}, True)
    assert made["expires"] is None  # pinned
    path = "/v1/caches/patch"
    etag = service.ask("GET", path).headers["ETag"]
    changed = service.ask("PATCH", path, {"labels": {"run": None, "note": "<b>é</b>"}, "pinned": False}, {"If-Match": etag})
    assert changed.json["labels"] == {"model": "a", "note": "<b>é</b>"}
    assert (changed.json["ttl_seconds"], changed.json["pinned"]) == (3600, False)
    assert changed.json["expires"] > made["created"]
    assert changed.headers["ETag"] != etag
    assert service.ask("PATCH", path, {}, {"If-Match": etag}).problem == "precondition-failed"
    assert service.ask("PATCH", path, {"ttl_seconds": None}).json["expires"] is None
    assert service.ask("PATCH", path, {"labels": None}).json["labels"] == {}
    assert service.ask("GET", "/v1/caches/patch").json["ttl_seconds"] is None
    assert service.ask("PATCH", "/v1/caches/none-such", {}).problem == "not-found"
    assert service.make_cache("patch", ttl_seconds=5).json["ttl_seconds"] is None  # a PUT again changes nothing


def test_patch_does_not_forget_the_last_append(service: Service) -> None:
    service.make_cache("remember")
    data = floats(ROW)
    assert service.append("remember", data, 1, 0).json["replayed"] is False
    service.ask("PATCH", "/v1/caches/remember", {"labels": {"a": "b"}})
    assert service.append("remember", data, 1, 0).json["replayed"] is True


@pytest.mark.parametrize("body, pointer, code", [
    ({"ttl_seconds": 0}, "/ttl_seconds", "range"), ({"ttl_seconds": "1"}, "/ttl_seconds", "type"),
    ({"ttl_seconds": 1e300}, "/ttl_seconds", "range"), ({"pinned": 1}, "/pinned", "type"),
    ({"pinned": None}, "/pinned", "type"), ({"labels": []}, "/labels", "type"), ({"labels": {"a": 1}}, "/labels/a", "type"),
    ({"labels": {"": "x"}}, "/labels/", "range"), ({"labels": {"a" * 65: "x"}}, "/labels/" + "a" * 64, "range"),
    ({"labels": {"a": "x" * 257}}, "/labels/a", "range"), ({"labels": {f"l{i}": "x" for i in range(33)}}, "/labels", "range"),
    ({"labels": {"a": "x\0y"}}, "/labels/a", "range"), ({"max_tokens": 5}, "/max_tokens", "unknown"),
])
def test_patch_refuses(service: Service, body: dict, pointer: str, code: str) -> None:
    service.make_cache("refuse-patch", labels={"stays": "here"})
    before = service.ask("GET", "/v1/caches/refuse-patch")
    reply = service.ask("PATCH", "/v1/caches/refuse-patch", body)
    assert (reply.status, reply.problem) == (422, "bad-body"), reply.body
    assert (reply.json["errors"][0]["pointer"], reply.json["errors"][0]["code"]) == (pointer, code)
    assert service.ask("GET", "/v1/caches/refuse-patch").body == before.body


def wait_gone(service: Service, name: str, limit: float = 60) -> float:
    start = time.monotonic()
    while service.ask("GET", f"/v1/caches/{name}").status == 200:
        assert time.monotonic() - start < limit, f"{name} is still there"
        time.sleep(0.05)
    return time.monotonic() - start


def test_ttl_is_extended_by_use_and_not_by_looking(tmp_path: Path) -> None:
    with Service(folder=tmp_path) as service:
        service.make_cache("used", ttl_seconds=2)
        service.make_cache("looked-at", ttl_seconds=2)
        service.make_cache("pinned", ttl_seconds=0.5, pinned=True)
        service.make_cache("stays")
        for name in ("used", "looked-at"):
            service.append(name, floats(ROW), 1, 0)
        start = time.monotonic()
        while service.ask("GET", "/v1/caches/looked-at").status == 200:
            assert service.attend("used", floats(256), 1).status == 200
            service.ask("GET", "/v1/caches/looked-at/stats")
            service.ask("GET", "/v1/caches?limit=10")
            assert time.monotonic() - start < 60
            time.sleep(0.1)
        assert time.monotonic() - start >= 1.5
        assert service.ask("GET", "/v1/caches/used").status == 200
        wait_gone(service, "used")
        names = [one["id"] for one in service.ask("GET", "/v1/caches").json["caches"]]
        assert names == ["pinned", "stays"]
        assert service.metric('mustafard_evictions_total{reason="ttl"}') == 2
        service.check_memory()
        assert service.ask("PATCH", "/v1/caches/pinned", {"pinned": False}).json["expires"] is not None
        wait_gone(service, "pinned")
    freed = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if '"cache freed"' in line]
    assert [(one["cache"], one["reason"]) for one in freed] == [("looked-at", "ttl"), ("used", "ttl"), ("pinned", "ttl")]
    assert all(one["bytes"] > 0 for one in freed)


def test_a_cache_in_use_is_not_freed(tmp_path: Path) -> None:
    """An attend longer than its TTL and than the sweeper's second holds the cache; it goes only afterwards."""
    tokens, rows = 4096, 4096
    for attempt in range(4):  # until the machine takes long enough
        folder = tmp_path / str(attempt)
        folder.mkdir()
        with Service("--threads", "1", folder=folder) as service:
            service.make_cache("busy", ttl_seconds=1)
            service.append("busy", b"\0" * (rows * ROW * 4), rows, 0)
            query = f"dtype=f16&q_tokens={tokens}&q_position=5000"
            reply = service.ask("POST", f"/v1/caches/busy/layers/0/attend?{query}", b"\0" * (tokens * 256 * 2))
            computed = float(reply.headers["Server-Timing"].partition("compute;dur=")[2]) / 1000
            assert reply.status == 200
            wait_gone(service, "busy")
        freed, = (json.loads(line) for line in (folder / "log").read_text().splitlines() if '"cache freed"' in line)
        assert freed["unused_seconds"] >= computed
        if computed > 2.5:
            return
        tokens *= 4 if tokens < 60000 else 1
        rows *= 2
    pytest.skip("this machine attends faster than a cache can be made to expire")


def test_gc_frees_what_has_expired_now(service: Service) -> None:
    service.make_cache("gc-later", ttl_seconds=3600)
    service.make_cache("gc-now", ttl_seconds=0.001)
    time.sleep(0.01)
    reply = service.ask("POST", "/v1/admin/gc", {})
    assert reply.status == 200 and "gc-later" not in reply.json["freed"]
    assert service.ask("GET", "/v1/caches/gc-now").problem == "not-found"  # gone now, or to the sweeper just before
    assert reply.json["memory_used_bytes"] == service.metric("mustafard_memory_used_bytes")
    assert service.ask("POST", "/v1/admin/gc", {"x": 1}).problem == "bad-body"


def test_without_lru_nothing_is_freed_in_silence() -> None:
    with Service("--memory-quota", "2m") as service:
        assert service.ask("GET", "/version").json["evict"] == "none"
        service.make_cache("a", recipe="dense")
        service.append("a", floats(1000 * ROW), 1000, 0)
        service.make_cache("b", recipe="dense")
        assert service.append("b", floats(1500 * ROW), 1500, 0).problem == "quota-exceeded"
        assert service.ask("GET", "/v1/caches/a").json["lengths"] == [1000, 0]


def test_lru_frees_the_oldest_that_may_go(tmp_path: Path) -> None:
    with Service("--memory-quota", "4m", "--evict", "lru", folder=tmp_path) as service:
        assert service.ask("GET", "/version").json["evict"] == "lru"
        for name in ("old", "pinned", "touched"):
            service.make_cache(name, recipe="dense", pinned=name == "pinned")
            assert service.append(name, floats(1000 * ROW), 1000, 0).status == 200
        assert service.attend("old", floats(256), 1).status == 200
        assert service.attend("touched", floats(256), 1).status == 200
        service.make_cache("new", recipe="dense")
        assert service.append("new", floats(4000 * ROW), 4000, 0).status == 200  # `old` goes, it is the oldest of two
        left = [one["id"] for one in service.ask("GET", "/v1/caches").json["caches"]]
        assert left == ["new", "pinned", "touched"]
        service.check_memory()
        big = service.append("new", floats(6000 * ROW), 6000, 4000)  # neither itself nor the pinned one goes
        assert (big.status, big.problem) == (507, "quota-exceeded")
        left = [one["id"] for one in service.ask("GET", "/v1/caches").json["caches"]]
        assert left == ["new", "pinned"]
        assert service.ask("GET", "/v1/caches/new").json["lengths"] == [4000, 0]
        service.check_memory()
        assert service.metric('mustafard_evictions_total{reason="lru"}') == 2
    freed = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if '"cache freed"' in line]
    assert [(one["cache"], one["reason"]) for one in freed] == [("old", "lru"), ("touched", "lru")]


def test_admin_needs_the_admin_token(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("write 0123456789abcdef\nadmin fedcba9876543210\n")
    tokens.chmod(0o600)
    service = Service("--token-file", str(tokens), folder=tmp_path)
    write, admin = ({"Authorization": f"Bearer {token}"} for token in ("0123456789abcdef", "fedcba9876543210"))
    for path in ("/v1/admin/gc", "/v1/admin/drain"):
        assert service.ask("POST", path, {}, write).problem == "forbidden"
        assert service.ask("POST", path, {}).status == 401
    assert service.ask("POST", "/v1/admin/gc", {}, admin).status == 200
    assert service.ask("POST", "/v1/admin/drain", [], admin).problem == "bad-body"
    assert service.ask("GET", "/readyz").json["ready"] is True
    draining = service.ask("POST", "/v1/admin/drain", {}, admin)
    assert (draining.status, draining.json) == (202, {"draining": True})
    assert service.process.wait(60) == 0
    service.log.close()


def test_two_drains_at_once_are_one(tmp_path: Path) -> None:
    service = Service(folder=tmp_path)
    request = (b"POST /v1/admin/drain HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
               b"Content-Length: 2\r\n\r\n{}")
    socks = [service.raw() for _ in range(8)]
    for sock in socks:
        sock.sendall(request)
    statuses = [reply[0] for sock in socks for reply in read_replies(sock, 1)]
    for sock in socks:
        sock.close()
    assert 202 in statuses and set(statuses) == {202}
    assert service.process.wait(60) == 0  # a second signal would have ended it with 1
    service.log.close()


DRAIN = (b"POST /v1/admin/drain HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
         b"Content-Length: 2\r\n\r\n{}")


@pytest.mark.parametrize("order", ["drain, signal", "drain, signal, signal", "signal, drain", "both at once"])
def test_drain_beside_sigterm_is_one_shutdown(tmp_path: Path, order: str) -> None:
    """What systemd does behind an operator's drain is no second signal: what was begun is answered, status 0."""
    for attempt in range(8 if order == "both at once" else 1):
        service = Service("--drain-timeout", "20", folder=tmp_path)
        service.make_cache("a")
        with service.raw() as body, service.raw() as asks:
            body.sendall(b"POST /v1/caches/a/layers/0/append?dtype=f32&tokens=1&expect=0 HTTP/1.1\r\nHost: localhost\r\n"
                         b"Content-Type: application/octet-stream\r\nContent-Length: 1024\r\n\r\n")
            asks.sendall(DRAIN[:-1])  # begun before the signal: it is answered too
            time.sleep(0.2)
            if order == "both at once":
                sender = threading.Thread(target=service.process.send_signal, args=(signal.SIGTERM,))
                sender.start()
                time.sleep(attempt * 5e-5)
                asks.sendall(DRAIN[-1:])
                sender.join()
            elif order == "signal, drain":
                service.process.send_signal(signal.SIGTERM)
                time.sleep(0.2)
                asks.sendall(DRAIN[-1:])
            else:
                asks.sendall(DRAIN[-1:])
            assert [status for status, _ in read_replies(asks, 1)] == [202]
            if order.startswith("drain"):
                time.sleep(0.2)
                service.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            assert service.process.poll() is None, order
            if order == "drain, signal, signal":  # the second one is meant
                service.process.send_signal(signal.SIGTERM)
                assert service.process.wait(5) == 1
            else:
                body.sendall(floats(256))
                assert [status for status, _ in read_replies(body, 1)] == [200]
                assert service.process.wait(5) == 0, order
        service.log.close()


def test_refused_job_ends_no_cache(tmp_path: Path) -> None:
    """--job-memory is not the quota: nobody's cache goes for it, nor for what could never fit."""
    with Service("--evict", "lru", "--job-memory", "1m", "--memory-quota", "64m", folder=tmp_path) as service:
        for name in "ab":
            assert service.make_cache(name).status == 201
        shape = {"geometry": {"layers": 4, "q_heads": 8, "kv_heads": 8, "head_dim": 128}, "tokens": 4096}
        job = service.ask("POST", "/v1/jobs", {"synthetic": shape, "recipes": ["lean"]})
        assert job.problem == "quota-exceeded" and job.json["limit_bytes"] == 1 << 20
        assert [one["id"] for one in service.ask("GET", "/v1/caches").json["caches"]] == ["a", "b"]


def test_memory_that_is_kept_for_reuse_is_told_and_given_back(tmp_path: Path) -> None:
    def kept(of: str = "pages") -> float:
        return service.metric(f'mustafard_memory_kept_bytes{{of="{of}"}}')

    def fill_and_drop() -> None:
        service.make_cache("a", recipe="dense")
        assert service.append("a", floats(8000 * ROW), 8000, 0).status == 200
        assert service.ask("DELETE", "/v1/caches/a").status == 204

    with Service("--log-level", "error", folder=tmp_path) as service:
        before = service.memory("VmRSS")
        for _ in range(5):  # the sweeper may come in between
            fill_and_drop()
            if kept() >= 4_000_000 and kept("bodies") >= 4_000_000:  # 8000 rows of 512 bytes; a body of 8 MB
                break
        else:
            pytest.fail("what is kept is not told")
        assert service.ask("POST", "/v1/admin/gc", {}).status == 200
        assert kept() == kept("bodies") == kept("jobs") == 0
        assert service.memory("VmRSS") < before + (8 << 20)
        fill_and_drop()
        limit = time.monotonic() + 15
        while kept() or kept("bodies"):  # two sweeps, a second apart
            assert time.monotonic() < limit
            time.sleep(0.1)
