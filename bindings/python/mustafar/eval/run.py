# SPDX-License-Identifier: Apache-2.0
"""Measures every unit with every recipe; what is in the state is not measured again."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy

from .. import Error, InvalidArgumentError, Recipe, build_text, version
from ..context import Context
from .decode import Plan
from .errors import DATA, LIBRARY, USAGE, EvaluationError
from .measure import Unit
from .model import Llama
from .options import Settings
from .progress import Progress
from .state import State

__all__ = ["VERSION", "measure_all", "plans_of", "state_key"]

VERSION = 1  # of the way of measuring: results of another one are not mixed with these

_NEIGHBOURS = (("1/2", 8, 2), ("5/16", 8, 4), ("1/2", 4, 4), ("3/4", 4, 2))  # of lean and leaner
DEFAULT_RECIPES = (
    "dense,int8,int4,int2,k4v2,kivi-4,kivi-2,mustafar-50,mustafar-70,k50-v70,mustafar-50-int4,"
    "mustafar-70-int8,mustafar-70-int4,lean,leaner"
)
QUICK_RECIPES = "dense,int8,int4,int2,mustafar-50,mustafar-70,lean,leaner"


def default_recipes(head_dim: int) -> list[str]:
    """Named ones, and the neighbours of lean: K keeps a part at 8 or 4 bits, V is whole."""
    names = DEFAULT_RECIPES.split(",")
    for part, k_bits, v_bits in _NEIGHBOURS:
        over, under = map(int, part.split("/"))
        names.append(f"k{head_dim * over // under}i{k_bits}/v{head_dim}i{v_bits}")
    return names


def plans_of(settings: Settings, model: Llama) -> list[Plan]:
    """The recipes asked for, dense first: all others are compared with it."""
    names = list(settings.recipes)
    if not names:
        head_dim = model.config.head_dim
        names = QUICK_RECIPES.split(",") if settings.quick else default_recipes(head_dim)
    plans = [_plan(name, settings.step, model) for name in names]
    dense = [plan for plan in plans if plan.whole]
    rest = [plan for plan in plans if not plan.whole]
    first = dense[0] if dense else _plan("dense", settings.step, model)
    return [first, *_distinct([*dense[1:], *rest], first)]


def _distinct(plans: list[Plan], first: Plan) -> list[Plan]:
    """Each recipe once, whatever its names."""
    seen = {first.recipe.digest}
    kept = []
    for plan in plans:
        if plan.recipe.digest not in seen:
            kept.append(plan)
        seen.add(plan.recipe.digest)
    return kept


def _plan(name: str, step: int, model: Llama) -> Plan:
    """A name, a shorthand or a file, with its rows packed `step` at a time where it can be."""
    text, shown = name, name
    path = Path(name)
    if path.is_file():
        try:
            text = path.read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            raise EvaluationError(DATA, f"recipe {name}: cannot be read: {error}") from error
        shown = path.stem
    geometry = model.config.geometry
    try:
        recipe = Recipe(text)
        content = recipe.to_dict()
        if step:
            content["window"]["step"] = step
            try:  # K scaled per channel is packed 32 rows at a time, whatever one asks
                recipe = Recipe(content)
            except InvalidArgumentError:
                recipe = Recipe(text)
        window = recipe.window(geometry, 0, 0)
        sides = [
            recipe.side(geometry, i, h, s)
            for i in range(geometry.layers)
            for h in range(geometry.kv_heads)
            for s in (0, 1)
        ]
    except Error as error:
        raise EvaluationError(
            DATA if path.is_file() else USAGE, f"recipe {name}: {error}"
        ) from error
    if window.budget:
        raise EvaluationError(
            USAGE, f"recipe {name}: budget = {window.budget}; nothing is evicted here"
        )
    whole = all(side.keep == side.head_dim and side.bits == 16 for side in sides)
    return Plan(recipe.name or shown, recipe, window, whole)


def state_key(model: Llama, context: Context) -> dict[str, Any]:
    """What every result depends on."""
    return {
        "schema": "mustafar.eval.state",
        "version": VERSION,
        "model": model.digest,
        "threads": context.stats().threads,
        "library": [version(), build_text()],
        "kernels": [context.kernel(op).name for op in ("attend", "prune", "pack")],
        "numpy": numpy.__version__,
        "machine": platform.machine(),
    }


def measure_all(
    model: Llama, context: Context, units: list[Unit], plans: list[Plan], state: State
) -> None:
    """Fills the state. KeyboardInterrupt leaves it with what is complete."""
    progress = Progress(sum(unit.cost for unit in units) * len(plans))
    for unit in units:
        work = []
        for plan in plans:
            missing = {key for key in unit.keys if state.get(key, plan.recipe.digest) is None}
            if missing:
                work.append((plan, unit.part(missing)))
        todo = {key for _, part in work for key in part.keys}
        progress.skip(unit.cost * len(plans) - sum(part.cost for _, part in work))
        if not work:
            continue
        progress.show(f"{unit.name}: prefill")
        try:
            prefixes = unit.part(todo).prefill(model, context)
            for plan, part in work:
                progress.show(f"{unit.name}: {plan.name}")
                dense = (
                    None if plan is plans[0] else state.get(unit.keys[0], plans[0].recipe.digest)
                )
                results = part.measure(model, context, plan, prefixes, dense)
                state.put(part.keys, plan.recipe.digest, results)
                progress.step(part.cost)
        except Error as error:
            raise EvaluationError(LIBRARY, f"{unit.name}: {error}") from error
        finally:
            progress.clear()
