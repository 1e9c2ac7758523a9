# SPDX-License-Identifier: Apache-2.0
"""Caches over HTTP: what they hold, what they answer, and what they refuse."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import struct
import threading
import time

import pytest
from service import COMMITTED, Reply, Service, floats

ROW = 2 * 2 * 64  # floats of a token: K and V, two heads of 64


def test_health_version_and_openapi(service: Service) -> None:
    assert service.ask("GET", "/healthz").json == {"status": "ok"}
    assert service.ask("GET", "/readyz").json == {"ready": True, "reasons": []}
    version = service.ask("GET", "/version").json
    assert version["limits"]["memory_quota_bytes"] == 256 << 20
    assert version["transport"].startswith("cpp-httplib")
    assert service.ask("GET", "/openapi.json").json == COMMITTED
    head = service.ask("HEAD", "/version")
    assert head.status == 200 and head.body == b""
    assert int(head.headers["Content-Length"]) == len(service.ask("GET", "/version").body)
    options = service.ask("OPTIONS", "/v1/caches/a")
    assert options.status == 204 and options.headers["Allow"] == "GET, HEAD, PUT, DELETE, PATCH, OPTIONS"
    assert service.ask("GET", "/v1/caches/a", headers={"X-Request-Id": "mine-1"}).headers["X-Request-Id"] == "mine-1"
    assert service.ask("GET", "/healthz", headers={"X-Request-Id": "no/slash"}).headers["X-Request-Id"] != "no/slash"


def test_put_is_idempotent(service: Service) -> None:
    first = service.make_cache("put")
    assert first.status == 201 and first.headers["Location"] == "/v1/caches/put"
    again = service.make_cache("put")
    assert again.status == 200 and again.headers["ETag"] == first.headers["ETag"]
    other = service.make_cache("put", recipe="mustafar-50")
    assert (other.status, other.problem) == (409, "exists")
    body = {"geometry": {"layers": 2, "q_heads": 4, "kv_heads": 2, "head_dim": 64}, "recipe": "lean", "max_tokens": 100000}
    create_only = service.ask("PUT", "/v1/caches/put", body, {"If-None-Match": "*"})
    assert (create_only.status, create_only.problem) == (412, "precondition-failed")
    assert service.ask("GET", "/v1/caches/put", headers={"If-None-Match": first.headers["ETag"]}).status == 304
    assert service.ask("DELETE", "/v1/caches/put", headers={"If-Match": '"x-0"'}).status == 412
    assert service.ask("DELETE", "/v1/caches/put", headers={"If-Match": first.headers["ETag"]}).status == 204
    assert service.ask("DELETE", "/v1/caches/put").problem == "not-found"
    renewed = service.make_cache("put")
    assert renewed.headers["ETag"] != first.headers["ETag"]  # another epoch


def test_list_in_pages(service: Service) -> None:
    for i in range(5):
        service.make_cache(f"page-{i}")
    names, after = [], "page"
    while True:
        page = service.ask("GET", f"/v1/caches?limit=2&after={after}").json
        names += [one["id"] for one in page["caches"]]
        if page["next"] is None or not page["next"].startswith("page-"):
            break
        after = page["next"]
    assert [name for name in names if name.startswith("page-")] == [f"page-{i}" for i in range(5)]


def test_attend_on_dense_rows_is_attention(service: Service) -> None:
    service.make_cache("dense", recipe="dense")
    tokens = 48
    data = floats(tokens * ROW, 7)
    assert service.append("dense", data, tokens, 0).json["length"] == tokens
    q = floats(4 * 64, 8)
    reply = service.attend("dense", q, 1, extra="&lse=true")
    assert reply.headers["Mustafar-Shape"] == "1,4,64" and len(reply.body) == 4 * 64 * 4 + 16
    values = struct.unpack(f"<{tokens * ROW}f", data)
    half = struct.unpack(f"<{len(values)}e", struct.pack(f"<{len(values)}e", *values))  # stored as f16
    k, v = half[: len(half) // 2], half[len(half) // 2 :]
    query = struct.unpack("<256f", q)
    out = struct.unpack("<260f", reply.body)
    for head in range(4):
        kv = head // 2
        scores = [sum(query[head * 64 + c] * k[(t * 2 + kv) * 64 + c] for c in range(64)) / 8 for t in range(tokens)]
        total = sum(map(math.exp, scores))
        for c in (0, 17, 63):
            want = sum(math.exp(scores[t]) * v[(t * 2 + kv) * 64 + c] for t in range(tokens)) / total
            assert math.isclose(out[head * 64 + c], want, rel_tol=2e-2, abs_tol=2e-3)
        assert math.isclose(out[256 + head], math.log(total), rel_tol=2e-3, abs_tol=2e-3)


def test_append_is_safe_to_repeat(service: Service) -> None:
    service.make_cache("again")
    one, two = floats(8 * ROW, 1), floats(8 * ROW, 2)
    first = service.append("again", one, 8, 0)
    assert (first.json["length"], first.json["replayed"]) == (8, False)
    repeated = service.append("again", one, 8, 0)
    assert (repeated.json["length"], repeated.json["replayed"]) == (8, True)
    assert repeated.headers["ETag"] == first.headers["ETag"]
    other = service.append("again", two, 8, 0)
    assert (other.status, other.problem, other.json["actual"]) == (409, "length-mismatch", 8)
    assert service.append("again", one, 8, 99).problem == "length-mismatch"
    assert service.append("again", two, 8, 8, extra="&tentative=true").json["length"] == 16
    assert service.ask("POST", "/v1/caches/again/truncate", {"length": 8}).json["lengths"] == [8, 0]
    assert service.append("again", two, 8, 0).problem == "length-mismatch"  # forgotten with the truncate
    blind = service.ask("POST", "/v1/caches/again/layers/0/append?dtype=f32&tokens=8", one)
    assert (blind.status, blind.problem) == (428, "precondition-required")


def test_body_is_what_the_parameters_say(service: Service) -> None:
    service.make_cache("sizes")
    wrong = service.append("sizes", b"\0" * 100, 1, 0)
    assert (wrong.status, wrong.problem) == (400, "body-size")
    assert (wrong.json["expected_bytes"], wrong.json["actual_bytes"]) == (ROW * 4, 100)
    bad = service.append("sizes", struct.pack("<f", math.nan) + floats(ROW - 1), 1, 0)
    assert (bad.status, bad.problem, bad.json["index"]) == (422, "non-finite", [0, 0, 0, 0])
    digest = base64.b64encode(hashlib.sha256(floats(ROW)).digest()).decode()
    good = service.append("sizes", floats(ROW), 1, 0, headers={"Content-Digest": f"sha-256=:{digest}:"})
    assert good.status == 200
    other = service.append("sizes", floats(ROW, 3), 1, 1, headers={"Content-Digest": f"sha-256=:{digest}:"})
    assert (other.status, other.problem) == (400, "digest-mismatch")
    assert service.attend("sizes", floats(256), 1, layer=1).problem == "bad-state"  # empty
    assert service.attend("sizes", floats(256), 1, layer=2).problem == "not-found"
    assert service.ask("GET", "/v1/caches/sizes").json["lengths"] == [1, 0]


@pytest.mark.parametrize("query, parameter", [
    ("dtype=f32&tokens=1&expect=0&x=1", "x"), ("dtype=f8&tokens=1&expect=0", "dtype"), ("tokens=1&expect=0", "dtype"),
    ("dtype=f32&tokens=-1&expect=0", "tokens"), ("dtype=f32&tokens=1.0&expect=0", "tokens"),
    ("dtype=f32&tokens=1&tokens=1&expect=0", "query"), ("dtype=f32&tokens=1&tokens=2&expect=0", "tokens"), ("dtype=f32&tokens=99999999999999999999&expect=0", "tokens"),
    ("dtype=x=f32&tokens=1&expect=0", "query"),
    ("dtype=f32&tokens=1&expect=%30%00", "expect"), ("dtype=f32&tokens=1&expect=0&tentative=yes", "tentative"),
])
def test_parameters_are_strict(service: Service, query: str, parameter: str) -> None:
    service.make_cache("strict")
    reply = service.ask("POST", f"/v1/caches/strict/layers/0/append?{query}", floats(ROW))
    assert (reply.status, reply.problem, reply.json["parameter"]) == (400, "bad-parameter", parameter)


GEOMETRY = '{"layers": 1, "kv_heads": 1, "head_dim": 64}'


@pytest.mark.parametrize("body, pointer, code", [
    ("", "", "syntax"), ("{", "", "syntax"), ("{}\0junk", "", "syntax"), ("\ufeff{}", "", "syntax"), ("[]", "", "type"),
    ('{"to": "a", "to": "b"}', "/to", "duplicate"), ("[" * 17 + "]" * 17, "", "depth"),
    ('{"geometry": 1}', "/geometry", "type"), (f'{{"geometry": {GEOMETRY}}}', "/max_tokens", "required"),
    (f'{{"geometry": {GEOMETRY}, "max_tokens": -1}}', "/max_tokens", "range"),
    (f'{{"geometry": {GEOMETRY}, "max_tokens": 3.9}}', "/max_tokens", "type"),
    (f'{{"geometry": {GEOMETRY}, "max_tokens": 18446744073709551616}}', "/max_tokens", "range"),
    (f'{{"geometry": {GEOMETRY}, "max_tokens": 10, "recipe": 5}}', "/recipe", "type"),
    (f'{{"geometry": {GEOMETRY}, "max_tokens": 10, "recipe": "lean", "ttl": 5}}', "/ttl", "unknown"),
])
def test_json_is_strict(service: Service, body: str, pointer: str, code: str) -> None:
    reply = service.ask("PUT", "/v1/caches/json", body.encode(), {"Content-Type": "application/json"})
    assert (reply.status, reply.problem) == (422, "bad-body"), reply.body
    error = reply.json["errors"][0]
    assert error["code"] == code
    assert pointer == "" or error["pointer"] == pointer


def test_what_the_library_refuses(service: Service) -> None:
    odd = {"geometry": {"layers": 1, "kv_heads": 1, "head_dim": 100}, "recipe": "lean", "max_tokens": 10}
    assert service.ask("PUT", "/v1/caches/odd", odd).status == 422
    odd["geometry"]["head_dim"], odd["recipe"] = 64, "no such recipe"
    assert service.ask("PUT", "/v1/caches/odd", odd).problem == "invalid-argument"
    service.make_cache("small", max_tokens=4)
    full = service.append("small", floats(5 * ROW), 5, 0)
    assert (full.status, full.problem, full.json["limit_tokens"]) == (409, "capacity", 4)


def test_every_change(service: Service) -> None:
    service.make_cache("change", recipe="mustafar-50", auto=False)
    for layer in (0, 1):
        service.append("change", floats(128 * ROW, layer), 128, 0, layer=layer)
    path = "/v1/caches/change/"

    def post(what: str, document: dict, headers: dict[str, str] | None = None) -> Reply:
        reply = service.ask("POST", path + what, document, headers)
        service.check_memory()
        return reply

    dense = service.ask("GET", path + "stats").json
    assert dense["body_rows"] == 0
    pruned = post("prune", {"side": "k", "begin": 0, "end": 64, "method": "token_topk", "keep": 32})
    assert pruned.status == 200, pruned.body
    etag = pruned.headers["ETag"]
    assert post("compress", {}, {"If-Match": '"old"'}).status == 412
    assert post("compress", {"layer": 0}, {"If-Match": etag}).status == 200
    assert post("compress", {}).status == 200
    packed = service.ask("GET", path + "stats?per=head").json
    assert packed["body_rows"] == 2 * 2 * 96 and packed["bytes"]["total"] < dense["bytes"]["total"] + 100000
    assert [layer["committed"] for layer in packed["layers"]] == [128, 128]
    assert post("prune", {"side": "k", "begin": 0, "end": 32}).problem == "bad-state"
    evicted = post("evict", {"layer": 0, "kv_head": 1, "positions": [0, 5, 7]})
    assert evicted.status == 200, evicted.body
    heads = service.ask("GET", path + "stats?per=head").json["layers"][0]["heads"]
    assert [head["rows"] for head in heads] == [128, 125]
    by_scores = {"layer": 0, "kv_head": 1, "scores": [float(i) for i in range(125)], "budget": 100}
    assert post("evict", by_scores).status == 200
    by_scores["scores"][3] = 1e300
    assert post("evict", by_scores).problem == "bad-body"
    assert post("truncate", {"length": 10}).problem == "not-exact"
    child = post("fork", {"to": "child"})
    assert child.status == 201 and child.json["lengths"] == [128, 128]
    assert post("fork", {"to": "child"}).problem == "exists"
    assert post("reset", {}).json["lengths"] == [0, 0]
    assert service.ask("GET", "/v1/caches/child").json["lengths"] == [128, 128]
    service.append("change", floats(ROW), 1, 0, extra="&tentative=true")
    assert post("commit", {"layer": 0}).status == 200
    assert service.ask("GET", path + "stats?per=layer").json["layers"][0]["tentative"] == 0


CHANGES = [("commit", {}), ("prune", {"side": "k", "begin": 0, "end": 1}), ("compress", {}), ("truncate", {"length": 1}),
           ("evict", {"layer": 0, "kv_head": 0, "positions": [0]}), ("reset", {}), ("fork", {"to": "other"})]


@pytest.mark.parametrize("what, document", CHANGES)
def test_every_change_refuses_alike(service: Service, what: str, document: dict) -> None:
    service.make_cache("refuse")
    path = f"/v1/caches/refuse/{what}"
    assert service.ask("POST", f"/v1/caches/none-such/{what}", document).problem == "not-found"
    assert service.ask("POST", path, document, {"If-Match": '"old-0"'}).problem == "precondition-failed"
    assert service.ask("POST", path, {**document, "no_such_field": 1}).json["errors"][0]["pointer"] == "/no_such_field"
    assert service.ask("POST", path, [document]).problem == "bad-body"
    assert service.ask("GET", "/v1/caches/refuse").json["revision"] == 0


def test_what_is_not_there(service: Service) -> None:
    assert service.append("none-such", floats(ROW), 1, 0).problem == "not-found"
    assert service.attend("none-such", floats(256), 1).problem == "not-found"
    assert service.ask("GET", "/v1/caches/none-such/stats").problem == "not-found"
    assert service.ask("DELETE", "/v1/recipes/none-such").problem == "not-found"
    assert service.ask("DELETE", "/v1/snapshots/none-such").problem == "not-found"
    assert service.ask("POST", "/v1/snapshots/none-such/restore", {"to": "x"}).problem == "not-found"
    service.make_cache("there")
    assert service.append("there", floats(ROW), 1, 0, headers={"If-Match": '"old-0"'}).problem == "precondition-failed"
    service.append("there", floats(ROW), 1, 0)
    assert service.attend("there", struct.pack("<f", math.inf) + floats(255), 1).problem == "non-finite"


def test_plans_are_what_caches_take(service: Service) -> None:
    geometry = {"layers": 2, "q_heads": 4, "kv_heads": 2, "head_dim": 64}
    asked = {"geometry": geometry, "recipes": ["lean", "mustafar-50", "dense"], "lengths": [100, 1000], "max_tokens": 100000}
    plans = service.ask("POST", "/v1/plans", asked).json["plans"]
    assert plans[2]["break_even_tokens"] is None and 32 < plans[0]["break_even_tokens"] < 200
    service.make_cache("planned", recipe="lean")
    for layer in (0, 1):
        service.append("planned", floats(100 * ROW), 100, 0, layer=layer)
    assert service.ask("GET", "/v1/caches/planned/stats").json["bytes"] == plans[0]["rows"][0]["bytes"]


def test_plans_take_no_longer_than_they_should(service: Service) -> None:
    many = {"geometry": {"layers": 64, "kv_heads": 64, "head_dim": 64}, "recipes": ["lean"], "lengths": [1 << 24],
            "max_tokens": 1 << 24}
    start = time.monotonic()
    assert service.ask("POST", "/v1/plans", many).status == 200
    assert time.monotonic() - start < 10  # it took a minute when a plan looked at every page
    many["geometry"]["layers"] = 4096
    many["recipes"] *= 32
    refused = service.ask("POST", "/v1/plans", many)
    assert (refused.status, refused.problem, refused.json["limit"]) == (422, "invalid-argument", 1 << 25)


def test_recipes_by_name(service: Service) -> None:
    names = [one["name"] for one in service.ask("GET", "/v1/recipes").json["recipes"]]
    assert "lean" in names
    mine = {"schema": "mustafar.recipe", "version": 1, "k": {"keep": "1/2"}, "v": {"bits": 4}}
    assert service.ask("PUT", "/v1/recipes/mine", mine).status == 201
    assert service.ask("PUT", "/v1/recipes/mine", mine).status == 200
    assert service.ask("PUT", "/v1/recipes/lean", mine).problem == "exists"
    assert service.ask("PUT", "/v1/recipes/bad", {"schema": "x"}).problem == "invalid-argument"
    made = service.make_cache("with-mine", recipe="mine")
    assert made.json["recipe"]["digest"] == service.ask("GET", "/v1/recipes/mine").json["digest"]
    assert service.ask("DELETE", "/v1/recipes/lean").problem == "forbidden"
    assert service.ask("DELETE", "/v1/recipes/mine").status == 204
    assert service.ask("GET", "/v1/recipes/mine").problem == "not-found"


def test_sixteen_threads_append_in_some_order(service: Service) -> None:
    """Each thread retries with the length it is told; every row is stored once."""
    service.make_cache("race")
    lock = threading.Lock()
    done = []

    def work(seed: int) -> None:
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        expect = 0
        for part in range(4):
            data = floats(2 * ROW, seed * 10 + part)
            while True:
                connection.request("POST", f"/v1/caches/race/layers/0/append?dtype=f32&tokens=2&expect={expect}", data,
                                   {"Content-Type": "application/octet-stream"})
                answer = connection.getresponse()
                body = json.loads(answer.read())
                if answer.status == 200:
                    with lock:
                        done.append(body["length"])
                    expect = body["length"]
                    break
                assert answer.status == 409
                expect = body["actual"]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == list(range(2, 130, 2))


def test_metrics_are_well_formed(service: Service) -> None:
    text = service.ask("GET", "/metrics").body.decode()
    types = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in types, f"{name} twice"
            types[name] = kind
        elif not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            float(value)
            base = name.split("{")[0]
            for suffix in ("_bucket", "_sum", "_count"):
                base = base.removesuffix(suffix) if base.removesuffix(suffix) in types else base
            assert base in types, line
            assert types[base] != "counter" or base.endswith("_total")
    assert service.metric("mustafard_memory_used_bytes") > 0
