# SPDX-License-Identifier: Apache-2.0
"""What is refused, and that the refusal names the argument. No crash, no leak, no change."""

from __future__ import annotations

import array
import copy
import ctypes
import io
import pickle

import numpy
import pytest
from conftest import GEOMETRY, queries, rows

import mustafar
from mustafar import _mustafar as c

INVALID = mustafar.InvalidArgumentError


def swapped(values: numpy.ndarray) -> numpy.ndarray:
    return values.astype(values.dtype.newbyteorder(">"))


def read_only(values: numpy.ndarray) -> numpy.ndarray:
    values = values.copy()
    values.flags.writeable = False
    return values


def misaligned(values: numpy.ndarray) -> numpy.ndarray:
    raw = numpy.zeros(values.nbytes + 1, numpy.uint8)
    view = raw[1:].view(values.dtype).reshape(values.shape)
    view[:] = values
    return view


def packed_struct(tokens: int) -> numpy.ndarray:
    kind = numpy.dtype([("tag", "u1"), ("row", "f4", (2, 64))])
    return numpy.zeros(tokens, kind)["row"]


BAD_KEYS = [
    ("float64", rows(4).astype("f8")),
    ("int16", rows(4).astype("i2")),
    ("complex", rows(4).astype("c8")),
    ("bool", rows(4) > 0),
    ("structured", numpy.zeros((4, 2, 64), [("x", "f2")])),
    ("object", numpy.zeros((4, 2, 64), object)),
    ("big endian", swapped(rows(4))),
    ("big endian f32", swapped(rows(4).astype("f4"))),
    ("misaligned", misaligned(rows(4))),
    ("odd strides", packed_struct(4)),
    ("list", [[1.0]]),
    ("None", None),
    ("text", "keys"),
    ("bytes", b"keys"),
    ("array.array", array.array("f", [1.0, 2.0])),
    ("0-d", numpy.float32(1)),
    ("5-d", numpy.zeros((1, 1, 4, 2, 64), "f4")),
    ("wrong heads", rows(4, heads=3)),
    ("wrong d", rows(4, d=56)),
    ("no tokens", rows(0)),
    ("other length than v", rows(5)),
    ("huge", numpy.broadcast_to(numpy.float16(1), (2**40, 2, 64))),
]


@pytest.mark.parametrize(("name", "k"), BAD_KEYS, ids=[name for name, _ in BAD_KEYS])
def test_bad_keys(cache: mustafar.Cache, name: str, k: object) -> None:
    cache.append(0, rows(3), rows(3, 1))
    before = cache.export(0, 0, 0)
    with pytest.raises((INVALID, mustafar.CapacityError), match=r"\b[kv]\b|token"):
        cache.append(0, k, rows(4))
    assert cache.length(0).total == 3
    numpy.testing.assert_array_equal(cache.export(0, 0, 0), before)


def test_the_message_names_the_argument(cache: mustafar.Cache) -> None:
    with pytest.raises(INVALID, match=r"mustafar_cache_append: v has the wrong byte order"):
        cache.append(0, rows(4), swapped(rows(4)))
    with pytest.raises(INVALID, match=r"mustafar_cache_append: k has elements of format \"d\""):
        cache.append(0, rows(4).astype("f8"), rows(4))


BAD_OUTPUTS = [
    ("read-only", read_only(queries()), "out is read-only"),
    ("strided", numpy.zeros((1, 1, 4, 128), "f4")[..., ::2], "out is not contiguous"),
    ("fortran", numpy.zeros((1, 1, 4, 64), "f4", order="F"), "out is not contiguous"),
    ("bytes", bytes(1024), "out is read-only"),
    ("shape", numpy.zeros((1, 1, 4, 32), "f4"), "out"),
    ("dtype", numpy.zeros((1, 1, 4, 64), "i4"), "out"),
    ("byte order", numpy.zeros((1, 1, 4, 64), ">f4"), "out has the wrong byte order"),
    ("float64", numpy.zeros((1, 1, 4, 64)), "out has elements of format"),
    ("None-like", object(), "out is a object"),
]


@pytest.mark.parametrize(("name", "out", "text"), BAD_OUTPUTS, ids=[b[0] for b in BAD_OUTPUTS])
def test_bad_outputs(dense: mustafar.Cache, name: str, out: object, text: str) -> None:
    dense.append(0, rows(4), rows(4, 1))
    with pytest.raises(INVALID, match=text):
        mustafar.attend([dense], 0, queries(), out=out)


