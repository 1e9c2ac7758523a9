# SPDX-License-Identifier: Apache-2.0
"""A case: steps as they are written, run on the model at the same time, so that each question gets
the answer the model has at that moment. README.md of tests/conformance describes the steps."""

from typing import Any

import numpy as np

import attention
import snapshot
from bits import Array, Floats, Halves, round_half, text_of, text_of_half
from model import SIDES, Cache, Head, Row
from prune import bitmap, survivors
from quantize import Doubles
from recipe import Geometry, Recipe, SideSpec, resolve_side

Step = dict[str, Any]

METHODS = ("recipe", "none", "token_topk", "n_m", "channels", "channel_topk", "threshold", "mask")
OUT_TOLERANCE = {"f32": [1e-6, 0.006], "f16": [5e-4, 0.007], "bf16": [4e-3, 0.01]}
LSE_TOLERANCE = [4e-6, 0.01]
WEIGHT_TOLERANCE = [1e-6, 0.006]


class Case:
    def __init__(
        self,
        name: str,
        about: str,
        recipe: "Recipe | str" = Recipe(),
        geometry: Geometry = Geometry(),
        create: bool = True,
        **options: Any,
    ) -> None:
        self.name, self.about, self.geometry = name, about, geometry
        self.recipe = recipe
        self.text = recipe if isinstance(recipe, str) else recipe.given()
        self.steps: list[Step] = []
        self.caches: dict[int, Cache] = {}
        self.saved: dict[int, tuple[Cache, str]] = {}
        if create:
            self.create(0, **options)

    def json(self, topic: str) -> dict[str, Any]:
        out: dict[str, Any] = {"id": f"{topic}/{self.name}", "topic": topic, "about": self.about}
        out.update(geometry=self.geometry.json(), recipe=self.text, steps=self.steps)
        return out

    def step(self, op: str, **args: Any) -> None:
        """One step; what is None is left out."""
        self.steps.append({"op": op, **{k: v for k, v in args.items() if v is not None}})

    def fails(
        self,
        op: str,
        status: str,
        names: "str | None" = None,
        error_values: "list[int] | None" = None,
        **args: Any,
    ) -> None:
        """A step that must be refused and change nothing."""
        self.step(op, **args, status=status, names=names, error_values=error_values)

    # ---- change --------------------------------------------------------------------------------
    def create(
        self, cache: int, most: int = 512, auto: bool = True, recipe: "Recipe | None" = None
    ) -> None:
        own = recipe or self.recipe
        assert isinstance(own, Recipe)
        self.caches[cache] = Cache(self.geometry, own, most, auto)
        text = recipe.given() if recipe else None
        self.step("create", cache=cache, max_tokens=most, auto=auto, recipe=text)

    def halves(self, text: str, tokens: int, d: int) -> Halves:
        """The array as it is stored."""
        heads = self.geometry.kv_heads
        array = Array(text, tokens * heads * d)
        stored = np.array(array.bits, np.uint32)
        if array.dtype != self.geometry.dtype:
            stored = round_half(array.f32(), self.geometry.dtype)
        return stored.astype(np.uint16).reshape(tokens, heads, d)

    def append(
        self,
        tokens: int,
        k: "str | int",
        v: "str | int",
        cache: int = 0,
        layer: int = 0,
        tentative: bool = False,
        dtype: "str | None" = None,
    ) -> None:
        dtype = dtype or self.geometry.dtype
        k = f"gen:{dtype}:{k}" if isinstance(k, int) else k
        v = f"gen:{dtype}:{v}" if isinstance(v, int) else v
        g = self.geometry
        own = self.halves(k, tokens, g.head_dim_k), self.halves(v, tokens, g.head_dim_v)
        self.caches[cache].append(layer, *own, tentative)
        args = {"cache": cache, "layer": layer, "tokens": tokens, "k": k, "v": v}
        self.step("append", **args, tentative=tentative or None)

    def commit(self, cache: int = 0, layer: int = -1) -> None:
        self.caches[cache].commit(layer)
        self.step("commit", cache=cache, layer=layer)

    def compress(self, cache: int = 0, layer: int = -1) -> None:
        self.caches[cache].compress(layer)
        self.step("compress", cache=cache, layer=layer)

    def prune(
        self,
        side: str,
        begin: int,
        end: int,
        method: str = "recipe",
        cache: int = 0,
        layer: int = 0,
        head: int = -1,
        keep: int = 0,
        of: int = 0,
        threshold: float = 0.0,
        channel_weights: "str | None" = None,
        token_weights: "str | None" = None,
        mask: "str | None" = None,
    ) -> None:
        own = self.caches[cache]
        d = own.heads[layer][0].spec[side].d
        heads = list(range(self.geometry.kv_heads)) if head < 0 else [head]
        shape = len(heads), end - begin
        weights = self.floats(channel_weights, (len(heads), d))
        tokens = self.floats(token_weights, shape)
        bits = None
        if mask is not None:
            data = np.array(Array(mask, shape[0] * shape[1] * (d // 8)).bits, np.uint8)
            bits = np.unpackbits(data, bitorder="little").reshape(*shape, d).astype(bool)
        for i, h in enumerate(heads):
            target = own.heads[layer][h]
            rows = [row for row in target.rows if begin <= row.position < end]
            at = [row.position - begin for row in rows]
            spec = SideSpec(d, method, keep, of, threshold, False, 16, 1, 0, "none")
            self.prune_head(
                target,
                side,
                rows,
                spec,
                None if weights is None else weights[i],
                None if tokens is None else tokens[i][at],
                None if bits is None else bits[i][at],
            )
        self.step(
            "prune",
            cache=cache,
            layer=layer,
            head=head,
            side=side,
            begin=begin,
            end=end,
            method=method,
            keep=keep or None,
            of=of or None,
            threshold=threshold or None,
            channel_weights=channel_weights,
            token_weights=token_weights,
            mask=mask,
        )

    def prune_head(
        self,
        head: Head,
        side: str,
        rows: "list[Row]",
        spec: SideSpec,
        channel: "Floats | None",
        token: "Floats | None",
        bits: "np.ndarray | None",
    ) -> None:
        method = head.spec[side].method if spec.method == "recipe" else spec.method
        if not rows:
            return
        if method == "none":
            for row in rows:
                row.marks.pop(side, None)
            return
        values = head.centred(rows, side)
        if bits is not None:
            kept = bits
        elif spec.method == "recipe":
            kept = head.choose(side, values, channel, token)
        else:
            kept = survivors(spec, values, channel, token)
        for row, own in zip(rows, kept):
            row.marks[side] = own

    @staticmethod
    def floats(text: "str | None", shape: "tuple[int, int]") -> "Floats | None":
        return None if text is None else Array(text, shape[0] * shape[1]).f32().reshape(shape)

    def evict(
        self, positions: "list[int]", keep: bool = False, head: int = 0, layer: int = 0, cache: int = 0
    ) -> None:
        own = self.caches[cache].heads[layer][head]
        stay = own.protected()
        here = {row.position for row in own.rows}
        own.evict((here - set(positions) if keep else set(positions)) - stay)
        self.step(
            "evict", cache=cache, layer=layer, head=head, positions=positions, keep=keep or None
        )

    def evict_scores(
        self, scores: str, budget: int, head: int = 0, layer: int = 0, cache: int = 0
    ) -> None:
        """The lowest go; of equal ones the younger."""
        own = self.caches[cache].heads[layer][head]
        values = Array(scores, len(own.rows)).f32()
        stay = own.protected()
        free = [(float(s), -r.position) for s, r in zip(values, own.rows) if r.position not in stay]
        surplus = max(0, len(own.rows) - (budget or own.budget))
        own.evict({-position for _, position in sorted(free)[:surplus]})
        args = {"cache": cache, "layer": layer, "head": head}
        self.step("evict_scores", **args, scores=scores, budget=budget)

    def truncate(self, length: int, keep_packed: bool = False, cache: int = 0) -> None:
        self.caches[cache].truncate(length)
        self.step("truncate", cache=cache, length=length, keep_packed=keep_packed or None)

    def reset(self, cache: int = 0) -> None:
        self.caches[cache].reset()
        self.step("reset", cache=cache)

    def fork(self, to: int, cache: int = 0) -> None:
        self.caches[to] = self.caches[cache].fork()
        self.step("fork", cache=cache, to=to)

    # ---- ask -----------------------------------------------------------------------------------
    def save(
        self, cache: int = 0, model_id: str = "m", same_as: "int | None" = None, quiet: bool = False
    ) -> None:
        """The bytes, or that they are those of an earlier save; `quiet` only takes them."""
        data = snapshot.save(self.caches[cache], model_id)
        text: str | None = "u8:" + data.hex()
        if same_as is not None or quiet:
            text = None
        if same_as is not None:
            assert data == snapshot.save(*self.saved[same_as]), "the model disagrees"
        self.saved[cache] = self.caches[cache].fork(), model_id
        args = {"cache": cache, "model_id": model_id}
        self.step("save", **args, snapshot=text, same_as=same_as)

    def load(self, to: int, saved: int = 0, **args: Any) -> None:
        self.caches[to] = self.saved[saved][0].fork()
        self.step("load", saved=saved, to=to, **args)

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

    def stats(self, cache: int = 0) -> None:
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


__all__ = ["Case", "Geometry", "Recipe", "resolve_side"]
