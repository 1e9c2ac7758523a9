# SPDX-License-Identifier: Apache-2.0
"""Writes a tiny synthetic trace (format: docs/experiments.md, section 2). Standard library only.

python3 trace_file.py FILE makes one to play with."""
import json
import math
import random
import struct
import sys

LAYERS, Q_HEADS, KV_HEADS, TOKENS, QUERIES = 2, 4, 2, 160, 8


def halves(values):
    return struct.pack(f"<{len(values)}e", *values)


def rounded(values):
    return list(struct.unpack(f"<{len(values)}e", halves(values)))


def attend(q, keys, values, scale):
    scores = [scale * math.fsum(a * b for a, b in zip(q, key)) for key in keys]
    top = max(scores)
    weights = [math.exp(s - top) for s in scores]
    total = math.fsum(weights)
    out = [math.fsum(w * v[c] for w, v in zip(weights, values)) / total for c in range(len(q))]
    return out, top + math.log(total)


def layer(rng, d):
    def rows(heads, count, spread):
        return [[rounded([rng.gauss(0, spread) for _ in range(d)]) for _ in range(count)]
                for _ in range(heads)]

    k, v, q = rows(KV_HEADS, TOKENS, 1.0), rows(KV_HEADS, TOKENS, 0.5), rows(Q_HEADS, QUERIES, 1.5)
    out, lse = [], []
    for head in range(Q_HEADS):
        kv = head * KV_HEADS // Q_HEADS
        for j in range(QUERIES):
            seen = TOKENS - QUERIES + j + 1
            o, s = attend(q[head][j], k[kv][:seen], v[kv][:seen], 1 / math.sqrt(d))
            out += o
            lse.append(s)
    flat = lambda rows: [x for head in rows for row in head for x in row]
    return flat(k), flat(v), flat(q), out, lse


def trace(d=32, seed=7, metadata=None, drop=(), damage=None):
    """Bytes of a trace. `drop`: tensors left out; `damage`: f(name, values) -> values."""
    rng = random.Random(seed)
    tensors = []  # name, dtype, shape, bytes

    def add(name, dtype, shape, values):
        if name in drop:
            return
        values = damage(name, values) if damage else values
        data = halves(values) if dtype == "F16" else struct.pack(f"<{len(values)}f", *values)
        tensors.append((name, dtype, shape, data))

    for i in range(LAYERS):
        k, v, q, out, lse = layer(rng, d)
        add(f"layers.{i}.k", "F16", [KV_HEADS, TOKENS, d], k)
        add(f"layers.{i}.v", "F16", [KV_HEADS, TOKENS, d], v)
        add(f"layers.{i}.q", "F16", [Q_HEADS, QUERIES, d], q)
        add(f"layers.{i}.out", "F32", [Q_HEADS, QUERIES, d], out)
        add(f"layers.{i}.lse", "F32", [Q_HEADS, QUERIES], lse)
    header = {"__metadata__": {"model": "synthetic", "kind": "noise", "T": str(TOKENS), "Tq": str(QUERIES),
                               "scale": repr(1 / math.sqrt(d)), "layers": str(LAYERS),
                               "q_heads": str(Q_HEADS), "kv_heads": str(KV_HEADS), "head_dim": str(d)}}
    for key, value in (metadata or {}).items():
        if value is None:
            del header["__metadata__"][key]
        else:
            header["__metadata__"][key] = value
    place = 0
    for name, dtype, shape, data in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [place, place + len(data)]}
        place += len(data)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(data for *_, data in tensors)


if __name__ == "__main__":
    with open(sys.argv[1], "wb") as file:
        file.write(trace())
