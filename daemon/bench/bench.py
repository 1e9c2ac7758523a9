# SPDX-License-Identifier: Apache-2.0
"""Figures of mustafard: a client on the same machine, over the loopback. Needs wrk for rates and percentiles.

    python3 daemon/bench/bench.py build-release/bin/mustafard [--seconds 5] [--slow 500]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MIB = 1 << 20


class Service:
    def __init__(self, binary: str) -> None:
        folder = Path(tempfile.mkdtemp(prefix="mustafard-bench-"))
        port_file = folder / "port"
        self.process = subprocess.Popen([binary, "--port", "0", "--port-file", str(port_file), "--log-level", "warning",
                                         "--memory-quota", "2g", "--head-timeout", "60", "--body-timeout", "60"],
                                        stdout=subprocess.DEVNULL)
        while not port_file.exists():
            assert self.process.poll() is None, "mustafard ended"
            time.sleep(0.01)
        self.port = int(port_file.read_text())
        self.sock = self.connect()

    def connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def request(self, method: str, target: str, body: bytes = b"", kind: str = "application/octet-stream") -> bytes:
        content = f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n" if method in ("PUT", "POST") else ""
        return f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n{content}\r\n".encode() + body

    def ask(self, request: bytes) -> tuple[bytes, bytes]:
        """Sends all of it and reads one reply: head, body."""
        self.sock.sendall(request)
        data = self.sock.recv(262144)
        while b"\r\n\r\n" not in data:
            data += self.sock.recv(262144)
        head, _, body = data.partition(b"\r\n\r\n")
        need = int(re.search(rb"Content-Length: (\d+)", head).group(1))
        while len(body) < need:
            body += self.sock.recv(262144)
        assert head.split()[1] in (b"200", b"201"), (head, body[:300])
        return head, body

    def put(self, name: str, geometry: dict, recipe: str, max_tokens: int) -> None:
        body = json.dumps({"geometry": geometry, "recipe": recipe, "max_tokens": max_tokens}).encode()
        self.ask(self.request("PUT", f"/v1/caches/{name}", body, "application/json"))

    def cpu(self) -> float:
        """Seconds of processor time of the daemon so far, kernel included: other load on the machine hardly moves it."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wrk(self, target: str, connections: int, seconds: float) -> str:
        before = self.cpu()
        out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency",
                              f"http://127.0.0.1:{self.port}{target}"], capture_output=True, text=True, check=True).stdout
        rate = re.search(r"Requests/sec:\s+(\S+)", out).group(1)
        latency = dict(re.findall(r"(50|99)%\s+(\S+)", out))
        count = int(re.search(r"(\d+) requests in", out).group(1))
        cost = (self.cpu() - before) / count * 1e6
        bad = re.search(r"(Non-2xx.*|Socket errors.*)", out)
        return f"{float(rate):9.0f} req/s  p50 {latency['50']}  p99 {latency['99']}  cpu {cost:.1f} us each" + (f"  {bad.group(1)}" if bad else "")


def fairness(service: Service, clients: int, seconds: float) -> str:
    chosen = selectors.DefaultSelector()
    request = service.request("GET", "/v1/caches/small")
    counts = {}
    for _ in range(clients):
        sock = service.connect()
        sock.sendall(request)
        chosen.register(sock, selectors.EVENT_READ)
        counts[sock] = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for key, _ in chosen.select(0.1):
            key.fileobj.recv(65536)
            counts[key.fileobj] += 1
            key.fileobj.sendall(request)
    fewest, most = min(counts.values()), max(counts.values())
    for sock in counts:
        sock.close()
    return f"fewest {fewest}, most {most}: {fewest / most:.3f}"


