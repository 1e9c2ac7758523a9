# SPDX-License-Identifier: Apache-2.0
"""What the command does, from the command line to the status."""

from __future__ import annotations

import os
import sys

from .. import Context, Error, named_recipes
from .failure import INTERRUPTED, LIBRARY, Failure
from .measure import units_of
from .model import Llama
from .options import Settings, parse
from .run import measure_all, plans_of, state_key
from .results import rows_of
from .state import State
from .table import table_text
from .tasks import read_tasks

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Runs; the status of the process."""
    try:
        settings = parse(arguments)
        return _evaluate(settings)
    except Failure as failure:
        print(f"mustafar.eval: {failure}", file=sys.stderr)
        return failure.status
    except KeyboardInterrupt:
        print("mustafar.eval: stopped before anything was measured", file=sys.stderr)
        return INTERRUPTED


def _evaluate(settings: Settings) -> int:
    model = Llama(settings.model)
    tasks = read_tasks(
        settings.tasks,
        limit=settings.limit,
        rows=settings.rows,
        seed=settings.seed,
        context=model.config.context,
    )
    plans = plans_of(settings, model)
    units = units_of(tasks)
    with Context(threads=settings.threads) as context:
        key = state_key(model, context)
        with State(settings.state, model.name, key, fresh=settings.fresh) as state:
            measure_all(model, context, units, plans, state)
            print(table_text(rows_of(model, units, plans, state, settings.seed)))
    return 0
