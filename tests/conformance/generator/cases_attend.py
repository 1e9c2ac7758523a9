# SPDX-License-Identifier: Apache-2.0
"""attend, merge, drop_mass."""

from itertools import product
from typing import Any

from bits import text_of
from case import Case
from cases_life import CHANNEL, CODES, KEEP, RAGGED, small
from recipe import Geometry, Recipe

RECIPES: "list[tuple[str, Recipe]]" = [
    ("dense", small({}, {})),
    ("keep", small(KEEP, KEEP)),
    ("keep-i8", small({**KEEP, "bits": 8}, {**KEEP, "bits": 8})),
    ("keep-i4", small(CODES, CODES)),
    ("keep-i2", small({**KEEP, "bits": 2}, {**KEEP, "bits": 2})),
    ("k4v2", small({"bits": 4}, {"bits": 2})),
    ("group", small({"bits": 4, "group": 32}, {"bits": 2, "group": 32})),
    ("ragged", small({**RAGGED, "bits": 4}, RAGGED)),
    (
        "channel-topk",
        small({"method": "channel_topk", "keep": 9}, {"method": "channel_topk", "keep": 5}),
    ),
    ("n-m", small({"method": "n_m", "n": 2, "m": 4}, {"method": "n_m", "n": 1, "m": 4, "bits": 4})),
    ("channels", small({"method": "channels", "keep": 11}, {"method": "channels", "keep": 11})),
    ("centre", small({**CODES, "centre": "mean"}, {"bits": 4})),
    ("channel", Recipe(k=CHANNEL, v={"bits": 4}, recent=2)),
]


def filled(
    name: str, about: str, recipe: Recipe, geometry: Geometry, tokens: int, seed: int
) -> Case:
    case = Case(name, about, recipe, geometry, most=128)
    case.append(tokens, seed, seed + 1)
    return case


def attend() -> "list[Case]":
    """Decode over body and window."""
    cases: list[Case] = []
    for (name, recipe), (q, kv) in product(RECIPES, ((1, 1), (4, 1), (4, 2))):
        tokens = 35 if name == "channel" else 12
        about = f"one query over {tokens} tokens, {q} query heads on {kv} kv heads"
        geometry = Geometry(1, q, kv, 32, 32)
        case = filled(f"{name}-q{q}kv{kv}", about, recipe, geometry, tokens, 2400 + 10 * len(cases))
        case.attend(2400 + 10 * len(cases) + 5, weights=True)
        cases.append(case)
    for name, recipe in RECIPES[1:4] + RECIPES[11:12]:
        about = "large scores: one row takes almost all the weight"
        case = filled(
            f"{name}-peaked", about, recipe, Geometry(1, 2, 1), 12, 2800 + 10 * len(cases)
        )
        case.attend(2805 + 10 * len(cases), scale=4.0, weights=True, looser=4.0)
        cases.append(case)
    return cases + shapes() + types() + options() + batches() + states()


def shapes() -> "list[Case]":
    cases: list[Case] = []
    for dk, dv, q, kv in (
        (64, 64, 2, 1),
        (40, 72, 2, 2),
        (128, 32, 8, 2),
        (80, 80, 1, 1),
        (256, 256, 1, 1),
    ):
        about = f"head_dim_k {dk}, head_dim_v {dv}, {q} query heads on {kv} kv heads"
        case = filled(
            f"d{dk}-d{dv}-q{q}kv{kv}",
            about,
            small(CODES, CODES),
            Geometry(1, q, kv, dk, dv),
            9,
            3000 + dk,
        )
        case.attend(3001 + dk)
        cases.append(case)
    for tokens in (1, 2, 3, 6, 7, 40, 100):
        about = f"{tokens} tokens: around recent 2, step 4, page 32"
        case = filled(
            f"length-{tokens}", about, small(CODES, CODES), Geometry(), tokens, 3300 + tokens
        )
        case.attend(3301 + tokens)
        cases.append(case)
    for q_len in (2, 3, 6):
        about = f"{q_len} queries, causal: query i sees its own position and before"
        case = filled(f"causal-{q_len}", about, small(CODES), Geometry(1, 4, 2), 11, 3400 + q_len)
        case.attend(3401 + q_len, q_len, weights=True)
        cases.append(case)
    case = filled(
        "causal-all", "as many queries as tokens", small(KEEP), Geometry(1, 2, 1), 7, 3410
    )
    case.attend(3411, 7, weights=True)
    cases.append(case)
    return cases


def types() -> "list[Case]":
    cases: list[Case] = []
    for stored, given, out in product(
        ("f16", "bf16"), ("f32", "f16", "bf16"), ("f32", "f16", "bf16")
    ):
        about = f"stored {stored}, queries {given}, out {out}"
        geometry = Geometry(1, 2, 1, 32, 32, stored)
        case = filled(
            f"types-{stored}-{given}-{out}", about, small(CODES), geometry, 9, 3500 + len(cases)
        )
        case.attend(3550 + len(cases), dtype=given, out_dtype=out)
        cases.append(case)
    return cases


