# SPDX-License-Identifier: Apache-2.0
"""The report: one HTML file, no network, no script, light and dark."""

from __future__ import annotations

from html import escape
from typing import Any

from .results import Row
from .svg import BITS, COLOURS, COPY, NEEDLE, STYLE, Measure, pareto, scatter

__all__ = ["report_html"]

_PAGE = """\
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 28px 24px 60px; max-width: 1180px; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 34px 0 4px; }
h3 { font-size: 13px; margin: 0 0 6px; } p { margin: 4px 0 10px; max-width: 92ch; }
.soft { color: var(--soft); }
code { font: 13px/1.4 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 14px; font-size: 14px; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
figure { margin: 12px 0; padding: 14px; background: var(--card); border: 1px solid var(--rule);
  border-radius: 8px; } figure svg { width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: 13px; margin-top: 6px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 4px 9px; border-bottom: 1px solid var(--rule);
  white-space: nowrap; } th { color: var(--soft); font-weight: 600; }
th:first-child, td:first-child { text-align: left; } tr.lost td { color: var(--soft); }
.maps { display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 14px; }
.map table { width: 100%; } .map td, .map th { border: 0; padding: 3px 5px; text-align: center; }
.map td.value { border-radius: 3px; }
"""


def report_html(rows: list[Row], facts: dict[str, Any]) -> str:
    """`facts`: model, command, machine and so on, shown as they are."""
    title = f"What recipes do to {rows[0]['model']}"
    body = [
        f"<h1>{escape(title)}</h1>",
        '<p class="soft">A decoder whose attention runs on the compressed cache: bits per byte of '
        "held-out text, needles found, segments copied and chains followed, per recipe.</p>",
        *_facts(facts),
        "<h2>Which recipes are worth their bytes</h2>",
        *_verdict(rows),
        *_figures(rows),
        "<h2>All figures</h2>",
        _main_table(rows),
        *_needles(rows),
        *_breakdowns(rows),
        "<h2>How it was measured</h2>",
        f"<p>{_METHOD}</p>",
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{COLOURS}{_PAGE}{STYLE}</style>\n"
        + "\n".join(body)
        + "\n</html>\n"
    )


_METHOD = """\
A prompt is prefilled dense except for its last 48 bytes (text: 1408 of 2048 bytes); the rest and
the answer are decoded on the cache, whose rows are packed as they leave the window. An item
counts when every byte of its answer is chosen. Changes are against the dense cache on the same
items and rows: intervals are 95 %, of bits per byte by resampling rows (10,000 times), of shares
by Wilson, of paired differences by Agresti and Min; p is McNemar's exact test. Packed prefill:
the prefix, too, attends on packed rows, 32 tokens at a time; a quarter of the rows. A recipe is
dominated where another takes no more bytes and is nowhere worse in bits per byte, needles and
copies."""


