# SPDX-License-Identifier: Apache-2.0
"""What a cache has kept: shares by head, bitmaps in cells and as they are, and the rows themselves."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest
from service import Service, floats
from tensors import SAFETENSORS, pack

ROW = 2 * 2 * 64  # floats of a token: K and V, two heads of 64
ACCEPT_OCTETS = {"Accept": "application/octet-stream"}


@pytest.fixture(scope="module")
def packed(service: Service) -> Service:
    """`packed`: 96 tokens in layer 0, of which 64 are packed with 32 of 64 channels of K; layer 1 is empty."""
    service.make_cache("packed", recipe="k32/v48")
    assert service.append("packed", floats(96 * ROW), 96, 0).status == 200
    assert service.ask("GET", "/v1/caches/packed/stats").json["body_rows"] == 2 * 64
    return service


def raw(service: Service, query: str, layer: int = 0) -> bytes:
    reply = service.ask("GET", f"/v1/caches/packed/layers/{layer}/bitmap?{query}", headers=ACCEPT_OCTETS)
    assert reply.status == 200, reply.body
    return reply.body


def cells(service: Service, query: str, layer: int = 0) -> dict:
    reply = service.ask("GET", f"/v1/caches/packed/layers/{layer}/bitmap?{query}")
    assert reply.status == 200, reply.body
    return reply.json


def test_density_is_what_the_bitmaps_say(packed: Service) -> None:
    reply = packed.ask("GET", "/v1/caches/packed/density")
    assert reply.json["cache"] == "packed" and reply.headers["ETag"]
    assert [layer["layer"] for layer in reply.json["layers"]] == [0, 1]
    for head in reply.json["layers"][0]["heads"]:
        assert head["rows"] == 96
        for side in "kv":
            bits = raw(packed, f"side={side}&kv_head={head['kv_head']}")
            kept = sum(byte.bit_count() for byte in bits) / (96 * 64)
            assert math.isclose(head[side], kept, abs_tol=1e-4)
        assert math.isclose(head["k"], (64 * 32 + 32 * 64) / (96 * 64), abs_tol=1e-4)
        assert math.isclose(head["v"], (64 * 48 + 32 * 64) / (96 * 64), abs_tol=1e-4)
    assert packed.ask("GET", "/v1/caches/packed/layers/1/bitmap?side=k").json["density"] == []
    assert reply.json["layers"][1]["heads"] == [{"kv_head": h, "k": 1.0, "v": 1.0, "rows": 0} for h in (0, 1)]
    assert packed.ask("GET", "/v1/caches/packed/density").body == reply.body  # told again from memory
    assert packed.ask("GET", "/v1/caches/none-such/density").problem == "not-found"


def test_density_follows_a_change(service: Service) -> None:
    service.make_cache("follow", recipe="k32/v64")
    service.append("follow", floats(32 * ROW), 32, 0)
    first = service.ask("GET", "/v1/caches/follow/density").json
    assert first["layers"][0]["heads"][0]["k"] == 1.0
    service.append("follow", floats(64 * ROW), 64, 32)
    assert service.ask("GET", "/v1/caches/follow/density").json["layers"][0]["heads"][0]["k"] == 0.6667


def test_bitmap_raw_and_in_cells(packed: Service) -> None:
    bits = raw(packed, "side=k&kv_head=1")
    assert len(bits) == 96 * 8
    rows = [bits[i * 8:(i + 1) * 8] for i in range(96)]
    assert all(sum(byte.bit_count() for byte in row) == 32 for row in rows[:64])
    assert all(row == b"\xff" * 8 for row in rows[64:])
    assert raw(packed, "side=k&kv_head=1&from=10&to=20") == bits[80:160]
    assert raw(packed, "side=k&from=5&to=5") == b""

    one = cells(packed, "side=k&kv_head=1&bin_tokens=1&bin_channels=1")
    assert (one["rows"], one["columns"]) == (96, 64)
    assert one["density"] == [float(rows[t][c // 8] >> (c % 8) & 1) for t in range(96) for c in range(64)]
    assert (one["window_from"], one["sink"], one["page_rows"]) == (64, 0, 32)
    assert one["positions"] == list(range(96))
    uneven = cells(packed, "side=k&kv_head=1&from=3&to=90&bin_tokens=25&bin_channels=30")
    assert (uneven["rows"], uneven["columns"]) == (4, 3)
    assert uneven["positions"] == [3, 28, 53, 78]
    for row in range(4):
        for column in range(3):
            tokens = range(3 + 25 * row, min(90, 28 + 25 * row))
            channels = range(30 * column, min(64, 30 * column + 30))
            kept = sum(rows[t][c // 8] >> (c % 8) & 1 for t in tokens for c in channels)
            want = kept / (len(tokens) * len(channels))
            assert math.isclose(uneven["density"][row * 3 + column], want, abs_tol=1e-4)


def test_bins_are_chosen(service: Service) -> None:
    service.make_cache("long", recipe="mustafar-50")
    service.append("long", floats(2000 * ROW), 2000, 0)
    path = "/v1/caches/long/layers/0/bitmap?side=v"
    for query in ("", "&bin_tokens=7", "&bin_channels=16", "&bin_tokens=7&bin_channels=64", "&from=100&to=130"):
        picture = service.ask("GET", path + query).json
        assert len(picture["density"]) == picture["rows"] * picture["columns"] <= 16384
        assert len(picture["positions"]) == picture["rows"]
        assert (picture["rows"] - 1) * picture["bin_tokens"] < picture["to"] - picture["from"]
    assert service.ask("GET", path + "&from=100&to=130").json["bin_tokens"] == 1
    refused = service.ask("GET", path + "&bin_tokens=1&bin_channels=1")
    assert (refused.status, refused.json["limit_cells"], refused.json["actual_cells"]) == (400, 16384, 2000 * 64)


def test_evicted_rows_show_in_positions(service: Service) -> None:
    service.make_cache("holes", recipe="k32/v64")
    service.append("holes", floats(96 * ROW), 96, 0)
    gone = {"layer": 0, "kv_head": 0, "positions": [0, 1, 2, 40]}
    assert service.ask("POST", "/v1/caches/holes/evict", gone).status == 200
    picture = service.ask("GET", "/v1/caches/holes/layers/0/bitmap?side=k&bin_tokens=1").json
    assert picture["positions"] == [t for t in range(96) if t not in (0, 1, 2, 40)]
    assert picture["window_from"] == 60


@pytest.mark.parametrize("query, parameter", [
    ("", "side"), ("side=q", "side"), ("side=k&kv_head=2", "kv_head"), ("side=k&from=5&to=4", "from"),
    ("side=k&to=97", "to"), ("side=k&bin_tokens=0", "bin_tokens"), ("side=k&bin_channels=65", "bin_channels"),
    ("side=k&x=1", "x"),
])
def test_pictures_refuse(packed: Service, query: str, parameter: str) -> None:
    reply = packed.ask("GET", f"/v1/caches/packed/layers/0/bitmap?{query}")
    assert (reply.status, reply.problem, reply.json["parameter"]) == (400, "bad-parameter", parameter)
    assert packed.ask("GET", "/v1/caches/packed/layers/2/bitmap?side=k").problem == "not-found"
    assert packed.ask("GET", "/v1/caches/none-such/layers/0/bitmap?side=k").problem == "not-found"


def test_rows_are_those_that_attend_sees(packed: Service) -> None:
    path = "/v1/caches/packed/layers/0/tensor?side=k&kv_head=1"
    whole = packed.ask("GET", path)
    assert (whole.headers["Mustafar-Dtype"], whole.headers["Mustafar-Shape"]) == ("f32", "96,64")
    values = struct.unpack(f"<{96 * 64}f", whole.body)
    data = struct.unpack(f"<{96 * ROW}f", floats(96 * ROW))
    bits = raw(packed, "side=k&kv_head=1")
    for t in (0, 17, 63, 64, 95):
        for c in range(64):
            given = struct.unpack("<e", struct.pack("<e", data[(t * 2 + 1) * 64 + c]))[0]  # stored as f16
            kept = bits[t * 8 + c // 8] >> (c % 8) & 1
            assert values[t * 64 + c] == (given if kept else 0.0)
    assert packed.ask("GET", path + "&from=90&to=96").body == whole.body[90 * 256:]
    half = packed.ask("GET", path + "&out_dtype=f16")
    assert half.headers["Mustafar-Dtype"] == "f16"
    assert struct.unpack(f"<{96 * 64}e", half.body) == values
    top = packed.ask("GET", path + "&out_dtype=bf16").body
    wide = struct.unpack(f"<{96 * 64}f", b"".join(b"\0\0" + top[i:i + 2] for i in range(0, len(top), 2)))
    assert all(math.isclose(x, y, rel_tol=2 ** -8) for x, y in zip(wide, values, strict=True))
    empty = packed.ask("GET", "/v1/caches/packed/layers/1/tensor?side=v")
    assert (empty.status, empty.body, empty.headers["Mustafar-Shape"]) == (200, b"", "0,64")
    assert packed.ask("GET", path + "&out_dtype=i8").json["parameter"] == "out_dtype"
    assert packed.ask("GET", path + "&to=97").problem == "bad-parameter"
    assert packed.ask("GET", "/v1/caches/none-such/layers/0/tensor?side=k").problem == "not-found"
    assert packed.ask("GET", "/v1/caches/packed/layers/2/tensor?side=k").problem == "not-found"


def test_pictures_above_the_limit_of_bodies() -> None:
    with Service("--body-limit", "64k", "--staging-limit", "1m") as service:
        service.make_cache("big")
        for i in range(5):
            service.append("big", floats(60 * ROW), 60, 60 * i)
        path = "/v1/caches/big/layers/0/"
        refused = service.ask("GET", path + "tensor?side=k")
        assert (refused.status, refused.problem, refused.json["limit_bytes"]) == (413, "body-too-large", 65536)
        assert service.ask("GET", path + "tensor?side=k&to=256").status == 200
        assert service.ask("GET", path + "bitmap?side=k", headers=ACCEPT_OCTETS).status == 200
        queries = pack({"big.q": ("F16", [100, 4, 64], b"\0" * (100 * 256 * 2))})
        assert service.ask("POST", "/v1/attend?layer=0&out_dtype=f32", queries, SAFETENSORS).problem == "body-too-large"


def test_documents_of_giant_caches_come_in_pages(tmp_path: Path) -> None:
    """16384 kv heads in one reply, whatever the cache: the rest is behind `next`, nothing is missing, nothing twice."""
    geometry = {"layers": 40, "kv_heads": 1000, "head_dim": 32}
    with Service("--memory-quota", "2g", folder=tmp_path) as service:
        assert service.make_cache("giant", geometry=geometry, max_tokens=64).status == 201
        for path, entries in (("density?", 16), ("stats?per=head&", 16), ("stats?per=layer&", 40)):
            layers, pages, start = [], 0, 0
            while start is not None:
                reply = service.ask("GET", f"/v1/caches/giant/{path}from={start}")
                assert reply.status == 200 and len(reply.json["layers"]) <= entries
                assert len(reply.body) < 5_000_000
                layers += [layer["layer"] for layer in reply.json["layers"]]
                assert all(len(layer["heads"]) == 1000 for layer in reply.json["layers"] if "heads" in layer)
                start, pages = reply.json["next"], pages + 1
            assert layers == list(range(40)) and pages == -(-40 // entries)
        whole = service.ask("GET", "/v1/caches/giant/stats").json
        assert "layers" not in whole and "next" not in whole
        for path in ("density?from=40", "density?from=-1", "stats?per=head&from=40"):
            assert service.ask("GET", f"/v1/caches/giant/{path}").problem == "bad-parameter"
