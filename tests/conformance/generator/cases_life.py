# SPDX-License-Identifier: Apache-2.0
"""append, window, truncate, fork, evict, snapshot, stats: what happens to rows over time."""

from itertools import product
from typing import Any

from bits import Array
from case import Case
from recipe import Geometry, Recipe

KEEP = {"keep": 9}
CODES = {"keep": 9, "bits": 4}
RAGGED = {"method": "threshold", "threshold": 0.5}
CHANNEL = {"bits": 4, "axis": "channel"}
SMALL = {"recent": 2, "step": 4}


def small(k: "dict[str, Any]", v: "dict[str, Any] | None" = None, **window: Any) -> Recipe:
    return Recipe(k=k, v=v if v is not None else {"bits": 2}, **{**SMALL, **window})


KINDS: "list[tuple[str, Recipe]]" = [
    ("keep", small(KEEP)),
    ("codes", small(CODES)),
    ("ragged", small(RAGGED)),
    ("centre", small({**CODES, "centre": "mean"})),
    ("channels", small({"method": "channels", "keep": 9})),
    ("dense", small({})),
]


def append() -> "list[Case]":
    """Chunks of any size give the bytes of one append; both caches are compared."""
    cases: list[Case] = []
    for (name, recipe), chunks in product(KINDS, ((1,) * 11, (4, 4, 3), (7, 4), (3, 5, 3))):
        about = f"{len(chunks)} appends of {chunks} tokens give the bytes of one of 11"
        case_name = f"{name}-" + ("singles" if len(chunks) == 11 else "-".join(map(str, chunks)))
        case = Case(case_name, about, recipe, most=64)
        seed = 900 + len(cases)
        k, v = f"gen:f16:{seed}", f"gen:f16:{seed + 100}"
        case.append(11, k, v)
        case.save()
        case.create(1, most=64)
        at = 0
        for count in chunks:
            case.append(count, f"{k}:ffff:{32 * at}", f"{v}:ffff:{32 * at}", cache=1)
            at += count
        case.save(1, same_as=0)
        cases.append(case)
    return cases + append_types() + append_layouts()


def append_types() -> "list[Case]":
    cases: list[Case] = []
    for stored, given in product(("f16", "bf16"), ("f32", "f16", "bf16")):
        about = f"{given} input stored as {stored}, rounded to nearest, ties to even"
        geometry = Geometry(1, 1, 1, 32, 32, stored)
        case = Case(f"{given}-to-{stored}", about, small(KEEP), geometry, most=16)
        case.append(3, 980 + len(cases), 990 + len(cases), dtype=given)
        case.export_all()
        case.save()
        cases.append(case)
    edges = {
        "f16": (
            "all:f32:00000000;0=3f801000;1=3f803000;2=33000000;3=33000001;4=477fefff;5=80000000"
            ";6=387fe000;7=b3800000"
        ),
        "bf16": (
            "all:f32:00000000;0=3f808000;1=3f818000;2=00008000;3=00018000;4=7f7f7fff;5=80000000"
        ),
    }
    for stored, text in edges.items():
        about = f"halves of the last place, subnormals, the largest number, -0 as {stored}"
        geometry = Geometry(1, 1, 1, 32, 32, stored)
        case = Case(f"rounding-{stored}", about, Recipe(recent=4), geometry, most=16)
        case.append(1, text, text)
        case.export_all()
        case.save()
        cases.append(case)
    return cases


def append_layouts() -> "list[Case]":
    """Strides in elements: transposed, repeated, backwards. The answer is that of plain rows."""
    cases: list[Case] = []
    geometry = Geometry(1, 2, 2, 32, 32)
    layouts: list[tuple[str, str, list[int], int, int]] = [
        ("heads-first", "stored as [kv_heads, tokens, d]", [32, 96, 1], 0, 192),
        ("padded", "rows of 40 elements, 32 used", [80, 40, 1], 0, 240),
        ("channels-first", "stored as [kv_heads, d, tokens]", [1, 96, 3], 0, 192),
        ("repeated", "one row for all tokens: stride 0", [0, 32, 1], 0, 64),
        ("backwards", "the newest token first: a negative stride", [-64, 32, 1], 128, 192),
    ]
    for name, about, strides, offset, count in layouts:
        case = Case(f"strides-{name}", about, small(KEEP), geometry, most=16)
        text = f"gen:f16:{1010 + len(cases)}"
        bits = Array(text, count).bits
        plain = [
            bits[offset + t * strides[0] + h * strides[1] + c * strides[2]]
            for t, h, c in product(range(3), range(2), range(32))
        ]
        case.append(3, "f16:" + "".join(f"{b:04x}" for b in plain), 1020)
        step = case.steps[-1]
        step.update(k=text, k_count=count, k_strides=strides, k_offset=offset)
        case.export("k", 0, 3, head=1)
        case.save()
        cases.append(case)
    return cases


