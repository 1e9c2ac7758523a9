# SPDX-License-Identifier: Apache-2.0
"""What a cache does, through the package: values, bytes, lengths."""

from __future__ import annotations

import numpy
import pytest
from conftest import GEOMETRY, queries, rows

import mustafar
from mustafar._selfcheck import dense_attention


def test_dense_attention_is_attention(either: mustafar.Context, rounding: float) -> None:
    k, v, q = rows(200), rows(200, 1), queries()
    expected = dense_attention(q[0, 0], k.astype("f4"), v.astype("f4"))
    with mustafar.Cache(either, GEOMETRY, "dense", max_tokens=200) as cache:
        cache.append(0, k, v)
        numpy.testing.assert_allclose(cache.attend(0, q[0])[0], expected, atol=rounding, rtol=0)


def test_append_in_any_type_and_stride(context: mustafar.Context) -> None:
    k, v = rows(100), rows(100, 1)
    wide = numpy.zeros((100, 4, 130), numpy.float32)
    wide[:, ::2, 1:129:2] = k
    strided = wide[:, ::2, 1:129:2]
    backwards = v[::-1].copy()[::-1]
    with (
        mustafar.Cache(context, GEOMETRY, "lean", max_tokens=128) as plain,
        mustafar.Cache(context, GEOMETRY, "lean", max_tokens=128) as other,
    ):
        plain.append(0, k, v)
        other.append(0, strided, backwards)
        for head in range(2):
            for side in mustafar.Side:
                a, b = (one.export(0, head, side) for one in (plain, other))
                numpy.testing.assert_array_equal(a, b)


def test_bfloat16_as_uint16(context: mustafar.Context) -> None:
    geometry = mustafar.Geometry(1, 2, 1, 64, dtype="bf16")  # type: ignore[arg-type]
    values = numpy.float32(rows(8, heads=1))
    bits = (values.view(numpy.uint32) >> 16).astype(numpy.uint16)
    with mustafar.Cache(context, geometry, "dense", max_tokens=8) as cache:
        cache.append(0, bits, memoryview(bits))
        expected = (bits.astype(numpy.uint32) << 16).view(numpy.float32)
        numpy.testing.assert_array_equal(cache.export(0, 0, 0), expected[:, 0])


def test_outputs_given(dense: mustafar.Cache) -> None:
    dense.append(0, rows(40), rows(40, 1))
    q = queries(q_len=3)
    out, lse = mustafar.attend([dense], 0, q, with_lse=True)
    half = numpy.empty(out.shape, numpy.float16)
    given = numpy.empty(lse.shape, numpy.float32)
    weights = numpy.empty((*lse.shape, 40), numpy.float32)
    dropped = numpy.empty(lse.shape, numpy.float32)
    result = mustafar.attend(
        [dense], 0, q, out=half, lse=given, weights=weights, dropped=dropped, drop_mass=0.0
    )
    assert result is half
    numpy.testing.assert_allclose(half, out, atol=2e-3)
    numpy.testing.assert_array_equal(given, lse)
    numpy.testing.assert_allclose(weights.sum(-1), 1.0, rtol=1e-5)
    assert (weights[0, 0, :, 38:] == 0).all()  # query 0 of 3 stands at 37


def test_attend_options_reach_the_library(dense: mustafar.Cache) -> None:
    dense.append(0, rows(40), rows(40, 1))
    q = queries()
    base = dense.attend(0, q[0])
    for options in ({"scale": 0.5}, {"softcap": 2.0}, {"sliding_window": 4}, {"q_position": 9}):
        assert not numpy.array_equal(dense.attend(0, q[0], **options), base), options
    numpy.testing.assert_array_equal(dense.attend(0, q[0], scale=0.125), base)
    numpy.testing.assert_array_equal(dense.attend(0, q[0], q_position=39), base)
    sinks = numpy.zeros(4, numpy.float32)
    assert not numpy.array_equal(dense.attend(0, q[0], sinks), base)


def test_lists_of_caches_and_merge(either: mustafar.Context, rounding: float) -> None:
    k, v, q = rows(90), rows(90, 1), queries(2)
    q[1] = q[0]
    with (
        mustafar.Cache(either, GEOMETRY, "dense", max_tokens=90) as whole,
        mustafar.Cache(either, GEOMETRY, "dense", max_tokens=90) as one,
        mustafar.Cache(either, GEOMETRY, "dense", max_tokens=90) as two,
    ):
        whole.append(1, k, v)
        one.append(1, k[:33], v[:33])
        two.append(1, k[33:], v[33:])
        expected, expected_lse = whole.attend(1, q[0], with_lse=True)
        out, lse = mustafar.attend((one, two), 1, q, with_lse=True)
        merged, merged_lse = mustafar.merge(either, out[0], lse[0], out[1], lse[1])
        numpy.testing.assert_allclose(merged, expected, atol=rounding, rtol=0)
        numpy.testing.assert_allclose(merged_lse, expected_lse, atol=rounding, rtol=0)
        again = mustafar.merge(either, out[0], lse[0], out[1], lse[1], out=out[0], lse=lse[0])
        assert again[0] is not None
        numpy.testing.assert_array_equal(out[0], merged)


def test_no_caches() -> None:
    assert mustafar.attend([], 0, numpy.zeros((0, 1, 4, 64), numpy.float32)).shape == (0, 1, 4, 64)


