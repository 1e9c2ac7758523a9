# SPDX-License-Identifier: Apache-2.0
"""The enums and structs of the C API as Python types; names and order are those of the headers."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, Any

from . import _mustafar as c

if TYPE_CHECKING:
    import pandas

__all__ = [
    "ALL",
    "Bytes",
    "CacheOptions",
    "CacheStats",
    "ContextStats",
    "DType",
    "Encoding",
    "Geometry",
    "KernelInfo",
    "Length",
    "LogLevel",
    "PruneMethod",
    "Rows",
    "Side",
    "SideInfo",
    "Window",
]

ALL: int = c.MUSTAFAR_ALL
"""Every layer or kv head, wherever a call takes it."""


class DType(enum.IntEnum):
    """Element types."""

    F32 = c.MUSTAFAR_F32
    F16 = c.MUSTAFAR_F16
    BF16 = c.MUSTAFAR_BF16
    U8 = c.MUSTAFAR_U8
    I32 = c.MUSTAFAR_I32

    @classmethod
    def of(cls, value: DType | int | str) -> DType:
        """`value` itself, or the dtype of a name: "f16", "bf16", ..."""
        if isinstance(value, str):
            for dtype in cls:
                if c.mustafar_dtype_name(dtype) == value:
                    return dtype
            known = ", ".join(str(dtype) for dtype in cls)
            raise _invalid(f'dtype = "{value}" does not exist; give one of: {known}')
        try:
            return cls(value)
        except ValueError:
            raise _invalid(f"dtype = {value!r} does not exist") from None

    def __str__(self) -> str:
        return c.mustafar_dtype_name(self)


class Side(enum.IntEnum):
    """Which half of the cache."""

    K = c.MUSTAFAR_SIDE_K
    V = c.MUSTAFAR_SIDE_V


class Encoding(enum.IntEnum):
    """How body rows are encoded."""

    EXACT = c.MUSTAFAR_ENCODING_EXACT
    RAGGED = c.MUSTAFAR_ENCODING_RAGGED
    GROUPED = c.MUSTAFAR_ENCODING_GROUPED
    CHANNEL = c.MUSTAFAR_ENCODING_CHANNEL


class PruneMethod(enum.IntEnum):
    """Which elements survive; RECIPE leaves it to the recipe."""

    RECIPE = c.MUSTAFAR_PRUNE_RECIPE
    NONE = c.MUSTAFAR_PRUNE_NONE
    TOKEN_TOPK = c.MUSTAFAR_PRUNE_TOKEN_TOPK
    N_M = c.MUSTAFAR_PRUNE_N_M
    CHANNELS = c.MUSTAFAR_PRUNE_CHANNELS
    CHANNEL_TOPK = c.MUSTAFAR_PRUNE_CHANNEL_TOPK
    THRESHOLD = c.MUSTAFAR_PRUNE_THRESHOLD
    MASK = c.MUSTAFAR_PRUNE_MASK


class LogLevel(enum.IntEnum):
    """How fine the log is."""

    ERROR = c.MUSTAFAR_LOG_ERROR
    WARNING = c.MUSTAFAR_LOG_WARNING
    INFO = c.MUSTAFAR_LOG_INFO
    TRACE = c.MUSTAFAR_LOG_TRACE


def _invalid(message: str) -> Exception:
    from .errors import InvalidArgumentError

    return InvalidArgumentError(message)


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Shape of a model's cache; query head h reads kv head h / (q_heads / kv_heads)."""

    layers: int
    q_heads: int
    kv_heads: int
    head_dim_k: int
    head_dim_v: int = 0
    """0 means the same as head_dim_k."""
    dtype: DType = DType.F16
    """How 16-bit values are stored: F16 or BF16, also by name."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "head_dim_v", self.head_dim_v or self.head_dim_k)
        object.__setattr__(self, "dtype", DType.of(self.dtype))


def _as_dict(value: Any) -> dict[str, Any]:
    """The fields of a dataclass of plain values; `dataclasses.asdict` copies deeply."""
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


class _Table:
    """A dataclass that pandas understands."""

    def to_dict(self) -> dict[str, Any]:
        """Fields and values."""
        return _as_dict(self)

    def to_pandas(self) -> pandas.DataFrame:
        """One row, a column per field. Needs pandas."""
        import pandas

        return pandas.DataFrame([self.to_dict()])


@dataclasses.dataclass(frozen=True)
class Bytes(_Table):
    """Bytes by part; `total` is their sum and what the allocator handed out."""

    exact: bool
    total: int
    values: int
    bitmaps: int
    meta: int
    slack: int
    window: int
    positions: int
    tables: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "exact", bool(self.exact))


@dataclasses.dataclass(frozen=True)
class ContextStats(_Table):
    """live_bytes == page_bytes + cache_bytes + work_bytes."""

    threads: int
    live_bytes: int
    peak_bytes: int
    quota_bytes: int
    allocations: int
    page_bytes: int
    cache_bytes: int
    work_bytes: int
    pages: int
    shared_pages: int
    caches: int


@dataclasses.dataclass(frozen=True)
class CacheStats(_Table):
    """Counters of a cache."""

    longest: int
    rows: int
    body_rows: int
    evicted_rows: int
    pages: int
    shared_pages: int
    dense_bytes: int
    appended_tokens: int
    packed_rows: int
    attend_calls: int
    append_ns: int
    pack_ns: int
    attend_ns: int
    attend_kernel: str
    pack_kernel: str


@dataclasses.dataclass(frozen=True)
class CacheOptions(_Table):
    """What a cache was made with."""

    max_tokens: int
    reserve_tokens: int = 0
    auto: bool = True


@dataclasses.dataclass(frozen=True)
class KernelInfo(_Table):
    """One row of a dispatch table; `reason` says why it is not available."""

    available: bool
    op: str
    backend: str
    name: str
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "available", bool(self.available))


@dataclasses.dataclass(frozen=True)
class SideInfo(_Table):
    """What a recipe means for one side of one kv head."""

    head_dim: int
    keep: int
    bits: int
    encoding: Encoding
    method: PruneMethod
    group: int
    centred: bool
    row_bytes: int
    page_bytes: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "encoding", Encoding(self.encoding))
        object.__setattr__(self, "method", PruneMethod(self.method))
        object.__setattr__(self, "centred", bool(self.centred))


@dataclasses.dataclass(frozen=True)
class Window(_Table):
    """Window and budget of one kv head."""

    recent: int
    sink: int
    step: int
    budget: int


@dataclasses.dataclass(frozen=True)
class Length(_Table):
    """Tokens of a layer: committed ones, and tentative ones behind them."""

    committed: int
    tentative: int

    @property
    def total(self) -> int:
        """The position of the next token."""
        return self.committed + self.tentative


@dataclasses.dataclass(frozen=True)
class Rows(_Table):
    """Rows a kv head holds: all of them, and the packed ones among them."""

    rows: int
    body: int
