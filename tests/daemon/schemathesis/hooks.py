# SPDX-License-Identifier: Apache-2.0
"""Requests as schemathesis makes them rarely name a cache that is there, or carry a body of the size that their
parameters ask for. Three in four of the valid ones do after this: the rest, and every invalid one, stays as it is."""

from __future__ import annotations

import json
import math
import re
import zlib
from typing import Any

import schemathesis
from hypothesis import strategies
from schemathesis.generation.meta import TestPhase

GEOMETRY = {"layers": 2, "q_heads": 4, "kv_heads": 2, "head_dim": 32}
RECIPES = ("lean", "dense", "mustafar-50", "k8i4/v8i2", "kdi4c/vdi4/w4/s2")
NAMES = {
    "/v1/caches": ("c0", "c1", "c2"), "/v1/snapshots": ("s0", "s1"), "/v1/recipes": ("r0", "r1", "lean"),
}  # fmt: skip
LIMITS = {"tokens": 48, "q_tokens": 6, "expect": 1, "weights": 300, "q_position": 400}

WIDTHS = {"F16": 2, "BF16": 2, "F32": 4, "I8": 1}
TENSORS = tuple(f"{cache}layers.{layer}.{side}" for cache in ("", "c0.", "c1.") for layer in range(2) for side in "kv")
TENSORS += ("c0.q", "c1.q", "c9.q", "out_a", "lse_a", "out_b", "lse_b", "rest")
SHAPES = ((4, 2, 32), (1, 2, 32), (3, 4, 32), (5, 8), (5,), (0, 2, 32), ())


def safetensors(names: list[str], dtype: str, shape: tuple[int, ...], metadata: dict[str, str], slip: int) -> bytes:
    """A file of tensors that are alike; `slip` is what its last offset is wrong by."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    size, end = math.prod(shape) * WIDTHS[dtype], 0
    for name in names:
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    if names:
        header[names[-1]]["data_offsets"][1] += slip
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(end)


FILES = strategies.builds(
    safetensors,
    strategies.lists(strategies.sampled_from(TENSORS), max_size=4, unique=True),
    strategies.sampled_from(tuple(WIDTHS)),
    strategies.sampled_from(SHAPES),
    strategies.dictionaries(strategies.sampled_from(("expect.c0", "expect.c1", "x")), strategies.sampled_from(("100", "-1")), max_size=2),
    strategies.sampled_from((0, 0, 0, 1)))  # fmt: skip
schemathesis.openapi.media_type("application/octet-stream", strategies.binary(max_size=256))
schemathesis.openapi.media_type("application/vnd.safetensors", FILES | strategies.binary(max_size=64))


class Dice:
    """What is decided for a case depends on the case alone, so that hypothesis can repeat it."""

    def __init__(self, case: schemathesis.Case) -> None:
        text = repr((case.method, case.path, case.path_parameters, case.query, case.body))
        self.state = zlib.crc32(text.encode("utf-8", "surrogatepass"))

    def below(self, count: int) -> int:
        self.state = self.state * 1664525 + 1013904223 & 0xFFFFFFFF
        return (self.state >> 16) % count


def plain_number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def fit_path(case: schemathesis.Case, dice: Dice) -> None:
    for start, names in NAMES.items():
        if case.path.startswith(start + "/{"):
            for key in case.path_parameters:
                known = dice.below(3) if key == "layer" else names[dice.below(len(names))]
                case.path_parameters[key] = known


def fit_rows(case: schemathesis.Case, dice: Dice) -> None:
    """Small sizes, and a body that has them."""
    query = dict(case.query or {})
    for name, limit in LIMITS.items():
        if plain_number(query.get(name)) is not None:
            query[name] = query[name] % limit + (0 if name == "expect" else 1)
    if dice.below(4):
        query.pop("expect", None)  # --allow-blind-append
    case.query = query
    width = 4 if query.get("dtype") == "f32" else 2
    heads, count = (4, "q_tokens") if case.path.endswith("attend") else (2 * 2, "tokens")
    size = (plain_number(query.get(count)) or 0) * heads * 32 * width
    if case.path.endswith("attend") and query.get("sinks") is True:
        size += 4 * 4
    if isinstance(case.body, bytes) and dice.below(8):
        seed = case.body or b"\0"
        case.body = (seed * (size // len(seed) + 1))[:size]


def fit_body(case: schemathesis.Case, dice: Dice) -> None:
    body = case.body
    if not isinstance(body, dict):
        return
    for key, value in body.items():
        if key == "geometry" and isinstance(value, dict):
            body[key] = dict(GEOMETRY)
        elif key == "recipe":
            body[key] = RECIPES[dice.below(len(RECIPES))]
        elif key == "recipes" and isinstance(value, list):
            body[key] = [RECIPES[dice.below(len(RECIPES))] for _ in value[:4]]
        elif key in ("cache", "to") and isinstance(value, str):
            names = NAMES["/v1/caches"]
            body[key] = names[dice.below(len(names))]
        elif key in ("layer", "kv_head") and plain_number(value) is not None:
            body[key] = value % 3
        elif key in ("begin", "end", "length", "reserve_tokens") and plain_number(value) is not None:
            body[key] = value % 200
        elif key == "keep" and plain_number(value) is not None:
            body[key] = value % 33
        elif key == "positions" and isinstance(value, list):
            body[key] = sorted({one % 200 for one in value if plain_number(one) is not None})


@schemathesis.hook
def map_case(context: schemathesis.HookContext, case: schemathesis.Case) -> schemathesis.Case:
    meta = case.meta
    if meta is None or meta.generation.mode.is_negative:
        return case
    dice = Dice(case)
    if dice.below(4):
        if meta.phase.name != TestPhase.STATEFUL:  # there, names come from what was made before
            fit_path(case, dice)
        if re.search(r"/(append|attend)$", case.path) and "layers" in case.path:
            fit_rows(case, dice)
        fit_body(case, dice)
    return case
