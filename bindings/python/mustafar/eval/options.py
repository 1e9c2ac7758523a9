# SPDX-License-Identifier: Apache-2.0
"""The command line."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from .errors import USAGE, EvaluationError

__all__ = ["Settings", "data_folder", "parse", "threads_of"]

_DESCRIPTION = """\
What does a recipe do to a model's answers? A Llama decoder in NumPy runs with its attention on the
compressed cache, for each recipe, and is asked for held-out text, hidden needles, exact copies and
worked chains. A table, and files if asked for, say what each recipe costs and saves.
"""

_EPILOG = """\
how it is measured
  A prompt is prefilled dense except for its last 48 bytes (text: the first 1408 of 2048); that and
  the answer are decoded on the cache: all but the newest 32 tokens are packed, and each row is
  packed when it leaves that window (--step). An item counts when every byte of its answer is
  chosen. Every recipe sees the same items, so differences to dense are paired. "packed prefill" is
  harsher: the prefix, too, attends on packed rows, 32 tokens at a time; a quarter of the text.
  docs/experiments.md has every formula.

files
  A model is a folder with config.json and model.safetensors: Llama, one token a byte. A folder of
  tasks has needle.jsonl, copy.jsonl, chain.jsonl and heldout_text.txt; what lacks is left out.
  Ctrl-C prints what is complete; the same command goes on where it stopped (--state, --fresh).

examples
  python -m mustafar.eval --quick                           the small model, some items: minutes
  python -m mustafar.eval --model tiny-llama-d64 --html report.html
  python -m mustafar.eval --recipes lean,int4,k64i4/v128i2,my.json --limit 48
  python -m mustafar.eval --model ~/models/mine --tasks ~/tasks --json rows.json

status
  0 done, 2 wrong command line, 3 a model, task or recipe file is missing or wrong, 4 the library
  refused, 5 a result could not be written, 130 Ctrl-C
"""


@dataclass(frozen=True)
class Settings:
    """What the user asked for."""

    model: Path
    tasks: Path
    recipes: tuple[str, ...]  # empty: the default list
    quick: bool
    limit: int
    rows: int
    step: int  # 0: as the recipe says
    seed: int
    threads: int
    state: Path
    fresh: bool
    list_recipes: bool
    json: Path | None
    csv: Path | None
    html: Path | None
    svg: Path | None


def data_folder() -> Path | None:
    """tests/data of the tree that this package is part of; None where it is installed."""
    for parent in Path(__file__).resolve().parents:
        if (parent / "tests/data/models").is_dir():
            return parent / "tests/data"
    return None


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError
    return value


_count.__name__ = "count"  # argparse names it: "invalid count value"


def parse(arguments: list[str] | None = None) -> Settings:
    """Settings of a command line; exits with 2 where it is wrong, with 0 after --help."""
    given = _parser().parse_args(arguments)
    quick = given.quick
    recipes = [name.strip() for name in (given.recipes or "").split(",")]
    if given.recipes is not None and not all(recipes):
        raise EvaluationError(USAGE, f"--recipes {given.recipes!r}: a name is empty")
    if given.step not in ("recipe", "1", "2", "4", "8", "16", "32"):
        raise EvaluationError(USAGE, f"--step {given.step}: give 1, 2, 4, 8, 16, 32 or recipe")
    if given.rows == 0:
        raise EvaluationError(USAGE, "--rows 0: give 1 or more")
    name = given.model or ("tiny-llama-d64" if quick else "tiny-llama-d128")
    return Settings(
        model=_model(name),
        tasks=_tasks(given.tasks),
        recipes=tuple(name for name in recipes if name),
        quick=quick,
        limit=given.limit if given.limit is not None else (12 if quick else 0),
        rows=given.rows if given.rows is not None else (4 if quick else 16),
        step=0 if given.step == "recipe" else int(given.step),
        seed=given.seed,
        threads=given.threads,
        state=given.state or _state(),
        fresh=given.fresh,
        list_recipes=given.list_recipes,
        json=given.json,
        csv=given.csv,
        html=given.html,
        svg=given.svg,
    )


def _model(name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    data = data_folder()
    known = sorted(p.name for p in (data / "models").iterdir() if p.is_dir()) if data else []
    if data and name in known:
        return data / "models" / name
    hint = f"there are {', '.join(known)}; or give" if known else "give"
    raise EvaluationError(3, f"--model {name}: no such model; {hint} a folder with config.json")


def _tasks(given: Path | None) -> Path:
    if given is not None:
        return given.expanduser()
    data = data_folder()
    if data is None:
        raise EvaluationError(USAGE, "--tasks DIR is needed: no tests/data around this package")
    return data / "tasks"


def _state() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "mustafar/eval"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mustafar.eval",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    what = parser.add_argument_group("what")
    what.add_argument("--model", metavar="NAME|PATH", help="default: tiny-llama-d128")
    what.add_argument("--tasks", metavar="DIR", type=Path, help="default: tests/data/tasks")
    what.add_argument("--recipes", metavar="LIST", help="names, shorthands, JSON files; by commas")
    what.add_argument("--list-recipes", action="store_true", help="names --recipes takes, and stop")
    what.add_argument("--quick", action="store_true", help="d64, 8 recipes, 12 items, 4 rows")
    how = parser.add_argument_group("how much, and how")
    how.add_argument("--limit", metavar="N", type=_count, help="items of each task; 0 = all")
    how.add_argument("--rows", metavar="N", type=_count, help="rows of text; default: 16")
    how.add_argument(
        "--step",
        metavar="N|recipe",
        default="1",
        help="rows packed at a time; default 1: exactly 32 tokens stay dense; recipe: as it says",
    )
    how.add_argument("--seed", metavar="N", type=_count, default=0, help="other items and rows")
    how.add_argument("--threads", metavar="N", type=_count, default=0, help="0 = all cores")
    how.add_argument(
        "--state", metavar="DIR", type=Path, help="results so far; in the user's cache"
    )
    how.add_argument("--fresh", action="store_true", help="forget results so far")
    out = parser.add_argument_group("results, besides the table")
    out.add_argument("--json", metavar="FILE", type=Path, help="all figures")
    out.add_argument("--csv", metavar="FILE", type=Path, help="one line per recipe")
    out.add_argument("--html", metavar="FILE", type=Path, help="report with pictures, one file")
    out.add_argument("--svg", metavar="FILE", type=Path, help="bits per byte against bytes alone")
    return parser


def threads_of(arguments: list[str]) -> int:
    """--threads of a command line, before anything else of it is looked at; 0 where it is wrong."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    early.add_argument("--threads", type=_count, default=0)
    try:
        threads: int = early.parse_known_args(arguments)[0].threads
    except (argparse.ArgumentError, SystemExit):
        return 0
    return threads
