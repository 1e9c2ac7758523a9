# SPDX-License-Identifier: Apache-2.0
"""Random operations against a small reference model: what is there, lengths, revisions, and at the end every bit of what
attend answers, compared with a cache made anew from the rows that the model says are left. Then 16 threads, whose
histories must have a serial order."""

from __future__ import annotations

import functools
import http.client
import json
import os
import random
import threading
from dataclasses import dataclass, field
from typing import Any

from service import LONG, Service, floats

LAYERS, ROW = 2, 2 * 2 * 32  # floats of a token: K and V, two heads of 32
GEOMETRY = {"layers": LAYERS, "q_heads": 4, "kv_heads": 2, "head_dim": 32}
RECIPES = ("dense", "k8i4/v8i2/w8", "kdi4c/vdi4/w4/s2", "mustafar-50")
MAX_TOKENS = 220
OPERATIONS = 20000 if LONG else 600
SEED = int(os.environ.get("MUSTAFAR_SEED") or (random.randrange(1 << 31) if LONG else 1))


@functools.cache
def rows(seed: int, tokens: int) -> bytes:
    return floats(tokens * ROW, seed)


@dataclass
class Cache:
    recipe: str
    history: list[list[tuple[int, int]]] = field(default_factory=lambda: [[] for _ in range(LAYERS)])
    last: list[tuple[int, int, int] | None] = field(default_factory=lambda: [None] * LAYERS)  # offset, seed, tokens
    revision: int = 0
    exact: bool = True  # as if what was cut off had never been there

    def length(self, layer: int) -> int:
        return len(self.history[layer])

    def changed(self) -> None:
        """No append from before is known as repeated across it."""
        self.last = [None] * LAYERS
        self.revision += 1

    def copy(self) -> Cache:
        return Cache(self.recipe, [list(one) for one in self.history], [None] * LAYERS, 0, self.exact)