def big_append(service: Service, rounds: int) -> list[str]:
    """64 MiB at once: 8 kv heads of 128, f16, dense and packed."""
    geometry = {"layers": 1, "q_heads": 8, "kv_heads": 8, "head_dim": 128}
    tokens = 64 * MIB // (2 * 8 * 128 * 2)
    body = bytes(64 * MIB)
    lines = []
    for recipe in ("dense", "lean"):
        whole, library, cpu = [], [], []
        for i in range(rounds):
            name = f"big-{recipe}-{i}"
            service.put(name, geometry, recipe, tokens)
            request = service.request("POST", f"/v1/caches/{name}/layers/0/append?dtype=f16&tokens={tokens}&expect=0", body)
            before, start = service.cpu(), time.monotonic()
            service.ask(request)
            whole.append(time.monotonic() - start)
            cpu.append(service.cpu() - before)
            stats = json.loads(service.ask(service.request("GET", f"/v1/caches/{name}/stats"))[1])
            library.append(stats["append_seconds"])
            service.sock.sendall(service.request("DELETE", f"/v1/caches/{name}"))
            service.sock.recv(65536)
        total, inside = statistics.median(whole), statistics.median(library)
        lines.append(f"append 64 MiB, recipe {recipe:6} {64 * MIB / total / 1e9:5.2f} GB/s in all, {total * 1e3:.0f} ms; of it "
                     f"in the library {inside * 1e3:.0f} ms; HTTP alone {64 * MIB / (total - inside) / 1e9:.2f} GB/s; "
                     f"cpu {statistics.median(cpu) * 1e3:.0f} ms")
    return lines


def attend_overhead(service: Service, rounds: int) -> str:
    geometry = {"layers": 1, "q_heads": 8, "kv_heads": 2, "head_dim": 128}
    service.put("attend", geometry, "lean", 4096)
    rows = 1024
    body = bytes(rows * 2 * 2 * 128 * 2)
    service.ask(service.request("POST", f"/v1/caches/attend/layers/0/append?dtype=f16&tokens={rows}&expect=0", body))
    request = service.request("POST", "/v1/caches/attend/layers/0/attend?dtype=f16&q_tokens=1", bytes(8 * 128 * 2))
    over, inside = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        head, _ = service.ask(request)
        took = time.perf_counter() - start
        compute = float(re.search(rb"compute;dur=(\S+)", head).group(1)) * 1e-3
        over.append((took - compute) * 1e6)
        inside.append(compute * 1e6)
    over.sort()
    return (f"attend over HTTP, 1024 tokens  + {statistics.median(over):.0f} us (p99 {over[int(0.99 * rounds)]:.0f}) around "
            f"{statistics.median(inside):.0f} us in the library; the Python client is part of it")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--slow", type=int, default=500, help="connections that send half a head, and as many bytes of bodies")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("bench.py: wrk is missing (package wrk)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    service = Service(options.binary)
    seconds = max(1, int(options.seconds))
    service.put("small", {"layers": 1, "kv_heads": 1, "head_dim": 64}, "lean", 1000)
    print(f"GET /healthz, 8 connections    {service.wrk('/healthz', 8, seconds)}")
    print(f"GET /v1/caches/small, 8        {service.wrk('/v1/caches/small', 8, seconds)}")
    print(f"fairness, 200 clients, {seconds} s     {fairness(service, 200, seconds)}")
    for line in big_append(service, 11):
        print(line)
    print(attend_overhead(service, 2000))
    slow = [service.connect() for _ in range(options.slow)]
    half = service.request("POST", "/v1/plans", b"{}", "application/json").replace(b"Length: 2", b"Length: 20000")
    for i, sock in enumerate(slow):
        sock.sendall(half if i % 2 else b"GET /healthz HT")
    print(f"GET, 8, beside {options.slow} slow clients {service.wrk('/v1/caches/small', 8, seconds)}")
    peak = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{service.process.pid}/status").read_text()).group(1)
    print(f"peak of the process            {int(peak) >> 10} MiB")
    service.process.terminate()
    return service.process.wait(30)


if __name__ == "__main__":
    sys.exit(main())