def _facts(facts: dict[str, Any]) -> list[str]:
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {part}" for key, part in value.items())
        lines.append(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>")
    return ["<dl>", *lines, "</dl>"]


def _names(rows: list[Row]) -> str:
    return ", ".join(f"<code>{escape(row['recipe'])}</code>" for row in rows) or "none"


def _verdict(rows: list[Row]) -> list[str]:
    best = [row for row in rows if row["measured"] and not row["dominated_by"]]
    text = [f"<p>Not dominated: {_names(best)}.</p>"]
    lost = [row for row in rows if row["dominated_by"]]
    if lost:
        pairs = [
            f"{_names([row])} (by <code>{escape(row['dominated_by'][0])}</code>)" for row in lost
        ]
        text.append(f"<p>Dominated: {', '.join(pairs)}.</p>")
    return text


def _figures(rows: list[Row]) -> list[str]:
    parts = []
    for measure in (BITS, COPY, NEEDLE):
        picture = scatter(rows, measure, rows[0]["model"])
        if picture:
            parts.append(
                f"<figure>{picture}<figcaption>{_caption(rows, measure)}</figcaption></figure>"
            )
    return parts


def _caption(rows: list[Row], measure: Measure) -> str:
    shape = "root scale, lower is better" if measure.sign > 0 else "higher is better"
    return (
        f"{escape(measure.title).capitalize()}; {shape}; lines are 95 % intervals. Pareto set, by "
        f"this measure alone: {_names(pareto(rows, measure))}. Grey: dominated."
    )


_COLUMNS = (
    ("recipe", "recipe", "{}"),
    ("B/token", "bytes_per_token", "{:g}"),
    ("of f16", "of_dense", "{:.1%}"),
    ("cache B", "cache_bytes", "{:.0f}"),
    ("bits/byte", "bits_per_byte", "{:.4f}"),
    ("change", "bits_per_byte_change", "{:+.2%}"),
    ("95 %", "bits_per_byte_low bits_per_byte_high", "{:+.2%} .. {:+.2%}"),
    ("packed prefill", "bits_packed_prefill_change", "{:+.2%}"),
    ("needle", "needle", "{:.1%}"),
    ("to dense, 95 %", "needle_change_low needle_change_high", "{:+.1%} .. {:+.1%}"),
    ("p", "needle_p", "{:.2g}"),
    ("copy", "copy", "{:.1%}"),
    ("to dense, 95 %", "copy_change_low copy_change_high", "{:+.1%} .. {:+.1%}"),
    ("p", "copy_p", "{:.2g}"),
    ("copied bytes", "copy_exact_length", "{:.1f}"),
    ("chain", "chain", "{:.1%}"),
    ("p", "chain_p", "{:.2g}"),
    ("agreement", "agreement", "{:.1%}"),
    ("tokens/s", "tokens_per_second", "{:.0f}"),
)


def _main_table(rows: list[Row]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title, _, _ in _COLUMNS)
    lines = []
    for row in rows:
        cells = "".join(f"<td>{escape(_cell(row, keys, form))}</td>" for _, keys, form in _COLUMNS)
        style = ' class="lost"' if row["dominated_by"] else ""
        lines.append(f"<tr{style}>{cells}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>'
        + "\n".join(lines)
        + "</tbody></table></div>"
    )


def _cell(row: Row, keys: str, form: str) -> str:
    values = [row.get(key) for key in keys.split()]
    return "-" if None in values else form.format(*values)


def _needles(rows: list[Row]) -> list[str]:
    """A map per recipe: where in the text, and in how long a one, needles are found."""
    places = rows[0]["needle_by_place"]
    if not places:
        return []
    lengths = sorted({int(place.split("/")[0]) for place in places})
    depths = sorted({place.split("/")[1] for place in places})
    maps = []
    for row in rows:
        head = "".join(f"<th>{length}</th>" for length in lengths)
        lines = [f"<tr><th></th>{head}</tr>"]
        for depth in depths:
            cells = [_map_cell(row["needle_by_place"].get(f"{n}/{depth}")) for n in lengths]
            lines.append(f"<tr><th>{depth}</th>{''.join(cells)}</tr>")
        name = escape(row["recipe"])
        maps.append(f'<div class="map"><h3>{name}</h3><table>{"".join(lines)}</table></div>')
    return [
        "<h2>Needles found, by length and depth</h2>",
        '<p class="soft">Columns: length of the text in bytes. Rows: where the needle stands, 0 at '
        "the start. Per cent found; stronger colour is more.</p>",
        f'<figure><div class="maps">{"".join(maps)}</div></figure>',
    ]


def _map_cell(found: dict[str, Any] | None) -> str:
    if found is None:
        return "<td></td>"
    share = found["accuracy"]
    ink = "var(--on-accent)" if share > 0.55 else "var(--ink)"
    paint = f"color-mix(in srgb, var(--accent) {100 * share:.0f}%, var(--grid))"
    title = f"{found['items']} items"
    return (
        f'<td class="value" style="background: {paint}; color: {ink}" title="{title}">'
        f"{100 * share:.0f}</td>"
    )


def _breakdowns(rows: list[Row]) -> list[str]:
    parts = []
    for title, key in (
        ("Needles found, by how many are hidden", "needle_by_needles"),
        ("Exact copies, by length of the text", "copy_by_length"),
        ("Exact copies, by length of the segment", "copy_by_segment"),
        ("Chains, by length of the text", "chain_by_length"),
        ("Chains, by steps", "chain_by_steps"),
    ):
        names = list(rows[0][key])
        if not names:
            continue
        counts = [rows[0][key][name]["items"] for name in names]
        head = "".join(
            f"<th>{escape(n)} ({count})</th>" for n, count in zip(names, counts, strict=True)
        )
        lines = []
        for row in rows:
            found = [row[key].get(name) for name in names]
            cells = "".join(
                f"<td>{100 * x['accuracy']:.1f}</td>" if x else "<td>-</td>" for x in found
            )
            lines.append(f"<tr><td>{escape(row['recipe'])}</td>{cells}</tr>")
        table = f"<table><tr><th>recipe</th>{head}</tr>{''.join(lines)}</table>"
        parts.append(
            f"<h2>{title}</h2><p class='soft'>Per cent; number of items in brackets.</p>"
            f'<div class="scroll">{table}</div>'
        )
    return parts