def window() -> "list[Case]":
    """body = step * floor(max(0, committed - sink - recent) / step)."""
    cases: list[Case] = []
    for recent, sink, step in product((0, 1, 5), (0, 3), (1, 8, 32)):
        recipe = Recipe(k={"keep": 4}, v={"bits": 2}, recent=recent, sink=sink, step=step)
        about = f"recent {recent}, sink {sink}, step {step}: lengths around each edge"
        case = Case(f"recent{recent}-sink{sink}-step{step}", about, recipe, most=128)
        edges = sorted({1, sink + 1, sink + recent + step - 1, sink + recent + step, 2 * step + 9})
        at = 0
        for edge in edges:
            if edge > at:
                case.append(edge - at, 1100 + 10 * len(cases) + edge, 1500 + edge)
                at = edge
                case.state()
        case.bytes()
        case.plan(at)
        if step == 8:
            case.save()
        cases.append(case)
    for sink, count in product((0, 2), (3, 9)):
        recipe = small(CODES, sink=sink)
        case = Case(
            f"compress-sink{sink}-{count}",
            "compress packs all outside",
            recipe,
            most=64,
            auto=False,
        )
        case.append(count, 1300 + count, 1310 + count)
        case.state()
        case.compress()
        case.state()
        case.save()
        case.append(2, 1320, 1321)
        case.compress(layer=0)
        case.save()
        cases.append(case)
    case = Case(
        "compress-then-auto", "auto goes on from where a compress ended", small(CODES), most=64
    )
    case.append(5, 1330, 1331)
    case.compress()
    case.state()
    case.append(4, 1332, 1333)
    case.state()
    case.save()
    cases.append(case)
    case = Case(
        "compress-channel", "a scale per channel: whole groups of 32", Recipe(k=CHANNEL, recent=1)
    )
    case.append(32, 1340, 1341)
    case.compress()
    case.state()
    case.append(1, 1342, 1343)
    case.state()
    cases.append(case)
    return cases


def truncate() -> "list[Case]":
    cases: list[Case] = []
    for name, recipe in KINDS:
        case = Case(f"tentative-{name}", "drafts leave no trace", recipe, most=64)
        seed = 1400 + 10 * len(cases)
        case.append(7, seed, seed + 1)
        case.save()
        case.append(5, seed + 2, seed + 3, tentative=True)
        case.state()
        case.truncate(9)
        case.state()
        case.truncate(7)
        case.save(same_as=0)
        cases.append(case)

        case = Case(f"commit-{name}", "accepted drafts are packed like any token", recipe, most=64)
        case.append(7, seed, seed + 1)
        case.append(5, seed + 2, seed + 3, tentative=True)
        case.truncate(10)
        case.commit()
        case.state()
        case.append(2, seed + 4, seed + 5)
        case.save()
        cases.append(case)

        case = Case(f"exact-{name}", "back to the smallest exact length, and on", recipe, most=64)
        case.append(13, seed, seed + 1)
        least = case.caches[0].smallest_exact()
        args: dict[str, Any] = {"cache": 0, "length": least - 1}
        case.fails("truncate", "NOT_EXACT", error_values=[least], **args)
        case.truncate(least)
        case.save()
        case.append(4, seed + 6, seed + 7)
        case.save()
        cases.append(case)

        case = Case(f"deep-{name}", "KEEP_PACKED leaves packed rows in the window", recipe, most=64)
        case.append(15, seed, seed + 1)
        case.truncate(7, keep_packed=True)
        case.state()
        case.append(6, seed + 8, seed + 9)
        case.state()
        case.save()
        cases.append(case)

        case = Case(f"empty-{name}", "back to nothing is exact: as new", recipe, most=64)
        case.save()
        case.append(13, seed, seed + 1)
        case.truncate(0)
        case.save(same_as=0)
        case.append(9, seed + 8, seed + 9)
        case.save()
        cases.append(case)
    return cases + truncate_more()


