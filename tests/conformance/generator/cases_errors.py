# SPDX-License-Identifier: Apache-2.0
"""errors: the status, and where it matters the argument the error names. Nothing has changed after
any of them, which the questions behind each case ask."""

import json
from typing import Any

from case import Case
from cases_life import CODES, small
from recipe import Geometry, Recipe

Refusal = tuple[str, str, "str | None", "dict[str, Any]"]
GEOMETRY = Geometry(2, 4, 2, 32, 32)


def text(**keys: Any) -> str:
    return json.dumps({"schema": "mustafar.recipe", "version": 1, **keys}, separators=(",", ":"))


TEXTS: "dict[str, tuple[str, str | None]]" = {
    "empty": ("", None),
    "unknown-name": ("mustafar-51", "mustafar-51"),
    "shorthand": ("k64i5/v8", None),
    "not-json": ("{", None),
    "no-schema": ('{"version":1}', "schema"),
    "other-schema": ('{"schema":"other","version":1}', "schema"),
    "version": ('{"schema":"mustafar.recipe","version":2}', "version"),
    "unknown-key": (text(kepp=1), "kepp"),
    "unknown-side-key": (text(k={"kepp": 1}), "k.kepp"),
    "duplicate": ('{"schema":"mustafar.recipe","version":1,"k":{},"k":{}}', "k"),
    "behind": (text() + " x", None),
    "keep-zero": (text(k={"keep": 0}), "k.keep"),
    "keep-fraction": (text(v={"keep": "3/2"}), "v.keep"),
    "sparsity-one": (text(k={"sparsity": 1.0}), "k.sparsity"),
    "sparsity-negative": (text(k={"sparsity": -0.5}), "k.sparsity"),
    "keep-and-sparsity": (text(k={"keep": 3, "sparsity": 0.5}), "k.sparsity"),
    "bits": (text(v={"bits": 3}), "v.bits"),
    "method": (text(k={"method": "best"}), "k.method"),
    "method-without-count": (text(k={"method": "channels"}), "k.method"),
    "n-m": (text(k={"method": "n_m", "n": 5, "m": 4}), "k.n"),
    "n-without-method": (text(k={"keep": 3, "n": 5, "m": 4}), "k.n"),
    "threshold-negative": (text(k={"method": "threshold", "threshold": -1}), "k.threshold"),
    "rule-with-keep": (text(k={"keep": 3, "rule": "paper"}), "k.rule"),
    "group-16-bits": (text(k={"bits": 16, "group": 32}), "k.group"),
    "group-pruned": (text(k={"keep": "1/2", "bits": 4, "group": 32}), "k.group"),
    "group-size": (text(k={"bits": 4, "group": 16}), "k.group"),
    "axis-on-v": (text(v={"bits": 4, "axis": "channel"}), "v.axis"),
    "axis-16-bits": (text(k={"bits": 16, "axis": "channel"}), "k.axis"),
    "axis-step": (text(window={"step": 8}, k={"bits": 4, "axis": "channel"}), "k.axis"),
    "centre-on-v": (text(v={"centre": "mean"}), "v.centre"),
    "centre-word": (text(k={"centre": "median"}), "k.centre"),
    "centre-large": (text(k={"centre": [0, 40000]}), "k.centre[1]"),
    "step": (text(window={"step": 5}), "window.step"),
    "recent": (text(window={"recent": -1}), "window.recent"),
    "at": (text(layers=[{"at": "3-1"}]), "layers[0].at"),
    "at-missing": (text(layers=[{"k": {}}]), "layers[0].at"),
    "precise": (text(precise=1), "precise"),
}
FITS: dict[str, tuple[str, str]] = {
    "keep": (text(k={"keep": 33}), "k.keep"),
    "m": (text(k={"method": "n_m", "n": 2, "m": 7}), "k.m"),
    "group": (text(k={"bits": 4, "group": 64}), "k.group"),
    "centre": (text(k={"centre": [1, 2, 3]}), "k.centre"),
    "layer": (text(layers=[{"at": "2"}]), "layers[0].at"),
    "head": (text(layers=[{"at": "1", "heads": [{"at": "9"}]}]), "layers[0].heads[0].at"),
    "budget": (text(budget=10), "budget"),
    "budgets": (text(layers=[{"at": "0", "budget": [50, 50, 50]}]), "layers[0].budget"),
    "protect": (text(protect=[3]), "protect"),
    "mask-with-auto": (text(k={"method": "mask"}), "options.flags"),
}


