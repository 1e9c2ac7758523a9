# SPDX-License-Identifier: Apache-2.0
"""Ends at random moments and disks without room: what was told to be done is there, what was not is not half there."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from service import LONG, Service, floats

ROW = 2 * 2 * 64  # floats of a token of Service.make_cache()
ROUNDS = 200 if LONG else 4
SEED = int(os.environ.get("MUSTAFAR_SEED") or (random.randrange(1 << 31) if LONG else 1))
QUERY = "dtype=f32&q_tokens=1"


def attend(service: Service, name: str) -> bytes:
    reply = service.attend(name, floats(4 * 64, 3), 1)
    assert reply.status == 200
    return reply.body


class Worker(threading.Thread):
    """Saves, restores, forgets and asks until the service has gone; keeps what it was told."""

    def __init__(self, port: int, seed: int) -> None:
        super().__init__()
        self.port, self.random = port, random.Random(seed)
        self.saved: dict[str, bool] = {}  # name: told to be there, or told to be gone
        self.unsure: str | None = None  # what was asked for when it went
        self.answers = 0
        self.odd: list[Any] = []

    def run(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.work()

    def work(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while True:
            name = f"s{self.random.randrange(6)}"
            method, path, body = self.random.choice([
                ("PUT", f"/v1/snapshots/{name}", {"cache": "a", "overwrite": True}),
                ("PUT", f"/v1/snapshots/{name}", {"cache": "a", "overwrite": True}),
                ("DELETE", f"/v1/snapshots/{name}", None),
                ("POST", f"/v1/snapshots/{name}/restore", {"to": f"r{self.random.randrange(1 << 30)}"}),
                ("PUT", "/v1/recipes/mine", {"schema": "mustafar.recipe", "version": 1, "k": {"keep": 9}, "v": {}}),
            ])  # fmt: skip
            changes = method == "DELETE" or body is not None and "cache" in body
            self.unsure = name if changes else None
            connection.request(method, path, json.dumps(body) if body else None,
                               {"Content-Type": "application/json"} if body else {})  # fmt: skip
            answer = connection.getresponse()
            data = answer.read()
            self.answers += 1
            if answer.status not in (200, 201, 204, 404, 507):
                self.odd.append((method, path, answer.status, data[:200]))
            if changes and answer.status in (200, 201, 204):
                self.saved[name] = method == "PUT"
            self.unsure = None
            if path.endswith("restore") and answer.status == 201:
                connection.request("DELETE", "/v1/caches/" + json.loads(data)["id"])
                connection.getresponse().read()


def check_folder(service: Service, data: Path, worker: Worker | None, answer: bytes) -> int:
    """Every listed snapshot loads and answers as the cache that was saved; what was told holds; no part is left."""
    names = [one["name"] for one in service.ask("GET", "/v1/snapshots").json["snapshots"]]
    for name in names:
        assert service.ask("POST", f"/v1/snapshots/{name}/restore", {"to": "look"}).status == 201, name
        assert attend(service, "look") == answer, name
        assert service.ask("DELETE", "/v1/caches/look").status == 204
    for folder in ("snapshots", "recipes"):
        assert not [path for path in (data / folder).iterdir() if path.name.endswith(".part")]
    if worker is not None:
        assert not worker.odd, worker.odd
        for name, there in worker.saved.items():
            assert name == worker.unsure or (name in names) == there, f"seed {SEED}: {name} was told otherwise"
    return len(names)


def test_kill_9_at_any_moment(tmp_path: Path) -> None:
    data, numbers = tmp_path / "data", random.Random(SEED)
    worker, answer = None, b""
    snapshots = answers = 0
    for kill in range(ROUNDS + 1):
        service = Service("--data-dir", str(data), "--log-level", "error", folder=tmp_path)
        service.make_cache("a")
        service.append("a", floats(400 * ROW), 400, 0)
        answer = answer or attend(service, "a")
        snapshots += check_folder(service, data, worker, answer)
        if kill == ROUNDS:
            assert service.stop() == 0
            break
        worker = Worker(service.port, SEED + kill)
        worker.start()
        while kill % 2 and worker.answers < 2 and worker.is_alive():
            time.sleep(0.001)
        time.sleep(numbers.uniform(0.0, 0.2))
        service.process.kill()
        service.process.wait()
        service.log.close()
        worker.join()
        answers += worker.answers
    print(f"seed {SEED}: {ROUNDS} kills amid {answers} answers, {snapshots} snapshots loaded, all of them whole")
    assert answers >= ROUNDS


@pytest.mark.parametrize("number", range(40 if LONG else 3))
def test_sigterm_at_any_moment(tmp_path: Path, number: int) -> None:
    """What was told to be saved is there; what was begun is answered; status 0."""
    data = tmp_path / "data"
    service = Service("--data-dir", str(data), "--log-level", "error", folder=tmp_path)
    service.make_cache("a")
    service.append("a", floats(400 * ROW), 400, 0)
    answer = attend(service, "a")
    worker = Worker(service.port, SEED + number)
    worker.start()
    time.sleep(random.Random(SEED + number).uniform(0.0, 0.3))
    start = time.monotonic()
    assert service.stop() == 0, f"seed {SEED}"
    assert time.monotonic() - start < 9  # it waits for nobody but those it answers
    worker.join()
    with Service("--data-dir", str(data), "--log-level", "error", folder=tmp_path) as again:
        again.make_cache("a")
        check_folder(again, data, worker, answer)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(place)],
                             capture_output=True, check=False)  # fmt: skip
    if mounted.returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here (root can); RLIMIT_FSIZE is tried in test_operation.py")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_full_disk(small_disk: Path, tmp_path: Path) -> None:
    """Refused with 507 and nothing left; an overwrite that fails leaves the old one; room makes it work again."""
    service = Service("--data-dir", str(small_disk), "--log-level", "off", folder=tmp_path)
    with service:
        service.make_cache("small", recipe="dense")
        service.append("small", floats(4 * ROW), 4, 0)
        service.make_cache("large", recipe="dense")
        service.append("large", floats(1000 * ROW), 1000, 0)  # 512 KiB
        answer = attend(service, "small")
        assert service.ask("PUT", "/v1/snapshots/kept", {"cache": "small"}).status == 201
        for _ in range(3):
            for body in ({"cache": "large"}, {"cache": "large", "overwrite": True}):
                name = "kept" if "overwrite" in body else "large"
                refused = service.ask("PUT", f"/v1/snapshots/{name}", body)
                assert (refused.status, refused.problem) == (507, "storage")
        names = sorted(path.name for path in (small_disk / "snapshots").iterdir())
        assert names == [".lock", "kept.snap"]
        saved = 0
        while service.ask("PUT", f"/v1/snapshots/fill-{saved}", {"cache": "small"}).status == 201:
            saved += 1
            assert saved < 200
        recipe = {"schema": "mustafar.recipe", "version": 1, "k": {"keep": 9}, "v": {}, "note": "x" * 4000}
        told = {service.ask("PUT", f"/v1/recipes/r{i}", recipe).status for i in range(8)}
        assert told <= {201, 507} and 507 in told
        assert service.ask("GET", "/readyz").status == 200
        assert service.ask("DELETE", "/v1/snapshots/fill-0").status == 204
        assert service.ask("PUT", "/v1/snapshots/again", {"cache": "small"}).status == 201
        assert service.ask("POST", "/v1/snapshots/kept/restore", {"to": "look"}).status == 201
        assert attend(service, "look") == answer
    with Service("--data-dir", str(small_disk), "--log-level", "off", folder=tmp_path) as again:
        listed = again.ask("GET", "/v1/snapshots").json["snapshots"]
        assert len(listed) == saved + 1
        states = {again.ask("GET", f"/v1/snapshots/{one['name']}?verify=true").json["state"] for one in listed}
        assert states == {"good"}