def truncate_more() -> "list[Case]":
    cases: list[Case] = []
    case = Case("to-zero", "everything goes", small(CODES), most=64)
    case.append(5, 1460, 1461)
    case.truncate(0, keep_packed=True)
    case.save()
    cases.append(case)

    case = Case("longer", "a length beyond the end changes nothing", small(CODES), most=64)
    case.append(5, 1462, 1463)
    case.truncate(400)
    case.save()
    cases.append(case)

    geometry = Geometry(3, 1, 1, 32, 32)
    case = Case("layers", "layers that are shorter stay", small(CODES), geometry, most=64)
    for layer, count in enumerate((3, 9, 6)):
        case.append(count, 1464 + layer, 1470 + layer, layer=layer)
    case.truncate(6, keep_packed=True)
    for layer in range(3):
        case.state(layer=layer)
    case.save()
    cases.append(case)
    return cases + truncate_parts()


def truncate_parts() -> "list[Case]":
    """Marks, sinks, blocks, reset."""
    cases: list[Case] = []
    case = Case(
        "marks", "rows that come back into the window lose their marks", small(CODES), most=64
    )
    case.append(5, 1480, 1481)
    case.prune("k", 0, 3, "token_topk", keep=9)
    case.truncate(3)
    case.export_all()
    case.save()
    cases.append(case)

    case = Case("sinks", "sinks go last", small(CODES, sink=3), most=64)
    case.append(12, 1482, 1483)
    case.truncate(2, keep_packed=True)
    case.state()
    case.append(7, 1484, 1485)
    case.save()
    cases.append(case)

    case = Case(
        "channel-block", "a block of 32 gives up slots", Recipe(k=CHANNEL, recent=1), most=64
    )
    case.append(40, 1486, 1487)
    case.truncate(20, keep_packed=True)
    case.state()
    case.append(3, 1488, 1489)
    case.save()
    cases.append(case)

    recipe = small({**CODES, "centre": "mean"})
    case = Case("reset", "reset forgets rows, centre and evictions", recipe, most=64)
    case.append(9, 1490, 1491)
    case.evict([1])
    case.reset()
    case.save()
    case.append(9, 1492, 1493)
    case.save()
    case.stats()
    cases.append(case)
    return cases


def fork() -> "list[Case]":
    cases: list[Case] = []
    for name, recipe in KINDS:
        case = Case(f"{name}", "both sides go on; neither sees the other", recipe, most=64)
        seed = 1600 + 10 * len(cases)
        case.append(9, seed, seed + 1)
        case.save(quiet=True)
        case.fork(1)
        case.save(1, same_as=0)
        case.append(6, seed + 2, seed + 3, cache=1)
        case.append(5, seed + 4, seed + 5)
        case.save()
        case.save(1)
        cases.append(case)
    case = Case("evict-in-child", "evicting in the child leaves the parent", small(CODES), most=64)
    case.append(14, 1670, 1671)
    case.fork(1)
    case.evict([1, 2, 9], cache=1)
    case.truncate(12, keep_packed=True)
    case.save()
    case.save(1)
    case.append(4, 1672, 1673)
    case.append(4, 1672, 1673, cache=1)
    case.save()
    case.save(1)
    cases.append(case)
    case = Case("tentative-and-marks", "drafts and marks are forked too", small(CODES), most=64)
    case.append(4, 1680, 1681)
    case.prune("k", 0, 2, "token_topk", keep=9)
    case.append(2, 1682, 1683, tentative=True)
    case.fork(1)
    case.truncate(4)
    case.save()
    case.save(1)
    cases.append(case)
    case = Case("channel-block", "blocks are shared", Recipe(k=CHANNEL, recent=1), most=80)
    case.append(34, 1690, 1691)
    case.save(quiet=True)
    case.fork(1)
    case.evict([3, 31], cache=1)
    case.save(same_as=0)
    case.save(1)
    cases.append(case)
    return cases


TOPICS = {"append": append, "window": window, "truncate": truncate, "fork": fork}
