# SPDX-License-Identifier: Apache-2.0
"""Clients that take their time cost a socket, and nobody else's time."""

from __future__ import annotations

import json
import select
import selectors
import socket
import time
from collections.abc import Callable

import pytest
from service import LONG, Service, floats, read_replies

CLIENTS = 1000 if LONG else 300
MIB = 1 << 20


# Who waits for a slow client waits for its deadline, 1.5 s; who does not is answered in a millisecond on a quiet machine.
HELD_UP = 0.7


def median_wait(service: Service, rounds: int = 40) -> float:
    waits = []
    for _ in range(rounds):
        start = time.monotonic()
        assert service.ask("GET", "/v1/caches").status == 200
        waits.append(time.monotonic() - start)
    return sorted(waits)[rounds // 2]


@pytest.fixture(scope="module")
def quick() -> Service:
    """Short deadlines, so that the tests are short too."""
    with Service("--head-timeout", "1.5", "--body-timeout", "1.5", "--write-timeout", "1.5", "--memory-quota", "512m",
                 "--idle-timeout", "4", "--connections-limit", "1100", "--log-level", "error") as one:
        yield one


def test_slow_heads_are_ended_and_hold_nobody_up(quick: Service) -> None:
    socks = [quick.raw() for _ in range(CLIENTS)]
    for sock in socks:
        sock.sendall(b"GET /healthz HT")
    assert median_wait(quick) < HELD_UP
    for sock in socks[:50]:  # a byte now and then buys no time: the deadline is that of the whole head
        try:
            sock.sendall(b"T")
        except ConnectionError:
            pass
    time.sleep(1.8)
    for sock in socks:
        assert [status for status, _ in read_replies(sock, 1)] in ([408], [400])
        sock.close()


def test_slow_bodies_hold_no_worker(quick: Service) -> None:
    quick.make_cache("slow")
    head = (b"POST /v1/caches/slow/layers/0/append?dtype=f32&tokens=16&expect=0 HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/octet-stream\r\nContent-Length: 16384\r\n\r\n")
    socks = [quick.raw() for _ in range(64)]  # eight times the workers
    for sock in socks:
        sock.sendall(head + b"\0" * 100)
    assert median_wait(quick) < HELD_UP
    assert quick.metric("mustafard_inflight_bytes") == 64 * 16384
    time.sleep(2.2)
    for sock in socks:
        assert [status for status, _ in read_replies(sock, 1)] == [408]
        sock.close()
    assert quick.metric("mustafard_inflight_bytes") == 0
    assert quick.ask("GET", "/v1/caches/slow").json["lengths"] == [0, 0]


def test_silent_bodies_give_their_room_back(quick: Service) -> None:
    """A body may be long; who sends nothing of it ends with --body-timeout, however large it was to be."""
    quick.make_cache("silent")
    head = ("POST /v1/caches/silent/layers/0/append?dtype=f32&tokens=65536&expect=0 HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/octet-stream\r\nContent-Length: {64 * MIB}\r\n\r\n")
    with quick.raw() as sock:
        sock.settimeout(30)
        sock.sendall(head.encode() + b"\0" * 100)
        start = time.monotonic()
        assert [status for status, _ in read_replies(sock, 1)] == [408]
        assert time.monotonic() - start < 20  # by its size it could take 17 minutes
    assert quick.metric("mustafard_inflight_bytes") == 0


def test_large_bodies_may_come_in_small_pieces(quick: Service) -> None:
    """The service wakes once for half a MiB of a large body: pieces that are smaller still count as progress, and
    what it has taken so is recognized when it comes again, at once."""
    quick.make_cache("pieces", "dense")
    tokens = 6144
    row = tokens * 2 * 64 * 4
    body = floats(row // 4) + floats(row // 4, 2)
    assert len(body) == 6 * MIB
    target = f"/v1/caches/pieces/layers/0/append?dtype=f32&tokens={tokens}&expect=0"
    head = (f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode()
    with quick.raw() as sock:
        sock.settimeout(30)
        sock.sendall(head + body[:4 * MIB])
        step = 64 << 10  # half a MiB of these takes longer than --body-timeout
        for at in range(4 * MIB, 5 * MIB, step):
            time.sleep(0.25)
            sock.sendall(body[at:at + step])
        sock.sendall(body[5 * MIB:])
        status, told = read_replies(sock, 1)[0]
        assert (status, json.loads(told)["length"], json.loads(told)["replayed"]) == (200, tokens, False)
        sock.sendall(head + body)
        status, told = read_replies(sock, 1)[0]
        assert (status, json.loads(told)["replayed"]) == (200, True)
        other = bytearray(body)
        other[3 * MIB + 1] ^= 1
        sock.sendall(head + other)
        assert [status for status, _ in read_replies(sock, 1)] == [409]
        sock.sendall(b"GET /v1/caches/pieces HTTP/1.1\r\nHost: localhost\r\n\r\n")  # every byte is an event again
        status, told = read_replies(sock, 1)[0]
        assert (status, json.loads(told)["lengths"]) == (200, [tokens, 0])


def test_slow_readers_hold_no_worker(quick: Service) -> None:
    quick.make_cache("reader")
    quick.append("reader", floats(32 * 2 * 2 * 64), 32, 0)
    q_tokens = 8192  # 8 MiB of output: more than sockets buffer
    body = b"\0" * (q_tokens * 4 * 64 * 4)
    head = (f"POST /v1/caches/reader/layers/0/attend?dtype=f32&q_tokens={q_tokens}&q_position=100 HTTP/1.1\r\n"
            f"Host: localhost\r\nContent-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n\r\n")
    socks = []
    for _ in range(9):  # one more than the workers
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(30)
        sock.connect(("127.0.0.1", quick.port))
        sock.sendall(head.encode() + body)
        socks.append(sock)
    assert all(sock.recv(1) == b"H" for sock in socks)  # computed, and stuck on the way out
    assert median_wait(quick) < HELD_UP
    time.sleep(2.0)
    for sock in socks:
        received = 1
        try:
            while more := sock.recv(MIB):
                received += len(more)
        except ConnectionError:
            pass
        assert received < len(body)
        sock.close()
    assert quick.metric("mustafard_inflight_bytes") == 0


def test_idle_connections_are_closed(quick: Service) -> None:
    with quick.raw() as sock:
        start = time.monotonic()
        assert sock.recv(1) == b""
        assert 3.5 < time.monotonic() - start < 30


def test_keep_alive_clients_are_served_alike(quick: Service) -> None:
    """200 connections that ask again as soon as they are answered."""
    clients = 200
    chosen = selectors.DefaultSelector()
    counts = {}
    request = b"GET /v1/caches HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for _ in range(clients):
        sock = quick.raw()
        sock.sendall(request)
        chosen.register(sock, selectors.EVENT_READ)
        counts[sock] = 0
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        for key, _ in chosen.select(0.1):
            key.fileobj.recv(65536)  # a reply is small: it comes in a piece
            counts[key.fileobj] += 1
            key.fileobj.sendall(request)
    fewest, most = min(counts.values()), max(counts.values())
    print(f"{sum(counts.values())} replies, fewest {fewest}, most {most} of {clients} clients")
    for sock in counts:
        sock.close()
    assert fewest >= 0.5 * most > 0


def until(ready: Callable[[], bool], busy: socket.socket) -> bool:
    """Whether it came true while the reply of `busy` was not there."""
    while not ready():
        if select.select([busy], [], [], 0.002)[0]:
            return False
    return True


def fill_the_queue(small: Service, q_tokens: int) -> list[int] | None:
    """Statuses of a long request, of one that waits behind it and of a third; none where the first ended too soon."""
    body = b"\0" * (q_tokens * 4 * 64 * 4)
    head = (f"POST /v1/caches/c/layers/0/attend?dtype=f32&q_tokens={q_tokens}&q_position=5000 HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n\r\n")
    short = b"GET /v1/caches HTTP/1.1\r\nHost: localhost\r\n\r\n"
    taken = small.metric("mustafard_queue_wait_seconds_count")
    with small.raw() as first, small.raw() as second, small.raw() as third:
        first.settimeout(120)
        first.sendall(head.encode() + body)
        if not until(lambda: small.metric("mustafard_queue_wait_seconds_count") > taken, first):
            return None
        second.sendall(short)
        if not until(lambda: small.metric("mustafard_queue_depth") == 1, first):
            return None
        third.sendall(short)
        told = read_replies(third, 1)[0][0]
        if select.select([first], [], [], 0)[0]:
            return None
        return [read_replies(first, 1)[0][0], read_replies(second, 1)[0][0], told]


def test_full_queue_is_told() -> None:
    """One worker computes, one request waits: the next is told so, and those before it are served."""
    with Service("--workers", "1", "--queue-limit", "1", "--memory-quota", "512m", "--backend", "ref") as small:
        small.make_cache("c")
        small.append("c", floats(2048 * 256), 2048, 0)
        for q_tokens in (256, 1024, 4096, 16384):
            statuses = fill_the_queue(small, q_tokens)
            if statuses:
                break
        assert statuses == [200, 200, 503]
        assert small.ask("GET", "/healthz").status == 200


def test_connections_above_the_limit_are_closed() -> None:
    with Service("--connections-limit", "8") as small:
        socks = [small.raw() for _ in range(8)]
        small.connection = None
        time.sleep(0.2)
        with small.raw() as ninth:
            assert ninth.recv(1) == b""
        for sock in socks:
            sock.close()
        time.sleep(0.2)
        assert small.ask("GET", "/healthz").status == 200
