# SPDX-License-Identifier: Apache-2.0
"""What would a recipe cost and save? Planned bytes and the error of attention, for a few."""

import numpy

import mustafar

random = numpy.random.default_rng(0)
geometry = mustafar.Geometry(layers=1, q_heads=4, kv_heads=2, head_dim_k=64)
k, v = (random.standard_normal((600, 2, 64)).astype(numpy.float16) for _ in range(2))
q = random.standard_normal((1, 4, 64)).astype(numpy.float32)

with mustafar.Context() as context:
    outs = {}
    for recipe in ("dense", "mustafar-50", "kivi-4", "lean", "k32i4/v64i4"):
        with mustafar.Cache(context, geometry, recipe, max_tokens=600) as cache:
            cache.append(0, k, v)
            outs[recipe] = cache.attend(0, q)
        error = numpy.linalg.norm(outs[recipe] - outs["dense"]) / numpy.linalg.norm(outs["dense"])
        planned = mustafar.plan(recipe, geometry, tokens=32768)
        print(f"{recipe:<14} {planned.total / 32768:7.1f} bytes per token, error {error:.3f}")
