# SPDX-License-Identifier: Apache-2.0
"""Snapshots out of one daemon and into another, and what is refused on the way."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from service import LONG, Reply, Service, floats

ROW = 2 * 2 * 64


def digest(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


def upload(service: Service, name: str, data: bytes, query: str = "", headers: dict[str, str] | None = None) -> Reply:
    return service.ask("PUT", f"/v1/snapshots/{name}/content{query}", data, headers)


def names(service: Service) -> list[str]:
    return [one["name"] for one in service.ask("GET", "/v1/snapshots").json["snapshots"]]


def test_a_snapshot_moves_to_another_daemon(tmp_path: Path) -> None:
    q = floats(256, 9)
    with Service("--data-dir", str(tmp_path / "one"), folder=tmp_path) as service:
        service.make_cache("a")
        service.append("a", floats(200 * ROW), 200, 0)
        before = service.attend("a", q, 1).body
        assert service.ask("PUT", "/v1/snapshots/s", {"cache": "a", "model_id": "m"}).status == 201
        got = service.ask("GET", "/v1/snapshots/s/content")
        assert (got.status, got.headers["Content-Type"]) == (200, "application/octet-stream")
        assert got.body == (tmp_path / "one" / "snapshots" / "s.snap").read_bytes()
        assert got.headers["Content-Digest"] == digest(got.body)
        head = service.ask("HEAD", "/v1/snapshots/s/content")
        assert (head.body, head.headers["Content-Length"]) == (b"", str(len(got.body)))
        assert service.ask("GET", "/v1/snapshots/none-such/content").problem == "not-found"
    data = got.body
    with Service("--data-dir", str(tmp_path / "two"), "--snapshots-limit", "2", folder=tmp_path) as service:
        made = upload(service, "moved", data, headers={"Content-Digest": digest(data)})
        assert (made.status, made.headers["Location"]) == (201, "/v1/snapshots/moved")
        assert (made.json["bytes"], made.json["state"]) == (len(data), "good")
        assert service.metric("mustafard_caches") == 0
        service.check_memory()
        assert service.ask("GET", "/v1/snapshots/moved/content").body == data
        restored = service.ask("POST", "/v1/snapshots/moved/restore", {"to": "a", "model_id": "m"})
        assert restored.status == 201 and restored.json["lengths"] == [200, 0]
        assert service.attend("a", q, 1).body == before
        assert upload(service, "moved", data).problem == "exists"
        assert upload(service, "moved", data, "?overwrite=true").status == 200
        assert upload(service, "moved", data, "?overwrite=maybe").problem == "bad-parameter"
        assert upload(service, "moved", data, "?overwrite=true", {"Content-Digest": digest(b"x")}).problem == "digest-mismatch"
        assert upload(service, "second", data).status == 201
        assert upload(service, "third", data).problem == "limit-reached"
        assert names(service) == ["moved", "second"]


def test_bad_uploads_leave_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "snapshots"
    with Service("--data-dir", str(tmp_path / "data"), folder=tmp_path) as service:
        service.make_cache("a", recipe="lean")
        service.append("a", floats(100 * ROW), 100, 0)
        service.ask("PUT", "/v1/snapshots/good", {"cache": "a"})
        data = service.ask("GET", "/v1/snapshots/good/content").body
        kept = upload(service, "good", b"nonsense", "?overwrite=true")
        assert (kept.status, kept.problem) == (422, "corrupt")
        assert service.ask("GET", "/v1/snapshots/good/content").body == data
        bad = [b"", b"\0" * 64, data[:-1], data + b"\0", data[: len(data) // 2], data[:64] + data]
        step = 1 if LONG else 97
        for at in range(0, len(data), step):
            flipped = bytearray(data)
            flipped[at] ^= 0x10
            bad.append(bytes(flipped))
        for one in bad:
            reply = upload(service, "bad", one)
            assert reply.status == 422 and reply.problem in ("corrupt", "mismatch"), (len(one), reply.body)
        service.check_memory()
        assert names(service) == ["good"]
        assert sorted(path.name for path in folder.iterdir()) == [".lock", "good.snap"]
        print(f"{len(bad)} bad uploads refused")


def test_an_upload_beyond_the_quota(tmp_path: Path) -> None:
    with Service("--data-dir", str(tmp_path / "data"), folder=tmp_path) as service:
        service.make_cache("a", recipe="dense")
        service.append("a", floats(3000 * ROW), 3000, 0)
        service.ask("PUT", "/v1/snapshots/s", {"cache": "a"})
        data = service.ask("GET", "/v1/snapshots/s/content").body
    with Service("--data-dir", str(tmp_path / "other"), "--memory-quota", "1m", folder=tmp_path) as service:
        reply = upload(service, "s", data)
        assert (reply.status, reply.problem) == (507, "quota-exceeded")
        assert names(service) == []
        service.check_memory()


def test_without_a_data_folder(tmp_path: Path) -> None:
    with Service(folder=tmp_path) as service:
        assert service.ask("GET", "/v1/snapshots/a/content").problem == "not-found"
        assert upload(service, "a", b"x").problem == "not-found"


def test_downloads_above_the_limit_of_bodies(tmp_path: Path) -> None:
    with Service("--data-dir", str(tmp_path / "data"), "--body-limit", "64k", folder=tmp_path) as service:
        service.make_cache("a", recipe="dense")
        for i in range(3):
            service.append("a", floats(60 * ROW), 60, 60 * i)
        service.ask("PUT", "/v1/snapshots/s", {"cache": "a"})
        refused = service.ask("GET", "/v1/snapshots/s/content")
        assert (refused.status, refused.problem) == (413, "body-too-large")


def test_backends(service: Service) -> None:
    told = service.ask("GET", "/v1/backends").json
    version = service.ask("GET", "/version").json
    assert told == {"attend_kernel": version["attend_kernel"], "kernels": version["kernels"]}
    assert any(row["available"] and row["name"] == told["attend_kernel"] for row in told["kernels"])
