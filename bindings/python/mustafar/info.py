# SPDX-License-Identifier: Apache-2.0
"""Versions, and what this machine can run."""

from __future__ import annotations

from . import _mustafar as c
from .types import KernelInfo

__all__ = [
    "abi_version",
    "backends",
    "build_text",
    "dtype_name",
    "kernels",
    "status_name",
    "version",
]


def version() -> str:
    """Release of the loaded library."""
    return c.mustafar_version()


def abi_version() -> int:
    """ABI number of the loaded library."""
    return c.mustafar_abi_version()


def build_text() -> str:
    """Compiler, build type and options of the loaded library."""
    return c.mustafar_build_text()


def status_name(status: int) -> str:
    """Symbol of a status; "MUSTAFAR_UNKNOWN" for values the library does not know."""
    return c.mustafar_status_name(status)


def dtype_name(dtype: int) -> str:
    """Symbol of a dtype, "f16" for one; "unknown" otherwise."""
    return c.mustafar_dtype_name(dtype)


def kernels() -> list[KernelInfo]:
    """Every row of every dispatch table, best first."""
    count = c.mustafar_kernel_count()
    return [KernelInfo(**c.mustafar_kernel_at(index)) for index in range(count)]


def backends() -> list[str]:
    """Names that `Context(backend=...)` takes here: with a row that this machine can run."""
    names: dict[str, None] = {}
    for kernel in kernels():
        if kernel.available:
            names[kernel.backend] = None
    return list(names)
