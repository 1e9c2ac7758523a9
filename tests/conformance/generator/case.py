# SPDX-License-Identifier: Apache-2.0
"""A case: steps as they are written, run on the model at the same time, so that each question gets
the answer the model has at that moment. README.md of tests/conformance describes the steps."""

from typing import Any

import numpy as np

import attention
import snapshot
from bits import Array, text_of, text_of_half
from changes import Changes, Step
from model import SIDES, Cache
from prune import bitmap
from quantize import Doubles
from recipe import Recipe

METHODS = ("recipe", "none", "token_topk", "n_m", "channels", "channel_topk", "threshold", "mask")
OUT_TOLERANCE = {"f32": [1e-6, 0.02], "f16": [5e-4, 0.02], "bf16": [4e-3, 0.025]}
LSE_TOLERANCE = [4e-6, 0.02]
WEIGHT_TOLERANCE = [1e-6, 0.01]


class Case(Changes):
    def state(self, cache: int = 0, layer: int = 0, head: int = 0) -> None:
        own = self.caches[cache]
        rows = own.heads[layer][head].rows
        self.step(
            "state",
            cache=cache,
            layer=layer,
            head=head,
            committed=own.committed[layer],
            tentative=own.tentative[layer],
            rows=len(rows),
            body=len(own.heads[layer][head].body),
            positions=[row.position for row in rows],
        )

    def export(
        self,
        side: str,
        begin: int,
        end: int,
        cache: int = 0,
        layer: int = 0,
        head: int = 0,
        values: bool = True,
    ) -> None:
        own = self.caches[cache].heads[layer][head]
        rows = own.rows[begin:end]
        numbers = np.array([own.values(row, side) for row in rows])
        self.step(
            "export",
            cache=cache,
            layer=layer,
            head=head,
            side=side,
            begin=begin,
            end=end,
            values=text_of(numbers) if values else None,
            values_tolerance=[0, 1e-6] if values else None,
            bitmaps="u8:" + b"".join(bitmap(own.kept(row, side)) for row in rows).hex(),
        )

    def export_all(self, cache: int = 0, layer: int = 0, head: int = 0) -> None:
        rows = len(self.caches[cache].heads[layer][head].rows)
        for side in SIDES:
            self.export(side, 0, rows, cache, layer, head)

    def attend(
        self,
        q: "str | int",
        q_len: int = 1,
        caches: "tuple[int, ...]" = (0,),
        layer: int = 0,
        dtype: str = "f32",
        out_dtype: str = "f32",
        sinks: "str | None" = None,
        weights: bool = False,
        drop_mass: float = 0.0,
        looser: float = 1.0,
        **options: Any,
    ) -> attention.Result:
        """`looser` widens the fast tolerances where scores are large."""
        g = self.geometry
        q = f"gen:{dtype}:{q}" if isinstance(q, int) else q
        own = [self.caches[i] for i in caches]
        shape = len(own), q_len, g.q_heads
        array = Array(q, int(np.prod(shape)) * g.head_dim_k)
        given = attention.Options(**options)
        if sinks is not None:
            given.sinks = Array(sinks, g.q_heads).f32()
        queries = array.f32().astype(np.float64).reshape(*shape, g.head_dim_k)
        result = attention.attend(own, layer, queries, given)
        args: Step = {"caches": list(caches), "layer": layer, "q_len": q_len, "q": q}
        args.update(sinks=sinks, **options, drop_mass=drop_mass or None)
        text = text_of(result.out) if out_dtype == "f32" else text_of_half(result.out, out_dtype)
        args.update(out_dtype=out_dtype, out=text)
        args["out_tolerance"] = self.wider(OUT_TOLERANCE[out_dtype], looser)
        args.update(lse=text_of(result.lse), lse_tolerance=self.wider(LSE_TOLERANCE, looser))
        if drop_mass:
            rows = [head.values(r, "v") for c in own for head in c.heads[layer] for r in head.rows]
            args["value_most"] = float(np.abs(np.array(rows)).max())
        if weights:
            args.update(self.weights(result, own, layer), weights_tolerance=WEIGHT_TOLERANCE)
        self.step("attend", **args)
        return result

    @staticmethod
    def wider(tolerance: "list[float]", looser: float) -> "list[float]":
        return [tolerance[0], round(tolerance[1] * looser, 6)]

    @staticmethod
    def weights(result: attention.Result, caches: "list[Cache]", layer: int) -> Step:
        width = max(len(head.rows) for cache in caches for head in cache.heads[layer]) + 1
        padded = [np.pad(w, (0, width - len(w))) for w in result.weights]
        return {"weights_width": width, "weights": text_of(np.concatenate(padded))}

    def merge(self, rows: int, out_a: str, lse_a: str, out_b: str, lse_b: str, d: int = 8) -> None:
        dtype = Array(out_a, rows * d).dtype

        def load(text: str, count: int) -> Doubles:
            return Array(text, count).f32().astype(np.float64)

        a = load(out_a, rows * d).reshape(rows, d), load(lse_a, rows)
        b = load(out_b, rows * d).reshape(rows, d), load(lse_b, rows)
        out, lse = attention.merge(*a, *b)
        text = text_of(out) if dtype == "f32" else text_of_half(out, dtype)
        args = {"out_a": out_a, "lse_a": lse_a, "out_b": out_b, "lse_b": lse_b}
        tolerance = OUT_TOLERANCE[dtype][0]
        self.step(
            "merge",
            rows=rows,
            dim=d,
            **args,
            out=text,
            out_tolerance=[tolerance, tolerance],
            lse=text_of(lse),
            lse_tolerance=[LSE_TOLERANCE[0]] * 2,
        )

    def bytes(self, cache: int = 0, layer: int = -1, head: int = -1) -> None:
        own = self.caches[cache]
        layers = own.heads if layer < 0 else [own.heads[layer]]
        heads = [h for heads in layers for i, h in enumerate(heads) if head in (-1, i)]
        total: dict[str, int] = {}
        for one in heads:
            for key, count in snapshot.parts(one).items():
                total[key] = total.get(key, 0) + count
        if any(h.irregular and 2 in (h.spec["k"].tag, h.spec["v"].tag) for h in heads):
            del total["slack"]
        self.step("bytes", cache=cache, layer=layer, head=head, **total)

    def plan(self, tokens: int, cache: int = 0) -> None:
        self.step("plan", cache=cache, tokens=tokens)

    def stats(self, cache: int = 0, shared: "int | None" = None) -> None:
        own = self.caches[cache]
        heads = [head for heads in own.heads for head in heads]
        rows = sum(len(head.rows) for head in heads)
        g = self.geometry
        self.step(
            "stats",
            cache=cache,
            longest=max(own.length(layer) for layer in range(g.layers)),
            rows=rows,
            body_rows=sum(len(head.body) for head in heads),
            evicted_rows=sum(head.evicted for head in heads),
            pages=sum(len(list(head.pages())) for head in heads),
            dense_bytes=rows * 2 * (g.head_dim_k + g.head_dim_v),
            appended_tokens=own.appended,
            packed_rows=sum(head.packed_rows for head in heads),
            shared_pages=shared,
        )

    # ---- recipes -------------------------------------------------------------------------------
    def canonical(self) -> None:
        assert isinstance(self.recipe, Recipe)
        self.step("recipe", canonical=self.recipe.canonical())

    def side(self, side: str, layer: int = 0, head: int = 0) -> None:
        assert isinstance(self.recipe, Recipe)
        spec = self.recipe.side(self.geometry, layer, head, side)
        ragged = spec.tag == 2
        self.step(
            "side",
            layer=layer,
            head=head,
            side=side,
            keep=spec.row_keep,
            bits=spec.bits,
            encoding=spec.tag,
            method=METHODS.index(spec.method),
            group=spec.group,
            centred=int(spec.centred),
            row_bytes=snapshot.row_bytes(spec),
            page_bytes=0 if ragged else snapshot.page_side(spec, 32 * snapshot.code_size(spec)),
        )

    def window(self, layer: int = 0, head: int = 0) -> None:
        own = self.recipe
        assert isinstance(own, Recipe)
        budget = own.budget_of(self.geometry, layer, head)
        args = {"recent": own.recent, "sink": own.sink, "step": own.step, "budget": budget}
        self.step("window", layer=layer, head=head, **args)
