# SPDX-License-Identifier: Apache-2.0
"""Starting, stopping, limits, tokens, and what survives a crash."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from service import BINARY, LONG, Service, floats, read_replies

ROW = 2 * 2 * 64
ROUNDS = 200 if LONG else 5


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BINARY, *flags], capture_output=True, text=True, timeout=30, check=False)


def test_command_line(tmp_path: Path) -> None:
    assert "--memory-quota" in run("--help").stdout
    assert run("--version").stdout.startswith("mustafard ")
    printed = run("--print-config", "--memory-quota", "1g", "--workers", "3")
    assert "workers=3" in printed.stdout and printed.returncode == 0
    config = tmp_path / "config"
    config.write_text("workers=5\nport=0\n")
    assert "workers=5" in run("--config", str(config), "--print-config").stdout
    config.write_text("workerz=5\n")
    assert run("--config", str(config), "--print-config").returncode == 2
    assert run("--check-config", "--memory-quota", "1g").returncode == 0
    for flags in (["--workers", "0"], ["--nonsense"], ["--host", "0.0.0.0"], ["--backend", "no-such"],
                  ["--body-limit", "1g", "--staging-limit", "1m"]):
        refused = run("--check-config", *flags)
        assert refused.returncode != 0 and refused.stderr.startswith("mustafard: "), flags


def test_token_file_is_required_and_checked(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("# who may what\nread 0123456789abcdef\nwrite fedcba9876543210 # the writer\n")
    tokens.chmod(0o644)
    refused = run("--check-config", "--token-file", str(tokens))
    assert refused.returncode == 2 and "chmod 600" in refused.stderr
    tokens.chmod(0o600)
    with Service("--host", "0.0.0.0", "--token-file", str(tokens), folder=tmp_path) as service:
        read, write = ({"Authorization": f"Bearer {token}"} for token in ("0123456789abcdef", "fedcba9876543210"))
        assert service.ask("GET", "/healthz").status == 200
        missing = service.ask("GET", "/v1/caches")
        assert (missing.status, missing.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert service.ask("GET", "/metrics").status == 401
        assert service.ask("GET", "/no/such/path").status == 401  # what there is is not told to strangers
        assert service.ask("GET", "/v1/caches", headers={"Authorization": "Bearer 0123456789abcdeF"}).status == 401
        assert service.ask("GET", "/v1/caches", headers=read).status == 200
        body = {"geometry": {"layers": 1, "kv_heads": 1, "head_dim": 64}, "recipe": "lean", "max_tokens": 10}
        assert service.ask("PUT", "/v1/caches/a", body, read).problem == "forbidden"
        assert service.ask("PUT", "/v1/caches/a", body, write).status == 201
    assert "0123456789abcdef" not in (tmp_path / "log").read_text()


def test_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    for _ in range(2):  # the second finds what the first, killed, left behind
        process = subprocess.Popen([BINARY, "--unix", str(path), "--log-level", "off"], stdout=subprocess.PIPE)
        assert process.stdout.readline().decode().strip().endswith(f"unix:{path}")
        assert path.stat().st_mode & 0o777 == 0o600 | (path.stat().st_mode & 0o100)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            sock.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
            assert sock.recv(1000).startswith(b"HTTP/1.1 200")
        process.kill()
        process.wait()
        process.stdout.close()
    assert path.exists()


def test_second_daemon_refuses(tmp_path: Path) -> None:
    with Service("--data-dir", str(tmp_path / "data")) as service:
        same_port = run("--port", str(service.port))
        assert same_port.returncode == 1 and "cannot listen" in same_port.stderr
        same_folder = run("--port", "0", "--data-dir", str(tmp_path / "data"))
        assert same_folder.returncode == 1 and "another daemon" in same_folder.stderr


def test_quota_is_told_and_nothing_is_lost() -> None:
    with Service("--memory-quota", "2m", "--caches-limit", "3") as service:
        service.make_cache("a")
        length, status = 0, 200
        while status == 200:
            reply = service.append("a", floats(512 * ROW), 512, length)
            status = reply.status
            length = reply.json.get("length", length)
            assert length < 100000
        assert (status, reply.problem) == (507, "quota-exceeded")
        assert reply.json["limit_bytes"] == 2 << 20
        assert reply.json["used_bytes"] + reply.json["requested_bytes"] > 2 << 20
        assert service.ask("GET", "/v1/caches/a").json["lengths"] == [length, 0]
        used = service.metric("mustafard_memory_used_bytes")
        parts = [service.metric(f'mustafard_cache_bytes{{part="{part}"}}') for part in ("pages", "tables", "workspace")]
        assert used == sum(parts) <= 2 << 20
        assert service.ask("DELETE", "/v1/caches/a").status == 204
        for part in ("pages", "tables"):  # workspaces stay for the next call
            assert service.metric(f'mustafard_cache_bytes{{part="{part}"}}') == 0
        for name in "abc":
            assert service.make_cache(name).status == 201
        assert service.make_cache("d").problem == "limit-reached"


def test_cache_that_stays_in_use_is_told(tmp_path: Path) -> None:
    """Attend holds a cache for a while: nobody can change it meanwhile, and those who read behind a writer wait too."""
    with Service("--lock-timeout", "0.02", "--threads", "1", folder=tmp_path) as service:
        service.make_cache("busy")
        service.append("busy", floats(512 * ROW), 512, 0)
        body = b"\0" * (16384 * 256 * 4)
        head = ("POST /v1/caches/busy/layers/0/attend?dtype=f32&q_tokens=16384&q_position=600 HTTP/1.1\r\nHost: localhost\r\n"
                f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n\r\n")
        seen = set()
        for what, document in (("commit", {}), ("compress", {}), ("reset", {}), ("truncate", {"length": 0}),
                               ("evict", {"layer": 0, "kv_head": 0, "positions": [0]}),
                               ("prune", {"side": "k", "begin": 0, "end": 1})):
            with service.raw() as sock:
                sock.settimeout(60)
                sock.sendall(head.encode() + body)
                for _ in range(200):
                    reply = service.ask("POST", f"/v1/caches/busy/{what}", document, {"If-Match": '"never"'})
                    if reply.status == 503:
                        assert reply.problem == "locked" and reply.headers["Retry-After"] == "1"
                        seen.add(what)
                        break
                # A slow machine may keep the attend itself behind a writer for longer than it waits.
                assert read_replies(sock, 1)[0][0] in (200, 503)
        assert len(seen) >= 4, seen  # a machine may be so fast that one is missed
        assert service.ask("GET", "/v1/caches/busy").json["lengths"] == [512, 0]


def test_readiness_ends_with_the_signal(tmp_path: Path) -> None:
    service = Service(folder=tmp_path)
    with service.raw() as sock:
        sock.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n")
        service.until(lambda: service.metric("mustafard_connections") == 2)
        service.process.send_signal(signal.SIGTERM)
        service.until(lambda: service.logged("draining"))
        sock.sendall(b"\r\n")
        (status, body), = read_replies(sock, 1)
        assert status == 503 and json.loads(body) == {"ready": False, "reasons": ["draining"]}
    assert service.process.wait(60) == 0
    service.log.close()


def test_without_a_data_folder_there_are_no_snapshots(tmp_path: Path) -> None:
    with Service(folder=tmp_path) as service:
        assert service.ask("GET", "/v1/snapshots").problem == "not-found"
        assert service.ask("PUT", "/v1/snapshots/a", {"cache": "a"}).problem == "not-found"


def test_snapshots(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Service("--data-dir", str(data), "--snapshots-limit", "3") as service:
        service.make_cache("a")
        service.append("a", floats(200 * ROW), 200, 0)
        q = floats(256, 9)
        before = service.attend("a", q, 1).body
        assert service.ask("PUT", "/v1/snapshots/s", {"cache": "a", "model_id": "m"}).status == 201
        assert service.ask("PUT", "/v1/snapshots/s", {"cache": "a"}).problem == "exists"
        assert service.ask("PUT", "/v1/snapshots/s", {"cache": "a", "model_id": "m", "overwrite": True}).status == 200
        assert service.ask("PUT", "/v1/snapshots/s", {"cache": "none"}).problem == "not-found"
        service.make_cache("empty")
        assert service.ask("PUT", "/v1/snapshots/empty", {"cache": "empty"}).status == 201
        assert service.ask("PUT", "/v1/snapshots/third", {"cache": "a"}).status == 201
        assert service.ask("PUT", "/v1/snapshots/fourth", {"cache": "a"}).problem == "limit-reached"
        mine = {"schema": "mustafar.recipe", "version": 1, "k": {"keep": "1/2"}, "v": {"bits": 4}}
        assert service.ask("PUT", "/v1/recipes/mine", mine).status == 201
    bad = bytearray((data / "snapshots" / "third.snap").read_bytes())
    bad[len(bad) // 2] ^= 1
    (data / "snapshots" / "third.snap").write_bytes(bad)
    (data / "snapshots" / ".x.1-1.part").write_bytes(b"half")
    (data / "snapshots" / "link.snap").symlink_to("/etc/hostname")
    (data / "recipes" / "broken.json").write_text("{")
    with Service("--data-dir", str(data)) as service:
        listed = {one["name"]: one["state"] for one in service.ask("GET", "/v1/snapshots").json["snapshots"]}
        assert listed == {"empty": "unchecked", "s": "unchecked", "third": "unchecked"}
        assert not (data / "snapshots" / ".x.1-1.part").exists()
        assert service.ask("POST", "/v1/snapshots/s/restore", {"to": "a", "model_id": "other"}).problem == "mismatch"
        restored = service.ask("POST", "/v1/snapshots/s/restore", {"to": "a", "model_id": "m"})
        assert restored.status == 201 and restored.json["lengths"] == [200, 0]
        assert service.attend("a", q, 1).body == before
        assert service.ask("POST", "/v1/snapshots/s/restore", {"to": "a"}).problem == "exists"
        assert service.ask("POST", "/v1/snapshots/empty/restore", {"to": "e"}).json["lengths"] == [0, 0]
        assert service.ask("POST", "/v1/snapshots/third/restore", {"to": "t"}).problem == "corrupt"
        assert service.ask("GET", "/v1/snapshots/third").json["state"] == "corrupt"
        assert service.ask("GET", "/v1/snapshots/s?verify=true").json["state"] == "good"
        assert service.ask("GET", "/v1/caches/t").status == 404
        assert service.ask("DELETE", "/v1/snapshots/third").status == 204
        assert service.ask("GET", "/v1/recipes/mine").status == 200
        assert service.ask("GET", "/v1/snapshots/link").status == 404


def test_disk_full_leaves_nothing_behind(tmp_path: Path) -> None:
    data = tmp_path / "data"

    def small_files() -> None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))  # the history needs half of it

    service = Service("--data-dir", str(data), "--log-level", "off", folder=tmp_path, before=small_files)
    service.make_cache("a")
    service.append("a", floats(2000 * ROW), 2000, 0)
    refused = service.ask("PUT", "/v1/snapshots/s", {"cache": "a"})
    assert (refused.status, refused.problem) == (507, "storage")
    assert list((data / "snapshots").iterdir()) == [data / "snapshots" / ".lock"]
    assert service.ask("GET", "/healthz").status == 200
    assert service.stop() == 0


def test_kill_9_leaves_whole_snapshots_or_none(tmp_path: Path) -> None:
    data = tmp_path / "data"
    random_numbers = random.Random(int(os.environ.get("MUSTAFAR_SEED", "1"), 0))
    total = 0
    for number in range(ROUNDS):
        service = Service("--data-dir", str(data), folder=tmp_path)
        saved = []
        names = [one["name"] for one in service.ask("GET", "/v1/snapshots").json["snapshots"]]
        for name in names:
            state = service.ask("GET", f"/v1/snapshots/{name}?verify=true").json["state"]
            assert state == "good", f"{name} is {state}"
        total += len(names)
        assert not [path for path in (data / "snapshots").iterdir() if path.name.endswith(".part")]
        service.make_cache("a")
        service.append("a", floats(1000 * ROW), 1000, 0)

        def save(port: int = service.port, saved: list[int] = saved) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                for i in range(1000):
                    connection.request("PUT", f"/v1/snapshots/s{i % 8}", json.dumps({"cache": "a", "overwrite": True}),
                                       {"Content-Type": "application/json"})
                    connection.getresponse().read()
                    saved.append(i)
            except (OSError, http.client.HTTPException):
                pass

        thread = threading.Thread(target=save)
        thread.start()
        if number == 0:  # so that there is one to be checked
            service.until(lambda: bool(saved))
        time.sleep(random_numbers.uniform(0.01, 0.15))
        service.process.kill()
        service.process.wait()
        service.log.close()
        thread.join()
    print(f"{ROUNDS} kills, {total} snapshots checked, all of them whole")
    assert total > 0


def test_sigterm_under_load_answers_what_was_begun(tmp_path: Path) -> None:
    service = Service("--drain-timeout", "60", folder=tmp_path)
    service.make_cache("a")
    service.append("a", floats(64 * ROW), 64, 0)
    answered, broken = [0], []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
            try:
                while not stop.is_set():
                    connection.request("POST", "/v1/caches/a/layers/0/attend?dtype=f32&q_tokens=64&q_position=99",
                                       b"\0" * (64 * 256 * 4), {"Content-Type": "application/octet-stream"})
                    answer = connection.getresponse()
                    body = answer.read()
                    if answer.status != 200 or len(body) != 64 * 256 * 4:
                        broken.append(answer.status)
                    answered[0] += 1
            except http.client.IncompleteRead:
                broken.append("half a reply")
            except (OSError, http.client.HTTPException):
                if service.process.poll() is not None:
                    return
            finally:
                connection.close()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    start = time.monotonic()
    status = service.stop()
    took = time.monotonic() - start
    stop.set()
    for thread in threads:
        thread.join()
    assert (status, broken) == (0, []) and answered[0] > 0
    assert took < 50  # it waits for what was begun, not for its time


def test_drain_waits_for_a_body_and_a_second_signal_does_not(tmp_path: Path) -> None:
    for second in (False, True):
        folder = tmp_path / str(second)
        folder.mkdir()
        service = Service("--drain-timeout", "60", folder=folder)
        service.make_cache("a")
        with service.raw() as sock:
            sock.sendall(b"POST /v1/caches/a/layers/0/append?dtype=f32&tokens=1&expect=0 HTTP/1.1\r\nHost: localhost\r\n"
                         b"Content-Type: application/octet-stream\r\nContent-Length: 1024\r\n\r\n")
            service.until(lambda: service.metric("mustafard_inflight_bytes") == 1024)
            service.process.send_signal(signal.SIGTERM)
            service.until(lambda: service.logged("draining"))
            assert service.process.poll() is None
            if second:
                service.process.send_signal(signal.SIGTERM)
                assert service.process.wait(60) == 1
            else:
                sock.sendall(floats(256))
                reply = sock.recv(4096)
                assert reply.startswith(b"HTTP/1.1 200") and b"Connection: close" in reply
                assert service.process.wait(60) == 0
        service.log.close()


def test_log_lines_are_json(tmp_path: Path) -> None:
    with Service(folder=tmp_path) as service:
        service.ask("GET", "/v1/caches/a", headers={"X-Request-Id": "find-me"})
        service.ask("GET", "/v1/caches?limit=1")
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    mine, = (line for line in lines if line.get("id") == "find-me")
    assert (mine["event"], mine["route"], mine["status"]) == ("request", "get_cache", 404)
    assert lines[-1]["event"] == "stopped"
