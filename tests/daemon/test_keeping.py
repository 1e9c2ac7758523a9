# SPDX-License-Identifier: Apache-2.0
"""How long caches stay: TTL, pins, and the oldest that goes when there is no room."""

from __future__ import annotations

import time

import pytest
from service import Service, floats

ROW = 2 * 2 * 64


def test_patch_is_a_merge_patch(service: Service) -> None:
    made = service.make_cache("patch", ttl_seconds=3600, labels={"model": "a", "run": "1"}, pinned=True).json
    assert (made["ttl_seconds"], made["labels"], made["pinned"]) == (3600, {"model": "a", "run": "1"}, True)
    assert made["expires"] is None  # pinned
    path = "/v1/caches/patch"
    etag = service.ask("GET", path).headers["ETag"]
    changed = service.ask("PATCH", path, {"labels": {"run": None, "note": "<b>é</b>"}, "pinned": False}, {"If-Match": etag})
    assert changed.json["labels"] == {"model": "a", "note": "<b>é</b>"}
    assert (changed.json["ttl_seconds"], changed.json["pinned"]) == (3600, False)
    assert changed.json["expires"] > made["created"]
    assert changed.headers["ETag"] != etag
    assert service.ask("PATCH", path, {}, {"If-Match": etag}).problem == "precondition-failed"
    assert service.ask("PATCH", path, {"ttl_seconds": None}).json["expires"] is None
    assert service.ask("PATCH", path, {"labels": None}).json["labels"] == {}
    assert service.ask("GET", "/v1/caches/patch").json["ttl_seconds"] is None
    assert service.ask("PATCH", "/v1/caches/none-such", {}).problem == "not-found"
    assert service.make_cache("patch", ttl_seconds=5).json["ttl_seconds"] is None  # a PUT again changes nothing


def test_patch_does_not_forget_the_last_append(service: Service) -> None:
    service.make_cache("remember")
    data = floats(ROW)
    assert service.append("remember", data, 1, 0).json["replayed"] is False
    service.ask("PATCH", "/v1/caches/remember", {"labels": {"a": "b"}})
    assert service.append("remember", data, 1, 0).json["replayed"] is True


@pytest.mark.parametrize("body, pointer, code", [
    ({"ttl_seconds": 0}, "/ttl_seconds", "range"), ({"ttl_seconds": "1"}, "/ttl_seconds", "type"),
    ({"ttl_seconds": 1e300}, "/ttl_seconds", "range"), ({"pinned": 1}, "/pinned", "type"),
    ({"pinned": None}, "/pinned", "type"), ({"labels": []}, "/labels", "type"), ({"labels": {"a": 1}}, "/labels/a", "type"),
    ({"labels": {"": "x"}}, "/labels/", "range"), ({"labels": {"a" * 65: "x"}}, "/labels/" + "a" * 64, "range"),
    ({"labels": {"a": "x" * 257}}, "/labels/a", "range"), ({"labels": {f"l{i}": "x" for i in range(33)}}, "/labels", "range"),
    ({"labels": {"a": "x\0y"}}, "/labels/a", "range"), ({"max_tokens": 5}, "/max_tokens", "unknown"),
])
def test_patch_refuses(service: Service, body: dict, pointer: str, code: str) -> None:
    service.make_cache("refuse-patch", labels={"stays": "here"})
    before = service.ask("GET", "/v1/caches/refuse-patch")
    reply = service.ask("PATCH", "/v1/caches/refuse-patch", body)
    assert (reply.status, reply.problem) == (422, "bad-body"), reply.body
    assert (reply.json["errors"][0]["pointer"], reply.json["errors"][0]["code"]) == (pointer, code)
    assert service.ask("GET", "/v1/caches/refuse-patch").body == before.body