def options() -> "list[Case]":
    cases: list[Case] = []
    geometry = Geometry(1, 4, 2, 32, 32)
    recipe = small({**CODES, "centre": "mean"}, CODES, sink=1)
    settings: list[tuple[str, dict[str, Any]]] = [
        ("scale", {"scale": 0.5}),
        ("scale-negative", {"scale": -0.25}),
        ("softcap", {"softcap": 2.0}),
        ("softcap-large", {"softcap": 50.0}),
        ("sliding-1", {"sliding_window": 1}),
        ("sliding-5", {"sliding_window": 5}),
        ("sliding-12", {"sliding_window": 12}),
        ("sliding-999", {"sliding_window": 999}),
        ("at-0", {"q_position": 0}),
        ("at-5", {"q_position": 5}),
        ("at-far", {"q_position": 100}),
        ("at-behind-window", {"q_position": 30, "sliding_window": 8}),
    ]
    for (name, setting), q_len in product(settings, (1, 3)):
        about = f"{setting}, {q_len} queries; 13 tokens"
        case = filled(f"{name}-x{q_len}", about, recipe, geometry, 13, 3600 + len(cases))
        case.attend(3650 + len(cases), q_len, weights=True, **setting)
        cases.append(case)
    sinks = {
        "sinks": "gen:f32:3700",
        "sinks-large": "all:f32:41200000",
        "sinks-small": "all:f32:c1a00000",
    }
    for (name, text), softcap in product(sinks.items(), (0.0, 3.0)):
        about = "learned sinks: a score more per query head, without a value; not capped"
        case = filled(
            f"{name}-{'cap' if softcap else 'plain'}",
            about,
            recipe,
            geometry,
            13,
            3710 + len(cases),
        )
        case.attend(3720 + len(cases), 2, sinks=text, softcap=softcap, weights=True)
        cases.append(case)
    case = Case("no-rows", "an empty cache: zeros and -inf", recipe, geometry, most=16)
    case.attend(3740, q_position=0)
    cases.append(case)
    case = Case(
        "no-rows-sinks", "an empty cache with sinks: zeros and the sink", recipe, geometry, most=16
    )
    case.attend(3741, q_position=0, sinks="gen:f32:3742")
    cases.append(case)
    return cases


def batches() -> "list[Case]":
    cases: list[Case] = []
    geometry = Geometry(2, 4, 2, 32, 32)
    case = Case(
        "ragged-batch", "caches of many lengths in one call", small(CODES), geometry, most=64
    )
    lengths = (1, 9, 3, 17)
    for slot, count in enumerate(lengths):
        if slot:
            case.create(slot, most=64)
        for layer in range(2):
            case.append(count, 3800 + 4 * slot + layer, 3820 + 4 * slot + layer, slot, layer)
    for layer in range(2):
        case.attend(3840 + layer, caches=(0, 1, 2, 3), layer=layer)
    case.attend(3845, 3, caches=(3, 1), layer=1)
    cases.append(case)
    case = Case(
        "mixed-recipes", "caches of other recipes in one call", small(CODES), geometry, most=64
    )
    case.create(1, most=64, recipe=small({}, {}))
    case.create(2, most=64, recipe=small({**RAGGED, "bits": 8}, KEEP))
    for slot in range(3):
        case.append(8 + slot, 3850 + slot, 3860 + slot, slot)
    case.attend(3870, 2, caches=(2, 0, 1))
    case.attend(3871, caches=(1, 1))
    cases.append(case)
    return cases


def states() -> "list[Case]":
    """Marks, drafts, evictions, roll-back, forks: attention sees what export shows."""
    cases: list[Case] = []
    geometry = Geometry(1, 4, 2, 32, 32)
    case = filled("tentative", "drafts are attended", small(CODES), geometry, 9, 3900)
    case.append(3, 3902, 3903, tentative=True)
    case.attend(3904, 4, weights=True)
    case.truncate(10)
    case.attend(3905, 2)
    case.commit()
    case.attend(3905, 2)
    cases.append(case)
    case = filled("marks", "marked rows are attended as pruned", small(CODES), geometry, 5, 3910)
    case.attend(3912)
    case.prune("k", 0, 3, "token_topk", keep=4)
    case.attend(3912)
    case.prune("v", 1, 2, "token_topk", keep=2)
    case.attend(3912)
    cases.append(case)
    case = filled(
        "marks-centred",
        "a pruned key element reads as mu",
        small({**CODES, "centre": "mean"}),
        geometry,
        5,
        3915,
    )
    case.prune("k", 0, 3)
    case.attend(3917, weights=True)
    cases.append(case)
    return cases + states_after()


