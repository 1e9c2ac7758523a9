# SPDX-License-Identifier: Apache-2.0
"""A cache as a list of rows per head. One row at a time, everything kept, nothing clever: what
DESIGN sections 2 to 5 and docs/format.md say, in their order."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bits import Floats, Halves, round_half, to_f32
from prune import Bools, survivors
from quantize import Doubles, pack_codes, quantize
from recipe import Geometry, Recipe, SideSpec

SIDES = ("k", "v")


@dataclass
class Packed:
    """One side of a body row: its bytes, and the values they stand for (without the centre)."""

    kept: Bools
    codes: bytes
    meta: bytes
    values: Doubles


@dataclass
class Row:
    position: int
    stored: dict[str, Halves]
    marks: dict[str, Bools] = field(default_factory=dict)
    packed: dict[str, Packed] = field(default_factory=dict)
    block: int = -1  # which 32 rows were packed with it, where K has a scale per channel
    slot: int = -1


def pack_row(spec: SideSpec, kept: Bools, values: Floats, dtype: str) -> Packed:
    """Encodings 1, 2 and 3: docs/format.md 3.1."""
    chosen = values[kept]
    back = np.zeros(spec.d)
    if spec.bits == 16:
        halves = round_half(chosen, dtype)
        back[kept] = to_f32(halves, dtype)
        return Packed(kept, halves.astype("<u2").tobytes(), b"", back)
    size = spec.group or max(1, len(chosen))
    groups = [
        quantize(chosen[at : at + size], spec.bits) for at in range(0, len(chosen), size)
    ] or [quantize(chosen, spec.bits)]
    back[kept] = np.concatenate([group.values() for group in groups])
    codes = pack_codes([code for group in groups for code in group.codes], spec.bits)
    return Packed(kept, codes, b"".join(group.meta() for group in groups), back)


def pack_block(spec: SideSpec, rows: Floats) -> "tuple[list[Packed], bytes]":
    """Encoding 4: a scale and zero per channel over 32 rows."""
    columns = [quantize(rows[:, c], spec.bits) for c in range(spec.d)]
    everything = np.ones(spec.d, bool)
    packed = []
    for i in range(len(rows)):
        codes = pack_codes([column.codes[i] for column in columns], spec.bits)
        values = np.array([column.values()[i] for column in columns])
        packed.append(Packed(everything, codes, b"", values))
    return packed, b"".join(column.meta() for column in columns)


class Head:
    def __init__(self, recipe: Recipe, geometry: Geometry, layer: int, head: int) -> None:
        self.recipe, self.dtype = recipe, geometry.dtype
        self.spec = {side: recipe.side(geometry, layer, head, side) for side in SIDES}
        self.budget = recipe.budget_of(geometry, layer, head)
        self.rows: list[Row] = []
        self.mu: Floats | None = None
        if isinstance(self.spec["k"].centre, (list, tuple)):
            self.mu = np.array(self.spec["k"].centre, np.float32)
        self.channel_mask: dict[str, Bools] = {}
        self.block_meta: dict[int, bytes] = {}
        self.evicted = 0
        self.evicts = False  # positions are stored from the first eviction on
        self.packed_rows = 0
        self.irregular = False  # ragged pages keep the bytes of rows that went

    @property
    def body(self) -> "list[Row]":
        return [row for row in self.rows if row.packed]

    @property
    def dense(self) -> "list[Row]":
        return [row for row in self.rows if not row.packed]

    def floats(self, rows: "list[Row]", side: str) -> Floats:
        return np.array([to_f32(row.stored[side], self.dtype) for row in rows], np.float32)

    def centred(self, rows: "list[Row]", side: str) -> Floats:
        values = self.floats(rows, side)
        if side == "v" or not self.spec["k"].centred:
            return values
        if self.mu is None:  # frozen on the first rows that need it
            total = np.zeros(self.spec["k"].d)
            for row in values.astype(np.float64):
                total = total + row
            self.mu = (total / len(values)).astype(np.float32)
        return values - self.mu

    def choose(
        self, side: str, values: Floats, channel: "Floats | None", token: "Floats | None"
    ) -> Bools:
        """The recipe's survivors; whole channels are chosen once."""
        spec = self.spec[side]
        if spec.method != "channels":
            return survivors(spec, values, channel, token)
        if side not in self.channel_mask:
            self.channel_mask[side] = survivors(spec, values, channel, token)[0]
        return np.tile(self.channel_mask[side], (len(values), 1))

    # ---- packing -------------------------------------------------------------------------------
    def outside(self, committed: int, manual: bool) -> int:
        dense = sum(1 for row in self.dense if row.position < committed)
        outside = max(0, dense - self.recipe.sink - self.recipe.recent)
        unit = 32 if self.spec["k"].tag == 4 else 1 if manual else self.recipe.step
        return outside // unit * unit

    def pack(self, committed: int, manual: bool) -> None:
        count = self.outside(committed, manual)
        leaving = self.dense[self.recipe.sink :][:count]
        for at in range(0, count, self.recipe.step):
            self.pack_chunk(leaving[at : at + self.recipe.step])

    def pack_chunk(self, rows: "list[Row]") -> None:
        for side in SIDES:
            values = self.centred(rows, side)
            kept: list[Bools | None] = [row.marks.get(side) for row in rows]
            bare = [i for i, mark in enumerate(kept) if mark is None]
            if bare:
                for i, mask in zip(bare, self.choose(side, values[bare], None, None)):
                    kept[i] = mask
            if self.spec[side].tag == 4:
                block = len(self.block_meta)
                packed, self.block_meta[block] = pack_block(self.spec[side], values)
                for slot, row in enumerate(rows):
                    row.block, row.slot = block, slot
            else:
                packed = [
                    pack_row(self.spec[side], mask, own, self.dtype)
                    for mask, own in zip(kept, values)
                    if mask is not None
                ]
            for row, image in zip(rows, packed):
                row.packed[side] = image
        for row in rows:
            row.marks = {}
        self.packed_rows += len(rows)

    def pages(self) -> "Iterator[tuple[int, list[Row]]]":
        """Validity mask and rows of each page."""
        body = self.body
        if self.spec["k"].tag == 4:
            for block in sorted({row.block for row in body}):
                rows = [row for row in body if row.block == block]
                yield sum(1 << row.slot for row in rows), rows
            return
        for at in range(0, len(body), 32):
            rows = body[at : at + 32]
            yield (1 << len(rows)) - 1, rows

    # ---- reading -------------------------------------------------------------------------------
    def values(self, row: Row, side: str) -> Doubles:
        mu = np.zeros(self.spec[side].d)
        if side == "k" and self.mu is not None:
            mu = self.mu.astype(np.float64)
        if row.packed:
            return mu + row.packed[side].values
        own = to_f32(row.stored[side], self.dtype).astype(np.float64)
        return np.where(row.marks[side], own, mu) if side in row.marks else own

    def kept(self, row: Row, side: str) -> Bools:
        if row.packed:
            return row.packed[side].kept
        return row.marks.get(side, np.ones(self.spec[side].d, bool))

    def evict(self, gone: "set[int]") -> None:
        if not gone:
            return
        self.rows = [row for row in self.rows if row.position not in gone]
        self.evicted += len(gone)
        self.evicts = self.irregular = True

    def protected(self) -> "set[int]":
        """Positions that eviction leaves: sinks and window."""
        rows = [row.position for row in self.rows]
        sink, recent = self.recipe.sink, self.recipe.recent
        return set(rows[:sink]) | set(rows[len(rows) - min(len(rows) - sink, recent) :])


