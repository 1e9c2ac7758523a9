# SPDX-License-Identifier: Apache-2.0
"""One case through the package `mustafar`: its caches, and a function per kind of step.

A step that does not come out as it should raises CaseError.
"""

from __future__ import annotations

import io
from typing import Any

import numpy
from arrays import Array, numbers, read_array

import mustafar

Step = dict[str, Any]


class CaseError(Exception):
    """The library did something else than the vectors say."""


class Pieces(io.BytesIO):
    """A file that gives at most 100 bytes at a time."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(100 if size is None or size < 0 else min(size, 100))


class Case:
    """`strict`: the reference rows run, so the first of each pair of tolerances holds."""

    def __init__(self, context: mustafar.Context, case: Step, strict: bool) -> None:
        self.context = context
        self.case = case
        self.strict = strict
        self.caches: dict[int, mustafar.Cache] = {}
        self.saved: dict[int, bytes] = {}

    def run(self) -> None:
        try:
            for number, step in enumerate(self.case["steps"]):
                try:
                    self.check(step)
                except CaseError as error:
                    raise CaseError(f"step {number} {step['op']}: {error}") from None
        finally:
            for cache in self.caches.values():
                cache.close()

    def check(self, step: Step) -> None:
        wanted = "MUSTAFAR_" + step.get("status", "OK")
        try:
            getattr(self, "do_" + step["op"])(step)
        except mustafar.Error as error:
            if error.name != wanted:
                raise CaseError(f"status {error.name}, expected {wanted}: {error}") from None
            if step.get("names", "") not in str(error):
                raise CaseError(f"the error does not name {step['names']}: {error}") from None
            values = step.get("error_values", [])
            if list(error.values[: len(values)]) != values:
                raise CaseError(f"error values {error.values}, expected {values}") from None
        else:
            if wanted != "MUSTAFAR_OK":
                raise CaseError(f"status MUSTAFAR_OK, expected {wanted}")

    # ---- what steps share

    def cache(self, step: Step) -> mustafar.Cache:
        return self.caches[step["cache"]]

    def keep(self, slot: int, cache: mustafar.Cache) -> None:
        if slot in self.caches:
            self.caches[slot].close()
        self.caches[slot] = cache

    def shape(self, step: Step) -> Step:
        shape: Step = step.get("geometry", self.case["geometry"])
        return shape

    def geometry(self, step: Step) -> mustafar.Geometry:
        return mustafar.Geometry(**self.shape(step))

    def recipe(self, step: Step) -> mustafar.Recipe:
        return mustafar.Recipe(step.get("recipe", self.case["recipe"]))

    def close(
        self, what: str, got: Array, step: Step, dtype: str = "f32", l2: bool = False
    ) -> None:
        """`got` is the array `what` of the step, within its tolerance."""
        kind, flat = read_array(step[what])
        a, b = numbers(dtype, got.reshape(-1)), numbers(kind, flat)
        if a.shape != b.shape:
            raise CaseError(f"{what}: {a.size} elements, expected {b.size}")
        with numpy.errstate(invalid="ignore"):
            off = numpy.where(a == b, 0.0, numpy.abs(a - b))
        off[numpy.isnan(off)] = numpy.inf
        size = numpy.linalg.norm(b[numpy.isfinite(b)])
        error = numpy.linalg.norm(off) / size if l2 and size else off.max(initial=0.0)
        most = step[what + "_tolerance"][0 if self.strict else 1]
        if not error <= most:
            raise CaseError(f"{what}: error {error} exceeds {most}")

    def equal(self, step: Step, got: Any, *keys: str) -> None:
        """Counts, where the step has them."""
        for key in keys:
            if key in step and int(getattr(got, key)) != step[key]:
                raise CaseError(f"{key} = {int(getattr(got, key))}, expected {step[key]}")

    # ---- steps that make or change caches

    def do_create(self, step: Step) -> None:
        recipe = self.recipe(step)
        options = {"reserve_tokens": step.get("reserve_tokens", 0), "auto": step.get("auto", True)}
        made = mustafar.Cache(
            self.context,
            self.geometry(step),
            recipe,
            max_tokens=step.get("max_tokens", 0),
            **options,
        )
        self.keep(step["cache"], made)

    def rows(self, step: Step, name: str, d: int) -> Array:
        """k or v of an append, laid out as the step says."""
        heads = self.shape(step)["kv_heads"]
        tokens = step["tokens"]
        _, flat = read_array(step[name], step.get(name + "_count", tokens * heads * d))
        shape = step.get(name + "_shape", [tokens, heads, d])
        flat = flat[step.get(name + "_offset", 0) :]
        if name + "_strides" not in step:
            return flat[: numpy.prod(shape, dtype=int)].reshape(shape)
        strides = [stride * flat.itemsize for stride in step[name + "_strides"]]
        return numpy.lib.stride_tricks.as_strided(flat, shape, strides)

    def do_append(self, step: Step) -> None:
        shape = self.shape(step)
        k = self.rows(step, "k", shape["head_dim_k"])
        v = self.rows(step, "v", shape["head_dim_v"])
        self.cache(step).append(step["layer"], k, v, tentative=step.get("tentative", False))

    def do_commit(self, step: Step) -> None:
        self.cache(step).commit(index(step["layer"]))

    def do_compress(self, step: Step) -> None:
        self.cache(step).compress(index(step["layer"]))

    def do_prune(self, step: Step) -> None:
        shape = self.shape(step)
        side = mustafar.Side[step["side"].upper()]
        heads = shape["kv_heads"] if step["head"] < 0 else 1
        d = shape["head_dim_k" if side == mustafar.Side.K else "head_dim_v"]
        count = max(0, step["end"] - step["begin"])
        shapes = {
            "channel_weights": (heads, d),
            "token_weights": (heads, count),
            "mask": (heads, count, d // 8),
        }
        given: Step = {key: step[key] for key in ("keep", "of", "threshold") if key in step}
        for key, dims in shapes.items():
            if key in step:
                given[key] = read_array(step[key], int(numpy.prod(dims)))[1].reshape(dims)
        method = mustafar.PruneMethod[step["method"].upper()]
        layer, head = index(step["layer"]), index(step["head"])
        self.cache(step).prune(
            layer, head, side, step["begin"], step["end"], method=method, **given
        )

    def do_evict(self, step: Step) -> None:
        keep = step.get("keep", False)
        self.cache(step).evict(step["layer"], step["head"], step["positions"], keep=keep)

    def do_evict_scores(self, step: Step) -> None:
        cache = self.cache(step)
        count = step.get("count", cache.rows(step["layer"], step["head"]).rows)
        scores = read_array(step["scores"], count)[1]
        cache.evict_scores(step["layer"], step["head"], scores, step.get("budget", 0))

    def do_truncate(self, step: Step) -> None:
        self.cache(step).truncate(step["length"], keep_packed=step.get("keep_packed", False))

    def do_reset(self, step: Step) -> None:
        self.cache(step).reset()

    def do_fork(self, step: Step) -> None:
        self.keep(step["to"], self.cache(step).fork())

    def do_save(self, step: Step) -> None:
        target = io.BytesIO()
        self.cache(step).save(target, step.get("model_id", ""))
        data = target.getvalue()
        if "snapshot" in step and data != read_array(step["snapshot"])[1].tobytes():
            raise CaseError(f"other bytes than the snapshot's; {len(data)} of them")
        if "same_as" in step and data != self.saved[step["same_as"]]:
            raise CaseError("the bytes differ from those saved before")
        self.saved[step["cache"]] = data

    def do_load(self, step: Step) -> None:
        data = bytearray(self.saved[step["saved"]])
        patch = step.get("patch", [])
        for at, byte in zip(patch[::2], patch[1::2], strict=True):
            data[at] = byte
        told: Step = {key: step[key] for key in ("model_id", "max_tokens", "auto") if key in step}
        if "auto" in told:
            told.setdefault("max_tokens", 0)
        if "geometry" in step:
            told["geometry"] = self.geometry(step)
        if "recipe" in step:
            told["recipe"] = self.recipe(step)
        source = Pieces(bytes(data[: step.get("cut", len(data))]))
        self.keep(step["to"], mustafar.Cache.load(self.context, source, **told))

    # ---- steps that ask

    def do_state(self, step: Step) -> None:
        cache = self.cache(step)
        self.equal(step, cache.length(step["layer"]), "committed", "tentative")
        self.equal(step, cache.rows(step["layer"], step["head"]), "rows", "body")
        if cache.positions(step["layer"], step["head"]).tolist() != step["positions"]:
            raise CaseError("other positions")

    def do_export(self, step: Step) -> None:
        side = mustafar.Side[step["side"].upper()]
        place = step["layer"], step["head"], side, step["begin"], step["end"]
        values, bitmaps = self.cache(step).export_bitmaps(*place)
        if bitmaps.tobytes() != read_array(step["bitmaps"])[1].tobytes():
            raise CaseError("other bitmaps")
        if "values" in step:
            self.close("values", values, step, l2=True)

    def do_bytes(self, step: Step) -> None:
        got = self.cache(step).bytes(index(step["layer"]), index(step["head"]))
        self.equal(step, got, "values", "bitmaps", "meta", *(["slack"] if self.strict else []))
        for part in ("window", "positions"):
            if getattr(got, part) < step.get(part + "_least", 0):
                raise CaseError(
                    f"{part}: {getattr(got, part)} is less than {step[part + '_least']}"
                )
        if step.get("positions_least") == 0 and got.positions:
            raise CaseError("positions before any eviction")
        parts = got.to_dict()
        if sum(parts.values()) - parts["total"] - parts["exact"] != got.total:
            raise CaseError("total is not the sum of the parts")

    def do_plan(self, step: Step) -> None:
        cache = self.cache(step)
        recipe, own = self.recipe(step), cache.options.to_dict()
        got, want = recipe.plan(self.geometry(step), step["tokens"], **own), cache.bytes()
        alike = (getattr(got, key) == getattr(want, key) for key in ("values", "window", "tables"))
        if not (got.total == want.total and all(alike) if got.exact else got.total >= want.total):
            raise CaseError(f"plan says {got.total} bytes, the cache takes {want.total}")

    def do_stats(self, step: Step) -> None:
        got = self.cache(step).stats()
        self.equal(step, got, *(key for key in step if key not in ("op", "cache", "status")))

    def do_recipe(self, step: Step) -> None:
        got = self.recipe(step).json
        if "canonical" in step and got != step["canonical"]:
            raise CaseError(f"canonical text is {got}")

    def do_side(self, step: Step) -> None:
        side = mustafar.Side[step["side"].upper()]
        got = self.recipe(step).side(self.geometry(step), step["layer"], step["head"], side)
        keys = ("keep", "bits", "encoding", "method", "group", "centred", "row_bytes")
        self.equal(step, got, *keys, *(["page_bytes"] if self.strict else []))

    def do_window(self, step: Step) -> None:
        got = self.recipe(step).window(self.geometry(step), step["layer"], step["head"])
        self.equal(step, got, "recent", "sink", "step", "budget")

    # ---- attention

    def do_attend(self, step: Step) -> None:
        shape = self.shape(step)
        caches = [self.caches[slot] for slot in step["caches"]]
        dims = len(caches), step["q_len"], shape["q_heads"]
        q = read_array(step["q"], int(numpy.prod(dims)) * shape["head_dim_k"])[1]
        q = q.reshape(step.get("q_shape", (*dims, shape["head_dim_k"])))
        sinks = read_array(step["sinks"], shape["q_heads"])[1] if "sinks" in step else None
        dtype = step.get("out_dtype", "f32")
        kind = {"f32": numpy.float32, "f16": numpy.float16, "bf16": numpy.uint16}[dtype]
        out = numpy.full((*dims, shape["head_dim_v"]), 7, kind)
        lse = numpy.full(dims, 7, numpy.float32)
        width, drops = step.get("weights_width", 0), step.get("drop_mass", 0.0) > 0
        weights = numpy.full((*dims, width), 7, numpy.float32) if width else None
        dropped = numpy.full(dims, 7, numpy.float32) if drops else None
        names = "scale", "softcap", "sliding_window", "drop_mass", "q_position"
        options = {name: step[name] for name in names if name in step}
        mustafar.attend(
            caches,
            step["layer"],
            q,
            sinks,
            out=out,
            lse=lse,
            weights=weights,
            dropped=dropped,
            **options,
        )
        if "status" in step:
            return
        self.close("lse", lse, step)
        if weights is not None:
            self.close("weights", weights, step)
        if dropped is None:
            self.close("out", out, step, dtype, l2=True)
        else:
            self.certificate(step, numbers(dtype, out), dropped.astype(numpy.float64))

    def certificate(self, step: Step, out: Array, dropped: Array) -> None:
        """What was left out is a sum of V rows of at most `value_most` with weights of at most
        `dropped`, which is at most drop_mass; `out` of the step is exact."""
        if not ((dropped >= 0) & (dropped <= step["drop_mass"] * (1 + 1e-6))).all():
            raise CaseError("dropped is no bound below drop_mass")
        exact = numbers(*read_array(step["out"])).reshape(out.shape)
        tolerance = step["out_tolerance"][0 if self.strict else 1]
        room = (dropped[..., None] + tolerance) * step["value_most"]
        if not (numpy.abs(out - exact) <= room).all():
            raise CaseError("out is farther from the exact one than `dropped` allows")

    def do_merge(self, step: Step) -> None:
        rows, d = step["rows"], step["dim"]
        (dtype, out_a), (_, out_b) = (read_array(step[key], rows * d) for key in ("out_a", "out_b"))
        lse_a, lse_b = (read_array(step[key], rows)[1] for key in ("lse_a", "lse_b"))
        out = numpy.empty((rows, d), out_a.dtype)
        parts = out_a.reshape(rows, d), lse_a, out_b.reshape(rows, d), lse_b
        _, lse = mustafar.merge(self.context, *parts, out=out)
        if "status" not in step:
            self.close("out", out, step, dtype, l2=True)
            self.close("lse", lse, step)


def index(value: int) -> int:
    """-1 in the vectors: all of them."""
    return mustafar.ALL if value < 0 else value
