# SPDX-License-Identifier: Apache-2.0
"""What a call costs from Python and from C: ns of one attend, GB/s of a 64 MB append.

PYTHONPATH=build/python python3 bindings/python/bench/overhead.py build/lib
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy

import mustafar

HERE = Path(__file__).resolve().parent
ROUNDS, CALLS, TOKENS = 200, 1000, 16384


def from_c(library: Path) -> dict[str, float]:
    """Compiles and runs overhead.c against the library of the build."""
    include = HERE.parents[2] / "capi/include"
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/overhead"
        command = [os.environ.get("CC", "cc"), "-O2", f"-I{include}", str(HERE / "overhead.c")]
        command += [f"-L{library}", "-lmustafar", f"-Wl,-rpath,{library}", "-o", program]
        subprocess.run(command, check=True)
        lines = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return {name: float(text) for name, text in (line.split() for line in lines.splitlines())}


def best(call: Callable[[], object]) -> float:
    """ns of a call, the best of some rounds (the machine has other work, too)."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter_ns()
        for _ in range(CALLS):
            call()
        times.append((time.perf_counter_ns() - start) / CALLS)
    return min(times)


def main() -> int:
    c = from_c(Path(sys.argv[1]).resolve())
    with mustafar.Context(threads=1) as context:
        small = mustafar.Cache(context, mustafar.Geometry(1, 1, 1, 32), "dense", max_tokens=TOKENS)
        q = numpy.ones((1, 1, 1, 32), numpy.float32)
        out = numpy.empty_like(q)
        small.append(0, q[0], q[0])
        nothing = best(lambda: None)
        print(f"attend, one token, from C                {c['attend']:6.0f} ns")
        for name, call in (
            ("attend([cache], 0, q, out=out)", lambda: mustafar.attend([small], 0, q, out=out)),
            ("attend([cache], 0, q)", lambda: mustafar.attend([small], 0, q)),
            ("cache.attend(0, q[0])", lambda: small.attend(0, q[0])),
        ):
            ns = best(call) - nothing
            print(f"{name:<40} {ns:6.0f} ns, {ns - c['attend']:+.0f}")
        wide = mustafar.Geometry(1, 8, 8, 128)
        large = mustafar.Cache(context, wide, "dense", max_tokens=TOKENS, auto=False)
        rows = numpy.ones((TOKENS, 8, 128), numpy.float16)
        rates = []
        for _ in range(5):
            start = time.perf_counter_ns()
            large.append(0, rows, rows)
            rates.append(2 * rows.nbytes / (time.perf_counter_ns() - start))
            large.reset()
        size = 2 * rows.nbytes / 2**20
        print(f"append of {size:.0f} MB: C {c['append']:.3f} GB/s, Python {max(rates):.3f} GB/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
