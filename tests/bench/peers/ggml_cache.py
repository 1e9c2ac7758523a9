# SPDX-License-Identifier: Apache-2.0
"""Decode attention of ggml's CPU backend over caches of one shape, through its Python package."""

from __future__ import annotations

import ctypes

import ggml
import numpy

TYPES = {"F16": ggml.GGML_TYPE_F16, "Q8_0": ggml.GGML_TYPE_Q8_0, "Q4_0": ggml.GGML_TYPE_Q4_0}


def _fill(tensor: object, rows: numpy.ndarray, kind: str) -> None:
    """rows [kv_heads, tokens, d] float32 into a tensor of that type; each head is contiguous."""
    data = ggml.ggml_get_data(tensor)
    if kind == "F16":
        halves = rows.astype(numpy.float16)
        ctypes.memmove(data, halves.ctypes.data, halves.nbytes)
        return
    flat = numpy.ascontiguousarray(rows, numpy.float32)
    source = flat.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    d = rows.shape[-1]
    ggml.ggml_quantize_chunk(TYPES[kind], source, data, 0, flat.size // d, d, None)


class GgmlCaches:
    """`layers` layers of K and V and a graph each; `attend(i)` computes layer i."""

    def __init__(
        self,
        kind: str,
        k: numpy.ndarray,
        v: numpy.ndarray,
        q: numpy.ndarray,
        layers: int,
        threads: int,
    ) -> None:
        heads, tokens, d = k.shape
        self.row_bytes = ggml.ggml_row_size(TYPES[kind], d)
        room = layers * (2 * heads * tokens * self.row_bytes + q.nbytes * 4 + (1 << 20))
        self._context = ggml.ggml_init(ggml.ggml_init_params(room, None, False))
        self._graphs, self._outputs = [], []
        for _ in range(layers):
            keys = ggml.ggml_new_tensor_3d(self._context, TYPES[kind], d, tokens, heads)
            values = ggml.ggml_new_tensor_3d(self._context, TYPES[kind], d, tokens, heads)
            _fill(keys, k, kind)
            _fill(values, v, kind)
            query = ggml.ggml_new_tensor_3d(self._context, ggml.GGML_TYPE_F32, d, 1, len(q))
            ctypes.memmove(ggml.ggml_get_data(query), q.ctypes.data, q.nbytes)
            out = ggml.ggml_flash_attn_ext(
                self._context, query, keys, values, None, d**-0.5, 0.0, 0.0
            )
            graph = ggml.ggml_new_graph(self._context)
            ggml.ggml_build_forward_expand(graph, out)
            self._graphs.append(graph)
            self._outputs.append(out)
        self._plans = []
        for graph in self._graphs:
            plan = ggml.ggml_graph_plan(graph, threads, None)
            work = (ctypes.c_uint8 * max(1, plan.work_size))()
            plan.work_data = ctypes.cast(work, ctypes.POINTER(ctypes.c_uint8))
            self._plans.append((plan, work))
        self._shape = (len(q), v.shape[-1])

    def attend(self, layer: int) -> None:
        ggml.ggml_graph_compute(self._graphs[layer], ctypes.byref(self._plans[layer][0]))

    def output(self, layer: int) -> numpy.ndarray:
        out = numpy.empty(self._shape, numpy.float32)
        ctypes.memmove(out.ctypes.data, ggml.ggml_get_data(self._outputs[layer]), out.nbytes)
        return out

    def __len__(self) -> int:
        return len(self._graphs)