class Model:
    """Does an operation on the service, and says what it must answer. A row is (seed of its append, index)."""

    def __init__(self, service: Service, seed: int) -> None:
        self.service, self.random = service, random.Random(seed)
        self.caches: dict[str, Cache] = {}
        self.snapshots: dict[str, Cache] = {}
        self.seeds = 0

    def step(self) -> None:
        name = f"m{self.random.randrange(4)}"
        doing = self.random.choices(
            (self.put, self.append, self.again, self.truncate, self.compress, self.fork, self.reset, self.delete,
             self.save, self.restore, self.get), (2, 12, 3, 4, 2, 2, 1, 1, 2, 2, 2))[0]  # fmt: skip
        doing(name, self.caches.get(name))

    def ask(self, wanted: int, method: str, path: str, body: Any = None) -> Any:
        reply = self.service.ask(method, path, body)
        assert reply.status == wanted, f"seed {SEED}: {method} {path}: {reply.status}, not {wanted}: {reply.body[:300]!r}"
        return reply.json if reply.body and reply.headers["Content-Type"] != "application/octet-stream" else reply.body

    def see(self, cache: Cache, told: Any) -> None:
        assert told["lengths"] == [cache.length(layer) for layer in range(LAYERS)], f"seed {SEED}"
        assert told["revision"] == cache.revision, f"seed {SEED}"

    def put(self, name: str, cache: Cache | None) -> None:
        recipe = self.random.choice(RECIPES)
        body = {"geometry": GEOMETRY, "recipe": recipe, "max_tokens": MAX_TOKENS}
        if cache is None:
            self.caches[name] = Cache(recipe)
            self.ask(201, "PUT", f"/v1/caches/{name}", body)
        else:
            self.ask(200 if cache.recipe == recipe else 409, "PUT", f"/v1/caches/{name}", body)

    def append(self, name: str, cache: Cache | None) -> None:
        layer, tokens = self.random.randrange(LAYERS), self.random.choice((1, 1, 2, 7, 32, 50))
        self.seeds += 1
        seed, length = self.seeds % 97, cache.length(layer) if cache else 0
        expect = length if self.random.random() < 0.9 else self.random.randrange(MAX_TOKENS)
        path = f"/v1/caches/{name}/layers/{layer}/append?dtype=f32&tokens={tokens}&expect={expect}"
        if cache is None:
            self.ask(404, "POST", path, rows(seed, tokens))
        elif cache.last[layer] == (expect, seed, tokens) and expect + tokens == length:
            self.ask(200, "POST", path, rows(seed, tokens))
        elif expect != length or length + tokens > MAX_TOKENS:
            self.ask(409, "POST", path, rows(seed, tokens))
        else:
            told = self.ask(200, "POST", path, rows(seed, tokens))
            cache.history[layer] += [(seed, index * 1000 + tokens) for index in range(tokens)]
            cache.last[layer] = (expect, seed, tokens)
            cache.revision += 1
            assert (told["length"], told["revision"], told["replayed"]) == (cache.length(layer), cache.revision, False)

    def again(self, name: str, cache: Cache | None) -> None:
        """The last append of a layer, as if its reply had been lost."""
        layer = self.random.randrange(LAYERS)
        if cache is None or cache.last[layer] is None:
            return
        offset, seed, tokens = cache.last[layer] or (0, 0, 0)
        path = f"/v1/caches/{name}/layers/{layer}/append?dtype=f32&tokens={tokens}&expect={offset}"
        if cache.length(layer) == offset + tokens:
            assert self.ask(200, "POST", path, rows(seed, tokens))["replayed"]
        elif cache.length(layer) != offset:
            self.ask(409, "POST", path, rows(seed, tokens))

    def truncate(self, name: str, cache: Cache | None) -> None:
        length = self.random.randrange(MAX_TOKENS)
        if cache and self.random.random() < 0.7:
            length = max(0, cache.length(0) - self.random.randrange(12))
        body = {"length": length, "keep_packed": self.random.random() < 0.2}
        reply = self.service.ask("POST", f"/v1/caches/{name}/truncate", body)
        if cache is None:
            assert reply.status == 404
            return
        if reply.status == 409:
            smallest = reply.json["smallest_exact_length"]
            assert reply.problem == "not-exact" and not body["keep_packed"] and smallest > length
            return
        assert reply.status == 200, f"seed {SEED}: {reply.body!r}"
        cut = any(length < cache.length(layer) for layer in range(LAYERS))
        cache.exact = cache.exact and not (cut and body["keep_packed"])
        for layer in range(LAYERS):
            del cache.history[layer][length:]
        cache.changed()
        self.see(cache, reply.json)

    def change(self, name: str, cache: Cache | None, what: str) -> bool:
        told = self.ask(200 if cache else 404, "POST", f"/v1/caches/{name}/{what}", {})
        if cache is None:
            return False
        cache.changed()
        if what == "reset":
            cache.history, cache.exact = [[] for _ in range(LAYERS)], True
        self.see(cache, told)
        return True

    def compress(self, name: str, cache: Cache | None) -> None:
        if self.change(name, cache, "compress") and cache is not None:
            cache.exact = False  # rows are packed that otherwise would not be yet

    def reset(self, name: str, cache: Cache | None) -> None:
        self.change(name, cache, "reset")

    def fork(self, name: str, cache: Cache | None) -> None:
        to = f"m{self.random.randrange(4)}"
        wanted = 404 if cache is None else 409 if to in self.caches else 201
        told = self.ask(wanted, "POST", f"/v1/caches/{name}/fork", {"to": to})
        if cache is not None and wanted == 201:
            self.caches[to] = cache.copy()
            self.see(self.caches[to], told)

    def delete(self, name: str, cache: Cache | None) -> None:
        self.ask(204 if cache else 404, "DELETE", f"/v1/caches/{name}")
        self.caches.pop(name, None)

    def save(self, name: str, cache: Cache | None) -> None:
        snapshot = f"s{self.random.randrange(2)}"
        wanted = 404 if cache is None else 200 if snapshot in self.snapshots else 201
        self.ask(wanted, "PUT", f"/v1/snapshots/{snapshot}", {"cache": name, "overwrite": True})
        if cache is not None:
            self.snapshots[snapshot] = cache.copy()

    def restore(self, name: str, cache: Cache | None) -> None:
        snapshot = f"s{self.random.randrange(2)}"
        wanted = 409 if cache else 201 if snapshot in self.snapshots else 404
        told = self.ask(wanted, "POST", f"/v1/snapshots/{snapshot}/restore", {"to": name})
        if wanted == 201:
            self.caches[name] = self.snapshots[snapshot].copy()
            self.see(self.caches[name], told)

    def get(self, name: str, cache: Cache | None) -> None:
        told = self.ask(200 if cache else 404, "GET", f"/v1/caches/{name}")
        if cache is not None:
            self.see(cache, told)
        listed = self.ask(200, "GET", "/v1/caches?after=m")["caches"]
        assert {one["id"] for one in listed if one["id"].startswith("m")} == set(self.caches)

    def check_bits(self) -> None:
        """Every cache answers as one that was made of its rows one by one, and takes as many bytes."""
        for name, cache in self.caches.items():
            if not cache.exact:
                continue
            self.service.ask("DELETE", "/v1/caches/fresh")
            body = {"geometry": GEOMETRY, "recipe": cache.recipe, "max_tokens": MAX_TOKENS}
            self.ask(201, "PUT", "/v1/caches/fresh", body)
            for layer in range(LAYERS):
                self.rebuild(cache, layer)
                if cache.history[layer]:
                    query = f"layers/{layer}/attend?dtype=f32&q_tokens=1&lse=true"
                    queries = floats(4 * 32)
                    paths = [f"/v1/caches/{one}/{query}" for one in (name, "fresh")]
                    answers = {self.ask(200, "POST", path, queries) for path in paths}
                    assert len(answers) == 1, f"seed {SEED}: {name}, layer {layer}"
            parts = [self.ask(200, "GET", f"/v1/caches/{one}/stats")["bytes"] for one in (name, "fresh")]
            for part in ("values", "bitmaps", "meta"):
                assert parts[0][part] == parts[1][part], f"seed {SEED}: {name} {part}"

    def rebuild(self, cache: Cache, layer: int) -> None:
        k = v = b""
        for seed, place in cache.history[layer]:
            index, tokens = divmod(place, 1000)
            data, half = rows(seed, tokens), tokens * ROW * 2
            at, size = index * ROW * 2, ROW * 2
            k, v = k + data[at : at + size], v + data[half + at : half + at + size]
        count = cache.length(layer)
        if count:
            path = f"/v1/caches/fresh/layers/{layer}/append?dtype=f32&tokens={count}&expect=0"
            self.ask(200, "POST", path, k + v)


