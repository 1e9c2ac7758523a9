# SPDX-License-Identifier: Apache-2.0
"""Snapshots, version 1, and byte counts: docs/format.md sections 3 and 5."""

import struct

import numpy as np

from model import SIDES, Cache, Head, Packed, Row
from prune import bitmap
from recipe import SideSpec
from xxh3 import xxh3_64

DTYPES = {"f16": 2, "bf16": 3}


def section(tag: bytes, index: int, payload: bytes) -> bytes:
    head = tag + struct.pack("<IQ", index, len(payload))
    return head + struct.pack("<Q", xxh3_64(head + payload)) + payload


def has_bitmap(spec: SideSpec) -> bool:
    return spec.tag == 2 or (spec.tag == 1 and spec.row_keep < spec.d)


def side_bytes(head: Head, side: str, rows: "list[Row]") -> bytes:
    """All bitmaps, then all codes, then meta."""
    spec = head.spec[side]
    packed = [row.packed[side] for row in rows]
    out = b"".join(bitmap(p.kept) for p in packed) if has_bitmap(spec) else b""
    out += b"".join(p.codes for p in packed)
    if spec.tag == 4:
        return out + head.block_meta[rows[0].block]
    return out + b"".join(p.meta for p in packed)


def mark_bytes(dense: "list[Row]") -> bytes:
    if not any(row.marks for row in dense):
        return b""
    flags = bytes(("k" in row.marks) + 2 * ("v" in row.marks) for row in dense)
    own = [bitmap(row.marks[side]) for side in SIDES for row in dense if side in row.marks]
    return flags + b"".join(own)


def head_payload(head: Head) -> bytes:
    body, dense, pages = head.body, head.dense, list(head.pages())
    marks = mark_bytes(dense)
    flags = head.evicts | 2 * (head.mu is not None) | 16 * bool(marks)
    flags |= 4 * ("k" in head.channel_mask) | 8 * ("v" in head.channel_mask)
    out = struct.pack("<4IQ", len(body), len(dense), flags, len(pages), head.evicted)
    if head.evicts:
        out += struct.pack(f"<{len(head.rows)}i", *(row.position for row in head.rows))
    if head.mu is not None:
        out += head.mu.astype("<f4").tobytes()
    out += b"".join(bitmap(head.channel_mask[s]) for s in SIDES if s in head.channel_mask)
    for valid, rows in pages:
        out += struct.pack("<I", valid)
        out += b"".join(side_bytes(head, side, rows) for side in SIDES)
    for side in SIDES:
        out += b"".join(np.asarray(row.stored[side], "<u2").tobytes() for row in dense)
    return out + marks


def row_type(spec: SideSpec) -> bytes:
    return struct.pack("<2BH", spec.tag, spec.bits, spec.row_keep)


def save(cache: Cache, model_id: str) -> bytes:
    g = cache.geometry
    shape = (g.layers, g.q_heads, g.kv_heads, g.head_dim_k, g.head_dim_v)
    geom = struct.pack("<8I", *shape, DTYPES[g.dtype], cache.most, int(cache.auto))
    out = b"MUSTAFAR" + struct.pack("<2I", 1, 0x01020304)
    out += section(b"GEOM", 0, geom)
    out += section(b"RECI", 0, cache.recipe.canonical().encode())
    out += section(b"MODL", 0, model_id.encode())
    for layer, heads in enumerate(cache.heads):
        lengths = struct.pack("<2I", cache.committed[layer], cache.tentative[layer])
        types = [row_type(head.spec[side]) for head in heads for side in SIDES]
        out += section(b"LAYR", layer, lengths + b"".join(types))
        for h, head in enumerate(heads):
            out += section(b"HEAD", layer * g.kv_heads + h, head_payload(head))
    return out + section(b"DONE", 0, struct.pack("<Q", 4 + g.layers * (1 + g.kv_heads)))


# ---- bytes -------------------------------------------------------------------------------------


def up(count: int) -> int:
    return (count + 63) // 64 * 64


def code_size(spec: SideSpec) -> int:
    return (spec.row_keep * spec.bits + 7) // 8


def meta_size(spec: SideSpec) -> int:
    if spec.bits == 16 or spec.tag == 4:
        return 0
    return 4 * (spec.d // spec.group) if spec.tag == 3 else 4


def page_side(spec: SideSpec, codes: int) -> int:
    """Bytes of one side of a page, alignment included: docs/format.md 3.2."""
    bitmaps = up(32 * spec.d // 8) if has_bitmap(spec) else 0
    offsets = up(32 * 2) if spec.tag == 2 else 0
    meta = 4 * spec.d if spec.tag == 4 else 32 * meta_size(spec)
    return bitmaps + offsets + up(codes) + up(meta)


def row_bytes(spec: SideSpec) -> int:
    """Of one body row, a channel's scale spread over 32 rows; 0 for ragged ones."""
    if spec.tag == 2:
        return 0
    spread = spec.d * 4 // 32 if spec.tag == 4 else meta_size(spec)
    return (spec.d // 8 if has_bitmap(spec) else 0) + code_size(spec) + spread


def parts(head: Head) -> "dict[str, int]":
    """What mustafar_cache_bytes says of a head, as far as the format fixes it."""
    out = {"values": 0, "bitmaps": 0, "meta": 0}
    held = 0
    for _, rows in head.pages():
        held += 64
        for side in SIDES:
            spec = head.spec[side]
            packed: list[Packed] = [row.packed[side] for row in rows]
            codes = sum(len(p.codes) for p in packed)
            out["values"] += codes
            out["bitmaps"] += len(rows) * (spec.d // 8) if has_bitmap(spec) else 0
            out["bitmaps"] += len(rows) * 2 if spec.tag == 2 else 0
            out["meta"] += sum(len(p.meta) for p in packed) + (4 * spec.d if spec.tag == 4 else 0)
            held += page_side(spec, codes if spec.tag == 2 else 32 * code_size(spec))
    out["slack"] = held - sum(out.values())
    row_size = 2 * (head.spec["k"].d + head.spec["v"].d)
    out["window_least"] = len(head.dense) * row_size
    out["positions_least"] = 4 * len(head.rows) if head.evicts else 0
    return out
