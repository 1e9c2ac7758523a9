# SPDX-License-Identifier: Apache-2.0
"""Quality against bytes as SVG; colours are CSS variables of the page, or of `standalone`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

from .results import Row

__all__ = [
    "BITS",
    "COLOURS",
    "COPY",
    "NEEDLE",
    "STYLE",
    "Measure",
    "pareto",
    "scatter",
    "standalone",
]

COLOURS = """\
:root { color-scheme: light dark; --paper: #fcfcfb; --card: #ffffff; --ink: #1d2126;
  --soft: #5c6670; --rule: #dde1e5; --grid: #edf0f2; --accent: #0b62a4; --on-accent: #ffffff;
  --base: #a3abb3; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171a; --card: #1b1f23; --ink: #e4e7ea;
  --soft: #9aa4ae; --rule: #343b42; --grid: #262c31; --accent: #6cb8f0; --on-accent: #10151a;
  --base: #69737d; } }
"""
STYLE = """\
svg text { font: 12px system-ui, "DejaVu Sans", sans-serif; fill: var(--ink); }
svg .soft { fill: var(--soft); } svg .best { font-weight: 600; }
svg .grid { stroke: var(--grid); } svg .axis { stroke: var(--soft); }
svg .front { fill: none; stroke: var(--accent); stroke-opacity: .45; stroke-width: 1.5; }
svg .whisker { stroke: var(--base); stroke-opacity: .6; } svg .dot { fill: var(--base); }
svg .whisker.on { stroke: var(--accent); } svg .dot.on { fill: var(--accent); }
"""
_WIDTH, _HEIGHT = 860, 470
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 24, 34, 46


@dataclass(frozen=True)
class Measure:
    """What stands on the vertical axis, as a figure that is better when it is `sign` * smaller."""

    key: str
    title: str
    sign: int
    low: str
    high: str

    def value(self, row: Row) -> float | None:
        """None where it was not measured."""
        found: float | None = row[self.key]
        return found


BITS = Measure(
    "bits_per_byte_change",
    "bits per byte of held-out text, more than dense",
    1,
    "bits_per_byte_low",
    "bits_per_byte_high",
)
COPY = Measure("copy", "segments copied exactly", -1, "copy_low", "copy_high")
NEEDLE = Measure("needle", "needles found", -1, "needle_low", "needle_high")


def pareto(rows: list[Row], measure: Measure) -> list[Row]:
    """Rows that no other beats in bytes without losing in `measure`, most bytes first."""
    points: list[tuple[float, float, Row]] = []
    for row in rows:
        value = measure.value(row)
        if value is not None:
            points.append((row["bytes_per_token"], measure.sign * value, row))
    points.sort(key=lambda point: -point[0])
    return [
        row
        for x, y, row in points
        if not any(a <= x and b <= y and (a, b) != (x, y) for a, b, _ in points)
    ]


class _Frame:
    """Maps bytes and values to the canvas: bytes logarithmic, changes by their root."""

    def __init__(self, rows: list[Row], measure: Measure) -> None:
        bytes_ = [row["bytes_per_token"] for row in rows]
        values = [value for row in rows if (value := measure.value(row)) is not None]
        self.low, self.high = math.log(min(bytes_) * 0.9), math.log(max(bytes_) * 1.12)
        self.root = measure.sign > 0
        if self.root:
            self.bottom, self.top = 0.0, max(0.01, *values) * 1.1
        else:
            self.bottom = max(0.0, math.floor(min(values) * 10 - 0.5) / 10)
            self.top = min(1.0, math.ceil(max(values) * 10 + 0.2) / 10)

    def x(self, bytes_: float) -> float:
        share = (math.log(bytes_) - self.low) / (self.high - self.low)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        inside = min(max(value, self.bottom), self.top)
        if self.root:  # differences near nothing matter as much as those far away
            share = math.sqrt(inside / self.top)
        else:
            share = (inside - self.bottom) / (self.top - self.bottom)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def ticks(self) -> list[float]:
        if self.root:
            steps = (0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2)
            return [step for step in steps if step <= self.top]
        count = round((self.top - self.bottom) * 10)
        return [self.bottom + i / 10 for i in range(count + 1)]

    def bytes_ticks(self) -> list[int]:
        tick, found = 1, []
        while tick < math.exp(self.high):
            found += [n for n in (tick, tick * 3 // 2) if n > math.exp(self.low)]
            tick *= 2
        return [n for n in found if n < math.exp(self.high)]


def scatter(rows: list[Row], measure: Measure, title: str) -> str:
    """One dot per recipe; those on the Pareto front in colour and joined, dominated ones grey."""
    known = [row for row in rows if measure.value(row) is not None]
    if not known:
        return ""
    frame, front = _Frame(known, measure), pareto(known, measure)
    best = {row["recipe"] for row in front}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{_text(title)}">',
        f'<text x="{_LEFT}" y="18" class="best">{_text(title)}: {_text(measure.title)}</text>',
        *_axes(frame),
    ]
    path = " ".join(
        f"{frame.x(row['bytes_per_token']):.1f},{frame.y(_value(row, measure)):.1f}"
        for row in front
    )
    parts.append(f'<polyline class="front" points="{path}"/>')
    dots = []
    for row in sorted(known, key=lambda row: row["recipe"] in best):  # the best on top
        on = " on" if row["recipe"] in best else ""
        x, y = frame.x(row["bytes_per_token"]), frame.y(_value(row, measure))
        low, high = row[measure.low], row[measure.high]
        if low is not None and high is not None:
            parts.append(_line(x, frame.y(low), x, frame.y(high), f"whisker{on}"))
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{4.5 if on else 3.5}" class="dot{on}"/>'
        )
        dots.append((x, y, str(row["recipe"]), bool(on)))
    parts += _labels(dots)
    return "\n".join([*parts, "</svg>"])


def _value(row: Row, measure: Measure) -> float:
    value = measure.value(row)
    return 0.0 if value is None else value


def _axes(frame: _Frame) -> list[str]:
    parts = []
    for tick in frame.ticks():
        y = frame.y(tick)
        parts.append(
            _line(_LEFT, y, _WIDTH - _RIGHT, y, "axis" if tick == frame.bottom else "grid")
        )
        sign = "+" if frame.root and tick else ""
        parts.append(
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" class="soft">'
            f"{sign}{100 * tick:g}%</text>"
        )
    for count in frame.bytes_ticks():
        x = frame.x(count)
        parts.append(_line(x, _HEIGHT - _BOTTOM, x, _HEIGHT - _BOTTOM + 5, "axis"))
        parts.append(
            f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 19}" text-anchor="middle" class="soft">'
            f"{count}</text>"
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle" class="soft">'
        "bytes per token, packed rows of all layers</text>"
    )
    return parts


def _labels(dots: list[tuple[float, float, str, bool]]) -> list[str]:
    """Names beside their dots, those of the front first; a name that fits nowhere stays out."""
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y, _, _ in dots]
    taken.append((_LEFT, _HEIGHT - _BOTTOM - 1, _WIDTH, _HEIGHT))  # the axis
    parts = []
    for x, y, name, on in sorted(dots, key=lambda dot: not dot[3]):
        width = len(name) * (7.3 if on else 6.6)
        for side in range(10):
            distance = 9 + 7 * (side // 5)
            dx, dy = ((1, 0), (-1, 0), (1, -1), (-1, -1), (1, 1))[side % 5]
            left = x + distance if dx > 0 else x - distance - width
            base = y + 4 + dy * (distance + 3)
            box = (left - 1, base - 11, left + width + 1, base + 3)
            inside = box[0] > _LEFT and box[2] < _WIDTH and box[1] > _TOP - 10
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                style = "best" if on else "soft"
                text = f'<text x="{left:.1f}" y="{base:.1f}" class="{style}">{_text(name)}</text>'
                parts.append(text)
                break
    return parts


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def _text(text: str) -> str:
    return escape(text)


def standalone(picture: str) -> str:
    """The picture as a file of its own, with its colours and a background."""
    head, rest = picture.split(">", 1)
    style = f"<style>\n{COLOURS}{STYLE}</style>"
    size = f' width="{_WIDTH}" height="{_HEIGHT}"'
    paper = f'<rect width="{_WIDTH}" height="{_HEIGHT}" style="fill: var(--card)"/>'
    return f"{head}{size}>\n{style}\n{paper}{rest}\n"
