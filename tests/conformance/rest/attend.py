# SPDX-License-Identifier: Apache-2.0
"""The steps of attention over HTTP."""

from __future__ import annotations

import json
import math
import struct
from typing import TYPE_CHECKING, Any

from arrays import LETTERS, dtype_of, numbers, read_array, to_bytes
from problems import CaseError
from wire import JsonObject, NoForm, Refused

if TYPE_CHECKING:
    from steps import Case

NAMES = {"f32": "F32", "f16": "F16", "bf16": "BF16"}
SAFETENSORS = {"Content-Type": "application/vnd.safetensors"}
OPTIONS = ("scale", "softcap", "sliding_window", "drop_mass", "q_position", "out_dtype")


def pack_safetensors(tensors: dict[str, tuple[str, list[int], bytes]]) -> bytes:
    """name: (dtype, shape, bytes), one behind the other in this order."""
    header: JsonObject = {}
    at = 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": NAMES[dtype], "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values())


def unpack_safetensors(data: bytes) -> dict[str, tuple[str, bytes]]:
    size = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8 : 8 + size])
    names = {long: short for short, long in NAMES.items()}
    found = {}
    for name, one in header.items():
        if name != "__metadata__":
            begin, end = one["data_offsets"]
            found[name] = names[one["dtype"]], data[8 + size + begin : 8 + size + end]
    return found


def attend(case: Case, step: JsonObject) -> None:
    if len(step["caches"]) != 1 or "q_shape" in step:
        attend_several(case, step)
    else:
        attend_one(case, step)


def attend_one(case: Case, step: JsonObject) -> None:
    shape = case.shape(step)
    vectors, d = step["q_len"] * shape["q_heads"], shape["head_dim_k"]
    dtype = dtype_of(step["q"])
    body = to_bytes(*read_array(step["q"], vectors * d))
    if "sinks" in step:
        body += to_bytes(*read_array(step["sinks"], shape["q_heads"]))
    words: dict[str, Any] = {name: step[name] for name in OPTIONS if name in step}
    words.setdefault("out_dtype", "f32")
    width, drops = step.get("weights_width", 0), step.get("drop_mass", 0.0) > 0
    path = f"/v1/caches/{case.caches[step['caches'][0]]}/layers/{step['layer']}/attend"
    try:
        data = case.wire.ask(
            "POST", path, body, dtype=dtype, q_tokens=step["q_len"], lse=True,
            weights=width or None, dropped=drops or None, sinks="sinks" in step or None,
            **words).body  # fmt: skip
    except Refused as error:
        if error.slug == "bad-state" and "is empty" in str(error) and "status" not in step:
            raise NoForm("attend on no rows: the service refuses an empty layer") from None
        raise
    out_bytes = vectors * shape["head_dim_v"] * (LETTERS[words["out_dtype"]][2] // 2)
    sizes = [out_bytes, vectors * 4, vectors * width * 4, vectors * 4 if drops else 0]
    if len(data) != sum(sizes):
        raise_size(len(data), sum(sizes))
    parts = []
    for size in sizes:
        parts.append(data[:size])
        data = data[size:]
    if "status" not in step:
        compare(
            case,
            step,
            numbers(words["out_dtype"], parts[0]),
            *(numbers("f32", one) for one in parts[1:]),
        )


def raise_size(got: int, wanted: int) -> None:
    raise CaseError(f"{got} bytes came back, expected {wanted}")


def compare(case: Case, step: JsonObject, out: list[float], lse: list[float], weights: list[float],
            dropped: list[float]) -> None:  # fmt: skip
    case.close("lse", lse, step)
    if weights:
        case.close("weights", weights, step)
    if dropped:
        certificate(case, step, out, dropped)
    else:
        case.close("out", out, step, l2=True)


def certificate(case: Case, step: JsonObject, out: list[float], dropped: list[float]) -> None:
    """What was left out is a sum of V rows of at most `value_most` with weights of at most
    `dropped`, which is at most drop_mass; `out` of the step is exact."""
    if not all(0 <= one <= step["drop_mass"] * (1 + 1e-6) for one in dropped):
        raise CaseError("dropped is no bound below drop_mass")
    dtype, bits = read_array(step["out"])
    exact = numbers(dtype, to_bytes(dtype, bits))
    d = len(exact) // len(dropped)
    tolerance = step["out_tolerance"][0 if case.strict else 1]
    for i, (a, b) in enumerate(zip(out, exact, strict=True)):
        if not abs(a - b) <= (dropped[i // d] + tolerance) * step["value_most"]:
            raise CaseError("out is farther from the exact one than `dropped` allows")


def attend_several(case: Case, step: JsonObject) -> None:
    shape = case.shape(step)
    if set(step) & {"sinks", "weights_width", "drop_mass"}:
        raise NoForm("attend on several caches: sinks, weights and drop_mass")
    count, d = step["q_len"] * shape["q_heads"] * shape["head_dim_k"], shape["head_dim_k"]
    dims = step.get("q_shape", [len(step["caches"]), step["q_len"], shape["q_heads"], d])[1:]
    if "q_shape" in step:
        count = math.prod(dims)
    dtype, bits = read_array(step["q"], count * len(step["caches"]))
    names = [case.caches[slot] for slot in step["caches"]]
    if len(set(names)) != len(names):
        raise NoForm("attend on several caches: one of them twice")
    tensors = {
        f"{name}.q": (dtype, list(dims), to_bytes(dtype, bits[i * count : (i + 1) * count]))
        for i, name in enumerate(names)
    }
    words: dict[str, Any] = {name: step[name] for name in OPTIONS if name in step}
    words.setdefault("out_dtype", "f32")
    data = case.wire.ask(
        "POST", "/v1/attend", pack_safetensors(tensors), media=SAFETENSORS, layer=step["layer"],
        lse=True, **words).body  # fmt: skip
    got = unpack_safetensors(data)
    if "status" not in step:
        out = [one for name in names for one in numbers(*got[f"{name}.out"])]
        lse = [one for name in names for one in numbers(*got[f"{name}.lse"])]
        compare(case, step, out, lse, [], [])


def merge(case: Case, step: JsonObject) -> None:
    rows, d = step["rows"], step["dim"]
    tensors = {}
    for name in ("out_a", "lse_a", "out_b", "lse_b"):
        flat = name.startswith("lse")
        dtype, bits = read_array(step[name], rows if flat else rows * d)
        tensors[name] = dtype, [rows] if flat else [rows, d], to_bytes(dtype, bits)
    data = case.wire.ask("POST", "/v1/merge", pack_safetensors(tensors), media=SAFETENSORS).body
    got = unpack_safetensors(data)
    if "status" not in step:
        case.close("out", numbers(*got["out"]), step, l2=True)
        case.close("lse", numbers(*got["lse"]), step)
