# SPDX-License-Identifier: Apache-2.0
"""Drafts of speculative decoding: append tentatively, attend, keep some, roll the rest back."""

import numpy

import mustafar

random = numpy.random.default_rng(0)
geometry = mustafar.Geometry(layers=1, q_heads=4, kv_heads=2, head_dim_k=64)
k, v = (random.standard_normal((500, 2, 64)).astype(numpy.float16) for _ in range(2))

with mustafar.Context() as context, mustafar.Cache(
    context, geometry, "mustafar-50", max_tokens=1024
) as cache:  # fmt: skip
    cache.append(0, k, v)
    before = cache.bytes()
    cache.append(0, k[:4], v[:4], tentative=True)  # four drafts, one pass over all of them
    out = cache.attend(0, random.standard_normal((4, 4, 64)).astype(numpy.float32))
    cache.truncate(502)  # two were right
    cache.commit(0)
    print(f"{out.shape[0]} drafts attended, {cache.length(0).total - 500} kept")
    print(f"{before.total} bytes before, {cache.bytes().total} after")
