# SPDX-License-Identifier: Apache-2.0
"""Files of results: JSON, CSV, HTML, SVG; each is written beside and renamed, never half."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy

from .. import build_text
from ..context import Context
from .errors import OUTPUT, EvaluationError
from .model import Llama
from .options import Settings
from .report import report_html
from .results import Row
from .svg import BITS, scatter, standalone
from .table import csv_text
from .tasks import Tasks

__all__ = ["check_outputs", "facts_of", "write_files"]


def check_outputs(settings: Settings) -> None:
    """An hour of work must not end in a folder that does not exist."""
    for path in (settings.json, settings.csv, settings.html, settings.svg):
        if path is not None:
            folder = path.parent
            if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
                raise EvaluationError(OUTPUT, f"{path}: cannot be written there")


def facts_of(
    settings: Settings, model: Llama, tasks: Tasks, context: Context, complete: bool
) -> dict[str, Any]:
    """What a reader has to know to believe the figures."""
    config = model.config
    return {
        "command": shlex.join(["python", "-m", "mustafar.eval", *sys.argv[1:]]),
        "complete": complete,
        "model": model.name,
        "model_sha256": model.digest,
        "geometry": f"{config.layers} layers, {config.q_heads} query and {config.kv_heads} kv "
        f"heads, d {config.head_dim}",
        "tasks": {name: digest[:16] for name, digest in tasks.digests.items()},
        "items": len(tasks.items),
        "text_rows": 0 if tasks.text is None else len(tasks.text.rows),
        "window": "as the recipe says"
        if not settings.step
        else f"packed {settings.step} at a time",
        "seed": settings.seed,
        "threads": context.stats().threads,
        "kernel": context.kernel("attend").name,
        "library": build_text(),
        "software": f"Python {platform.python_version()}, NumPy {numpy.__version__}",
        "machine": _processor(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.machine()


def write_files(settings: Settings, rows: list[Row], facts: dict[str, Any]) -> None:
    """The files that were asked for."""
    if settings.json is not None:
        content = {"schema": "mustafar.eval", "version": 1, **facts, "rows": rows}
        _write(settings.json, json.dumps(content, indent=1, allow_nan=False) + "\n")
    if settings.csv is not None:
        _write(settings.csv, csv_text(rows))
    if settings.html is not None:
        _write(settings.html, report_html(rows, facts))
    if settings.svg is not None:
        picture = scatter(rows, BITS, rows[0]["model"])
        if not picture:
            raise EvaluationError(
                OUTPUT, f"{settings.svg}: no text was measured, so there is no picture"
            )
        _write(settings.svg, standalone(picture))


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise EvaluationError(OUTPUT, f"{path}: {error.strerror}") from error
