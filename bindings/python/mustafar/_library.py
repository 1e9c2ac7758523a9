# SPDX-License-Identifier: Apache-2.0
"""Is the C library here, and is it the one the extension was made for? Imported before all else."""

from __future__ import annotations

try:
    from . import _mustafar as c
except ImportError as error:
    raise ImportError(
        f"mustafar: the extension or libmustafar cannot be loaded: {error}; install the package "
        "again, or put the build folder's python/ on PYTHONPATH",
        name="mustafar._mustafar",
    ) from error

MADE_FOR = (c.MUSTAFAR_VERSION_MAJOR, c.MUSTAFAR_VERSION_MINOR, c.MUSTAFAR_VERSION_PATCH)


def check(loaded: str) -> None:
    """A library of the same ABI may be newer than the extension, not older."""
    try:
        numbers = tuple(int(part) for part in loaded.split("-")[0].split("."))
    except ValueError:
        numbers = ()
    if numbers < MADE_FOR:
        raise ImportError(
            f"mustafar: libmustafar {loaded} is older than {c.MUSTAFAR_VERSION}, for which this "
            "package was built; look into LD_LIBRARY_PATH, or install the package again",
            name="mustafar._mustafar",
        )


check(c.mustafar_version())