class Cache:
    def __init__(self, geometry: Geometry, recipe: Recipe, most: int, auto: bool) -> None:
        self.geometry, self.recipe, self.most, self.auto = geometry, recipe, most, auto
        self.heads = [
            [Head(recipe, geometry, layer, h) for h in range(geometry.kv_heads)]
            for layer in range(geometry.layers)
        ]
        self.committed = [0] * geometry.layers
        self.tentative = [0] * geometry.layers
        self.appended = 0

    def length(self, layer: int) -> int:
        return self.committed[layer] + self.tentative[layer]

    def fork(self) -> "Cache":
        child = copy.deepcopy(self)
        child.appended = 0
        for head in (h for heads in child.heads for h in heads):
            head.packed_rows = 0
        return child

    def append(
        self, layer: int, k: "npt.NDArray[np.uint16]", v: "npt.NDArray[np.uint16]", tentative: bool
    ) -> None:
        """k, v: stored halves [tokens, kv_heads, d]; one token after the other."""
        for own_k, own_v in zip(k, v):
            position = self.length(layer)
            for h, head in enumerate(self.heads[layer]):
                head.rows.append(Row(position, {"k": own_k[h], "v": own_v[h]}))
            if tentative:
                self.tentative[layer] += 1
            else:
                self.committed[layer] += 1
                self.pack_auto(layer)
            self.appended += 1

    def pack_auto(self, layer: int) -> None:
        if self.auto:
            for head in self.heads[layer]:
                head.pack(self.committed[layer], False)

    def chosen(self, layer: int) -> "list[int]":
        return list(range(self.geometry.layers)) if layer < 0 else [layer]

    def commit(self, layer: int) -> None:
        for i in self.chosen(layer):
            self.committed[i], self.tentative[i] = self.length(i), 0
            self.pack_auto(i)

    def compress(self, layer: int) -> None:
        for i in self.chosen(layer):
            for head in self.heads[i]:
                head.pack(self.committed[i], True)

    def truncate(self, length: int) -> None:
        for layer, heads in enumerate(self.heads):
            if length >= self.length(layer):
                continue
            self.tentative[layer] = max(0, length - self.committed[layer])
            self.committed[layer] = min(length, self.committed[layer])
            for head in heads:
                body = len(head.body)
                head.rows = [row for row in head.rows if row.position < length]
                head.irregular |= len(head.body) < body
                dense = [row for row in head.dense if row.position < self.committed[layer]]
                for row in dense[len(dense) - min(len(dense), self.recipe.recent) :]:
                    row.marks = {}
            if length <= self.recipe.sink:  # nothing packed, evicted or frozen from is left
                for h, head in enumerate(heads):
                    heads[h] = Head(self.recipe, self.geometry, layer, h)
                    heads[h].rows, heads[h].packed_rows = head.rows, head.packed_rows

    def reset(self) -> None:
        fresh = Cache(self.geometry, self.recipe, self.most, self.auto)
        fresh.appended = self.appended
        for old, new in zip(self.heads, fresh.heads):
            for a, b in zip(old, new):
                b.packed_rows = a.packed_rows
        self.__dict__ = fresh.__dict__

    def smallest_exact(self) -> int:
        """Least length that leaves `recent` dense rows behind every body."""
        least = 0
        for layer, heads in enumerate(self.heads):
            for head in heads:
                body = len(head.body)
                needed = self.recipe.sink + body + self.recipe.recent
                if body and needed <= len(head.rows):
                    least = max(least, head.rows[needed - 1].position + 1)
                elif body:
                    least = max(least, self.committed[layer])
        return least
