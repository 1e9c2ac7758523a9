# SPDX-License-Identifier: Apache-2.0
"""What the command does, from the command line to the status."""

from __future__ import annotations

import os
import sys
import time

import numpy

from ..context import Context
from ..errors import Error
from ..recipe import named_recipes
from .errors import INTERRUPTED, LIBRARY, EvaluationError
from .measure import Unit, units_of
from .model import Llama
from .options import Settings, parse
from .output import check_outputs, facts_of, write_files
from .results import rows_of
from .run import default_recipes, measure_all, plans_of, state_key
from .state import State
from .table import table_text
from .tasks import Tasks, read_tasks

__all__ = ["main"]

_SLOW_GFLOPS = 8.0  # a processor's second; the plain BLAS does 3, a good one 15 and more


def main(arguments: list[str] | None = None) -> int:
    """Runs; the status of the process."""
    try:
        settings = parse(arguments)
        if settings.list_recipes:
            _list_recipes()
            return 0
        return _evaluate(settings)
    except EvaluationError as error:
        print(f"mustafar.eval: {error}", file=sys.stderr)
        return error.status
    except Error as error:
        print(f"mustafar.eval: {type(error).__name__}: {error}", file=sys.stderr)
        return LIBRARY
    except KeyboardInterrupt:
        print("\nmustafar.eval: stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `| head`: whoever read has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _list_recipes() -> None:
    for name, sentence in named_recipes().items():
        print(f"{name:<18} {sentence}")
    print("\nby default, for d = 128:", ", ".join(default_recipes(128)))


def _evaluate(settings: Settings) -> int:
    check_outputs(settings)
    _warn_of_slow_blas()
    model = Llama(settings.model)
    tasks = read_tasks(
        settings.tasks,
        limit=settings.limit,
        rows=settings.rows,
        seed=settings.seed,
        context=model.config.context,
    )
    units = units_of(tasks)
    with Context(threads=settings.threads) as context:
        key = state_key(model, context)
        with State(settings.state, model.name, key, fresh=settings.fresh) as state:
            return _run(settings, model, tasks, units, context, state)


def _warn_of_slow_blas() -> None:
    """The BLAS that NumPy brings on Debian is ten times slower than the one next to it."""
    a, b = numpy.ones((256, 512), numpy.float32), numpy.ones((512, 512), numpy.float32)
    seconds = []
    for _ in range(3):
        begin = time.process_time()
        a @ b
        seconds.append(time.process_time() - begin)
    speed = 2 * a.size * b.shape[1] / max(min(seconds), 1e-6) / 1e9
    if speed < _SLOW_GFLOPS:
        print(
            f"mustafar.eval: NumPy multiplies at {speed:.1f} GFLOP/s, this will take long; with "
            "OpenBLAS it is many times faster (Debian: package libopenblas0-pthread)",
            file=sys.stderr,
        )


def _run(
    settings: Settings,
    model: Llama,
    tasks: Tasks,
    units: list[Unit],
    context: Context,
    state: State,
) -> int:
    """Measures what is missing, and shows what there is."""
    plans = plans_of(settings, model)
    status = 0
    try:
        measure_all(model, context, units, plans, state)
    except KeyboardInterrupt:
        status = INTERRUPTED
    rows = rows_of(model, units, plans, state, settings.seed)
    if all(row["items"] == 0 and row["text_rows"] == 0 for row in rows):
        print(
            "mustafar.eval: stopped before a result; the same command starts again", file=sys.stderr
        )
        return status
    print(table_text(rows))
    complete = all(row["complete"] for row in rows)
    write_files(settings, rows, facts_of(settings, model, tasks, context, complete))
    if status:
        print(
            f"mustafar.eval: stopped; what is complete is above and in {state.path}; the same "
            "command goes on from there",
            file=sys.stderr,
        )
    return status
