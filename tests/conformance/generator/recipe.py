# SPDX-License-Identifier: Apache-2.0
"""Recipes: canonical text (docs/api.md), and what they mean for a head (docs/format.md 1.2)."""

import json
import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

Side = dict[str, Any]

SIDE_KEYS = (
    "method",
    "keep",
    "sparsity",
    "rule",
    "multiple",
    "n",
    "m",
    "threshold",
    "bits",
    "axis",
    "group",
    "centre",
)
OWN_OF_METHOD = ("keep", "sparsity", "rule", "multiple", "n", "m", "threshold")


def with_defaults(side: Side) -> Side:
    counted = "keep" in side or "sparsity" in side
    filled = {"method": "token_topk" if counted else "none", "rule": "exact", "multiple": 1}
    filled.update({"bits": 16, "axis": "token", "group": 0, "centre": "none"})
    return {**filled, **side}


def tidy_keep(side: Side) -> Side:
    """Fractions in lowest terms; all of d is "d"."""
    keep = side.get("keep")
    if isinstance(keep, str) and keep != "d":
        fraction = Fraction(keep)
        text = f"{fraction.numerator}/{fraction.denominator}"
        return {**side, "keep": "d" if fraction == 1 else text}
    return side


def in_order(side: Side) -> Side:
    return {key: side[key] for key in SIDE_KEYS if key in side}


