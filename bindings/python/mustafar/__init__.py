# SPDX-License-Identifier: Apache-2.0
"""A KV cache that stays small: pruned, quantized and attended in packed form.

    with mustafar.Context() as context:
        geometry = mustafar.Geometry(layers=1, q_heads=8, kv_heads=2, head_dim_k=128)
        with mustafar.Cache(context, geometry, "lean", max_tokens=4096) as cache:
            cache.append(0, k, v)        # [tokens, kv_heads, head_dim]
            out = cache.attend(0, q)     # [q_len, q_heads, head_dim]

Names, order and defaults are those of the C API, whose headers are the contract.
"""

from __future__ import annotations

from . import _library  # first: a library that is missing or too old is told there
from .attention import attend, merge
from .cache import Cache
from .context import Context, CountingAllocator
from .errors import (
    BadStateError,
    BusyError,
    CapacityError,
    ClosedError,
    CorruptError,
    DeviceError,
    Error,
    InternalError,
    InvalidArgumentError,
    IoError,
    MismatchError,
    NonFiniteError,
    NotExactError,
    OutOfMemoryError,
    UnsupportedError,
)
from .info import abi_version, backends, build_text, dtype_name, kernels, status_name, version
from .recipe import Recipe, named_recipes, plan
from .types import (
    ALL,
    Bytes,
    CacheOptions,
    CacheStats,
    ContextStats,
    DType,
    Encoding,
    Geometry,
    KernelInfo,
    Length,
    LogLevel,
    PruneMethod,
    Rows,
    Side,
    SideInfo,
    Window,
)

__version__ = version()
del _library

__all__ = [
    "ALL",
    "BadStateError",
    "BusyError",
    "Bytes",
    "Cache",
    "CacheOptions",
    "CacheStats",
    "CapacityError",
    "ClosedError",
    "Context",
    "ContextStats",
    "CorruptError",
    "CountingAllocator",
    "DType",
    "DeviceError",
    "Encoding",
    "Error",
    "Geometry",
    "InternalError",
    "InvalidArgumentError",
    "IoError",
    "KernelInfo",
    "Length",
    "LogLevel",
    "MismatchError",
    "NonFiniteError",
    "NotExactError",
    "OutOfMemoryError",
    "PruneMethod",
    "Recipe",
    "Rows",
    "Side",
    "SideInfo",
    "UnsupportedError",
    "Window",
    "abi_version",
    "attend",
    "backends",
    "build_text",
    "dtype_name",
    "kernels",
    "merge",
    "named_recipes",
    "plan",
    "status_name",
    "version",
]