def recipe_errors() -> "list[Case]":
    cases: list[Case] = []
    for name, (recipe, names) in TEXTS.items():
        case = Case(f"recipe-{name}", "refused when it is parsed", recipe, create=False)
        case.fails("recipe", "INVALID_ARGUMENT", names)
        cases.append(case)
    for name, (recipe, names) in FITS.items():
        case = Case(
            f"fit-{name}", "refused when it meets a geometry", recipe, GEOMETRY, create=False
        )
        if name != "mask-with-auto":
            case.fails("side", "UNSUPPORTED", names, layer=0, head=0, side="k")
        case.fails("create", "UNSUPPORTED", names, cache=0, max_tokens=64, auto=True)
        cases.append(case)
    return cases


def create_errors() -> "list[Case]":
    shapes: list[tuple[str, str, str, Geometry]] = [
        ("layers", "INVALID_ARGUMENT", "layers", Geometry(0, 1, 1)),
        ("many-layers", "INVALID_ARGUMENT", "layers", Geometry(4097, 1, 1)),
        ("q-heads", "INVALID_ARGUMENT", "q_heads", Geometry(1, 5, 2)),
        ("kv-heads", "INVALID_ARGUMENT", "kv_heads", Geometry(1, 1, 0)),
        ("group", "UNSUPPORTED", "q_heads", Geometry(1, 256, 2)),
        ("head-dim-small", "UNSUPPORTED", "head_dim_k", Geometry(1, 1, 1, 16, 32)),
        ("head-dim-odd", "UNSUPPORTED", "head_dim_k", Geometry(1, 1, 1, 100, 32)),
        ("head-dim-large", "UNSUPPORTED", "head_dim_v", Geometry(1, 1, 1, 32, 264)),
        ("dtype", "INVALID_ARGUMENT", "dtype", Geometry(1, 1, 1, 32, 32, "f32")),
    ]
    cases: list[Case] = []
    for name, status, names, geometry in shapes:
        case = Case(
            f"create-{name}", "a geometry that is not served", Recipe(), geometry, create=False
        )
        case.fails("create", status, names, cache=0, max_tokens=64, auto=True)
        cases.append(case)
    sizes: list[tuple[str, dict[str, Any]]] = [
        ("max-tokens", {"max_tokens": 0}),
        ("reserve", {"max_tokens": 8, "reserve_tokens": 9}),
    ]
    for name, args in sizes:
        case = Case(f"create-{name}", f"{args}", Recipe(), create=False)
        names = "reserve_tokens" if name == "reserve" else "max_tokens"
        case.fails("create", "INVALID_ARGUMENT", names, cache=0, auto=True, **args)
        cases.append(case)
    return cases


def append_errors() -> "list[Case]":
    good = {"k": "gen:f16:4301", "v": "gen:f16:4302"}
    width = 2 * 32
    refusals: list[tuple[Refusal, list[int] | None]] = [
        (("layer", "INVALID_ARGUMENT", "layer", {"layer": 2}), None),
        (("shape", "INVALID_ARGUMENT", "k.shape", {"k_shape": [3, 1, 64]}), None),
        (("ndim", "INVALID_ARGUMENT", "k.ndim", {"k_shape": [3, 64]}), None),
        (("v-tokens", "INVALID_ARGUMENT", "v.shape", {"v_shape": [2, 2, 32]}), None),
        (("capacity", "CAPACITY", None, {"tokens": 58}), [58, 7, 64]),
    ]
    nan = [("nan-k", 0, "7e00", "k"), ("infinity-v", 1, "fc00", "v")]
    for name, side, bits, key in nan:
        at = 2 * width + 32 + 5
        text = good[key] + f";{at}={bits}"
        refusals.append(((name, "NON_FINITE", None, {key: text}), [side, 2, 1, 5]))
    large = f"gen:f32:4303;{width + 7}=477ff000"  # 65520 rounds to infinity as f16
    refusals.append((("too-large-k", "NON_FINITE", None, {"k": large}), [0, 1, 0, 7]))
    cases: list[Case] = []
    for (name, status, names, args), values in refusals:
        case = Case(f"append-{name}", "nothing is stored", small(CODES), GEOMETRY, most=64)
        case.append(7, 4304, 4305)
        case.save(quiet=True)
        step: dict[str, Any] = {"cache": 0, "layer": 0, "tokens": 3, **good, **args}
        case.fails("append", status, names, values, **step)
        case.save(same_as=0)
        cases.append(case)
    recipe = small({**CODES, "centre": "mean"})
    limits: list[tuple[str, Recipe, str, str, list[int]]] = [
        ("centred", recipe, "f16", "gen:f16:4306;3=7800", [0, 0, 0, 3]),
        ("bf16-codes", small(CODES), "bf16", "gen:bf16:4307;3=4780", [0, 0, 0, 3]),
        ("bf16-raw-infinity", small({}), "bf16", "gen:f32:4308;3=7f7fffff", [0, 0, 0, 3]),
    ]
    for name, own, dtype, text, values in limits:
        about = "beyond what the side can hold (docs/format.md 1.1)"
        case = Case(f"append-limit-{name}", about, own, Geometry(1, 1, 1, 32, 32, dtype), most=64)
        one: dict[str, Any] = {
            "cache": 0,
            "layer": 0,
            "tokens": 1,
            "k": text,
            "v": f"gen:{dtype}:4309",
        }
        case.fails("append", "NON_FINITE", error_values=values, **one)
        case.save()
        cases.append(case)
    case = Case(
        "append-behind-drafts", "committed tokens behind tentative ones", small(CODES), most=64
    )
    case.append(3, 4310, 4311)
    case.append(2, 4312, 4313, tentative=True)
    case.fails("append", "BAD_STATE", cache=0, layer=0, tokens=1, k="gen:f16:1", v="gen:f16:2")
    case.fails("evict", "BAD_STATE", cache=0, layer=0, head=0, positions=[0])
    case.save()
    cases.append(case)
    return cases