def shortest(value: Any) -> Any:
    """Whole numbers without a fraction: 1, not 1.0."""
    if isinstance(value, (list, tuple)):
        return [shortest(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def canonical_side(side: Side, which: str) -> Side:
    """Every default but keys that the method never looks at. Keeping "d" is method none."""
    full = with_defaults(tidy_keep(side))
    if full["method"] == "token_topk" and full.get("keep") == "d":
        full = with_defaults({**{k: v for k, v in side.items() if k != "keep"}, "method": "none"})
    if full["method"] != "token_topk":
        del full["rule"]
    if full["method"] not in ("token_topk", "channels") and full["multiple"] == 1:
        del full["multiple"]
    if which == "v":
        del full["centre"]
    return in_order({key: shortest(value) for key, value in full.items()})


@dataclass(frozen=True)
class SideSpec:
    """What a recipe asks of one side of one head."""

    d: int
    method: str
    keep: int  # k of d; rows of every 32 for channel_topk; n of m for n_m
    of: int
    threshold: float
    paper: bool
    bits: int
    tag: int  # 1 exact, 2 ragged, 3 grouped, 4 channel: docs/format.md 3.1
    group: int
    centre: Any  # "none", "mean" or the numbers

    @property
    def centred(self) -> bool:
        return bool(self.centre != "none")

    @property
    def row_keep(self) -> int:
        """Elements of a row where that is fixed, else 0."""
        if self.tag == 2:
            return 0
        return self.d // self.of * self.keep if self.method == "n_m" else self.keep


def count_exact(sparsity: float, d: int) -> int:
    return d - min(d - 1, math.floor(sparsity * d + 1e-9))


def count_paper(sparsity: float, d: int) -> int:
    """The authors' int(s * D)-th smallest magnitude is the threshold, and it stays."""
    return d - min(d, max(1, math.floor(sparsity * d))) + 1


def base_count(side: Side, d: int) -> int:
    keep = side.get("keep")
    if keep is None:
        return count_exact(side["sparsity"], d)
    if keep == "d":
        return d
    if isinstance(keep, int):
        return keep
    a, b = keep.split("/")
    return max(1, d * int(a) // int(b))


def resolve_side(side: Side, d: int) -> SideSpec:
    s = with_defaults(side)
    method, paper, k, of = s["method"], s["rule"] == "paper", d, 0
    if method in ("token_topk", "channels"):
        if paper:
            k = count_paper(s["sparsity"], d)
        else:
            k = min(d, -(-base_count(s, d) // s["multiple"]) * s["multiple"])
        method = "none" if k == d else method
    elif method == "channel_topk":
        k = s["keep"] if "keep" in s else count_exact(s["sparsity"], 32)
    elif method == "n_m":
        k, of = s["n"], s["m"]
        method, k = ("none", d) if k == of else (method, k)
    paper = paper and method == "token_topk"
    ragged = method in ("channel_topk", "threshold", "mask") or paper
    tag = 4 if s["axis"] == "channel" else 3 if s["group"] else 2 if ragged else 1
    threshold = s.get("threshold", 0.0)
    bits, group, centre = s["bits"], s["group"], s["centre"]
    return SideSpec(d, method, k, of, threshold, paper, bits, tag, group, centre)


def overlay(base: Side, patch: Side) -> Side:
    drop: list[str] = []
    if "method" in patch:
        drop += OWN_OF_METHOD
    elif ("keep" in patch or "sparsity" in patch) and base.get("method") == "none":
        drop += ["method"]
    if "keep" in patch:
        drop += ["sparsity", "rule"]
    if "sparsity" in patch:
        drop += ["keep"]
    return {**{key: value for key, value in base.items() if key not in drop}, **patch}


def indices(at: str, count: int) -> set[int]:
    """ "0,2-3,-1": negative numbers count from the end."""
    found: set[int] = set()
    for item in at.split(","):
        cut = item.find("-", 1)
        first, last = (item[:cut], item[cut + 1 :]) if cut > 0 else (item, item)
        found |= set(range(int(first) % count, int(last) % count + 1))
    return found


@dataclass(frozen=True)
class Recipe:
    k: Side = field(default_factory=dict)
    v: Side = field(default_factory=dict)
    recent: int = 32
    sink: int = 0
    step: int = 32
    budget: int = 0
    protect: tuple[int, ...] = ()
    layers: tuple[dict[str, Any], ...] = ()
    name: str = ""
    precise: bool = False

    def document(self) -> dict[str, Any]:
        """The canonical document; json.dumps without white space gives the canonical text."""
        out: dict[str, Any] = {"schema": "mustafar.recipe", "version": 1}
        if self.name:
            out["name"] = self.name
        out["window"] = {"recent": self.recent, "sink": self.sink, "step": self.step}
        out["precise"] = self.precise
        out["k"] = canonical_side(self.k, "k")
        out["v"] = canonical_side(self.v, "v")
        out["budget"] = self.budget
        out["protect"] = list(self.protect)
        if self.layers:
            out["layers"] = list(self.layers)
        return out

    def canonical(self) -> str:
        return json.dumps(self.document(), separators=(",", ":"))

    def given(self) -> str:
        """A short text that means the same: defaults left out."""
        out: dict[str, Any] = {"schema": "mustafar.recipe", "version": 1}
        if self.name:
            out["name"] = self.name
        window = {"recent": self.recent, "sink": self.sink, "step": self.step}
        out["window"] = {k: v for k, v in window.items() if v != {"sink": 0}.get(k, 32)}
        out.update({"k": self.k, "v": self.v})
        if self.budget:
            out["budget"] = self.budget
        if self.protect:
            out["protect"] = list(self.protect)
        if self.layers:
            out["layers"] = list(self.layers)
        if self.precise:
            out["precise"] = True
        return json.dumps(out, separators=(",", ":"))

    def side(self, geometry: "Geometry", layer: int, head: int, which: str) -> SideSpec:
        d = geometry.head_dim_k if which == "k" else geometry.head_dim_v
        if layer in {p % geometry.layers for p in self.protect}:
            return resolve_side({}, d)
        own = dict(self.document()[which])
        here = [e for e in self.layers if layer in indices(e["at"], geometry.layers)]
        for entry in here:
            own = overlay(own, entry.get(which, {}))
        for inner in (h for e in here for h in e.get("heads", ())):
            if head in indices(inner["at"], geometry.kv_heads):
                own = overlay(own, inner.get(which, {}))
        return resolve_side(own, d)

    def budget_of(self, geometry: "Geometry", layer: int, head: int) -> int:
        if layer in {p % geometry.layers for p in self.protect}:
            return 0
        budget = self.budget
        here = [e for e in self.layers if layer in indices(e["at"], geometry.layers)]
        for entry in here:
            own = entry.get("budget", budget)
            budget = own[head] if isinstance(own, list) else own
        for inner in (h for e in here for h in e.get("heads", ())):
            if head in indices(inner["at"], geometry.kv_heads):
                budget = inner.get("budget", budget)
        return int(budget)


@dataclass(frozen=True)
class Geometry:
    layers: int = 1
    q_heads: int = 1
    kv_heads: int = 1
    head_dim_k: int = 32
    head_dim_v: int = 32
    dtype: str = "f16"

    def json(self) -> dict[str, Any]:
        return dict(self.__dict__)

    @property
    def group(self) -> int:
        return self.q_heads // self.kv_heads
