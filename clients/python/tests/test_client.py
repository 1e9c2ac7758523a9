# SPDX-License-Identifier: Apache-2.0
"""What the scenario does not show: sockets, time limits, wrong arguments, threads."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import CLIENTS

from mustafar_client import BadReply, Client, ClientError, ConnectionLost, Retry, problems
from mustafar_client.safetensors import pack, unpack

numpy = pytest.importorskip("numpy", reason="package python3-numpy")
GEOMETRY = {"layers": 1, "kv_heads": 2, "head_dim": 64}


def test_a_refused_connection_is_tried_again_until_the_server_listens(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    client = Client(unix=path, retry=Retry(attempts=50, first_wait=0.02, longest_wait=0.05))
    answers = []

    def serve() -> None:
        time.sleep(0.3)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen()
            connection, _ = server.accept()
            with connection:
                answers.append(connection.recv(4096))
                body = b'{"status": "ok"}'
                head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                connection.sendall(head.encode() + body)

    thread = threading.Thread(target=serve)
    thread.start()
    assert client.get_healthz() == {"status": "ok"}
    thread.join()
    assert answers[0].startswith(b"GET /healthz HTTP/1.1\r\n")


def test_no_server_ends_with_a_clear_error_and_soon() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    client = Client(f"http://127.0.0.1:{port}", retry=Retry(attempts=3, first_wait=0.01))
    with pytest.raises(ConnectionLost, match="refused"):
        client.get_version()


def test_a_silent_server_ends_with_the_time_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = Client(f"http://127.0.0.1:{server.getsockname()[1]}", timeout=0.3)
        begin = time.monotonic()
        with pytest.raises(ConnectionLost):
            client.get_version()
        assert time.monotonic() - begin < 20  # without a limit it would take for ever


@pytest.mark.parametrize("url", ["", "127.0.0.1:1", "ftp://x", "http://"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ClientError):
        Client(url)


def test_arrays_that_do_not_fit_are_refused_before_anything_is_sent() -> None:
    client = Client("http://127.0.0.1:1")
    rows = numpy.zeros((3, 2, 64), numpy.float16)
    for k, v in [(rows.astype(float), rows), (rows[0], rows), (rows, rows[:2]), (rows, rows.astype("f4"))]:
        with pytest.raises(ClientError) as caught:
            client.append_rows("a", 0, k, v, expect=0)
        assert not isinstance(caught.value, ConnectionLost)


def test_one_client_serves_many_threads(url: str) -> None:
    client = Client(url)
    client.put_cache("shared", {"geometry": GEOMETRY, "recipe": "lean", "max_tokens": 4096})  # type: ignore[typeddict-item]
    rows = numpy.zeros((1, 2, 64), numpy.float32)
    failures: list[Exception] = []

    def append() -> None:
        for _ in range(25):
            while True:
                expect = client.get_cache("shared")["lengths"][0]
                try:
                    client.append_rows("shared", 0, rows, rows, expect=expect)
                    break
                except problems.LengthMismatch:
                    continue  # another thread was faster
                except Exception as error:
                    failures.append(error)
                    return

    threads = [threading.Thread(target=append) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    # Two threads that append the same rows at the same length are one append that was repeated.
    assert 25 <= client.get_cache("shared")["lengths"][0] <= 200
    client.delete_cache("shared")


def test_a_connection_that_the_server_closed_meanwhile_is_not_used(url: str) -> None:
    client = Client(url, retry=Retry(attempts=1))
    client.get_version()
    client._idle[0][1].sock.shutdown(socket.SHUT_RDWR)
    assert client.reset_cache is not None
    assert client.get_version()["daemon"]


def test_if_match_goes_through_request(url: str) -> None:
    client = Client(url)
    client.put_cache("tagged", {"geometry": GEOMETRY, "recipe": "lean", "max_tokens": 64})  # type: ignore[typeddict-item]
    etag = client.request("GET", "/v1/caches/tagged").headers["ETag"]
    with pytest.raises(problems.PreconditionFailed):
        client.request("DELETE", "/v1/caches/tagged", headers={"If-Match": '"other"'})
    client.request("DELETE", "/v1/caches/tagged", headers={"If-Match": etag})


def test_safetensors_read_back_and_spoiled_ones_are_refused() -> None:
    arrays = {
        "a": numpy.arange(6, dtype="f4").reshape(2, 3),
        "b": numpy.arange(4, dtype="u2"),
        "c": numpy.ones((1, 2), "f2"),
    }
    body = pack(arrays, {"x": "y"})
    for name, array in unpack(body).items():
        assert array.dtype == arrays[name].dtype and (array == arrays[name]).all()
    for spoiled in (b"", body[:7], body[:40], body[:-1], b"\xff" * 16, body.replace(b'"F32"', b'"F99"')):
        with pytest.raises(BadReply):
            unpack(spoiled)


def test_all_but_tensors_works_without_numpy(url: str) -> None:
    program = (
        "import sys; sys.modules['numpy'] = None\n"
        "import mustafar_client\n"
        f"client = mustafar_client.Client({url!r})\n"
        "print(client.get_healthz()['status'])\n"
        "try: client.attend_rows('a', 0, [[[1.0]]])\n"
        "except mustafar_client.ClientError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=CLIENTS / "python")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "ok" and "pip install numpy" in done.stdout
