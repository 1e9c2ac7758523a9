# SPDX-License-Identifier: Apache-2.0
"""prune, pack: survivors and bytes of body rows."""

from itertools import product
from typing import Any

from case import Case
from recipe import Geometry, Recipe

COARSE = "fc00"  # mask for gen: sign and exponent stay, so that many magnitudes are equal


def marking(name: str, about: str, heads: int = 1, **window: Any) -> Case:
    """A cache whose rows stay dense until asked: recent 1, no AUTO."""
    recipe = Recipe(
        k={"method": "mask"}, v={"method": "mask"}, **{"recent": 1, "step": 8, **window}
    )
    geometry = Geometry(1, heads, heads)
    return Case(name, about, recipe, geometry, most=64, auto=False)


def finish(case: Case, tokens: int) -> Case:
    """Look at the marks, pack them, look at the bytes."""
    case.export("k", 0, tokens, values=False)
    case.export("k", 1, 2)
    case.prune("v", 0, tokens - 1, "token_topk", keep=5)
    case.compress()
    case.save()
    return case


def prune() -> "list[Case]":
    cases: list[Case] = []
    rules: list[tuple[str, dict[str, Any]]] = [
        ("token_topk", {"keep": 1}),
        ("token_topk", {"keep": 13}),
        ("token_topk", {"keep": 32}),
        ("n_m", {"keep": 2, "of": 4}),
        ("n_m", {"keep": 1, "of": 8}),
        ("n_m", {"keep": 3, "of": 16}),
        ("channels", {"keep": 7}),
        ("channels", {"keep": 31}),
        ("channel_topk", {"keep": 16}),
        ("channel_topk", {"keep": 5}),
        ("threshold", {"threshold": 0.25}),
        ("threshold", {"threshold": 1.0}),
        ("threshold", {}),
        ("none", {}),
    ]
    for (method, rule), (mask, kind) in product(rules, (("ffff", "plain"), (COARSE, "ties"))):
        values = "-".join(str(value) for value in rule.values()) or "0"
        about = f"{method} {rule} on rows of " + ("many" if kind == "ties" else "few") + " ties"
        case = marking(f"{method.replace('_', '-')}-{values}-{kind}", about)
        seed = len(cases) + 1
        case.append(6, f"gen:f16:{seed}:{mask}", seed + 100)
        case.prune("k", 0, 5, method, **rule)
        if method == "none":  # nothing is marked, and "mask" packs marked rows only
            case.export_all()
            args: dict[str, Any] = {"cache": 0, "layer": -1}
            case.fails("compress", "BAD_STATE", **args)
            case.save()
            cases.append(case)
            continue
        cases.append(finish(case, 6))
    return cases + prune_weights() + prune_masks() + prune_marks()


def prune_weights() -> "list[Case]":
    cases: list[Case] = []
    rules: list[tuple[str, dict[str, Any]]] = [
        ("token_topk", {"keep": 9}),
        ("n_m", {"keep": 2, "of": 4}),
        ("channels", {"keep": 8}),
        ("channel_topk", {"keep": 16}),
        ("threshold", {"threshold": 0.5}),
    ]
    weighting = (("channel", True, False), ("token", False, True), ("both", True, True))
    for (method, rule), (kind, channel, token) in product(rules, weighting):
        case = marking(f"{method.replace('_', '-')}-weights-{kind}", f"{method}, {kind} weights")
        seed = 200 + len(cases)
        case.append(6, seed, seed + 100)
        case.prune(
            "k",
            0,
            5,
            method,
            **rule,
            channel_weights=f"gen:f32:{seed}:7fffffff" if channel else None,
            token_weights=f"gen:f32:{seed + 50}:7fffffff" if token else None,
        )
        cases.append(finish(case, 6))
    case = marking("token-topk-weight-zero", "channels of weight 0 lose to any other; ties ascend")
    case.append(4, 290, 291)
    case.prune("k", 0, 3, "token_topk", keep=20, channel_weights="all:f32:00000000;3=3f800000")
    cases.append(finish(case, 4))
    return cases


