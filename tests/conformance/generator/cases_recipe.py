# SPDX-License-Identifier: Apache-2.0
"""recipe: what texts mean."""

from typing import Any

from case import Case
from recipe import Geometry, Recipe

HALF, FIVE = {"keep": "1/2"}, {"keep": "5/16"}
NAMED: "dict[str, tuple[dict[str, Any], dict[str, Any]]]" = {
    "dense": ({}, {}),
    "mustafar-50": (HALF, HALF),
    "mustafar-70": (FIVE, FIVE),
    "k50-v70": (HALF, FIVE),
    "kivi-4": ({"bits": 4, "axis": "channel"}, {"bits": 4}),
    "kivi-2": ({"bits": 2, "axis": "channel"}, {"bits": 2}),
    "int8": ({"bits": 8}, {"bits": 8}),
    "int4": ({"bits": 4}, {"bits": 4}),
    "int2": ({"bits": 2}, {"bits": 2}),
    "k4v2": ({"bits": 4}, {"bits": 2}),
    "mustafar-50-int4": ({**HALF, "bits": 4}, {**HALF, "bits": 4}),
    "mustafar-70-int8": ({**FIVE, "bits": 8}, {**FIVE, "bits": 8}),
    "mustafar-70-int4": ({**FIVE, "bits": 4}, {**FIVE, "bits": 4}),
    "lean": ({**HALF, "bits": 4}, {"bits": 2}),
    "leaner": ({**FIVE, "bits": 4}, {"bits": 2}),
}
SHORT: "dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]" = {
    "k64/v40": ({"keep": 64}, {"keep": 40}, {}),
    "kd/vd": ({"keep": "d"}, {"keep": "d"}, {}),
    "k64i4/v128i2": ({"keep": 64, "bits": 4}, {"keep": 128, "bits": 2}, {}),
    "kdi4c/vdi4": ({"keep": "d", "bits": 4, "axis": "channel"}, {"keep": "d", "bits": 4}, {}),
    "k64i4m/vdi2/w64/s4": (
        {"keep": 64, "bits": 4, "centre": "mean"},
        {"keep": "d", "bits": 2},
        {"recent": 64, "sink": 4},
    ),
    "kdi8g32/vdi2g64/w0": (
        {"keep": "d", "bits": 8, "group": 32},
        {"keep": "d", "bits": 2, "group": 64},
        {"recent": 0},
    ),
    "k1/v1/s9": ({"keep": 1}, {"keep": 1}, {"sink": 9}),
}


def recipe_case(name: str, about: str, recipe: Recipe, text: "str | None" = None) -> Case:
    case = Case(name, about, recipe, Geometry(4, 8, 2, 128, 128), create=False)
    case.text = text or recipe.given()
    case.canonical()
    return case


def recipes() -> "list[Case]":
    cases: list[Case] = []
    for name, (k, v) in NAMED.items():
        case = recipe_case(
            f"named-{name}", f"the built-in recipe {name}", Recipe(k, v, name=name), name
        )
        case.side("k")
        case.side("v")
        case.window()
        cases.append(case)
    for text, (k, v, window) in SHORT.items():
        recipe = Recipe(k, v, name=text, **window)
        case = recipe_case("short-" + text.replace("/", "-"), f"the shorthand {text}", recipe, text)
        case.side("k")
        case.side("v")
        case.window()
        cases.append(case)
    return cases + counts() + overrides()


def counts() -> "list[Case]":
    """How a sparsity, a fraction or a multiple becomes k, over head sizes."""
    cases: list[Case] = []
    sides: list[tuple[str, dict[str, Any]]] = [
        (f"{rule}-{str(sparsity).replace('.', '')}", {"sparsity": sparsity, "rule": rule})
        for rule in ("exact", "paper")
        for sparsity in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
    ]
    sides += [
        ("fraction-third", {"keep": "1/3"}),
        ("fraction-lowest-terms", {"keep": "40/128"}),
        ("fraction-tiny", {"keep": "1/1000"}),
        ("fraction-whole", {"keep": "7/7"}),
        ("multiple-4", {"sparsity": 0.7, "multiple": 4}),
        ("multiple-8", {"keep": "5/16", "multiple": 8}),
        ("n-m", {"method": "n_m", "n": 2, "m": 4}),
        ("n-m-all", {"method": "n_m", "n": 4, "m": 4}),
        ("channels", {"method": "channels", "sparsity": 0.4}),
        ("channel-topk", {"method": "channel_topk", "sparsity": 0.7}),
        ("channel-topk-keep", {"method": "channel_topk", "keep": 5}),
        ("threshold", {"method": "threshold", "threshold": 0.25}),
        ("mask", {"method": "mask"}),
    ]
    for name, side in sides:
        recipe = Recipe(k={**side, "bits": 4}, v=side)
        case = recipe_case(f"count-{name}", f"{side} for head sizes 32, 40, 128 and 256", recipe)
        for d in (32, 40, 128, 256):
            case.geometry = Geometry(1, 1, 1, d, d)
            case.side("k")
            case.side("v")
            for step in case.steps[-2:]:
                step["geometry"] = case.geometry.json()
        case.geometry = Geometry(1, 1, 1, 32, 32)
        cases.append(case)
    return cases


def overrides() -> "list[Case]":
    cases: list[Case] = []
    entries: dict[str, tuple[dict[str, Any], ...]] = {
        "at-list": ({"at": "0,2-3", "k": {"keep": 16}},),
        "at-negative": ({"at": "-1", "v": {"bits": 8}}, {"at": "-2--1", "k": {"bits": 2}}),
        "in-order": ({"at": "0-3", "k": {"keep": 16}}, {"at": "1", "k": {"keep": 20}}),
        "method-drops-keep": ({"at": "1", "k": {"method": "threshold", "threshold": 0.5}},),
        "keep-drops-sparsity": ({"at": "1", "v": {"keep": 3}},),
        "sparsity-drops-keep": ({"at": "1", "k": {"sparsity": 0.25}},),
        "none": ({"at": "1", "k": {"method": "none"}}, {"at": "1", "k": {"keep": 7}}),
        "heads": (
            {"at": "1-2", "heads": [{"at": "1", "k": {"bits": 2}}, {"at": "-1", "v": {"keep": 9}}]},
        ),
        "budgets": (
            {"at": "0", "budget": 50},
            {"at": "1", "budget": [40, 60]},
            {"at": "1", "heads": [{"at": "0", "budget": 45}]},
        ),
    }
    for name, layers in entries.items():
        recipe = Recipe({"keep": 64, "bits": 4}, {"sparsity": 0.5}, budget=100, layers=layers)
        case = recipe_case(f"layers-{name}", f"overrides: {name}", recipe)
        for layer in range(4):
            for head in range(2):
                case.side("k", layer, head)
                case.side("v", layer, head)
                case.window(layer, head)
        cases.append(case)
    recipe = Recipe({"keep": 8, "centre": "mean"}, {"bits": 2}, protect=(0, -1), precise=True)
    case = recipe_case("protect", "protected layers are dense, 16 bits, not centred", recipe)
    for layer in range(4):
        case.side("k", layer)
        case.side("v", layer)
    cases.append(case)
    return cases


TOPICS = {"recipe": recipes}
