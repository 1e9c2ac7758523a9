# SPDX-License-Identifier: Apache-2.0
"""Several layers and several caches in one request: all of it happens, or none."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import struct
import threading
from typing import Any

import pytest
from service import Reply, Service, floats
from tensors import SAFETENSORS, Tensor, pack, unpack

HEADS, D = 2, 64
ROW = 2 * HEADS * D


def rows(tokens: int, seed: int) -> Tensor:
    return "F32", [tokens, HEADS, D], floats(tokens * HEADS * D, seed)


def layers(tokens: int, seed: int = 1, prefix: str = "", count: int = 2) -> dict[str, Tensor]:
    return {f"{prefix}layers.{n}.{side}": rows(tokens, seed * 100 + n * 2 + (side == "v"))
            for n in range(count) for side in "kv"}


def append_all(service: Service, name: str, body: bytes, expect: int | None, extra: str = "",
               headers: dict[str, str] | None = None) -> Reply:
    query = extra if expect is None else f"expect={expect}{extra}"
    return service.ask("POST", f"/v1/caches/{name}/append?{query}".rstrip("?"), body, {**SAFETENSORS, **(headers or {})})


def append_batch(service: Service, tensors: dict[str, Tensor], expect: dict[str, int], extra: str = "") -> Reply:
    body = pack(tensors, {f"expect.{name}": str(length) for name, length in expect.items()})
    return service.ask("POST", f"/v1/append{extra}", body, SAFETENSORS)


def state(service: Service, name: str) -> dict[str, Any]:
    """All that can be seen of a cache: what it is, its bytes by part and head, its rows."""
    stats = service.ask("GET", f"/v1/caches/{name}/stats?per=head").json
    for counted in ("appended_tokens", "packed_rows", "append_seconds", "pack_seconds", "attend_calls", "attend_seconds"):
        stats.pop(counted)  # of calls, not of what the cache holds
    tensors = [hashlib.sha256(service.ask("GET", f"/v1/caches/{name}/layers/{layer}/tensor?side={side}&kv_head={head}").body).hexdigest()
               for layer in range(2) for side in "kv" for head in range(HEADS)]
    described = service.ask("GET", f"/v1/caches/{name}").json
    for by_time in ("expires", "created", "id"):
        described.pop(by_time)
    stats.pop("id")
    return {"stats": stats, "cache": described, "tensors": tensors}


def single(service: Service, name: str, tensors: dict[str, Tensor], tokens: int, expect: int, extra: str = "") -> None:
    for layer in (0, 1):
        data = tensors[f"layers.{layer}.k"][2] + tensors[f"layers.{layer}.v"][2]
        assert service.append(name, data, tokens, expect, layer=layer, extra=extra).status == 200


@pytest.mark.parametrize("recipe", ["lean", "dense", "mustafar-50"])
@pytest.mark.parametrize("steps", [[1] * 70, [200], [33, 1, 64, 1, 31]])
def test_all_layers_are_those_of_single_appends(service: Service, recipe: str, steps: list[int]) -> None:
    for name in ("whole", "pieces"):
        service.ask("DELETE", f"/v1/caches/{name}")
        service.make_cache(name, recipe=recipe)
    length = 0
    for i, tokens in enumerate(steps):
        tensors = layers(tokens, i + 1)
        reply = append_all(service, "whole", pack(tensors), length)
        assert reply.status == 200, reply.body
        length += tokens
        assert (reply.json["cache"], reply.json["lengths"], reply.json["replayed"]) == ("whole", [length] * 2, False)
        assert reply.headers["ETag"] == service.ask("GET", "/v1/caches/whole").headers["ETag"]
        single(service, "pieces", tensors, tokens, length - tokens)
    service.check_memory()
    one, other = state(service, "whole"), state(service, "pieces")
    for document in (one, other):  # every layer is a change of its own there
        document["stats"].pop("revision"), document["cache"].pop("revision")
    assert one == other
    counts = [service.ask("GET", f"/v1/caches/{name}/stats").json for name in ("whole", "pieces")]
    assert counts[0]["appended_tokens"] == counts[1]["appended_tokens"]
    assert counts[0]["packed_rows"] == counts[1]["packed_rows"]


def test_append_all_is_safe_to_repeat(service: Service) -> None:
    service.make_cache("repeat")
    body = pack(layers(40))
    first = append_all(service, "repeat", body, 0)
    again = append_all(service, "repeat", body, 0)
    assert (again.status, again.json) == (200, {**first.json, "replayed": True})
    other = append_all(service, "repeat", pack(layers(40, 9)), 0)
    assert (other.status, other.problem, other.json["actual"]) == (409, "length-mismatch", 40)
    assert append_all(service, "repeat", body, 41).problem == "length-mismatch"
    assert append_all(service, "repeat", body, None).problem == "precondition-required"
    assert append_all(service, "repeat", body, 40, headers={"If-Match": '"old-1"'}).problem == "precondition-failed"
    assert append_all(service, "none-such", body, 0).problem == "not-found"
    assert append_all(service, "repeat", pack(layers(3)), 40, "&tentative=true").json["lengths"] == [43, 43]
    assert append_all(service, "repeat", pack(layers(3)), 43).problem == "bad-state"  # tentative ones are there
    assert service.ask("POST", "/v1/caches/repeat/truncate", {"length": 40}).json["lengths"] == [40, 40]
    assert append_all(service, "repeat", body, 0).problem == "length-mismatch"  # forgotten with the truncate


def test_layers_of_different_lengths_are_told(service: Service) -> None:
    service.make_cache("uneven")
    service.append("uneven", floats(ROW), 1, 0, layer=1)
    refused = append_all(service, "uneven", pack(layers(1)), 0)
    assert (refused.problem, refused.json["layer"], refused.json["actual"]) == ("length-mismatch", 1, 1)
    assert service.ask("GET", "/v1/caches/uneven").json["lengths"] == [0, 1]


def test_dtypes_orders_and_alignment(service: Service) -> None:
    values = floats(8 * HEADS * D, 5)
    count = len(values) // 4
    numbers = struct.unpack(f"<{count}f", values)
    half = struct.pack(f"<{count}e", *numbers)
    shape = [8, HEADS, D]
    wide = struct.pack(f"<{count}f", *struct.unpack(f"<{count}e", half))
    bodies = {
        "f32": pack(dict.fromkeys(layers(1), ("F32", shape, wide))),
        "mixed": pack({name: ("F16", shape, half) if name.endswith("k") else ("F32", shape, wide) for name in layers(1)}),
        "reversed": pack(dict.fromkeys(reversed(list(layers(1))), ("F16", shape, half))),
        "odd": pack(dict.fromkeys(layers(1), ("F16", shape, half)), {"format": "pt"}, pad=1),
    }
    seen = set()
    for name, body in bodies.items():
        service.make_cache(f"dtype-{name}")
        assert append_all(service, f"dtype-{name}", body, 0).status == 200
        seen.add(service.ask("GET", f"/v1/caches/dtype-{name}/layers/1/tensor?side=v&kv_head=1").body)
    assert len(seen) == 1


BAD = {  # name: (tensors, pointer, code)
    "missing": ({k: v for k, v in layers(2).items() if k != "layers.1.v"}, "/layers.1.v", "required"),
    "missing-layer": (layers(2, count=1), "/layers.1.k", "required"),
    "extra-layer": (layers(2, count=3), "/layers.2.k", "name"),
    "empty": ({}, "/layers.0.k", "required"),
    "no-tokens": (layers(0), "/layers.0.k", "shape"),
    "other-tokens": ({**layers(2), "layers.1.v": rows(3, 1)}, "/layers.1.v", "shape"),
    "other-heads": ({**layers(2), "layers.1.v": ("F32", [2, D, HEADS], floats(2 * HEADS * D))}, "/layers.1.v", "shape"),
    "flat": ({**layers(2), "layers.0.k": ("F32", [2 * HEADS * D], floats(2 * HEADS * D))}, "/layers.0.k", "shape"),
    "dtype": ({**layers(2), "layers.0.k": ("F64", [2, HEADS, D], bytes(2 * HEADS * D * 8))}, "/layers.0.k", "dtype"),
    "name": ({**layers(2), "layers.0.q": rows(2, 1)}, "/layers.0.q", "name"),
    "zeros": ({**layers(2), "layers.00.k": rows(2, 1)}, "/layers.00.k", "name"),
    "sign": ({**layers(2), "layers.-1.k": rows(2, 1)}, "/layers.-1.k", "name"),
    "huge": ({**layers(2), "layers.99999999999.k": rows(2, 1)}, "/layers.99999999999.k", "name"),
    "tail": ({**layers(2), "layers.0.k.x": rows(2, 1)}, "/layers.0.k.x", "name"),
}


@pytest.mark.parametrize("what", BAD)
def test_bodies_that_do_not_fit(service: Service, what: str) -> None:
    service.make_cache("bad-body")
    before = state(service, "bad-body")
    tensors, pointer, code = BAD[what]
    reply = append_all(service, "bad-body", pack(tensors), 0)
    assert (reply.status, reply.problem) == (422, "bad-body"), reply.body
    assert (reply.json["errors"][0]["pointer"], reply.json["errors"][0]["code"]) == (pointer, code)
    assert state(service, "bad-body") == before


def test_bodies_that_are_none(service: Service) -> None:
    service.make_cache("no-body")
    good = pack(layers(2))
    for body in (b"", b"\0" * 7, b"\xff" * 16, good[:-1], good + b"\0", good[:100], good.replace(b'"F32"', b'"F33"', 1),
                 struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 1 << 21) + b"{" + b" " * (1 << 21)):
        reply = append_all(service, "no-body", body, 0)
        assert (reply.status, reply.problem) == (422, "bad-body"), body[:50]
    assert append_all(service, "no-body", pack(layers(2), {"note": "x"}), 0).problem == "bad-body"
    wrong_type = service.ask("POST", "/v1/caches/no-body/append?expect=0", good)  # octet-stream
    assert (wrong_type.status, wrong_type.problem) == (415, "media-type")
    digest = base64.b64encode(hashlib.sha256(good).digest()).decode()
    other = append_all(service, "no-body", pack(layers(2, 3)), 0, headers={"Content-Digest": f"sha-256=:{digest}:"})
    assert (other.status, other.problem) == (400, "digest-mismatch")
    assert append_all(service, "no-body", good, 0, headers={"Content-Digest": f"sha-256=:{digest}:"}).status == 200


def spoil(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    dtype, shape, data = tensors[name]
    return {**tensors, name: (dtype, shape, data[:-4] + struct.pack("<f", math.nan))}


@pytest.mark.parametrize("recipe", ["lean", "dense"])
@pytest.mark.parametrize("held, tokens", [(0, 1), (40, 1), (40, 30), (95, 1), (100, 500), (10, 90)])
@pytest.mark.parametrize("tentative", [False, True])
def test_a_late_refusal_leaves_the_cache_as_it_was(service: Service, recipe: str, held: int, tokens: int,
                                                   tentative: bool) -> None:
    """The last value of the last layer is bad: layer 0 has been appended by then."""
    service.ask("DELETE", "/v1/caches/late")
    service.make_cache("late", recipe=recipe)
    if held:
        assert append_all(service, "late", pack(layers(held)), 0).status == 200
    before, used = state(service, "late"), service.metric("mustafard_memory_used_bytes")
    extra = "&tentative=true" if tentative else ""
    bad = append_all(service, "late", pack(spoil(layers(tokens, 3), "layers.1.v")), held, extra)
    assert (bad.status, bad.problem, bad.json["layer"]) == (422, "non-finite", 1), bad.body
    assert state(service, "late") == before
    service.check_memory()
    assert service.metric("mustafard_memory_used_bytes") == used
    assert append_all(service, "late", pack(layers(tokens, 3)), held, extra).status == 200


def test_after_evict_and_deep_truncate_refusals_still_leave_nothing(service: Service) -> None:
    service.make_cache("odd", recipe="lean")
    append_all(service, "odd", pack(layers(200)), 0)
    service.ask("POST", "/v1/caches/odd/truncate", {"length": 150, "keep_packed": True})
    before = state(service, "odd")
    assert append_all(service, "odd", pack(spoil(layers(1), "layers.1.v")), 150).problem == "non-finite"
    assert state(service, "odd") == before
    service.ask("POST", "/v1/caches/odd/evict", {"layer": 1, "kv_head": 0, "positions": [3, 4]})
    before = state(service, "odd")
    assert append_all(service, "odd", pack(spoil(layers(1), "layers.1.v")), 150).problem == "non-finite"
    assert state(service, "odd") == before
    assert append_all(service, "odd", pack(layers(1)), 150).json["lengths"] == [151, 151]


def test_quota_is_reached_in_the_middle() -> None:
    with Service("--memory-quota", "3m") as service:
        service.make_cache("a", recipe="dense")
        service.make_cache("b", recipe="dense")
        length = 0
        while True:
            before = [state(service, name) for name in "ab"]
            tensors = {**layers(300, length + 1, "a."), **layers(300, length + 2, "b.")}
            reply = append_batch(service, tensors, {"a": length, "b": length})
            service.check_memory()
            if reply.status != 200:
                break
            length += 300
        assert (reply.status, reply.problem) == (507, "quota-exceeded"), reply.body
        assert length >= 300 and reply.json["limit_bytes"] == 3 << 20
        assert [state(service, name) for name in "ab"] == before
        assert service.ask("DELETE", "/v1/caches/b").status == 204
        assert append_all(service, "a", pack(layers(300)), length).status == 200


def test_batch_append(service: Service) -> None:
    for name in ("one", "two", "three"):
        service.make_cache(name, recipe="mustafar-50" if name == "two" else "lean")
    tensors = {**layers(40, 1, "one."), **layers(70, 2, "two.")}
    first = append_batch(service, tensors, {"one": 0, "two": 0})
    assert first.status == 200, first.body
    assert [(one["cache"], one["lengths"], one["replayed"]) for one in first.json["caches"]] == [
        ("one", [40, 40], False), ("two", [70, 70], False)]
    again = append_batch(service, tensors, {"one": 0, "two": 0})
    assert [one["replayed"] for one in again.json["caches"]] == [True, True]
    assert [one["revision"] for one in again.json["caches"]] == [one["revision"] for one in first.json["caches"]]
    service.make_cache("same", recipe="mustafar-50")
    assert append_all(service, "same", pack(layers(70, 2)), 0).status == 200
    assert state(service, "same")["tensors"] == state(service, "two")["tensors"]

    before = [state(service, name) for name in ("one", "two", "three")]
    step = {**layers(1, 3, "one."), **layers(1, 4, "two."), **layers(1, 5, "three.")}
    expect = {"one": 40, "two": 70, "three": 0}
    wrong = append_batch(service, step, {**expect, "two": 71})
    assert (wrong.problem, wrong.json["cache"], wrong.json["actual"]) == ("length-mismatch", "two", 70)
    assert append_batch(service, step, {"one": 40, "two": 70}).problem == "precondition-required"
    assert append_batch(service, step, {**expect, "four": 0}).json["errors"][0]["code"] == "unknown"
    assert append_batch(service, {**step, **layers(1, 5, "none-such.")}, {**expect, "none-such": 0}).problem == "not-found"
    assert append_batch(service, spoil(step, "two.layers.1.v"), expect).json["cache"] == "two"
    assert append_batch(service, {}, {}).problem == "bad-body"
    assert append_batch(service, {"layers.0.k": rows(1, 1)}, {}).problem == "bad-body"
    for number in ("", "-1", "1.5", "99999999999", " 1"):
        body = pack(step, {"expect.one": number, "expect.two": "70", "expect.three": "0"})
        assert service.ask("POST", "/v1/append", body, SAFETENSORS).problem == "bad-body"
    headers = {**SAFETENSORS, "If-Match": "*"}
    assert service.ask("POST", "/v1/append", pack(step), headers).problem == "precondition-failed"
    assert [state(service, name) for name in ("one", "two", "three")] == before
    assert append_batch(service, step, expect, "?tentative=true").json["caches"][2]["lengths"] == [71, 71]
    service.check_memory()


def test_a_batch_of_which_a_part_had_gone_on_is_refused(service: Service) -> None:
    for name in ("left", "right"):
        service.make_cache(name)
    tensors = {**layers(2, 1, "left."), **layers(2, 2, "right.")}
    assert append_batch(service, tensors, {"left": 0, "right": 0}).status == 200
    service.ask("POST", "/v1/caches/right/reset", {})
    refused = append_batch(service, tensors, {"left": 0, "right": 0})
    assert (refused.problem, refused.json["cache"]) == ("length-mismatch", "left")
    assert service.ask("GET", "/v1/caches/right").json["lengths"] == [0, 0]


def test_batch_attend_is_attend_of_each(service: Service) -> None:
    names = ["att-c", "att-a", "att-b"]
    for i, name in enumerate(names):
        service.ask("DELETE", f"/v1/caches/{name}")
        service.make_cache(name, recipe=["lean", "dense", "mustafar-50"][i])
        append_all(service, name, pack(layers(50 * (i + 1), i)), 0)
    queries = {name: floats(2 * 4 * D, i + 7) for i, name in enumerate(names)}
    body = {f"{name}.q": ("F32", [2, 4, D], queries[name]) for name in names}
    for pad in (8, 1):
        reply = service.ask("POST", "/v1/attend?layer=1&lse=true", pack(body, pad=pad), SAFETENSORS)
        assert reply.status == 200 and reply.headers["Content-Type"] == "application/vnd.safetensors", reply.body
        out = unpack(reply.body)
        assert list(out) == [f"{name}.out" for name in names] + [f"{name}.lse" for name in names]
        for name in names:
            single = service.attend(name, queries[name], 2, layer=1, extra="&lse=true").body
            assert out[f"{name}.out"] == ("F32", [2, 4, D], single[:2 * 4 * D * 4])
            assert out[f"{name}.lse"] == ("F32", [2, 4], single[2 * 4 * D * 4:])
    half = unpack(service.ask("POST", "/v1/attend?layer=0&out_dtype=bf16", pack(body), SAFETENSORS).body)
    assert list(half) == [f"{name}.out" for name in names] and half["att-a.out"][0] == "BF16"

    def refuse(tensors: dict[str, Tensor], query: str = "layer=0") -> str:
        return service.ask("POST", f"/v1/attend?{query}", pack(tensors), SAFETENSORS).problem

    service.make_cache("att-empty")
    other = {"geometry": {"layers": 2, "q_heads": 4, "kv_heads": 1, "head_dim": D}, "recipe": "lean", "max_tokens": 10}
    service.ask("PUT", "/v1/caches/att-other", other)
    single = floats(4 * D)
    assert refuse({**body, "att-empty.q": ("F32", [2, 4, D], queries["att-a"])}) == "bad-state"
    assert refuse({"att-a.q": ("F32", [1, 4, D], single), "att-other.q": ("F32", [1, 4, D], single)}) in ("invalid-argument", "bad-state")
    assert refuse({**body, "none-such.q": ("F32", [2, 4, D], queries["att-a"])}) == "not-found"
    assert refuse({}) == "bad-body"
    assert refuse({"att-a": ("F32", [2, 4, D], queries["att-a"])}) == "bad-body"
    assert refuse({"att-a.q": ("F32", [2, 4, D], queries["att-a"]), "att-b.q": ("F32", [1, 4, D], single)}) == "bad-body"
    assert refuse({"att-a.q": ("F32", [1, 4, D], single), "att-b.q": ("F16", [1, 4, D], single[:len(single) // 2])}) == "bad-body"
    assert refuse({"att-a.q": ("F32", [0, 4, D], b"")}) == "bad-body"
    assert refuse(body, "layer=2") == "invalid-argument"
    assert refuse(body, "lse=true") == "bad-parameter"
    assert refuse({"att-a.q": ("F32", [1, 4, D], struct.pack("<f", math.inf) + single[4:])}) == "non-finite"


def test_merge_of_two_halves_is_the_whole(service: Service) -> None:
    tensors = layers(80, 4)
    service.make_cache("m-all", recipe="dense")
    append_all(service, "m-all", pack(tensors), 0)
    parts = {}
    for name, begin, end in (("m-a", 0, 30), ("m-b", 30, 80)):
        service.make_cache(name, recipe="dense")
        cut = {n: (d, [end - begin, HEADS, D], x[begin * HEADS * D * 4:end * HEADS * D * 4]) for n, (d, _, x) in tensors.items()}
        append_all(service, name, pack(cut), 0)
        parts[name] = service.attend(name, floats(4 * D, 3), 1, extra="&lse=true&q_position=79").body
    whole = service.attend("m-all", floats(4 * D, 3), 1, extra="&lse=true").body
    size = 4 * D * 4
    body = {}
    for name, x in (("a", parts["m-a"]), ("b", parts["m-b"])):
        body[f"out_{name}"] = ("F32", [1, 4, D], x[:size])
        body[f"lse_{name}"] = ("F32", [1, 4], x[size:])
    merged = unpack(service.ask("POST", "/v1/merge", pack(body), SAFETENSORS).body)
    assert {name: one[:2] for name, one in merged.items()} == {"out": ("F32", [1, 4, D]), "lse": ("F32", [1, 4])}
    got = struct.unpack("<260f", merged["out"][2] + merged["lse"][2])
    want = struct.unpack("<260f", whole)
    assert all(math.isclose(x, y, rel_tol=2e-2, abs_tol=2e-3) for x, y in zip(got, want, strict=True))

    def refuse(tensors: dict[str, Tensor]) -> str:
        return service.ask("POST", "/v1/merge", pack(tensors), SAFETENSORS).problem

    assert refuse({k: v for k, v in body.items() if k != "lse_b"}) == "bad-body"
    assert refuse({**body, "more": body["lse_a"]}) == "bad-body"
    assert refuse({**body, "out_b": ("F32", [4, 1, D], body["out_b"][2])}) == "invalid-argument"
    assert refuse({**body, "lse_a": ("F32", [1, 4], struct.pack("<4f", math.nan, 0, 0, 0))}) == "non-finite"
    assert refuse({**body, "out_a": ("F32", [4 * D], body["out_a"][2])}) in ("bad-body", "invalid-argument")
    assert refuse({**body, "out_a": ("F32", [1, 1, 1, 4, D], body["out_a"][2])}) == "bad-body"


def test_batches_in_any_order_do_not_wait_for_each_other(service: Service) -> None:
    """Each thread appends to the same caches, named in its own order, and repeats until it is in."""
    import http.client

    names = ["dead-a", "dead-b", "dead-c"]
    for name in names:
        service.make_cache(name)
    done: list[int] = []

    def work(seed: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        order = names[seed % 3:] + names[:seed % 3]
        if seed % 2:
            order.reverse()
        length = 0
        for _ in range(5):
            tensors = {}
            for name in order:
                tensors.update(layers(1, seed, f"{name}."))
            while True:
                body = pack(tensors, {f"expect.{name}": str(length) for name in order})
                connection.request("POST", "/v1/append", body, SAFETENSORS)
                answer = connection.getresponse()
                told = json.loads(answer.read())
                if answer.status == 200:
                    length = told["caches"][0]["lengths"][0]
                    done.append(length)
                    break
                assert answer.status == 409, told
                length = told["actual"]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == list(range(1, 61))
    for name in names:
        assert service.ask("GET", f"/v1/caches/{name}").json["lengths"] == [60, 60]
