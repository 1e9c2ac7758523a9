# SPDX-License-Identifier: Apache-2.0
"""The smallest use: a cache, 1000 tokens of keys and values, one query."""

import numpy

import mustafar

random = numpy.random.default_rng(0)
k = random.standard_normal((1000, 2, 128), numpy.float32)  # [tokens, kv_heads, head_dim]
v = random.standard_normal((1000, 2, 128), numpy.float32)
q = random.standard_normal((1, 8, 128), numpy.float32)  # [q_len, q_heads, head_dim]
geometry = mustafar.Geometry(layers=1, q_heads=8, kv_heads=2, head_dim_k=128)

with mustafar.Context() as context:
    # lean: half of every key at 4 bits, all of every value at 2
    with mustafar.Cache(context, geometry, "lean", max_tokens=4096) as cache:
        cache.append(0, k, v)
        out = cache.attend(0, q)
        dense = k.size * 2 + v.size * 2
        print(f"out[0] = {out[0, 0, 0]:.4f}; {cache.bytes().total} bytes, dense f16 takes {dense}")
        print(cache.stats())
