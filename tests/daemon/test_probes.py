# SPDX-License-Identifier: Apache-2.0
"""Bytes that no client of good will sends. Each gets one answer, and none of them costs memory."""

from __future__ import annotations

import time

import pytest
from service import Service, read_replies

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /v1/plans HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
MIB = 1 << 20

# name: (bytes, statuses of the replies until the connection ends or falls silent)
PROBES = {
    "bare-lf": (b"GET /healthz HTTP/1.1\nHost: localhost\n\n", [400]),
    "bare-cr": (b"GET /healthz HTTP/1.1\r\nHost: local\rhost\r\n\r\n", [400]),
    "nul": (b"GET /healthz HTTP/1.1\r\nHost: a\0b\r\n\r\n", [400]),
    "folded-line": (GET + b"A: b\r\n c\r\n\r\n", [400]),
    "blank-before-colon": (GET + b"A : b\r\n\r\n", [400]),
    "name-with-underscore": (GET + b"REMOTE_ADDR: 1.2.3.4\r\n\r\n", [400]),
    "no-host": (b"GET /healthz HTTP/1.1\r\n\r\n", [400]),
    "two-hosts": (GET + b"Host: evil\r\n\r\n", [400]),
    "other-host": (b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n", [421]),
    "foreign-origin": (GET + b"Origin: http://evil.example\r\n\r\n", [403]),
    "cross-site": (GET + b"Sec-Fetch-Site: cross-site\r\n\r\n", [403]),
    "absolute-target": (b"GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", [400]),
    "http-2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400]),
    "http-1.2": (b"GET /healthz HTTP/1.2\r\nHost: localhost\r\n\r\n", [505]),
    "long-line": (b"GET /" + b"a" * (64 * MIB), [414]),
    "long-head": (GET + b"A: " + b"b" * (4 * MIB), [431]),
    "many-fields": (GET + b"".join(b"A%d: b\r\n" % i for i in range(200)) + b"\r\n", [431]),
    "length-and-chunked": (POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400]),
    "two-lengths": (POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\n{}{}", [400]),
    "two-equal-lengths": (POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", [400]),
    "length-with-letters": (POST + b"Content-Length: 3x\r\n\r\n{}x", [400]),
    "negative-length": (POST + b"Content-Length: -1\r\n\r\n", [400]),
    "huge-length": (POST + b"Content-Length: 999999999999999999\r\n\r\n", [413]),
    "overflowing-length": (POST + b"Content-Length: 18446744073709551618\r\n\r\n", [400]),
    "chunked": (POST + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n", [411]),
    "no-length": (POST + b"\r\n", [411]),
    "gzip-bomb": (POST + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", [415]),
    "form": (POST.replace(b"json", b"x-www-form-urlencoded") + b"Content-Length: 3\r\n\r\na=b", [415]),
    "expect-else": (POST + b"Expect: coffee\r\nContent-Length: 2\r\n\r\n{}", [417]),
    "many-ranges": (GET + b"Range: bytes=" + b"0-0," * 1000 + b"0-0\r\n\r\n", [200]),
    "encoded-crlf": (GET + b"X-Request-Id: a%0d%0aSet-Cookie:b\r\n\r\n", [200]),
    "wrong-method": (b"BREW /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", [405]),
    "body-for-get": (GET + b"Content-Length: 2\r\n\r\n{}", [413]),
    "path-up": (b"GET /v1/snapshots/../x HTTP/1.1\r\nHost: localhost\r\n\r\n", [404]),
    "encoded-slash": (b"GET /v1/snapshots/a%2fb HTTP/1.1\r\nHost: localhost\r\n\r\n", [404]),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64, [400]),
}


def send_probe(service: Service, data: bytes) -> list[tuple[int, bytes]]:
    with service.raw() as sock:
        sock.settimeout(5)
        try:
            sock.sendall(data)
        except ConnectionError:
            pass  # refused half way; what was answered can still be read
        return read_replies(sock, 1)


@pytest.mark.parametrize("name", PROBES)
def test_probe(service: Service, name: str) -> None:
    data, statuses = PROBES[name]
    replies = send_probe(service, data)
    assert [status for status, _ in replies] == statuses
    assert all(b"Set-Cookie" not in body for _, body in replies)


def test_nothing_follows_a_smuggled_request(service: Service) -> None:
    """One answer, then the end: what hides in the body is never a request."""
    hidden = b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for fields in (b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", b"Content-Length: 6\r\nContent-Length: 0\r\n"):
        with service.raw() as sock:
            sock.sendall(POST + fields + b"\r\n0\r\n\r\nX")
            time.sleep(0.15)
            try:
                sock.sendall(hidden)
            except ConnectionError:
                pass
            assert [status for status, _ in read_replies(sock, 2)] == [400]


def test_pipelined_requests_are_all_answered_in_order(service: Service) -> None:
    with service.raw() as sock:
        many = b"".join(b"GET /v1/recipes/r%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % i for i in range(100))
        sock.sendall(many + GET + b"Connection: close\r\n\r\n")
        replies = read_replies(sock, 200)
        assert [status for status, _ in replies] == [404] * 100 + [200]
        assert all(b"no recipe r%d\"" % i in body for i, (_, body) in enumerate(replies[:100]))


def test_pipelined_bodies_stay_apart(service: Service) -> None:
    with service.raw() as sock:
        one = POST + b"Content-Length: 9\r\n\r\n" + b'{"a": 1} '
        sock.sendall(one * 20 + GET + b"\r\n")
        assert [status for status, _ in read_replies(sock, 21)] == [422] * 20 + [200]


def test_connection_goes_on_after_an_early_refusal(service: Service) -> None:
    with service.raw() as sock:
        body = b"x" * 500_000
        sock.sendall(b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        sock.sendall(GET + b"\r\n")
        assert [status for status, _ in read_replies(sock, 2)] == [404, 200]


def test_client_that_still_sends_can_read_its_413(service: Service) -> None:
    with service.raw() as sock:
        size = 300 * MIB
        sock.sendall(b"POST /v1/plans HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                     b"Content-Length: %d\r\n\r\n" % size + b"x" * (32 * MIB))
        (status, body), = read_replies(sock, 1)
        assert status == 413 and b'"limit_bytes":262144' in body


def test_expect_100_continue(service: Service) -> None:
    with service.raw() as sock:
        sock.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"{}")
        assert [status for status, _ in read_replies(sock, 1)] == [422]


def test_order_of_checks(service: Service) -> None:
    """Each request is wrong in one more way than the next; the first check that fails answers."""
    host, origin = b"Host: evil\r\n", b"Origin: http://evil\r\n"
    kind, coded, long = b"Content-Type: text/plain\r\n", b"Content-Encoding: br\r\n", b"Content-Length: 999999999\r\n"
    good = b"Host: localhost\r\n"
    right = b"Content-Type: application/json\r\n"
    cases = [
        (b"POST /v1/plans HTTP/1.1\r\n" + host + origin + b"A_B: c\r\n", 400),
        (b"POST /no HTTP/1.1\r\n" + host + origin + kind, 421),
        (b"POST /no HTTP/1.1\r\n" + good + origin + kind, 403),
        (b"POST /no HTTP/1.1\r\n" + good + kind + coded, 404),
        (b"PUT /v1/plans HTTP/1.1\r\n" + good + kind + coded, 405),
        (b"POST /v1/plans HTTP/1.1\r\n" + good + kind, 415),
        (b"POST /v1/plans HTTP/1.1\r\n" + good + right + coded, 415),
        (b"POST /v1/plans HTTP/1.1\r\n" + good + right, 411),
        (b"POST /v1/plans HTTP/1.1\r\n" + good + right + long, 413),
    ]
    for head, status in cases:
        assert [got for got, _ in send_probe(service, head + b"\r\n")] == [status], head


def test_memory_stays_flat_and_others_are_served() -> None:
    with Service("--log-level", "error", "--memory-quota", "64m") as fresh:
        fresh.ask("GET", "/healthz")
        before = fresh.memory()
        waits = []
        for _ in range(2):
            for data, statuses in PROBES.values():
                assert [status for status, _ in send_probe(fresh, data)] == statuses
                start = time.monotonic()
                assert fresh.ask("GET", "/version").status == 200
                waits.append(time.monotonic() - start)
        grown = fresh.memory() - before
        waits.sort()
        print(f"peak grew {grown >> 10} KiB, median wait {waits[len(waits) // 2] * 1e3:.2f} ms, "
              f"longest {waits[-1] * 1e3:.1f} ms")
        assert grown < 16 * MIB
        assert waits[len(waits) // 2] < 0.5  # the shortest deadline of a held connection is 5 s