@pytest.mark.parametrize("argument", ["lse", "weights", "dropped"])
def test_bad_optional_outputs(dense: mustafar.Cache, argument: str) -> None:
    dense.append(0, rows(4), rows(4, 1))
    with pytest.raises(INVALID, match=argument):
        mustafar.attend(
            [dense], 0, queries(), **{argument: read_only(numpy.zeros((1, 1, 4), "f4"))}
        )
    with pytest.raises(INVALID, match=argument):
        mustafar.attend([dense], 0, queries(), **{argument: numpy.zeros((1, 1, 3, 1), "f4")})


@pytest.mark.parametrize("bad", [numpy.nan, numpy.inf, -numpy.inf, 1e30])
def test_not_finite(cache: mustafar.Cache, bad: float) -> None:
    k = rows(4).astype("f4")
    k[2, 1, 7] = bad
    with pytest.raises(mustafar.NonFiniteError) as error:
        cache.append(0, k, rows(4))
    assert error.value.index == (0, 2, 1, 7)
    assert error.value.name == "MUSTAFAR_NON_FINITE" and error.value.code == 6
    assert isinstance(error.value, ValueError) and cache.length(0).total == 0


def test_not_finite_query(dense: mustafar.Cache) -> None:
    dense.append(0, rows(4), rows(4, 1))
    q = queries()
    q[0, 0, 3, 5] = numpy.nan
    with pytest.raises(mustafar.NonFiniteError) as error:
        mustafar.attend([dense], 0, q)
    assert error.value.index == (0, 0, 3, 5)


BAD_LAYERS = [-1, 2, 2**32 - 1, 2**32, 2**64, 10**30, 1.0, "0", None, [0]]


@pytest.mark.parametrize("layer", BAD_LAYERS, ids=repr)
def test_bad_layers(cache: mustafar.Cache, layer: object) -> None:
    for call in (
        lambda: cache.append(layer, rows(1), rows(1)),  # type: ignore[arg-type]
        lambda: cache.length(layer),  # type: ignore[arg-type]
        lambda: cache.rows(layer, 0),  # type: ignore[arg-type]
        lambda: cache.attend(layer, queries()[0]),  # type: ignore[arg-type]
        lambda: cache.positions(layer, 0),  # type: ignore[arg-type]
    ):
        with pytest.raises(INVALID, match="layer"):
            call()


def test_numpy_integers_are_integers(cache: mustafar.Cache) -> None:
    cache.append(numpy.int64(1), rows(1), rows(1))  # type: ignore[arg-type]
    assert cache.length(numpy.uint8(1)).total == 1  # type: ignore[arg-type]


def test_bad_queries(dense: mustafar.Cache) -> None:
    dense.append(0, rows(4), rows(4, 1))
    for q in (1.0, None, "q", [[1.0]], numpy.zeros(3, "f4"), numpy.zeros((1, 5, 4, 64), "f4")):
        with pytest.raises(INVALID, match="q"):
            mustafar.attend([dense], 0, q)
    huge = numpy.broadcast_to(numpy.float32(1), (1, 2**50, 4, 64))
    with pytest.raises(mustafar.Error):
        mustafar.attend([dense], 0, huge)
    with pytest.raises(INVALID, match="nonsense"):
        mustafar.attend([dense], 0, queries(), nonsense=1)
    with pytest.raises(INVALID, match="scale"):
        mustafar.attend([dense], 0, queries(), scale=numpy.nan)
    with pytest.raises(INVALID, match="scale"):
        mustafar.attend([dense], 0, queries(), scale="big")  # type: ignore[arg-type]
    with pytest.raises(INVALID, match="q_position"):
        mustafar.attend([dense], 0, queries(), q_position=2**70)
    with pytest.raises(INVALID, match="both"):
        lse = numpy.zeros((1, 1, 4), "f4")
        mustafar.attend([dense], 0, queries(), lse=lse, with_lse=True)  # type: ignore[call-overload]


