# SPDX-License-Identifier: Apache-2.0
"""The client: generated operations, and those with tensors or streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ._operations import Operations
from ._schemas import Appended
from .errors import BadReply, ClientError
from .tensors import array_of, as_array, data_of, dtype_name
from .transport import Reply, segment

if TYPE_CHECKING:
    from .tensors import Array

OCTETS = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True)
class Attended:
    """out [q_tokens, q_heads, head_dim]; lse f32 [q_tokens, q_heads] where it was asked for."""

    out: Array
    lse: Array | None = None


class Client(Operations):
    """A mustafard, by its address or UNIX socket.

        client = Client("http://127.0.0.1:8642", token="...")
        client = Client(unix="/run/mustafard.sock")

    Methods bear the operationId of /openapi.json. Replies are dicts, typed (`mustafar_client.schemas`). Errors:
    ProblemError and its subclasses, ConnectionLost, BadReply; all are ClientError. May be shared by threads."""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
    ) -> Attended:
        """Attends q [q_tokens, q_heads, head_dim] on one layer: POST /v1/caches/{id}/layers/{layer}/attend.

        out_dtype: f16, bf16 or f32; that of q unless given. q_position: position of query 0; without it the
        queries are the last tokens. The others are 0, off, unless given."""
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
        }
        path = f"/v1/caches/{segment(id)}/layers/{segment(layer)}/attend"
        reply = self.request("POST", path, query=query, body=data_of(q), headers=OCTETS, safe=True)
        return _attended(reply, lse)


def _attended(reply: Reply, lse: bool) -> Attended:
    shape = _shape(reply)
    dtype = reply.headers.get("Mustafar-Dtype", "")
    lse_bytes = 4 * shape[0] * shape[1] if lse else 0
    data = memoryview(reply.body)
    split = len(data) - lse_bytes
    if split < 0:
        raise BadReply(f"the reply has {len(data)} bytes, its lse alone takes {lse_bytes}")
    out = array_of(data[:split], dtype, shape)
    return Attended(out, array_of(data[split:], "f32", shape[:2]) if lse else None)


def _shape(reply: Reply) -> tuple[int, ...]:
    text = reply.headers.get("Mustafar-Shape", "")
    if not text or not all(part.isdigit() for part in text.split(",")) or text.count(",") != 2:
        raise BadReply(f"Mustafar-Shape is {text!r}; three sizes are expected")
    return tuple(int(part) for part in text.split(","))
