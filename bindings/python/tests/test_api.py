# SPDX-License-Identifier: Apache-2.0
"""The package against capi/abi/api.json: nothing is missing, renamed or laid out otherwise."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re

import pytest
from conftest import SOURCE

import mustafar
from mustafar import _coverage, errors, types
from mustafar import _mustafar as c

API = json.loads((SOURCE / "capi/abi/api.json").read_text())


def test_every_function_is_wrapped_or_listed() -> None:
    names = {function["name"] for kind in ("functions", "inline") for function in API[kind]}
    assert names == set(_coverage.WRAPPED) | set(_coverage.NOT_WRAPPED)
    assert not set(_coverage.WRAPPED) & set(_coverage.NOT_WRAPPED)
    assert all(_coverage.NOT_WRAPPED.values()), "each needs a reason"


def test_what_is_wrapped_exists() -> None:
    for name, place in _coverage.WRAPPED.items():
        found: object = mustafar
        for part in place.split("."):
            found = getattr(found, part)
        assert hasattr(c, name) or name in _coverage.NOT_RAW


def test_wrapped_functions_are_used() -> None:
    folder = SOURCE / "bindings/python/mustafar"
    text = "".join(path.read_text() for path in folder.glob("*.py"))
    for name in set(_coverage.WRAPPED) - _coverage.NOT_RAW:
        assert f"c.{name}(" in text, f"{name} is called nowhere"


def test_constants() -> None:
    for name, value in API["constants"].items():
        assert getattr(c, name) == value, name
    ours = {name for name in vars(c) if name.startswith("MUSTAFAR_")}
    assert ours == set(API["constants"])


@pytest.mark.parametrize("kind", ["DType", "Encoding", "LogLevel", "PruneMethod", "Side"])
def test_enums_are_whole(kind: str) -> None:
    prefixes = {
        "Encoding": "ENCODING_",
        "LogLevel": "LOG_",
        "PruneMethod": "PRUNE_",
        "Side": "SIDE_",
    }
    prefix = "MUSTAFAR_" + prefixes.get(kind, "")
    expected = {
        name[len(prefix) :]: value
        for name, value in API["constants"].items()
        if name.startswith(prefix)
        and (kind != "DType" or re.fullmatch(r"MUSTAFAR_[A-Z]{1,2}[0-9]+", name))
        and isinstance(value, int)
    }
    assert {member.name: member.value for member in getattr(types, kind)} == expected


def test_struct_layouts() -> None:
    for name, (size, fields) in c.layouts().items():
        told = API["structs"][name]
        assert size == told["size"]
        assert fields == {f["name"]: (f["offset"], f["bytes"]) for f in told["fields"]}, name


def test_no_struct_is_forgotten() -> None:
    by_hand = {"mustafar_error", "mustafar_tensor", "mustafar_allocator", "mustafar_log_hook"}
    public = {name for name in API["structs"] if not name.startswith("mustafar_dl_")}
    assert set(c.layouts()) == public - by_hand


@pytest.mark.parametrize(
    ("struct", "kind"),
    [
        ("mustafar_geometry", types.Geometry),
        ("mustafar_bytes", types.Bytes),
        ("mustafar_context_stats", types.ContextStats),
        ("mustafar_cache_stats", types.CacheStats),
        ("mustafar_kernel_info", types.KernelInfo),
        ("mustafar_side_info", types.SideInfo),
    ],
)
def test_dataclasses_have_the_fields_in_order(struct: str, kind: type) -> None:
    told = [f["name"] for f in API["structs"][struct]["fields"]]
    fields = [f.name for f in dataclasses.fields(kind)]
    assert fields == [name for name in told if name not in ("struct_size", "reserved")]


def test_defaults() -> None:
    def default(function: object, name: str) -> object:
        return inspect.signature(function).parameters[name].default  # type: ignore[arg-type]

    cache = API["defaults"]["mustafar_cache_options"]
    assert default(mustafar.Cache, "reserve_tokens") == cache["reserve_tokens"]
    assert default(mustafar.Cache, "auto") is bool(cache["flags"] & c.MUSTAFAR_CACHE_AUTO)
    assert default(mustafar.plan, "auto") is bool(cache["flags"] & c.MUSTAFAR_CACHE_AUTO)
    context = API["defaults"]["mustafar_context_options"]
    assert default(mustafar.Context, "threads") == context["threads"]
    assert default(mustafar.Context, "quota_bytes") == context["quota_bytes"]
    assert default(mustafar.Context, "refuse_ref") is bool(context["flags"])
    prune = API["defaults"]["mustafar_prune_options"]
    for name in ("method", "keep", "of", "threshold"):
        assert default(mustafar.Cache.prune, name) == prune[name]


def test_argument_order() -> None:
    """Positional arguments are those of C, in its order; what is renamed is renamed here."""
    told = {f["name"]: [a["name"] for a in f["arguments"]] for f in API["functions"]}
    drop = {"error", "flags", "options", "bytes", "user", "count", "struct_size"}
    for name, place in _coverage.WRAPPED.items():
        found: object = mustafar
        for part in place.split("."):
            found = getattr(found, part)
        if not inspect.isfunction(found) or name in (
            "mustafar_cache_save",
            "mustafar_cache_export",
        ):
            continue
        signature = inspect.signature(found).parameters.values()
        positional = [p.name for p in signature if p.kind == p.POSITIONAL_OR_KEYWORD]
        if "." in place:
            positional[0] = told[name][0]  # self
        wanted = [a for a in told[name] if a not in drop and not a.startswith("out")]
        order = [a for a in wanted if a in positional]
        assert [a for a in positional if a in wanted] == order, name


def test_statuses_have_classes() -> None:
    statuses = {
        value: name
        for name, value in API["constants"].items()
        if isinstance(value, int) and 0 < value < 100 and mustafar.status_name(value) == name
    }
    assert len(statuses) == 12
    for value, name in statuses.items():
        error = errors.BY_CODE[value]("text")
        assert (error.code, error.name) == (value, name)
        assert type(error) is not mustafar.Error
    assert {f["name"] for f in API["structs"]["mustafar_error"]["fields"]} - {"struct_size"} <= set(
        dir(mustafar.Error("text"))
    )


def test_versions() -> None:
    assert mustafar.__version__ == mustafar.version() == API["constants"]["MUSTAFAR_VERSION"]
    assert mustafar.abi_version() == 0
    assert "libmustafar" in mustafar.build_text()
    assert mustafar.dtype_name(2) == "f16" and mustafar.dtype_name(77) == "unknown"
    assert mustafar.status_name(77) == "MUSTAFAR_UNKNOWN"


def test_backends() -> None:
    assert "ref" in mustafar.backends()
    rows = mustafar.kernels()
    assert {"attend", "prune", "pack", "unpack", "merge"} <= {row.op for row in rows}
    assert all(row.available or row.reason for row in rows)