def prune_masks() -> "list[Case]":
    cases: list[Case] = []
    for n, (name, mask) in enumerate(
        [
            ("gen", "gen:u8:301"),
            ("empty", "all:u8:00"),
            ("full", "all:u8:ff"),
            ("bit0", "all:u8:01"),
        ]
    ):
        case = marking(f"mask-{name}", f"bits of the caller: {mask}")
        case.append(5, 302 + n, 310 + n)
        case.prune("k", 0, 4, "mask", mask=mask)
        cases.append(finish(case, 5))
    return cases


def prune_marks() -> "list[Case]":
    """What becomes of marks."""
    cases: list[Case] = []
    case = marking("mark-replaced", "pruning again replaces the mark; the values are still there")
    case.append(5, 320, 321)
    case.prune("k", 0, 4, "token_topk", keep=3)
    case.export("k", 0, 5)
    case.prune("k", 1, 3, "token_topk", keep=20)
    case.export("k", 0, 5)
    cases.append(finish(case, 5))

    case = marking("mark-removed", "method none removes a mark")
    case.append(5, 322, 323)
    case.prune("k", 0, 4, "token_topk", keep=3)
    case.prune("k", 2, 4, "none")
    case.export_all()
    case.save()
    cases.append(case)

    case = marking("one-head", "kv_head names one head: weights and masks have one row", 2)
    case.append(5, 324, 325)
    case.prune("k", 0, 4, "mask", head=1, mask="gen:u8:326")
    case.prune("v", 0, 4, "token_topk", head=0, keep=4, channel_weights="gen:f32:327:7fffffff")
    case.export_all(head=0)
    case.export_all(head=1)
    case.save()
    cases.append(case)

    case = marking("empty-range", "an empty range marks nothing")
    case.append(5, 328, 329)
    case.prune("k", 2, 2, "token_topk", keep=3)
    case.save()
    cases.append(case)
    return cases + marks_and_recipe()


def marks_and_recipe() -> "list[Case]":
    """Where marks may be, and method 0."""
    cases: list[Case] = []
    window = {"recent": 3, "sink": 2}
    case = marking("sinks-and-window", "what may be marked lies between sinks and window", **window)
    case.append(9, 330, 331)
    args: dict[str, Any] = {
        "cache": 0,
        "layer": 0,
        "head": 0,
        "side": "k",
        "method": "token_topk",
        "keep": 3,
    }
    case.fails("prune", "BAD_STATE", **args, begin=1, end=4)
    case.fails("prune", "BAD_STATE", **args, begin=2, end=7)
    case.prune("k", 2, 6, "token_topk", keep=3)
    case.export_all()
    cases.append(case)

    recipe = Recipe(k={"keep": 8}, v={"keep": 8, "bits": 4}, recent=1, step=4)
    case = Case("recipe-rule", "method 0 is what the recipe says", recipe, most=64, auto=False)
    case.append(6, 340, 341)
    case.prune("k", 0, 5)
    case.prune("v", 0, 3)
    case.export_all()
    case.compress()
    case.save()
    cases.append(case)

    case = Case("auto-keeps-marks", "rows that leave the window keep their marks", recipe, most=64)
    case.append(3, 342, 343)
    case.prune("k", 0, 2, "n_m", keep=1, of=4)
    case.append(3, 344, 345)
    case.save()
    cases.append(case)
    return cases


def wrong_counts() -> "list[Case]":
    recipe = Recipe(k={"keep": 8}, v={"keep": 8}, recent=1, step=4)
    case = Case("mark-of-another-count", "a fixed row keeps exactly k", recipe, most=64)
    case.append(3, 350, 351)
    case.prune("k", 0, 2, "token_topk", keep=9)
    case.fails("compress", "BAD_STATE", cache=0, layer=-1)
    args: dict[str, Any] = {"cache": 0, "layer": 0, "tokens": 3}
    case.fails("append", "BAD_STATE", **args, k="gen:f16:352", v="gen:f16:353")
    case.save()
    case.prune("k", 0, 2, "none")
    case.append(3, 352, 353)
    case.save()
    return [case]


# ---- pack ---------------------------------------------------------------------------------------


def packed(
    name: str, about: str, recipe: Recipe, geometry: Geometry, tokens: int, seed: int
) -> Case:
    case = Case(name, about, recipe, geometry, most=128)
    case.append(tokens, seed, seed + 1000)
    case.side("k")
    case.side("v")
    case.save()
    case.export("k", 1, 2)
    case.export("v", 0, 1)
    case.bytes()
    return case