def test_random_operations_follow_the_model(service: Service) -> None:
    model = Model(service, SEED)
    for done in range(OPERATIONS):
        model.step()
        if done % 100 == 99:
            service.check_memory()
            model.check_bits()
    for name in [*model.caches, "fresh"]:
        service.ask("DELETE", f"/v1/caches/{name}")
    assert service.metric('mustafard_cache_bytes{part="pages"}') == 0


class Client(threading.Thread):
    """Works on caches that all share, and keeps what it was told."""

    def __init__(self, port: int, seed: int, operations: int) -> None:
        super().__init__()
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.random, self.operations = random.Random(seed), operations
        self.told: list[tuple[str, int, str, int, int, Any]] = []  # epoch, revision, what, layer, number, answer
        self.failure: Exception | None = None

    def ask(self, method: str, path: str, body: bytes) -> tuple[int, str, Any]:
        kind = "application/octet-stream" if "layers" in path else "application/json"
        self.connection.request(method, path, body, {"Content-Type": kind} if body else {})
        answer = self.connection.getresponse()
        data = answer.read()
        return answer.status, answer.headers.get("ETag", ""), json.loads(data) if data else None

    def run(self) -> None:
        try:
            for _ in range(self.operations):
                self.step()
        except Exception as failure:
            self.failure = failure

    def step(self) -> None:
        name, layer, dice = f"t{self.random.randrange(3)}", self.random.randrange(LAYERS), self.random.random()
        if dice < 0.04:
            status, _, _ = self.ask("DELETE", f"/v1/caches/{name}", b"")
            assert status in (204, 404)
        elif dice < 0.2:
            body = {"geometry": GEOMETRY, "recipe": RECIPES[1], "max_tokens": 100000}
            status, _, _ = self.ask("PUT", f"/v1/caches/{name}", json.dumps(body).encode())
            assert status in (200, 201)
        elif dice < 0.3:
            length = self.random.randrange(200)
            body = {"length": length, "keep_packed": True}
            status, etag, told = self.ask("POST", f"/v1/caches/{name}/truncate", json.dumps(body).encode())
            assert status in (200, 404), told
            if status == 200:
                self.keep(etag, "truncate", 0, length, told["lengths"])
        else:
            tokens = self.random.choice((1, 2, 5))
            data = floats(tokens * ROW, self.random.randrange(1 << 30))
            status, etag, told = 0, "", {}
            expect = 0
            for _ in range(4):
                path = f"/v1/caches/{name}/layers/{layer}/append?dtype=f32&tokens={tokens}&expect={expect}"
                status, etag, told = self.ask("POST", path, data)
                if status != 409:
                    break
                expect = told["actual"]
            assert status in (200, 404, 409), told
            if status == 200:
                assert not told["replayed"]
                self.keep(etag, "append", layer, tokens, told["length"])

    def keep(self, etag: str, what: str, layer: int, number: int, answer: Any) -> None:
        epoch, revision = etag.strip('"').rsplit("-", 1)
        self.told.append((epoch, int(revision), what, layer, number, answer))


def test_sixteen_threads_have_a_serial_order(service: Service) -> None:
    clients = [Client(service.port, SEED + i, OPERATIONS // 8) for i in range(16)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
        assert client.failure is None, f"seed {SEED}: {client.failure!r}"
    epochs: dict[str, list[tuple[int, str, int, int, Any]]] = {}
    for client in clients:
        for epoch, *rest in client.told:
            epochs.setdefault(epoch, []).append(tuple(rest))  # type: ignore[arg-type]
    assert sum(len(one) for one in epochs.values()) > 100
    for history in epochs.values():
        history.sort(key=lambda one: one[0])
        assert [one[0] for one in history] == list(range(1, len(history) + 1)), f"seed {SEED}: a change is lost"
        lengths = [0] * LAYERS
        for _, what, layer, number, answer in history:
            if what == "append":
                lengths[layer] += number
                assert answer == lengths[layer], f"seed {SEED}"
            else:
                lengths = [min(one, number) for one in lengths]
                assert answer == lengths, f"seed {SEED}"
    service.check_memory()
