# SPDX-License-Identifier: Apache-2.0
"""torch tensors, where torch is installed; the package itself never imports it."""

from __future__ import annotations

import subprocess
import sys

import numpy
import pytest
from conftest import GEOMETRY, queries, rows

import mustafar

torch = pytest.importorskip("torch", reason="torch is not here (optional)")


def test_tensors(context: mustafar.Context) -> None:
    with mustafar.Cache(context, GEOMETRY, "dense", max_tokens=64) as cache:
        k = torch.from_numpy(rows(30))
        cache.append(0, k, k.transpose(0, 1).contiguous().transpose(0, 1))
        numpy.testing.assert_array_equal(cache.export(0, 1, 1), rows(30)[:, 1])
        q = torch.from_numpy(queries())
        out = torch.empty(1, 1, 4, 64)
        assert mustafar.attend([cache], 0, q, out=out) is out
        numpy.testing.assert_array_equal(out.numpy(), mustafar.attend([cache], 0, q.numpy()))
        assert cache.attend(0, q[0]).shape == (1, 4, 64)


def test_bfloat16(context: mustafar.Context) -> None:
    geometry = mustafar.Geometry(1, 2, 2, 64, dtype=mustafar.DType.BF16)
    with mustafar.Cache(context, geometry, "dense", max_tokens=8) as cache:
        k = torch.from_numpy(rows(4)).to(torch.bfloat16)
        cache.append(0, k, k)
        numpy.testing.assert_array_equal(cache.export(0, 0, 0), k.float().numpy()[:, 0])


def test_gradients_are_refused(dense: mustafar.Cache) -> None:
    k = torch.zeros(1, 2, 64, requires_grad=True)
    with pytest.raises(mustafar.InvalidArgumentError, match="k"):
        dense.append(0, k, k)
    dense.append(0, k.detach(), k.detach())


def test_torch_is_not_imported() -> None:
    code = "import mustafar, sys; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
