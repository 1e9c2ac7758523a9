# SPDX-License-Identifier: Apache-2.0
"""One case over HTTP: its caches, and a function per kind of step.

A step that does not come out as it should raises CaseError; one that HTTP has no words for, NoForm.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from arrays import numbers, read_array, to_bytes
from attend import attend, merge
from forms import LAYER, check_form
from problems import CaseError, check_refusal
from wire import JsonObject, NoForm, Refused, Wire

Step = JsonObject
BITMAP = LAYER + "/bitmap"
ENCODINGS = ("", "exact", "ragged", "grouped", "channel")
METHODS = ("recipe", "none", "token_topk", "n_m", "channels", "channel_topk", "threshold", "mask")


class Case:
    """`strict`: the reference rows run, so the first of each pair of tolerances holds."""

    def __init__(self, wire: Wire, case: Step, strict: bool, snapshots: Path) -> None:
        self.wire, self.case, self.strict, self.snapshots = wire, case, strict, snapshots
        self.caches: dict[int, str] = {}  # ids by the numbers of the case
        self.made: dict[int, Step] = {}  # what they were created with
        self.lengths: dict[tuple[str, int], int] = {}
        self.saved: dict[int, bytes] = {}

    def run(self) -> None:
        for step in self.case["steps"]:  # before anything is done
            check_form(self.wire, self.case, step)
        try:
            for number, step in enumerate(self.case["steps"]):
                try:
                    self.check(step)
                except (CaseError, NoForm) as error:
                    raise type(error)(f"step {number} {step['op']}: {error}") from None
        finally:
            for name in self.caches.values():
                self.wire.ask("DELETE", f"/v1/caches/{name}")

    def check(self, step: Step) -> None:
        wanted = step.get("status", "OK")
        try:
            getattr(self, "do_" + step["op"])(step)
        except Refused as error:
            check_refusal(step, error)
        else:
            if wanted != "OK":
                raise CaseError(f"done, expected {wanted}")

    # ---- what steps share

    def path(self, step: Step, rest: str = "") -> str:
        return f"/v1/caches/{self.caches[step['cache']]}{rest}"

    def keep(self, slot: int, name: str) -> None:
        if slot in self.caches:
            self.wire.ask("DELETE", f"/v1/caches/{self.caches[slot]}")
        self.caches[slot] = name

    def shape(self, step: Step) -> Step:
        shape: Step = step.get("geometry", self.case["geometry"])
        return shape

    def recipe(self, step: Step) -> str:
        """As it stands in a body: JSON is sent as it was written, whatever is wrong with it."""
        text: str = step.get("recipe", self.case["recipe"])
        return text if text.lstrip().startswith("{") else json.dumps(text)

    def close(self, what: str, got: list[float], step: Step, l2: bool = False) -> None:
        """`got` is the array `what` of the step, within its tolerance."""
        dtype, bits = read_array(step[what])
        want = numbers(dtype, to_bytes(dtype, bits))
        if len(got) != len(want):
            raise CaseError(f"{what}: {len(got)} elements, expected {len(want)}")
        off = [0.0 if a == b else abs(a - b) for a, b in zip(got, want, strict=True)]
        off = [math.inf if math.isnan(one) else one for one in off]
        size = math.hypot(*(one for one in want if math.isfinite(one)))
        error = math.hypot(*off) / size if l2 and size else max(off, default=0.0)
        most = step[what + "_tolerance"][0 if self.strict else 1]
        if not error <= most:
            raise CaseError(f"{what}: error {error} exceeds {most}")

    def equal(self, step: Step, got: Step, *keys: str) -> None:
        """Counts, where the step has them."""
        for key in keys:
            if key in step and int(got[key]) != step[key]:
                raise CaseError(f"{key} = {int(got[key])}, expected {step[key]}")

    # ---- steps that make or change caches

    def do_create(self, step: Step) -> None:
        fields = {key: step[key] for key in ("max_tokens", "reserve_tokens", "auto") if key in step}
        body = json.dumps({"geometry": self.shape(step), **fields})
        name = self.wire.new_cache()
        self.wire.ask("PUT", f"/v1/caches/{name}", f'{body[:-1]}, "recipe": {self.recipe(step)}}}')
        self.keep(step["cache"], name)
        self.made[step["cache"]] = step

    def rows(self, step: Step, name: str, d: int) -> tuple[str, list[int]]:
        """k or v of an append, one row after the other as they travel."""
        heads, tokens = self.shape(step)["kv_heads"], step["tokens"]
        dtype, bits = read_array(step[name], step.get(name + "_count", tokens * heads * d))
        base = step.get(name + "_offset", 0)
        if name + "_strides" not in step:
            shape = step.get(name + "_shape", [tokens, heads, d])
            return dtype, bits[base : base + math.prod(shape)]
        a, b, c = step[name + "_strides"]
        places = ((t, h, x) for t in range(tokens) for h in range(heads) for x in range(d))
        return dtype, [bits[base + t * a + h * b + x * c] for t, h, x in places]

    def do_append(self, step: Step) -> None:
        shape, layer = self.shape(step), step["layer"]
        k_dtype, k = self.rows(step, "k", shape["head_dim_k"])
        v_dtype, v = self.rows(step, "v", shape["head_dim_v"])
        if "k_shape" in step or "v_shape" in step or k_dtype != v_dtype:
            raise NoForm("shapes or dtypes of k and v: a raw body has one dtype and no shape")
        reply = self.wire.json(
            "POST", self.path(step, f"/layers/{layer}/append"), to_bytes(k_dtype, k + v),
            dtype=k_dtype, tokens=step["tokens"], expect=self.length(step["cache"], layer),
            tentative=True if step.get("tentative") else None)  # fmt: skip
        if reply["replayed"]:
            raise CaseError("taken for a repeated request")

    def length(self, slot: int, layer: int) -> int:
        lengths = self.wire.json("GET", f"/v1/caches/{self.caches[slot]}")["lengths"]
        return int(lengths[layer]) if layer < len(lengths) else 0

    def place(self, step: Step) -> Step:
        """Layer and head where they are not all of them."""
        words = {"layer": step.get("layer", -1), "kv_head": step.get("head", -1)}
        return {key: value for key, value in words.items() if value >= 0}

    def change(self, step: Step, what: str, **fields: Any) -> Any:
        return self.wire.json("POST", self.path(step, "/" + what), fields)

    def do_commit(self, step: Step) -> None:
        self.change(step, "commit", **self.place(step))

    def do_compress(self, step: Step) -> None:
        self.change(step, "compress", **self.place(step))

    def do_prune(self, step: Step) -> None:
        keys = ("side", "begin", "end", "method", "keep", "of", "threshold")
        given = {key: step[key] for key in keys if key in step}
        self.change(step, "prune", **self.place(step), **given)

    def do_evict(self, step: Step) -> None:
        self.change(step, "evict", layer=step["layer"], kv_head=step["head"],
                    positions=step["positions"], keep=step.get("keep", False))  # fmt: skip

    def do_evict_scores(self, step: Step) -> None:
        count = step.get("count")
        if count is None:
            count = self.head(step)["rows"]
        dtype, bits = read_array(step["scores"], count)
        if not all(math.isfinite(one) for one in numbers(dtype, to_bytes(dtype, bits))):
            raise NoForm("scores that are not finite: JSON has no such numbers")
        scores, budget = numbers(dtype, to_bytes(dtype, bits)), step.get("budget", 0)
        self.change(step, "evict", **self.place(step), scores=scores, budget=budget)

    def do_truncate(self, step: Step) -> None:
        self.change(
            step, "truncate", length=step["length"], keep_packed=step.get("keep_packed", False)
        )

    def do_reset(self, step: Step) -> None:
        self.change(step, "reset")

    def do_fork(self, step: Step) -> None:
        name = self.wire.new_cache()
        self.change(step, "fork", to=name)
        self.keep(step["to"], name)
        self.made[step["to"]] = self.made[step["cache"]]

    def do_save(self, step: Step) -> None:
        body = {
            "cache": self.caches[step["cache"]],
            "overwrite": True,
            "model_id": step.get("model_id", ""),
        }
        name = f"s{step['cache']}"
        told = self.wire.json("PUT", f"/v1/snapshots/{name}", body)
        data = self.content(name)
        if told["bytes"] != len(data):
            raise CaseError(f"{told['bytes']} bytes were told, {len(data)} are there")
        if "snapshot" in step:
            wanted = to_bytes(*read_array(step["snapshot"]))
            if data != wanted:
                raise CaseError(f"other bytes than the snapshot's; {len(data)} of them")
        if "same_as" in step and data != self.saved[step["same_as"]]:
            raise CaseError("the bytes differ from those saved before")
        self.saved[step["cache"]] = data

    def content(self, name: str) -> bytes:
        if "/v1/snapshots/{name}/content" in self.wire.paths:
            return self.wire.ask("GET", f"/v1/snapshots/{name}/content").body
        return (self.snapshots / f"{name}.snap").read_bytes()

    def do_load(self, step: Step) -> None:
        name, source = self.wire.new_cache(), f"s{step['saved']}"
        if "patch" in step or "cut" in step:
            data, patch = bytearray(self.saved[step["saved"]]), step.get("patch", [])
            for at, byte in zip(patch[::2], patch[1::2], strict=True):
                data[at] = byte
            source = "damaged"
            damaged = bytes(data[: step.get("cut", len(data))])
            self.wire.ask("PUT", f"/v1/snapshots/{source}/content", damaged)
        told = {
            key: step[key] for key in ("model_id", "max_tokens", "auto", "geometry") if key in step
        }
        body = json.dumps({"to": name, **told})
        if "recipe" in step:
            body = f'{body[:-1]}, "recipe": {self.recipe(step)}}}'
        self.wire.ask("POST", f"/v1/snapshots/{source}/restore", body)
        self.keep(step["to"], name)

    # ---- steps that ask

    def head(self, step: Step) -> Step:
        stats = self.wire.json("GET", self.path(step, "/stats"), per="head")
        head: Step = stats["layers"][step["layer"]]["heads"][step["head"]]
        return head

    def do_state(self, step: Step) -> None:
        stats = self.wire.json("GET", self.path(step, "/stats"), per="head")
        layer = stats["layers"][step["layer"]]
        head = layer["heads"][step["head"]]
        self.equal(step, layer, "committed", "tentative")
        self.equal(step, {"rows": head["rows"], "body": head["body_rows"]}, "rows", "body")
        if self.positions(step, head) != step["positions"]:
            raise CaseError("other positions")

    def positions(self, step: Step, head: Step) -> list[int]:
        if head["bytes"]["positions"] == 0 or head["rows"] == 0:  # never evicted: row i stands at i
            return list(range(head["rows"]))
        self.wire.need("positions of rows", "get", BITMAP, "bin_tokens")
        picture = self.wire.json(
            "GET", self.path(step, f"/layers/{step['layer']}/bitmap"), side="k",
            kv_head=step["head"], bin_tokens=1,
            bin_channels=self.case["geometry"]["head_dim_k"])  # fmt: skip
        positions: list[int] = picture["positions"]
        return positions

    def do_export(self, step: Step) -> None:
        words = {
            "side": step["side"],
            "kv_head": step["head"],
            "from": step["begin"],
            "to": step["end"],
        }
        path = self.path(step, f"/layers/{step['layer']}/")
        bits = self.wire.ask(
            "GET", path + "bitmap", accept="application/octet-stream", **words
        ).body
        if "bitmaps" in step and bits != to_bytes(*read_array(step["bitmaps"])):
            raise CaseError("other bitmaps")
        if "values" in step:
            data = self.wire.ask("GET", path + "tensor", out_dtype="f32", **words).body
            self.close("values", numbers("f32", data), step, l2=True)

    def do_bytes(self, step: Step) -> None:
        at = self.wire.json("GET", self.path(step, "/stats"), per="head")
        if step["layer"] >= 0:
            at = at["layers"][step["layer"]]
        if step["head"] >= 0:
            at = at["heads"][step["head"]]
        got = at["bytes"]
        self.equal(step, got, "values", "bitmaps", "meta", *(["slack"] if self.strict else []))
        for part in ("window", "positions"):
            if got[part] < step.get(part + "_least", 0):
                raise CaseError(f"{part}: {got[part]} is less than {step[part + '_least']}")
        if step.get("positions_least") == 0 and got["positions"]:
            raise CaseError("positions before any eviction")
        if sum(got.values()) - got["total"] - got["exact"] != got["total"]:
            raise CaseError("total is not the sum of the parts")

    def do_plan(self, step: Step) -> None:
        made = self.made[step["cache"]]
        if "reserve_tokens" in made:
            raise NoForm("a plan with reserved tokens: POST /v1/plans has no reserve_tokens")
        ask = {"geometry": self.shape(step), "max_tokens": made["max_tokens"], "auto": made["auto"],
               "lengths": [step["tokens"]]}  # fmt: skip
        body = f'{json.dumps(ask)[:-1]}, "recipes": [{self.recipe(step)}]}}'
        got = self.wire.json("POST", "/v1/plans", body)["plans"][0]["rows"][0]["bytes"]
        want = self.wire.json("GET", self.path(step, "/stats"))["bytes"]
        alike = all(got[key] == want[key] for key in ("values", "window", "tables"))
        if not (
            got["total"] == want["total"] and alike
            if got["exact"]
            else got["total"] >= want["total"]
        ):
            raise CaseError(f"plan says {got['total']} bytes, the cache takes {want['total']}")

    def do_stats(self, step: Step) -> None:
        got = self.wire.json("GET", self.path(step, "/stats"))
        self.equal(step, got, *(key for key in step if key not in ("op", "cache", "status")))

    def do_recipe(self, step: Step) -> None:
        got = self.wire.json("POST", "/v1/explain", f'{{"recipe": {self.recipe(step)}}}')
        if "canonical" in step and got["canonical"] != step["canonical"]:
            raise CaseError(f"canonical text is {got['canonical']}")

    def explain(self, step: Step) -> Step:
        ask = {"geometry": self.shape(step), "layer": step["layer"], "kv_head": step["head"]}
        body = f'{json.dumps(ask)[:-1]}, "recipe": {self.recipe(step)}}}'
        head: Step = self.wire.json("POST", "/v1/explain", body)["head"]
        return head

    def do_side(self, step: Step) -> None:
        got = self.explain(step)[step["side"]]
        got.update(encoding=ENCODINGS.index(got["encoding"]), method=METHODS.index(got["method"]))
        keys = ("keep", "bits", "encoding", "method", "group", "centred", "row_bytes")
        self.equal(step, got, *keys, *(["page_bytes"] if self.strict else []))

    def do_window(self, step: Step) -> None:
        self.equal(step, self.explain(step)["window"], "recent", "sink", "step", "budget")

    # ---- attention

    def do_attend(self, step: Step) -> None:
        attend(self, step)

    def do_merge(self, step: Step) -> None:
        merge(self, step)