HEAD: dict[str, Any] = {"cache": 0, "layer": 0, "head": 0}
PRUNE: dict[str, Any] = {
    **HEAD,
    "side": "k",
    "begin": 5,
    "end": 7,
    "method": "token_topk",
    "keep": 3,
}
WEIGHTS = "gen:f32:4401;5=bf800000"
CHANGES: "list[tuple[str, str, str, str | None, dict[str, Any]]]" = [
    ("commit", "layer", "INVALID_ARGUMENT", "layer", {"cache": 0, "layer": 2}),
    ("compress", "layer", "INVALID_ARGUMENT", "layer", {"cache": 0, "layer": 2}),
    ("prune", "packed", "BAD_STATE", None, {**PRUNE, "begin": 2}),
    ("prune", "in-window", "BAD_STATE", None, {**PRUNE, "end": 8}),
    ("prune", "backwards", "INVALID_ARGUMENT", "begin", {**PRUNE, "begin": 7, "end": 5}),
    ("prune", "beyond", "INVALID_ARGUMENT", "end", {**PRUNE, "end": 90}),
    ("prune", "keep-0", "INVALID_ARGUMENT", "options.keep", {**PRUNE, "keep": 0}),
    ("prune", "keep-33", "INVALID_ARGUMENT", "options.keep", {**PRUNE, "keep": 33}),
    ("prune", "of", "INVALID_ARGUMENT", "options.of", {**PRUNE, "method": "n_m", "of": 5}),
    (
        "prune",
        "threshold",
        "INVALID_ARGUMENT",
        "threshold",
        {**PRUNE, "method": "threshold", "keep": None, "threshold": -1.0},
    ),
    ("prune", "no-mask", "INVALID_ARGUMENT", "mask", {**PRUNE, "method": "mask", "keep": None}),
    ("prune", "mask-unasked", "INVALID_ARGUMENT", "mask", {**PRUNE, "mask": "gen:u8:1"}),
    ("prune", "weight", "NON_FINITE", "channel_weights", {**PRUNE, "channel_weights": WEIGHTS}),
    (
        "prune",
        "token-weight",
        "NON_FINITE",
        "token_weights",
        {**PRUNE, "token_weights": "all:f32:7f800000"},
    ),
    ("prune", "keep-unused", "INVALID_ARGUMENT", "options.keep", {**PRUNE, "method": "none"}),
    ("prune", "of-unused", "INVALID_ARGUMENT", "options.of", {**PRUNE, "of": 4}),
    ("prune", "recipe-keep", "INVALID_ARGUMENT", "options.keep", {**PRUNE, "method": "recipe"}),
    (
        "prune",
        "threshold-unused",
        "INVALID_ARGUMENT",
        "options.threshold",
        {**PRUNE, "threshold": 0.5},
    ),
    ("evict", "order", "INVALID_ARGUMENT", "positions[1]", {**HEAD, "positions": [3, 2]}),
    ("evict", "twice", "INVALID_ARGUMENT", "positions[1]", {**HEAD, "positions": [3, 3]}),
    ("evict", "sink", "INVALID_ARGUMENT", "positions[0]", {**HEAD, "positions": [0]}),
    ("evict", "window", "INVALID_ARGUMENT", "positions[1]", {**HEAD, "positions": [1, 8]}),
    ("evict", "not-held", "INVALID_ARGUMENT", "positions[0]", {**HEAD, "positions": [9]}),
    ("evict", "head", "INVALID_ARGUMENT", "kv_head", {**HEAD, "head": 2, "positions": [1]}),
    (
        "evict_scores",
        "count",
        "INVALID_ARGUMENT",
        "count",
        {**HEAD, "count": 8, "scores": "gen:f32:1", "budget": 5},
    ),
    (
        "evict_scores",
        "budget",
        "INVALID_ARGUMENT",
        "budget",
        {**HEAD, "scores": "gen:f32:1", "budget": 2},
    ),
    (
        "evict_scores",
        "no-budget",
        "INVALID_ARGUMENT",
        "budget",
        {**HEAD, "scores": "gen:f32:1", "budget": 0},
    ),
    (
        "evict_scores",
        "nan",
        "NON_FINITE",
        "scores[4]",
        {**HEAD, "scores": "gen:f32:1;4=7fc00000", "budget": 5},
    ),
    (
        "export",
        "range",
        "INVALID_ARGUMENT",
        "end",
        {**HEAD, "side": "k", "begin": 4, "end": 10},
    ),
    (
        "export",
        "head",
        "INVALID_ARGUMENT",
        "kv_head",
        {**HEAD, "head": 2, "side": "v", "begin": 0, "end": 1},
    ),
    ("bytes", "layer", "INVALID_ARGUMENT", "layer", {"cache": 0, "layer": 2, "head": -1}),
    ("plan", "tokens", "INVALID_ARGUMENT", "tokens", {"cache": 0, "tokens": 65}),
    ("window", "layer", "INVALID_ARGUMENT", "layer", {"layer": 2, "head": 0}),
    ("side", "head", "INVALID_ARGUMENT", "kv_head", {"layer": 0, "head": 2, "side": "k"}),
]