def pack() -> "list[Case]":
    cases: list[Case] = []
    for bits, keep, dtype in product((16, 8, 4, 2), (1, 5, 16, 32), ("f16", "bf16")):
        recipe = Recipe(
            k={"keep": keep, "bits": bits}, v={"keep": 7, "bits": bits}, recent=1, step=2
        )
        about = f"exact rows: keep {keep} of 32 at {bits} bits, {dtype}"
        geometry = Geometry(1, 1, 1, 32, 40, dtype)
        name = f"exact-{keep}-i{bits}-{dtype}"
        cases.append(packed(name, about, recipe, geometry, 3, 400 + len(cases)))
    sides: list[tuple[str, dict[str, Any]]] = [
        ("n-m", {"method": "n_m", "n": 2, "m": 4}),
        ("channels", {"method": "channels", "keep": 10}),
        ("channel-topk", {"method": "channel_topk", "keep": 12}),
        ("threshold", {"method": "threshold", "threshold": 0.5}),
        ("paper", {"sparsity": 0.7, "rule": "paper"}),
        ("sparsity", {"sparsity": 0.7}),
        ("fraction", {"keep": "5/16"}),
        ("multiple", {"keep": 10, "multiple": 8}),
    ]
    for (name, side), bits in product(sides, (16, 8, 4, 2)):
        recipe = Recipe(k={**side, "bits": bits}, v={**side, "bits": bits}, recent=1, step=4)
        about = f"{side} at {bits} bits"
        cases.append(packed(f"{name}-i{bits}", about, recipe, Geometry(), 5, 500 + len(cases)))
    for rule, sparsity in product(("exact", "paper"), (0.5, 0.7)):
        side = {"sparsity": sparsity, "rule": rule, "bits": 8}
        recipe = Recipe(k=side, v=side, recent=1, step=4)
        about = f"rule {rule} where many magnitudes are equal: " + (
            "ties stay" if rule == "paper" else "exactly k stay, the lower channels"
        )
        case = Case(f"ties-{rule}-{str(sparsity).replace('.', '')}", about, recipe, most=16)
        case.append(5, f"gen:f16:590:{COARSE}", f"gen:f16:591:{COARSE}")
        case.save()
        case.export("k", 0, 2)
        case.bytes()
        cases.append(case)
    return cases + pack_layouts() + pack_values() + wrong_counts()


def pack_layouts() -> "list[Case]":
    cases: list[Case] = []
    for bits, group, d in product((8, 4, 2), (32, 64), (64, 128)):
        side: dict[str, Any] = {"bits": bits, "group": group}
        recipe = Recipe(k=side, v=side, recent=1, step=2)
        about = f"{d // group} groups of {group} channels at {bits} bits"
        geometry = Geometry(1, 1, 1, d, d)
        name = f"group{group}-d{d}-i{bits}"
        cases.append(packed(name, about, recipe, geometry, 3, 600 + len(cases)))
    for bits, dtype in product((8, 4, 2), ("f16", "bf16")):
        recipe = Recipe(k={"bits": bits, "axis": "channel"}, v={"bits": bits}, recent=1)
        about = f"K with a scale and zero per channel over 32 rows, {bits} bits, {dtype}"
        geometry = Geometry(1, 1, 1, 32, 32, dtype)
        cases.append(
            packed(f"channel-i{bits}-{dtype}", about, recipe, geometry, 34, 650 + len(cases))
        )
    recipe = Recipe(
        k={"bits": 4, "axis": "channel"}, v={"method": "threshold", "threshold": 0.5}, recent=1
    )
    about = "blocks of 32 on K beside ragged rows on V"
    cases.append(packed("channel-and-ragged", about, recipe, Geometry(), 33, 680))
    centre = [round(((7 * c) % 11 - 5) / 4, 2) for c in range(32)]
    for name, value in (("mean", "mean"), ("given", centre)):
        for bits, keep, dtype in ((16, 9, "f16"), (16, 32, "bf16"), (4, 9, "f16"), (2, 32, "bf16")):
            side = {"keep": keep, "bits": bits, "centre": value}
            recipe = Recipe(k=side, v={"bits": 8}, recent=1, step=4)
            about = f"centre {name}: keep {keep} at {bits} bits, {dtype}"
            geometry = Geometry(1, 1, 1, 32, 32, dtype)
            case_name = f"centre-{name}-{keep}-i{bits}-{dtype}"
            cases.append(packed(case_name, about, recipe, geometry, 5, 700 + len(cases)))
    recipe = Recipe(k={"bits": 8, "centre": "mean"}, recent=0, step=4)
    case = Case("centre-sum-in-double", "the mean is summed in double; 32752 is the limit", recipe)
    case.append(4, "gen:f16:735;0=77ff;32=0401;64=f7ff;1=7700;33=8001;65=f700;97=0003", 736)
    case.save()
    case.export("k", 0, 1)
    cases.append(case)
    for name, side in (
        ("channels", {"method": "channels", "keep": 9}),
        ("threshold", {"method": "threshold", "threshold": 0.5}),
        ("n-m", {"method": "n_m", "n": 1, "m": 4}),
        ("group", {"bits": 4, "group": 32}),
    ):
        recipe = Recipe(k={**side, "centre": "mean"}, recent=1, step=4)
        about = f"centre with {side}"
        cases.append(packed(f"centre-{name}", about, recipe, Geometry(), 9, 740 + len(cases)))
    return cases + pack_heads()