def test_what_is_no_cache(dense: mustafar.Cache, context: mustafar.Context) -> None:
    for caches in (dense, None, 3, [None], [context], ["x"]):
        with pytest.raises(INVALID, match="caches"):
            mustafar.attend(caches, 0, queries())  # type: ignore[call-overload]
    with pytest.raises(INVALID, match="context"):
        mustafar.Cache(dense, GEOMETRY, "lean", max_tokens=8)  # type: ignore[arg-type]
    with pytest.raises(INVALID, match="geometry"):
        mustafar.Cache(context, "geometry", "lean", max_tokens=8)  # type: ignore[arg-type]
    with pytest.raises(INVALID, match="context"):
        mustafar.merge(None, 1, 1, 1, 1)  # type: ignore[arg-type]


def test_bad_geometries_and_options(context: mustafar.Context) -> None:
    def make(geometry: mustafar.Geometry, **options: int) -> None:
        mustafar.Cache(context, geometry, "lean", **({"max_tokens": 8} | options))

    for fields in ((0, 4, 2, 64), (1, 3, 2, 64), (1, 4, 0, 64), (-1, 4, 2, 64), (2**33, 4, 2, 64)):
        with pytest.raises(INVALID):
            make(mustafar.Geometry(*fields))
    with pytest.raises(mustafar.UnsupportedError, match="head_dim"):
        make(mustafar.Geometry(1, 4, 2, 100))
    with pytest.raises(INVALID, match="max_tokens"):
        make(GEOMETRY, max_tokens=0)
    for tokens in (-1, 2**31, 2**32, 2**80):
        with pytest.raises(INVALID, match="max_tokens"):
            make(GEOMETRY, max_tokens=tokens)
    with pytest.raises(INVALID, match="dtype"):
        mustafar.Geometry(1, 4, 2, 64, dtype="f8")  # type: ignore[arg-type]
    with pytest.raises(INVALID, match="dtype"):
        mustafar.Geometry(1, 4, 2, 64, dtype=99)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "nonsense", "{", '{"schema": 1}', "k/v", "lean\0", b"\xff", 3]
)
def test_bad_recipes(text: object) -> None:
    with pytest.raises(INVALID):
        mustafar.Recipe(text)  # type: ignore[arg-type]


def test_surrogates_and_nul() -> None:
    with pytest.raises(INVALID, match="text"):
        mustafar.Recipe("\ud800")
    with mustafar.Context() as context, pytest.raises(INVALID, match="NUL"):
        context.kernel("attend\0")


def test_bad_positions_and_scores(cache: mustafar.Cache) -> None:
    cache.append(0, rows(100), rows(100, 1))
    for positions in ([2, 1], [1, 1], [-1], [99], [2**31], [1.5], ["a"], [[1]], None, [2**70], 7):
        with pytest.raises(INVALID, match="positions"):
            cache.evict(0, 0, positions)
    for scores in ([1.0], ["a"], None, numpy.zeros((100, 1)), [object()] * 100):
        with pytest.raises(INVALID, match="scores"):
            cache.evict_scores(0, 0, scores, 40)
    with pytest.raises(mustafar.NonFiniteError):
        cache.evict_scores(0, 0, [numpy.nan] * 100, 40)
    assert cache.rows(0, 0).rows == 100


def test_bad_ranges(cache: mustafar.Cache) -> None:
    cache.append(0, rows(10), rows(10, 1))
    for begin, end in ((5, 3), (-1, 3), (0, 11), (0, 2**32), (2**40, 2**41)):
        with pytest.raises(INVALID, match="begin"):
            cache.export(0, 0, 0, begin, end)
    with pytest.raises(INVALID, match="side"):
        cache.export(0, 0, 2)
    for length in (-1, 2**32, 1.0):
        with pytest.raises(INVALID, match="length"):
            cache.truncate(length)  # type: ignore[arg-type]
    values = numpy.empty((10, 64), "f4")
    with pytest.raises(INVALID, match="out_bitmaps"):  # a buffer that is too small is never written
        c.mustafar_cache_export(cache._handle, 0, 0, 0, 0, 10, (values, numpy.empty((9, 8), "u1")))
    with pytest.raises(INVALID, match="out_positions"):
        c.mustafar_cache_positions(cache._handle, 0, 0, numpy.empty(10, "i8"))


def test_capacity(context: mustafar.Context) -> None:
    with mustafar.Cache(context, GEOMETRY, "lean", max_tokens=10) as cache:
        cache.append(0, rows(8), rows(8))
        with pytest.raises(mustafar.CapacityError) as error:
            cache.append(0, rows(4), rows(4))
        assert (error.value.asked, error.value.held, error.value.limit) == (4, 8, 10)


