# SPDX-License-Identifier: Apache-2.0
"""Some columns of docs/experiments.md, section 7, computed again in NumPy float64, without the library.

usage: simulate.py TRACE.safetensors...     (minutes; `--measure window`, the newest 32 tokens of each query exact)"""
import json
import struct
import sys

import numpy as np

WINDOW = 32


def load(path):
    with open(path, "rb") as file:
        data = file.read()
    length, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    types = {"F16": "<f2", "F32": "<f4", "U8": "u1"}
    tensors = {name: np.frombuffer(data, types[e["dtype"]], int(np.prod(e["shape"])),
                                   8 + length + e["data_offsets"][0]).reshape(e["shape"])
               for name, e in header.items() if name != "__metadata__"}
    return header["__metadata__"], tensors


def keep(count):
    def apply(x):
        order = np.argsort(-np.abs(x), axis=-1, kind="stable")[..., :count]
        survives = np.zeros(x.shape, bool)
        np.put_along_axis(survives, order, True, -1)
        return np.where(survives, x, 0)
    return apply


def quantize(bits, axis=-1):
    def apply(x):
        low, high = x.min(axis, keepdims=True), x.max(axis, keepdims=True)
        zero = low.astype(np.float16).astype(float)
        scale = ((high - low) / (2**bits - 1)).astype(np.float16).astype(float)
        codes = np.clip(np.rint((x - zero) / np.where(scale > 0, scale, 1)), 0, 2**bits - 1)
        return zero + codes * scale
    return apply


def per_channel(bits):
    def apply(x):  # [heads, tokens, d]; groups of 32 tokens, the rest as it is
        heads, tokens, d = x.shape
        whole = tokens // 32 * 32
        out = x.copy()
        out[:, :whole] = quantize(bits, 2)(x[:, :whole].reshape(heads, -1, 32, d)).reshape(heads, whole, d)
        return out
    return apply


def centred(inner, rows):
    def apply(x):
        mean = x[:, :rows].mean(1, keepdims=True)
        return inner(x - mean) + mean
    return apply


def attend(q, k, v, scale):
    scores = scale * (k @ q)
    weights = np.exp(scores - scores.max())
    return weights @ v / weights.sum()


def layer_error(k, v, q, scale, change_k, change_v):
    changed_k = change_k(k) if change_k else k
    changed_v = change_v(v) if change_v else v
    difference = size = 0.0
    for head in range(len(q)):
        kv = head * len(k) // len(q)
        for j in range(q.shape[1]):
            seen = k.shape[1] - q.shape[1] + j + 1
            old = seen - WINDOW
            should = attend(q[head, j], k[kv, :seen], v[kv, :seen], scale)
            mixed = [np.concatenate([a[kv, :old], b[kv, old:seen]]) for a, b in ((changed_k, k), (changed_v, v))]
            difference += ((attend(q[head, j], *mixed, scale) - should)**2).sum()
            size += (should**2).sum()
    return np.sqrt(difference / size)


def main():
    for path in sys.argv[1:]:
        metadata, tensors = load(path)
        d, packed = int(metadata["head_dim"]), int(metadata["T"]) - int(metadata["Tq"])
        half, int4, int2 = keep(d // 2), quantize(4), quantize(2)
        rows = {"keep50": (half, half), "keep50, K": (half, None), "keep50, V": (None, half),
                "int4": (int4, int4), "int4, K": (int4, None), "int2": (int2, int2), "int2, K": (int2, None),
                "Kch4, K": (per_channel(4), None),
                "int4, K centred by 32 rows": (centred(int4, 32), int4),
                "int4, K centred by all rows": (centred(int4, packed), int4),
                "int2, K centred by 32 rows": (centred(int2, 32), int2),
                "int2, K centred by all rows": (centred(int2, packed), int2)}
        print(path)
        for name, (change_k, change_v) in rows.items():
            errors = [layer_error(*(tensors[f"layers.{i}.{part}"].astype(float) for part in "kvq"),
                                  float(metadata["scale"]), change_k, change_v)
                      for i in range(int(metadata["layers"]))]
            print(f"  {name:<30} {np.mean(errors):.4f}   worst layer {max(errors):.4f}", flush=True)


main()
