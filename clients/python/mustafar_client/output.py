# SPDX-License-Identifier: Apache-2.0
"""What mustafar-client writes: tables on standard output, progress on standard error."""

from __future__ import annotations

import shutil
from typing import Any, TextIO

WIDTH = 24  # of the bar
UNITS = ("KiB", "MiB", "GiB", "TiB")


def size_text(count: int) -> str:
    """Bytes for people."""
    if count < 1024:
        return f"{count} B"
    size, unit = float(count), 0
    while size >= 1024 and unit < len(UNITS):
        size /= 1024
        unit += 1
    return f"{size:.1f} {UNITS[unit - 1]}"


def print_table(rows: list[list[str]]) -> None:
    """The first row is the heading."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())


def printable(text: str) -> str:
    """Labels come from anybody: no control characters reach a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def row_line(row: dict[str, Any]) -> str:
    """One row of an experiment as a line."""

    def number(name: str, form: str) -> str:
        value = row.get(name)
        return "-" if value is None else format(value, form)

    text = f"{row.get('recipe', '?')!s:<20} {row.get('trace', '?')!s:<28} {number('bytes_per_token', '.0f'):>8} B/token"
    text += f"  out error {number('out_error', '.4f')}"
    if row.get("attend_ns_per_token") is not None:
        text += f"  attend {number('attend_ns_per_token', '.0f')} ns/token at {row.get('attend_tokens')}"
    return text


class Progress:
    """A bar on a terminal, a line for each tenth elsewhere."""

    def __init__(self, out: TextIO) -> None:
        self.out = out
        self.terminal = out.isatty()
        self.shown = False
        self.tenth = -1

    def show(self, data: dict[str, Any]) -> None:
        share = min(max(float(data.get("progress", 0)), 0.0), 1.0)
        what = printable(str(data.get("what", "")))
        if self.terminal:
            filled = round(share * WIDTH)
            room = shutil.get_terminal_size().columns - WIDTH - 10
            text = f"[{'#' * filled}{'.' * (WIDTH - filled)}] {100 * share:3.0f} %  {what[: max(room, 0)]}"
            self.out.write(f"\r\x1b[K{text}")
            self.shown = True
        elif int(share * 10) > self.tenth:
            self.tenth = int(share * 10)
            self.out.write(f"{100 * share:3.0f} %  {what}\n")
        self.out.flush()

    def line(self, text: str) -> None:
        """A line that stays, on standard output."""
        self.end()
        print(printable(text), flush=True)

    def end(self) -> None:
        if self.shown:
            self.out.write("\r\x1b[K")
            self.out.flush()
            self.shown = False
