# SPDX-License-Identifier: Apache-2.0
"""`python -m mustafar.eval`."""

from __future__ import annotations

import os
import sys

from .command import main
from .options import threads_of

_BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def limit_threads(threads: int) -> None:
    """Starts over with NumPy held to `threads`: its BLAS reads the number when it is loaded."""
    if threads and any(os.environ.get(name) != str(threads) for name in _BLAS_THREADS):
        os.environ.update(dict.fromkeys(_BLAS_THREADS, str(threads)))
        os.execv(sys.executable, [sys.executable, "-m", "mustafar.eval", *sys.argv[1:]])


if __name__ == "__main__":
    limit_threads(threads_of(sys.argv[1:]))
    sys.exit(main())
