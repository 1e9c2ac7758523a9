# SPDX-License-Identifier: Apache-2.0
"""to_pandas(), where pandas is installed."""

from __future__ import annotations

import pytest
from conftest import rows

import mustafar

pytest.importorskip("pandas", reason="pandas is not here (package python3-pandas)")


def test_tables(cache: mustafar.Cache, context: mustafar.Context) -> None:
    cache.append(0, rows(100), rows(100, 1))
    table = cache.to_pandas()
    assert len(table) == 4
    assert list(table.columns[:4]) == ["layer", "kv_head", "rows", "body"]
    assert table["rows"].sum() == cache.stats().rows
    stats = cache.stats().to_pandas()
    assert len(stats) == 1 and stats["rows"][0] == 200
    for value in (cache.bytes(), context.stats(), cache.length(), *mustafar.kernels()[:1]):
        assert list(value.to_pandas().columns) == list(value.to_dict())
