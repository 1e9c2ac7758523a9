# SPDX-License-Identifier: Apache-2.0
"""evict, snapshot, stats."""

from itertools import product
from typing import Any

from case import Case
from cases_life import CHANNEL, CODES, KEEP, KINDS, RAGGED, small
from recipe import Geometry, Recipe


def evict() -> "list[Case]":
    cases: list[Case] = []
    for (name, recipe), (kind, gone) in product(
        KINDS, (("body", [0, 3, 5]), ("tail", [8, 9]), ("all", list(range(10))))
    ):
        case = Case(
            f"{name}-{kind}", f"positions {gone} of 12 go; codes move as they are", recipe, most=64
        )
        seed = 1700 + 10 * len(cases)
        case.append(12, seed, seed + 1)
        case.evict(gone)
        case.state()
        case.bytes()
        case.append(5, seed + 2, seed + 3)
        case.state()
        case.save()
        cases.append(case)
    return cases + evict_scores() + evict_more()


def evict_scores() -> "list[Case]":
    cases: list[Case] = []
    scores = {
        "rising": "gen:f32:1901:7fffffff",
        "signed": "gen:f32:1902",
        "ties": "all:f32:3f800000",
        "some-ties": "gen:f32:1903:ff800000",
        "infinite": "all:f32:00000000;2=7f800000;4=ff800000;6=80000000",
    }
    for (name, text), budget in product(scores.items(), (4, 7, 11, 20)):
        about = f"the lowest of 12 go until {budget} are left, the younger of equal ones"
        case = Case(f"scores-{name}-{budget}", about, small(CODES, sink=1), most=64)
        case.append(12, 1910, 1911)
        case.evict_scores(text, budget)
        case.state()
        case.save()
        cases.append(case)
    layers = ({"at": "0", "budget": [6, 9]},)
    recipe = Recipe(CODES, {"bits": 2}, 2, 0, 4, budget=8, layers=layers)
    geometry = Geometry(2, 4, 2, 32, 32)
    case = Case(
        "scores-recipe-budget", "budget 0: what the recipe says for the head", recipe, geometry
    )
    for layer in range(2):
        case.append(12, 1920 + layer, 1922 + layer, layer=layer)
    for layer, head in product(range(2), range(2)):
        case.evict_scores(f"gen:f32:{1930 + layer}", 0, head, layer)
        case.state(layer=layer, head=head)
        case.window(layer, head)
    case.save()
    cases.append(case)
    return cases


def evict_more() -> "list[Case]":
    cases: list[Case] = []
    case = Case(
        "keep", "KEEP names survivors; the window stays anyway", small(CODES, sink=1), most=64
    )
    case.append(12, 1940, 1941)
    case.evict([2, 5, 11], keep=True)
    case.state()
    case.save()
    cases.append(case)

    case = Case(
        "keep-nothing", "KEEP of no position leaves sinks and window", small(CODES, sink=1), most=64
    )
    case.append(12, 1942, 1943)
    case.evict([], keep=True)
    case.state()
    case.save()
    cases.append(case)

    case = Case("twice", "positions of the rows that are left", small(KEEP), most=64)
    case.append(12, 1944, 1945)
    case.evict([1, 4])
    case.append(4, 1946, 1947)
    case.evict([2, 13])
    case.state()
    case.save()
    case.fails("evict", "INVALID_ARGUMENT", "positions[0]", cache=0, layer=0, head=0, positions=[4])
    cases.append(case)
    return cases + evict_places()


def evict_places() -> "list[Case]":
    """Heads, blocks, pages, marks: what moves with the rows."""
    cases: list[Case] = []
    geometry = Geometry(1, 4, 2, 32, 32)
    case = Case(
        "ragged-heads", "heads of one layer have their own lengths", small(CODES), geometry, most=64
    )
    case.append(12, 1948, 1949)
    case.evict([0, 1, 2, 3, 4], head=1)
    case.append(5, 1950, 1951)
    case.state(head=0)
    case.state(head=1)
    case.stats()
    case.save()
    cases.append(case)

    for name, gone in (("some", [0, 7, 31]), ("block", list(range(32)))):
        recipe = Recipe(k=CHANNEL, v={"bits": 4}, recent=1)
        case = Case(f"channel-{name}", "a hole in a block; its bytes stay", recipe, most=128)
        case.append(66, 1960, 1961)
        case.evict(gone)
        case.state()
        case.bytes()
        case.save()
        cases.append(case)

    case = Case("marks-move", "marks of dense rows move with them", small(CODES), most=64)
    case.append(5, 1964, 1965)
    case.prune("k", 1, 3, "token_topk", keep=9)
    case.evict([0])
    case.export_all()
    case.save()
    cases.append(case)

    case = Case("then-truncate", "lengths are positions, not rows", small(KEEP), most=64)
    case.append(14, 1966, 1967)
    case.evict([2, 3, 10])
    case.append(2, 1968, 1969)
    least = case.caches[0].smallest_exact()
    case.fails("truncate", "NOT_EXACT", error_values=[least], cache=0, length=least - 1)
    case.truncate(least)
    case.state()
    case.save()
    cases.append(case)

    case = Case("pages", "rows move over page borders", small({"keep": 3}, {"bits": 2}), most=128)
    case.append(80, 1970, 1971)
    case.evict(list(range(0, 70, 3)))
    case.state()
    case.bytes()
    case.save()
    cases.append(case)
    return cases