def test_quota() -> None:
    with mustafar.Context(quota_bytes=100_000) as context:
        with pytest.raises(mustafar.OutOfMemoryError) as error:
            mustafar.Cache(context, GEOMETRY, "dense", max_tokens=2**20, reserve_tokens=2**20)
        assert error.value.limit == 100_000 and error.value.asked > 0
        assert isinstance(error.value, MemoryError)
        assert context.stats().live_bytes == 0


def test_closed(context: mustafar.Context) -> None:
    cache = mustafar.Cache(context, GEOMETRY, "lean", max_tokens=10)
    cache.close()
    cache.close()
    assert cache.closed and repr(cache) == "Cache(closed)"
    for call in (
        lambda: cache.append(0, rows(1), rows(1)),
        lambda: cache.attend(0, queries()[0]),
        lambda: cache.fork(),
        lambda: cache.save(io.BytesIO()),
        lambda: cache.stats(),
        lambda: cache.geometry,
        lambda: cache.__enter__().length(),
    ):
        with pytest.raises(mustafar.ClosedError, match="closed") as error:
            call()
        assert error.value.code == c.MUSTAFAR_BAD_STATE
        assert isinstance(error.value, mustafar.BadStateError)
    recipe = mustafar.Recipe("lean")
    recipe.close()
    with pytest.raises(mustafar.ClosedError):
        mustafar.Cache(context, GEOMETRY, recipe, max_tokens=10)
    assert repr(recipe) == "Recipe(closed)"


def test_a_context_may_close_first(allocator: mustafar.CountingAllocator) -> None:
    context = mustafar.Context(allocator=allocator)
    cache = mustafar.Cache(context, GEOMETRY, "lean", max_tokens=100)
    context.close()
    cache.append(0, rows(64), rows(64))
    with pytest.raises(mustafar.ClosedError):
        context.stats()
    with pytest.raises(mustafar.ClosedError):
        mustafar.Cache(context, GEOMETRY, "lean", max_tokens=100)
    cache.close()
    assert allocator.live_blocks == 0


@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy], ids=lambda w: w.__name__)
def test_no_pickles(context: mustafar.Context, cache: mustafar.Cache, way: object) -> None:
    for value, instead in (
        (cache, "save"),
        (context, "make a new one"),
        (mustafar.Recipe("lean"), "json"),
    ):
        with pytest.raises(TypeError, match=instead):
            way(value)  # type: ignore[operator]
    with pytest.raises(TypeError, match="pickled"):
        way(cache._handle)  # type: ignore[operator]


def test_errors_can_be_pickled() -> None:
    for kind in (mustafar.NonFiniteError, mustafar.IoError, mustafar.ClosedError):
        error = pickle.loads(pickle.dumps(kind("text", None, (1, 2, 3, 4))))
        assert type(error) is kind and (str(error), error.values) == ("text", (1, 2, 3, 4))


def test_unknown_backend() -> None:
    with pytest.raises(mustafar.UnsupportedError, match="ref"):
        mustafar.Context(backend="nonsense")
    with pytest.raises(INVALID, match="backend"):
        mustafar.Context(backend="x" * 40)
    with pytest.raises(INVALID, match="threads"):
        mustafar.Context(threads=-1)
    with pytest.raises(INVALID, match="allocator"):
        mustafar.Context(allocator=3)  # type: ignore[arg-type]


def test_dlpack_that_lies(dense: mustafar.Cache) -> None:
    class Liar:
        def __init__(self, result: object) -> None:
            self.result = result

        def __dlpack__(self, **_: object) -> object:
            if isinstance(self.result, Exception):
                raise self.result
            return self.result

    for result in (None, 3, RuntimeError("no"), BufferError("grad")):
        with pytest.raises(INVALID, match="k"):
            dense.append(0, Liar(result), rows(1))
    with pytest.raises(INVALID) as error:
        dense.append(0, Liar(RuntimeError("no")), rows(1))
    assert isinstance(error.value.__cause__, RuntimeError)


def test_ctypes(dense: mustafar.Cache) -> None:
    """ctypes leaves out the strides of its buffers."""
    k = ((ctypes.c_float * 64) * 2 * 1)()
    k[0][1][3] = 5.0
    dense.append(0, k, rows(1))
    assert dense.export(0, 1, 0)[0, 3] == 5.0
    with pytest.raises(INVALID, match="k"):
        dense.append(0, k[0], rows(1))
