# SPDX-License-Identifier: Apache-2.0
"""What a recipe means, and the further blocks of attend: weights, sinks, what drop_mass left out."""

from __future__ import annotations

import math
import struct

from service import Service, floats

GEOMETRY = {"layers": 2, "q_heads": 4, "kv_heads": 2, "head_dim": 64}


def test_a_recipe_is_explained(service: Service) -> None:
    reply = service.ask("POST", "/v1/explain", {"recipe": "k32i4/v64i2/w16/s4"}).json
    assert set(reply) == {"name", "digest", "canonical"}
    body = {"recipe": "k32i4/v64i2/w16/s4", "geometry": GEOMETRY, "layer": 1, "kv_head": 1}
    explained = service.ask("POST", "/v1/explain", body).json
    assert explained["digest"] == reply["digest"] and explained["canonical"] == reply["canonical"]
    head = explained["head"]
    assert (head["layer"], head["kv_head"]) == (1, 1)
    assert head["window"] == {"recent": 16, "sink": 4, "step": 32, "budget": 0}
    k, v = head["k"], head["v"]
    assert (k["keep"], k["bits"], k["encoding"], k["method"]) == (32, 4, "exact", "token_topk")
    assert k["row_bytes"] == 8 + 16 + 4  # bitmap, codes, scale and zero
    assert (v["keep"], v["bits"], v["row_bytes"]) == (64, 2, 16 + 4)
    for wrong, problem in (
        ({**body, "layer": 2}, "invalid-argument"),
        ({**body, "kv_head": 2}, "invalid-argument"),
        ({**body, "recipe": "mustafar-51"}, "invalid-argument"),
        ({**body, "geometry": {**GEOMETRY, "head_dim": 16}}, "unsupported"),
        ({"recipe": "lean", "layer": 1}, "bad-body"),  # without a geometry
    ):
        refused = service.ask("POST", "/v1/explain", wrong)
        assert (refused.status, refused.problem) == (422, problem)


def blocks(data: bytes, *sizes: int) -> list[tuple[float, ...]]:
    assert len(data) == 4 * sum(sizes)
    found, at = [], 0
    for size in sizes:
        found.append(struct.unpack_from(f"<{size}f", data, at))
        at += 4 * size
    return found


def test_attend_gives_weights_and_what_was_dropped(service: Service) -> None:
    tokens, queries = 300, 3
    service.make_cache("blocks")
    service.append("blocks", floats(tokens * 2 * 2 * 64), tokens, 0)
    q = floats(queries * 4 * 64, seed=5)
    plain = service.attend("blocks", q, queries, extra="&scale=2").body
    asked = "&lse=true&scale=2&weights=310&dropped=true&drop_mass=0.25"
    out, lse, weights, dropped = blocks(
        service.attend("blocks", q, queries, extra=asked).body,
        queries * 4 * 64, queries * 4, queries * 4 * 310, queries * 4)  # fmt: skip
    assert all(0 <= one <= 0.25 for one in dropped) and any(dropped)
    assert max(abs(a - b) for a, b in zip(out, blocks(plain, len(out))[0], strict=True)) <= 0.26
    for i in range(queries * 4):
        row = weights[i * 310 : (i + 1) * 310]
        seen = tokens - queries + 1 + i // 4  # the queries are the last tokens
        assert abs(sum(row) - 1) < 1e-4 and not any(row[seen:])
    # Learned sinks take weight away from the rows, and are part of the lse.
    sinks = struct.pack("<4f", *[2.0] * 4)
    with_sinks = service.attend("blocks", q + sinks, queries, extra="&scale=2&lse=true&weights=300&sinks=true")
    _, more, less = blocks(with_sinks.body, queries * 4 * 64, queries * 4, queries * 4 * 300)
    for i, (a, b) in enumerate(zip(lse, more, strict=True)):
        assert abs(b - math.log(math.exp(a) + math.exp(2.0))) < 1e-4
        assert abs(sum(less[i * 300 : (i + 1) * 300]) - math.exp(a - b)) < 1e-4


def test_attend_refuses_blocks_that_cannot_be(service: Service) -> None:
    service.make_cache("narrow")
    service.append("narrow", floats(8 * 2 * 2 * 64), 8, 0)
    q = floats(4 * 64)
    assert service.attend("narrow", q, 1, extra="&weights=7").problem == "invalid-argument"
    assert service.attend("narrow", q, 1, extra="&weights=0").problem == "bad-parameter"
    assert service.attend("narrow", q, 1, extra="&sinks=true").problem == "body-size"
    assert service.attend("narrow", q, 1, extra="&weights=16777216").problem == "body-too-large"
    nan = struct.pack("<4f", 0, math.nan, 0, 0)
    refused = service.attend("narrow", q + nan, 1, extra="&sinks=true")
    assert (refused.problem, refused.json["index"]) == ("non-finite", [0, 0, 1, -1])


def test_evict_may_keep_nothing(service: Service) -> None:
    service.make_cache("nothing")
    service.append("nothing", floats(80 * 2 * 2 * 64), 80, 0)
    body = {"layer": 0, "kv_head": 1, "positions": [], "keep": True}
    assert service.ask("POST", "/v1/caches/nothing/evict", body).status == 200
    heads = service.ask("GET", "/v1/caches/nothing/stats?per=head").json["layers"][0]["heads"]
    assert [head["rows"] for head in heads] == [80, 32]  # the window stays


def test_plans_of_caches_that_pack_by_hand(service: Service) -> None:
    body = {"geometry": GEOMETRY, "recipes": ["lean"], "lengths": [640], "auto": False}
    by_hand = service.ask("POST", "/v1/plans", body).json["plans"][0]["rows"][0]["bytes"]
    packed = service.ask("POST", "/v1/plans", {**body, "auto": True}).json["plans"][0]["rows"][0]["bytes"]
    assert by_hand["values"] == 0 < packed["values"] and by_hand["total"] > packed["total"]
