# SPDX-License-Identifier: Apache-2.0
"""DLPack, with NumPy as the producer: versioned and legacy capsules, and their lifetimes."""

from __future__ import annotations

import sys

import numpy
import pytest
from conftest import queries, rows

import mustafar


class Tensor:
    """Only `__dlpack__`, and no buffer, as torch tensors have it."""

    def __init__(self, array: numpy.ndarray) -> None:
        self.array = array
        self.shape = array.shape

    def __dlpack__(self, *, stream: object = None) -> object:
        return self.array.__dlpack__()

    def __getitem__(self, key: object) -> Tensor:
        return Tensor(self.array[key])  # type: ignore[index]


def test_in_and_out(dense: mustafar.Cache) -> None:
    k, q = rows(50), queries()
    wide = numpy.zeros((50, 2, 128), numpy.float16)
    wide[..., ::2] = k
    dense.append(0, Tensor(wide[..., ::2]), Tensor(k))
    numpy.testing.assert_array_equal(dense.export(0, 1, 0), k[:, 1])
    expected = mustafar.attend([dense], 0, q)
    out = numpy.zeros_like(expected)
    holder = Tensor(out)
    assert mustafar.attend([dense], 0, Tensor(q), out=holder) is holder
    numpy.testing.assert_array_equal(out, expected)
    numpy.testing.assert_array_equal(dense.attend(0, Tensor(q[0])), expected[0])


def test_refused(dense: mustafar.Cache) -> None:
    for bad in (rows(1).astype("f8"), rows(1).astype("i8"), rows(1)[..., :5]):
        with pytest.raises(mustafar.Error, match="k"):
            dense.append(0, Tensor(bad), rows(1))
    dense.append(0, rows(1), rows(1))
    with pytest.raises(mustafar.InvalidArgumentError, match="out is not contiguous"):
        out = numpy.zeros((1, 1, 4, 128), "f4")[..., ::2]
        mustafar.attend([dense], 0, queries(), out=Tensor(out))


def test_nothing_stays_held(dense: mustafar.Cache) -> None:
    k = rows(1)
    before = sys.getrefcount(k)
    for _ in range(100):
        dense.append(0, Tensor(k), Tensor(k))
        with pytest.raises(mustafar.InvalidArgumentError):
            dense.append(0, Tensor(k), None)
    assert sys.getrefcount(k) == before


def test_versioned_capsules(dense: mustafar.Cache) -> None:
    """DLPack 1 says whether memory may be written; older capsules cannot."""
    if numpy.lib.NumpyVersion(numpy.__version__) < "2.1.0":
        pytest.skip("NumPy before 2.1 makes legacy capsules only")

    class Versioned(Tensor):
        def __dlpack__(self, **words: object) -> object:
            assert words["max_version"] == (1, 0)
            return self.array.__dlpack__(**words)  # type: ignore[arg-type]

    dense.append(0, Versioned(rows(1)), Versioned(rows(1)))
    out = numpy.zeros((1, 1, 4, 64), "f4")
    mustafar.attend([dense], 0, queries(), out=Versioned(out))
    assert out.any()
    out.flags.writeable = False
    with pytest.raises(mustafar.InvalidArgumentError, match=r"out: .* read-only"):
        mustafar.attend([dense], 0, queries(), out=Versioned(out))


def test_bfloat16_of_ml_dtypes(context: mustafar.Context) -> None:
    kinds = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not here (optional)")
    geometry = mustafar.Geometry(1, 2, 2, 64, dtype=mustafar.DType.BF16)
    with mustafar.Cache(context, geometry, "dense", max_tokens=8) as cache:
        k = rows(4).astype(kinds.bfloat16)
        cache.append(0, k, k)
        numpy.testing.assert_array_equal(cache.export(0, 0, 0), k[:, 0].astype("f4"))
        with pytest.raises(mustafar.InvalidArgumentError, match="k"):
            cache.append(0, rows(1).astype(kinds.float8_e4m3fn), k[:1])
