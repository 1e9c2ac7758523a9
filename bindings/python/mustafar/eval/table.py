# SPDX-License-Identifier: Apache-2.0
"""The table for people, and the CSV."""

from __future__ import annotations

import csv
import io
import textwrap
from typing import Any

from .results import Row

__all__ = ["csv_text", "table_text"]

_COLUMNS = (
    ("recipe", "recipe"),
    ("B/token", "bytes_per_token"),
    ("row K", "row_bytes_k"),
    ("row V", "row_bytes_v"),
    ("of f16", "of_dense"),
    ("bits/byte", "bits_per_byte"),
    ("change", "bits_per_byte_change"),
    ("packed prefill", "bits_packed_prefill_change"),
    ("needle", "needle"),
    ("copy", "copy"),
    ("copied", "copy_exact_length"),
    ("chain", "chain"),
    ("agree", "agreement"),
    ("tok/s", "tokens_per_second"),
    ("", "flag"),
)


def table_text(rows: list[Row]) -> str:
    """Aligned columns, and what they mean."""
    lines = [[title for title, _ in _COLUMNS]]
    lines += [[_cell(row, key) for _, key in _COLUMNS] for row in rows]
    kept = [i for i in range(len(_COLUMNS)) if any(line[i] not in ("", "-") for line in lines[1:])]
    widths = [max(len(line[i]) for line in lines) for i in kept]
    text = "\n".join(
        "  ".join(
            line[i].ljust(width) if i == 0 or _COLUMNS[i][1] == "flag" else line[i].rjust(width)
            for i, width in zip(kept, widths, strict=True)
        ).rstrip()
        for line in lines
    )
    return text + "\n\n" + "\n".join(_notes(rows))


def _cell(row: Row, key: str) -> str:
    value = row.get(key)
    if key == "recipe":
        return str(value) + ("" if row["complete"] else " (part)")
    if key == "flag":
        return f"dominated by {row['dominated_by'][0]}" if row["dominated_by"] else ""
    if value is None:
        return "-"
    if key in ("needle", "copy", "chain"):
        mark = "*" if (row[f"{key}_p"] or 1) < 0.05 else " "
        return f"{100 * value:.1f}{mark}"
    if key in ("of_dense", "agreement"):
        return f"{100 * value:.1f}%"
    if key.endswith("_change"):
        return f"{100 * value:+.2f}%"
    digits = {"bits_per_byte": 4, "copy_exact_length": 1, "tokens_per_second": 0}.get(key)
    return f"{value:.{digits}f}" if digits is not None else f"{value:g}"


def _notes(rows: list[Row]) -> list[str]:
    dense = rows[0]
    counts = ", ".join(f"{dense[f'{kind}_items']} {kind}" for kind in ("needle", "copy", "chain"))
    best = ", ".join(row["recipe"] for row in rows if row["measured"] and not row["dominated_by"])
    text = (
        f"{counts} items, {dense['text_rows']} rows of text. needle, copy, chain: % of items with "
        "every byte right; * differs from dense (McNemar, p < 0.05). change: of bits per byte; "
        "packed prefill: where the prefix attends on packed rows, too (a quarter of the text). "
        "copied: bytes before the first wrong one. agree: greedy bytes that are those of dense. "
        "B/token: packed rows."
    )
    return [
        *textwrap.wrap(text, 110),
        f"not dominated (bytes; bits per byte, needle, copy): {best}",
    ]


def csv_text(rows: list[Row]) -> str:
    """One line per recipe, every figure that is one number; what is unknown is empty."""
    names = [name for name, value in rows[0].items() if not isinstance(value, (dict, list))]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([_plain(row.get(name)) for name in names])
    return stream.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return "" if value is None else value