def pack_heads() -> "list[Case]":
    layers = (
        {"at": "1-2", "k": {"keep": 4}},
        {"at": "-1", "v": {"bits": 2}, "heads": [{"at": "1", "k": {"sparsity": 0.5}}]},
    )
    recipe = Recipe({"keep": 8, "bits": 4}, {"bits": 4}, 1, 0, 4, protect=(0,), layers=layers)
    geometry = Geometry(4, 4, 2, 32, 32)
    case = Case(
        "layers-and-heads", "overrides by layer and head; a protected layer", recipe, geometry
    )
    for layer in range(4):
        case.append(5, 760 + layer, 770 + layer, layer=layer)
    for layer, head in product(range(4), range(2)):
        case.side("k", layer, head)
    case.save()
    return [case]


def pack_values() -> "list[Case]":
    """Values that make a rule of quantization or rounding visible."""
    cases: list[Case] = []
    rows = {
        "constant": ("all:f16:3c00", "scale 0: all codes are 0"),
        "constant-f16-rounding": ("all:f16:2e66", "a constant comes back exactly"),
        "zeros": ("all:f16:0000;0=8000;5=8000", "-0 equals +0; zero is never -0"),
        "negative": ("gen:f16:801:ffff;0=fbff", "-65504 beside small numbers"),
        "extremes": ("all:f16:0000;0=fbff;1=7bff", "the largest range; its scale fits f16"),
        "subnormal": ("all:f16:0001;3=0002;4=03ff;9=8001", "subnormals; a scale may round to 0"),
        "halfway": ("all:f16:0000;1=3c00;2=3800;3=3400;4=3a00", "codes half way: ties to even"),
        "one-outlier": ("gen:f16:802:fc00;7=7400", "one large value takes the range"),
    }
    for (name, (text, about)), bits in product(rows.items(), (8, 4, 2)):
        recipe = Recipe(k={"bits": bits}, v={"keep": 6, "bits": bits}, recent=0, step=1)
        case = Case(f"values-{name}-i{bits}", about, recipe, most=8)
        case.append(1, text, text)
        case.save()
        case.export_all()
        cases.append(case)
    recipe = Recipe(k={"keep": 6}, v={"keep": 6}, recent=0, step=1)
    case = Case("values-negative-zero-i16", "a kept -0 keeps its sign", recipe, most=8)
    case.append(1, "all:f16:8000;3=3c00", "all:f16:0000;3=8000;4=bc00")
    case.save()
    cases.append(case)
    recipe = Recipe(k={"bits": 8}, v={"bits": 2}, recent=0, step=1)
    geometry = Geometry(dtype="bf16")
    case = Case("values-bf16-tiny-i8", "the minimum rounds to -0 as f16", recipe, geometry)
    case.append(1, "all:bf16:b089;3=3f80;7=3f00", "all:bf16:b089")
    case.save()
    cases.append(case)
    case = Case(
        "values-bf16-large-i8", "bf16 beyond f16 precision, within its range", recipe, geometry
    )
    case.append(1, "all:bf16:3f80;0=477f;1=c77f", "gen:bf16:803")
    case.save()
    cases.append(case)
    return cases


TOPICS = {"prune": prune, "pack": pack}