def test_tentative_commit_truncate(cache: mustafar.Cache) -> None:
    cache.append(0, rows(100), rows(100, 1))
    before = cache.bytes()
    cache.append(0, rows(3, 2), rows(3, 3), tentative=True)
    assert cache.length(0) == mustafar.Length(100, 3)
    assert cache.length(0).total == 103
    cache.truncate(100)
    assert cache.length(0) == mustafar.Length(100, 0) and cache.bytes() == before
    cache.append(0, rows(3, 2), rows(3, 3), tentative=True)
    cache.commit(0)
    assert cache.length(0) == mustafar.Length(103, 0)
    with pytest.raises(mustafar.NotExactError) as error:
        cache.truncate(40)
    cache.truncate(error.value.smallest_exact)
    cache.truncate(40, keep_packed=True)
    assert cache.length(0).total == 40


def test_prune_compress(context: mustafar.Context) -> None:
    recipe = "k32/v64/w8"
    with mustafar.Cache(context, GEOMETRY, recipe, max_tokens=64, auto=False) as cache:
        cache.append(0, rows(64), rows(64, 1))
        assert cache.rows(0, 0) == mustafar.Rows(64, 0)
        cache.prune(0, mustafar.ALL, mustafar.Side.K, 0, 32)
        values, bitmaps = cache.export_bitmaps(0, 0, mustafar.Side.K, 0, 33)
        assert ((values != 0).sum(axis=1) == 32)[:32].all() and (values[32] != 0).all()
        bits = numpy.unpackbits(bitmaps, axis=1, bitorder="little")
        numpy.testing.assert_array_equal(bits[:32] != 0, values[:32] != 0)
        mask = numpy.zeros((1, 32, 64), bool)
        mask[..., ::2] = True
        cache.prune(0, 1, 0, 0, 32, method=mustafar.PruneMethod.MASK, mask=mask)
        numpy.testing.assert_array_equal(cache.export(0, 1, 0, 0, 32) != 0, mask[0])
        cache.prune(
            0, 0, 0, 0, 32,
            channel_weights=numpy.r_[numpy.ones(32), numpy.zeros(32)][None],
            token_weights=numpy.ones((1, 32)),
        )  # fmt: skip
        assert (cache.export(0, 0, 0, 0, 32)[:, 32:] == 0).all()
        cache.compress()
        assert cache.rows(0, 0).body > 0
        with pytest.raises(mustafar.BadStateError):
            cache.prune(0, 0, 0, 0, 32)


def test_evict(cache: mustafar.Cache) -> None:
    cache.append(0, rows(100), rows(100, 1))
    cache.evict(0, 0, [1, 2, 5])
    assert cache.positions(0, 0)[:5].tolist() == [0, 3, 4, 6, 7]
    cache.evict(0, 1, range(0, 100, 2), keep=True)
    assert cache.rows(0, 1).rows < 100
    cache.evict_scores(0, 0, numpy.arange(97.0), budget=50)
    assert cache.rows(0, 0).rows == 50
    assert cache.stats().evicted_rows > 0
    assert cache.bytes().positions > 0


def test_fork_is_independent(cache: mustafar.Cache) -> None:
    cache.append(0, rows(100), rows(100, 1))
    with cache.fork() as fork:
        fork.append(0, rows(1, 5), rows(1, 6))
        assert (cache.length(0).total, fork.length(0).total) == (100, 101)
        assert fork.stats().shared_pages > 0


def test_reset(cache: mustafar.Cache) -> None:
    cache.append(0, rows(100), rows(100, 1))
    cache.reset()
    assert cache.length(0) == mustafar.Length(0, 0) and cache.rows(0, 0) == mustafar.Rows(0, 0)


def test_plan_is_bytes(context: mustafar.Context) -> None:
    for recipe in ("dense", "lean", "mustafar-50", "k64i4/v64i2/w16"):
        with mustafar.Cache(context, GEOMETRY, recipe, max_tokens=200) as cache:
            for layer in range(2):
                cache.append(layer, rows(200), rows(200, 1))
            planned = mustafar.plan(recipe, GEOMETRY, 200, max_tokens=200)
            assert planned.exact and planned == cache.bytes()
            assert mustafar.Recipe(recipe).plan(GEOMETRY, 200, layer=1) == cache.bytes(1)


def test_description(cache: mustafar.Cache) -> None:
    assert cache.geometry == GEOMETRY
    assert cache.options == mustafar.CacheOptions(max_tokens=1024)
    assert cache.recipe == mustafar.Recipe("lean")
    assert "Cache" in repr(cache)


def test_recipes() -> None:
    names = mustafar.named_recipes()
    assert {"dense", "lean", "leaner", "mustafar-50"} <= set(names) and all(names.values())
    with mustafar.Recipe("k32i4/v64i2/w64/s4") as recipe:
        assert recipe.window(GEOMETRY, 0, 0) == mustafar.Window(64, 4, 32, 0)
        side = recipe.side(GEOMETRY, 0, 0, mustafar.Side.K)
        assert (side.keep, side.bits, side.head_dim) == (32, 4, 64)
        assert side.encoding is mustafar.Encoding.EXACT
        again = mustafar.Recipe(recipe.to_dict())
        assert again == recipe and hash(again) == hash(recipe) and again.digest == recipe.digest
        assert mustafar.Recipe(recipe.json.encode()) == recipe
        assert len(recipe.digest) == 32
    assert mustafar.Recipe("lean").name == "lean"


def test_context_stats_and_kernel(context: mustafar.Context, cache: mustafar.Cache) -> None:
    cache.append(0, rows(100), rows(100, 1))
    stats = context.stats()
    assert stats.live_bytes == stats.page_bytes + stats.cache_bytes + stats.work_bytes
    assert stats.caches == 1 and stats.threads == 1
    assert context.kernel("attend").available
    assert cache.bytes().total == stats.page_bytes + stats.cache_bytes
    assert "1 caches" in repr(context)
    per_head = sum(cache.bytes(layer, head).total for layer in range(2) for head in range(2))
    assert per_head <= cache.bytes().total
