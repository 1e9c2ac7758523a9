# SPDX-License-Identifier: Apache-2.0
"""Save a prefix once, load it twice, go on from it in two ways."""

import io
import logging

import numpy

import mustafar

logging.basicConfig(level=logging.INFO)
random = numpy.random.default_rng(0)
geometry = mustafar.Geometry(layers=1, q_heads=4, kv_heads=2, head_dim_k=64)
rows = [random.standard_normal((200, 2, 64)).astype(numpy.float16) for _ in range(3)]
prefix = io.BytesIO()

with mustafar.Context(log=logging.getLogger("mustafar")) as context:
    with mustafar.Cache(context, geometry, "lean", max_tokens=1024) as cache:
        cache.append(0, rows[0], rows[1])
        cache.save(prefix, model_id="my-model")
    caches = []
    for tokens in (1, 50):
        prefix.seek(0)
        cache = mustafar.Cache.load(context, prefix, model_id="my-model")
        cache.append(0, rows[2][:tokens], rows[2][:tokens])
        caches.append(cache)
    q = random.standard_normal((2, 1, 4, 64)).astype(numpy.float32)
    out, lse = mustafar.attend(caches, 0, q, with_lse=True)  # lists of caches of any lengths
    print(f"{len(prefix.getvalue())} bytes saved; out {out.shape}, lse {lse.shape}")