def change_errors() -> "list[Case]":
    """On a cache of 9 tokens (4 packed, 5 dense, 2 of them the window) behind 1 sink."""
    cases: list[Case] = []
    for op, name, status, names, args in CHANGES:
        about = f"{op} is refused and leaves the cache as it was"
        case = Case(
            f"{op.replace('_', '-')}-{name}", about, small(CODES, sink=1), GEOMETRY, most=64
        )
        case.append(9, 4402, 4403)
        case.save(quiet=True)
        case.fails(op, status, names, **args)
        case.save(same_as=0)
        cases.append(case)
    return cases


def attend_errors() -> "list[Case]":
    good = {"caches": [0], "layer": 0, "q_len": 1, "q": "gen:f32:4501"}
    refusals: list[tuple[Refusal, list[int] | None]] = [
        (("layer", "INVALID_ARGUMENT", "layer", {"layer": 2}), None),
        (("q-len", "INVALID_ARGUMENT", "q.shape", {"q_len": 10}), None),
        (("q-shape", "INVALID_ARGUMENT", "q.shape", {"q_shape": [1, 1, 2, 64]}), None),
        (("softcap", "INVALID_ARGUMENT", "softcap", {"softcap": -1.0}), None),
        (("drop-mass", "INVALID_ARGUMENT", "drop_mass", {"drop_mass": 2.0}), None),
        (("position", "INVALID_ARGUMENT", "q_position", {"q_position": -2}), None),
        (("weights", "INVALID_ARGUMENT", "weights.shape", {"weights_width": 8}), None),
        (("q-nan", "NON_FINITE", None, {"q": "gen:f32:4501;35=7fc00000"}), [0, 0, 1, 3]),
        (("q-infinity-f16", "NON_FINITE", None, {"q": "gen:f16:4501;127=7c00"}), [0, 0, 3, 31]),
        (("sinks", "NON_FINITE", "sinks[2]", {"sinks": "gen:f32:1;2=7f800000"}), None),
    ]
    cases: list[Case] = []
    for (name, status, names, args), values in refusals:
        case = Case(
            f"attend-{name}", "refused before anything is written", small(CODES), GEOMETRY, most=64
        )
        case.append(9, 4502, 4503)
        case.fails("attend", status, names, values, **{**good, **args})
        cases.append(case)
    return cases


def errors() -> "list[Case]":
    return recipe_errors() + create_errors() + append_errors() + change_errors() + attend_errors()


TOPICS = {"errors": errors}
