# SPDX-License-Identifier: Apache-2.0
"""Keys, values and queries as NumPy arrays: append, attend, and what caches hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ._operations import Operations
from ._schemas import Appended, AppendedAll, AppendedBatch, Snapshot, Trace
from .errors import BadReply, ClientError
from .safetensors import MEDIA, pack, unpack
from .tensors import array_of, as_array, data_of, dtype_name, numpy_f32
from .transport import Body, Reply, segment

if TYPE_CHECKING:
    from .tensors import Array

OCTETS = {"Content-Type": "application/octet-stream"}
SAFETENSORS = {"Content-Type": MEDIA}

Pair = tuple[Any, Any]  # k and v of one layer, [tokens, kv_heads, head_dim]


@dataclass(frozen=True)
class Attended:
    """out [q_tokens, q_heads, head_dim]. Where asked for, f32: lse [q_tokens, q_heads], weights [q_tokens, q_heads, N],
    dropped [q_tokens, q_heads]."""

    out: Array
    lse: Array | None = None
    weights: Array | None = None
    dropped: Array | None = None


@dataclass(frozen=True)
class Part:
    """What append_caches adds to one cache: a pair per layer, and the length before."""

    layers: Sequence[Pair]
    expect: int | None = None


class Rows(Operations):
    """Part of Client."""

    def append_rows(
        self,
        id: str,
        layer: int,
        k: Any,
        v: Any,
        *,
        expect: int | None = None,
        tentative: bool = False,
    ) -> Appended:
        """Appends k and v, [tokens, kv_heads, head_dim], to one layer: POST /v1/caches/{id}/layers/{layer}/append.

        `expect` is the length of the layer before. With it a lost answer is asked for again and tokens are stored
        once; without it (the server may refuse that) the request is never repeated."""
        k, v = as_array(k, "k", 3), as_array(v, "v", 3)
        if dtype_name(k) != dtype_name(v) or k.shape[:2] != v.shape[:2]:
            raise ClientError(f"k is {k.dtype} {k.shape}, v is {v.dtype} {v.shape}: they do not match")
        query = {"dtype": dtype_name(k), "tokens": k.shape[0], "expect": expect}
        if tentative:
            query["tentative"] = True
        reply = self.request(
            "POST",
            f"/v1/caches/{segment(id)}/layers/{segment(layer)}/append",
            query=query,
            body=b"".join((data_of(k), data_of(v))),
            headers=OCTETS,
            safe=expect is not None,
        )
        return cast("Appended", reply.document())

    def attend_rows(
        self,
        id: str,
        layer: int,
        q: Any,
        *,
        lse: bool = False,
        out_dtype: str | None = None,
        scale: float | None = None,
        softcap: float | None = None,
        sliding_window: int | None = None,
        drop_mass: float | None = None,
        q_position: int | None = None,
        sinks: Any = None,
        weights: int | None = None,
        dropped: bool = False,
    ) -> Attended:
        """Attends q [q_tokens, q_heads, head_dim] on one layer: POST /v1/caches/{id}/layers/{layer}/attend.

        out_dtype: f16, bf16 or f32; that of q unless given. q_position: position of query 0; without it the
        queries are the last tokens. sinks: learned ones, f32 [q_heads]. weights: the weight of each row too, in so many
        columns. dropped: what drop_mass left out, at most. The others are 0, off, unless given."""
        q = as_array(q, "q", 3)
        query = {
            "dtype": dtype_name(q),
            "q_tokens": q.shape[0],
            "out_dtype": out_dtype,
            "lse": True if lse else None,
            "scale": scale,
            "softcap": softcap,
            "sliding_window": sliding_window,
            "drop_mass": drop_mass,
            "q_position": q_position,
            "sinks": None if sinks is None else True,
            "weights": weights,
            "dropped": True if dropped else None,
        }
        body = data_of(q)
        if sinks is not None:
            body = memoryview(b"".join((body, data_of(as_array(numpy_f32(sinks), "sinks", 1)))))
        path = f"/v1/caches/{segment(id)}/layers/{segment(layer)}/attend"
        reply = self.request("POST", path, query=query, body=body, headers=OCTETS, safe=True)
        return _attended(reply, lse, weights or 0, dropped)

    def append_layers(
        self, id: str, layers: Sequence[Pair], *, expect: int | None = None, tentative: bool = False
    ) -> AppendedAll:
        """Appends to every layer of a cache, or to none: POST /v1/caches/{id}/append. `expect` as for append_rows."""
        query = {"expect": expect, "tentative": True if tentative else None}
        path = f"/v1/caches/{segment(id)}/append"
        reply = self._tensors(path, query, pack(_named("", layers)), expect is not None)
        return cast("AppendedAll", reply.document())

    def append_caches(self, parts: Mapping[str, Part], *, tentative: bool = False) -> AppendedBatch:
        """Appends to several caches, all or none of it: POST /v1/append."""
        tensors: dict[str, Any] = {}
        for id, part in parts.items():
            tensors.update(_named(f"{id}.", part.layers))
        expects = {f"expect.{id}": str(part.expect) for id, part in parts.items() if part.expect is not None}
        query = {"tentative": True if tentative else None}
        safe = len(expects) == len(parts)
        reply = self._tensors("/v1/append", query, pack(tensors, expects), safe)
        return cast("AppendedBatch", reply.document())

    def attend_caches(
        self, layer: int, queries: Mapping[str, Any], *, lse: bool = False, **options: Any
    ) -> dict[str, Attended]:
        """Attends on one layer of several caches; queries of one shape and type: POST /v1/attend. Options as for
        attend_rows."""
        query = {"layer": layer, "lse": True if lse else None, **options}
        body = pack({f"{id}.q": q for id, q in queries.items()})
        arrays = unpack(self._tensors("/v1/attend", query, body, True).body)
        try:
            return {id: Attended(arrays[f"{id}.out"], arrays[f"{id}.lse"] if lse else None) for id in queries}
        except KeyError as error:
            raise BadReply(f"the reply lacks the tensor {error}") from error

    def merge_parts(self, out_a: Any, lse_a: Any, out_b: Any, lse_b: Any) -> Attended:
        """Joins what was attended on two disjoint sets of rows: POST /v1/merge."""
        body = pack({"out_a": out_a, "lse_a": lse_a, "out_b": out_b, "lse_b": lse_b})
        arrays = unpack(self._tensors("/v1/merge", {}, body, True).body)
        if set(arrays) != {"out", "lse"}:
            raise BadReply(f"the reply holds {sorted(arrays)}; out and lse are expected")
        return Attended(arrays["out"], arrays["lse"])

    def get_tensor(
        self,
        id: str,
        layer: int,
        *,
        side: str,
        kv_head: int | None = None,
        from_: int | None = None,
        to: int | None = None,
        out_dtype: str | None = None,
    ) -> Array:
        """Rows [to - from, head_dim] of one head as attend sees them: GET /v1/caches/{id}/layers/{layer}/tensor."""
        query = {"side": side, "kv_head": kv_head, "from": from_, "to": to, "out_dtype": out_dtype}
        path = f"/v1/caches/{segment(id)}/layers/{segment(layer)}/tensor"
        reply = self.request("GET", path, query=query, safe=True)
        return array_of(reply.body, reply.headers.get("Mustafar-Dtype", ""), _shape(reply, 2))

    def get_bitmap_rows(
        self,
        id: str,
        layer: int,
        *,
        side: str,
        kv_head: int | None = None,
        from_: int | None = None,
        to: int | None = None,
    ) -> bytes:
        """Survivors of one head, head_dim / 8 bytes a row, lowest channel in the lowest bit:
        GET /v1/caches/{id}/layers/{layer}/bitmap as octets."""
        query = {"side": side, "kv_head": kv_head, "from": from_, "to": to}
        path = f"/v1/caches/{segment(id)}/layers/{segment(layer)}/bitmap"
        fields = {"Accept": "application/octet-stream"}
        return self.request("GET", path, query=query, headers=fields, safe=True).body

    def get_snapshot_content(self, name: str) -> bytes:
        """The file of a snapshot: GET /v1/snapshots/{name}/content."""
        return self.request("GET", f"/v1/snapshots/{segment(name)}/content", safe=True).body

    def put_snapshot_content(self, name: str, content: Body, *, overwrite: bool = False) -> Snapshot:
        """Uploads a snapshot; the server loads it aside before it keeps it: PUT /v1/snapshots/{name}/content."""
        query = {"overwrite": True if overwrite else None}
        path = f"/v1/snapshots/{segment(name)}/content"
        reply = self.request("PUT", path, query=query, body=content, headers=OCTETS, safe=True)
        return cast("Snapshot", reply.document())

    def put_trace(self, name: str, content: Body) -> Trace:
        """Keeps a trace, a safetensors file of recorded keys, values and queries: PUT /v1/traces/{name}."""
        path = f"/v1/traces/{segment(name)}"
        reply = self.request("PUT", path, body=content, headers=OCTETS, safe=True)
        return cast("Trace", reply.document())

    def _tensors(self, path: str, query: Mapping[str, Any], body: bytes, safe: bool) -> Reply:
        return self.request("POST", path, query=query, body=body, headers=SAFETENSORS, safe=safe)


def _named(prefix: str, layers: Sequence[Pair]) -> dict[str, Any]:
    return {
        f"{prefix}layers.{layer}.{side}": value
        for layer, pair in enumerate(layers)
        for side, value in zip("kv", pair, strict=True)
    }


def _attended(reply: Reply, lse: bool, weights: int, dropped: bool) -> Attended:
    """The blocks of a reply, one behind the other: out, then those of f32 that were asked for."""
    shape = _shape(reply)
    sizes = {"lse": 1 if lse else 0, "weights": weights, "dropped": 1 if dropped else 0}
    vectors = shape[0] * shape[1]
    data = memoryview(reply.body)
    at = len(data) - 4 * vectors * sum(sizes.values())
    if at < 0:
        raise BadReply(f"the reply has {len(data)} bytes, which is less than was asked for")
    out = array_of(data[:at], reply.headers.get("Mustafar-Dtype", ""), shape)
    found: dict[str, Array] = {}
    for name, columns in sizes.items():
        if columns > 0:
            end = at + 4 * vectors * columns
            found[name] = array_of(data[at:end], "f32", (*shape[:2], columns) if name == "weights" else shape[:2])
            at = end
    return Attended(out, **found)


def _shape(reply: Reply, ndim: int = 3) -> tuple[int, ...]:
    text = reply.headers.get("Mustafar-Shape", "")
    sizes = text.split(",")
    if len(sizes) != ndim or not all(size.isascii() and size.isdigit() for size in sizes):
        raise BadReply(f"Mustafar-Shape is {text!r}; {ndim} sizes are expected")
    return tuple(int(size) for size in sizes)