def states_after() -> "list[Case]":
    """Evictions, roll-back, loading, protected layers."""
    cases: list[Case] = []
    geometry = Geometry(1, 4, 2, 32, 32)
    for name, recipe in (*RECIPES[3:4], *RECIPES[7:8], *RECIPES[12:]):
        tokens = 36 if name == "channel" else 14
        case = filled(
            f"evicted-{name}",
            "heads with their own rows",
            recipe,
            geometry,
            tokens,
            3920 + len(cases),
        )
        case.evict([0, 2, 5], head=1)
        case.evict([1], head=0)
        case.attend(3930 + len(cases), 2, weights=True)
        case.attend(3931 + len(cases), sliding_window=10, weights=True)
        cases.append(case)
    case = filled(
        "packed-in-window", "after a deep roll-back", small(CODES, sink=2), geometry, 16, 3940
    )
    case.truncate(6, keep_packed=True)
    case.attend(3942, 2, weights=True)
    cases.append(case)
    case = filled(
        "loaded", "a loaded cache gives the same attention", small(CODES), geometry, 9, 3950
    )
    case.save()
    case.load(1)
    case.attend(3952, caches=(0, 1))
    cases.append(case)
    case = filled(
        "protected",
        "layers without pruning beside others",
        Recipe(KEEP, KEEP, 1, 0, 4, protect=(0,)),
        Geometry(2, 2, 1),
        9,
        3960,
    )
    case.append(9, 3962, 3963, layer=1)
    case.attend(3964, layer=0)
    case.attend(3964, layer=1)
    cases.append(case)
    return cases


def drop() -> "list[Case]":
    """drop_mass: what may be left out, and the bound that says so."""
    cases: list[Case] = []
    for (name, recipe), mass, scale in product(RECIPES[:5], (0.0625, 0.5), (0.0, 4.0)):
        about = f"drop_mass {mass}, scale {scale or 'default'}; `out` is the exact one"
        case = filled(
            f"{name}-{mass}-{'peaked' if scale else 'flat'}",
            about,
            recipe,
            Geometry(1, 4, 2),
            20,
            4000 + 2 * len(cases),
        )
        case.attend(4050 + len(cases), 2, drop_mass=mass, scale=scale, looser=4.0)
        cases.append(case)
    return cases


def merge() -> "list[Case]":
    cases: list[Case] = []
    for dtype, (name, a, b) in product(
        ("f32", "f16", "bf16"),
        (
            ("near", "gen:f32:4100", "gen:f32:4101"),
            ("far", "all:f32:42c80000", "all:f32:c2c80000"),
            ("empty-a", "all:f32:ff800000", "gen:f32:4102"),
            ("empty-b", "gen:f32:4103", "all:f32:ff800000"),
            ("empty-both", "all:f32:ff800000", "all:f32:ff800000"),
            ("some-empty", "gen:f32:4104;1=ff800000", "gen:f32:4105;1=ff800000;2=ff800000"),
        ),
    ):
        case = Case(f"{name}-{dtype}", f"parts with lse {a} and {b}", create=False)
        case.merge(4, f"gen:{dtype}:{4110 + len(cases)}", a, f"gen:{dtype}:{4130 + len(cases)}", b)
        cases.append(case)
    for value in ("7fc00000", "7f800000"):
        case = Case(f"refused-{value}", "an lse of NaN or +inf", create=False)
        args: dict[str, Any] = {"rows": 2, "dim": 8, "out_a": "gen:f32:1", "out_b": "gen:f32:2"}
        lse: dict[str, Any] = {"lse_a": "all:f32:00000000", "lse_b": f"all:f32:00000000;1={value}"}
        case.fails("merge", "NON_FINITE", "lse_b", **args, **lse)
        cases.append(case)
    return cases + prefix()


def prefix() -> "list[Case]":
    """Two caches that share the rows of one: merging their parts gives the whole."""
    cases: list[Case] = []
    geometry = Geometry(1, 4, 2, 32, 32)
    never = Recipe(recent=12)  # all dense: the parts are those of the whole
    about = "the parts of 8 and 4 tokens, merged, are the 12"
    case = Case("prefix", about, never, geometry, most=64)
    case.append(8, 4200, 4201)
    case.create(1, most=64)
    case.append(4, 4202, 4203, cache=1)
    parts = [case.attend(4204, caches=(i,), q_position=20) for i in (0, 1)]
    texts = [(text_of(part.out), text_of(part.lse)) for part in parts]
    case.merge(4, *texts[0], *texts[1], d=32)
    case.append(4, 4202, 4203, cache=0)
    case.attend(4204, q_position=20)
    cases.append(case)
    return cases


TOPICS = {"attend": attend, "drop": drop, "merge": merge}
