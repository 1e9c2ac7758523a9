# SPDX-License-Identifier: Apache-2.0
"""Steps that make and change caches, run on the model while they are written."""

from typing import Any

import numpy as np

import snapshot
from bits import Array, Floats, Halves, round_half
from model import Cache, Head, Row
from prune import Bools, survivors
from recipe import Geometry, Recipe, SideSpec

Step = dict[str, Any]
DENSE, ONE_HEAD = Recipe(), Geometry()


class Changes:
    def __init__(
        self,
        name: str,
        about: str,
        recipe: "Recipe | str" = DENSE,
        geometry: Geometry = ONE_HEAD,
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
        stored = np.array(array.bits, np.uint32).astype(np.uint16)
        if array.dtype != self.geometry.dtype:
            stored = round_half(array.f32(), self.geometry.dtype)
        return stored.reshape(tokens, heads, d)

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
        bits: "Bools | None",
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
        self,
        positions: "list[int]",
        keep: bool = False,
        head: int = 0,
        layer: int = 0,
        cache: int = 0,
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