def snapshots() -> "list[Case]":
    cases: list[Case] = []
    kinds = [*KINDS, ("channel", Recipe(k=CHANNEL, v=RAGGED, recent=1))]
    for name, recipe in kinds:
        case = Case(
            f"round-trip-{name}",
            "a loaded cache saves to the same bytes and goes on",
            recipe,
            most=80,
        )
        seed = 2000 + 10 * len(cases)
        count = 33 if name == "channel" else 9
        case.append(count, seed, seed + 1)
        case.evict([1])
        case.append(2, seed + 2, seed + 3, tentative=True)
        case.save()
        case.load(1)
        case.state(1)
        case.save(1, same_as=0)
        case.commit(1)
        case.append(3, seed + 4, seed + 5, cache=1)
        case.save(1)
        cases.append(case)
    case = Case("marks", "marks are saved", small(CODES), most=80)
    case.append(5, 2080, 2081)
    case.prune("k", 0, 3, "token_topk", keep=9)
    case.prune("v", 1, 2, "token_topk", keep=3)
    case.save()
    case.load(1)
    case.export_all(1)
    case.save(1, same_as=0)
    cases.append(case)
    case = Case(
        "empty", "a cache without rows", small(CODES), Geometry(2, 2, 1, 32, 40, "bf16"), most=9
    )
    case.save(model_id="")
    case.load(1)
    case.save(1, model_id="", same_as=0)
    cases.append(case)
    case = Case("model-id", "any text of the caller's", small(CODES), most=9)
    case.save(model_id="weights 3% of RoPE=1e6 / \u00e9")
    case.load(1, model_id="weights 3% of RoPE=1e6 / \u00e9")
    cases.append(case)
    return cases + mismatches()


def mismatches() -> "list[Case]":
    cases: list[Case] = []
    other = small(KEEP)
    refusals: list[tuple[str, str, str | None, dict[str, Any]]] = [
        ("geometry", "MISMATCH", "geometry", {"geometry": Geometry(1, 2, 1, 32, 32).json()}),
        ("recipe", "MISMATCH", "recipe", {"recipe": other.given()}),
        ("model", "MISMATCH", "model_id", {"model_id": "another"}),
        ("flags", "MISMATCH", "options.flags", {"auto": False}),
        ("capacity", "CAPACITY", "max_tokens", {"max_tokens": 4}),
        ("magic", "CORRUPT", None, {"patch": [0, 88]}),
        ("version", "MISMATCH", None, {"patch": [8, 2]}),
        ("byte-order", "CORRUPT", None, {"patch": [12, 1]}),
        ("checksum", "CORRUPT", None, {"patch": [40, 3]}),
        ("end-of-data", "CORRUPT", None, {"cut": 300}),
        ("no-data", "CORRUPT", None, {"cut": 0}),
    ]
    for name, status, names, args in refusals:
        case = Case(f"refused-{name}", f"{args}", small(CODES), most=80)
        case.append(7, 2090, 2091)
        case.save(quiet=True)
        at = [16] if name == "checksum" else None
        case.fails("load", status, names, at, saved=0, to=1, **args)
        case.load(1)
        case.save(1, same_as=0)
        cases.append(case)
    return cases


def stats() -> "list[Case]":
    cases: list[Case] = []
    kinds = [
        *KINDS,
        ("channel", Recipe(k=CHANNEL, recent=1)),
        ("group", small({"bits": 4, "group": 32})),
    ]
    for name, recipe in kinds:
        case = Case(
            f"{name}",
            "bytes by part, counts, and what plan foretells",
            recipe,
            Geometry(2, 4, 2),
            most=96,
        )
        seed = 2100 + 10 * len(cases)
        for layer in range(2):
            case.append(41, seed + layer, seed + 4 + layer, layer=layer)
        case.stats(shared=0)
        case.bytes()
        case.bytes(layer=1)
        case.bytes(layer=0, head=1)
        case.plan(41)
        case.fork(1)
        case.bytes(1)
        pages = sum(len(list(h.pages())) for heads in case.caches[0].heads for h in heads)
        case.stats(1, shared=pages)
        case.evict([2, 3], head=1)
        case.bytes(layer=0, head=1)
        case.stats()
        cases.append(case)
    for tokens in (1, 3, 31, 32, 33, 64):
        case = Case(
            f"plan-{tokens}",
            f"the plan of {tokens} tokens is the cache to the byte",
            small(CODES),
            most=96,
        )
        case.append(tokens, 2200 + tokens, 2300 + tokens)
        case.plan(tokens)
        case.bytes()
        cases.append(case)
    return cases


TOPICS = {"evict": evict, "snapshot": snapshots, "stats": stats}
