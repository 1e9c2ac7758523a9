// SPDX-License-Identifier: Apache-2.0
// The look of the report, light and dark. Colours of lines are those of Okabe and Ito, which colour-blind
// readers can tell apart; lines carry labels besides.
#pragma once

namespace mustafar::experiment {

constexpr const char* html_style = R"css(
:root { color-scheme: light dark;
  --paper: #fcfcfb; --card: #ffffff; --ink: #1d2126; --soft: #5c6670; --rule: #dde1e5; --grid: #edf0f2;
  --accent: #0b62a4; --on-accent: #ffffff; --base: #8a929b;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b3479b; --c4: #b8860b; --c5: #3aa5dd; --c6: #7a4fbf; --c7: #5d6b1f; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #14171a; --card: #1b1f23; --ink: #e4e7ea; --soft: #9aa4ae; --rule: #343b42; --grid: #262c31;
  --accent: #6cb8f0; --on-accent: #10151a; --base: #7f8993;
  --c0: #4fa8e0; --c1: #f0894a; --c2: #3fc79a; --c3: #df8acb; --c4: #e0b44c; --c5: #8fd3f7; --c6: #b79af0; --c7: #b5c46a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 28px 24px 60px; max-width: 1340px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 38px 0 4px; } h3 { font-size: 14px; margin: 0 0 6px; }
p { margin: 4px 0 10px; max-width: 92ch; } .soft { color: var(--soft); }
code { font: 13px/1.4 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
pre { background: var(--card); border: 1px solid var(--rule); border-radius: 6px; padding: 10px 12px; margin: 10px 0; white-space: pre-wrap; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 14px; margin: 10px 0; font-size: 14px; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 520px), 1fr)); gap: 16px; }
figure { margin: 12px 0; padding: 14px; background: var(--card); border: 1px solid var(--rule); border-radius: 8px; min-width: 0; }
figure svg { width: 100%; height: auto; display: block; } figcaption { color: var(--soft); font-size: 13px; margin-top: 6px; }
.wide { max-width: 1000px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; width: 100%; }
th, td { text-align: right; padding: 4px 9px; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; } th:first-child, td:first-child { text-align: left; }
tbody tr:hover { background: var(--grid); }
svg text { font: 11px system-ui, "DejaVu Sans", sans-serif; fill: var(--ink); } svg .tick, svg .name { fill: var(--soft); }
svg .strong { font-weight: 600; } svg .cell.dark { fill: var(--on-accent); }
svg .grid { stroke: var(--grid); } svg .axis { stroke: var(--soft); } svg .leader, svg .tie { stroke: var(--rule); fill: none; }
svg .whisker { stroke: var(--accent); stroke-width: 1.5; stroke-opacity: .35; }
svg .dot { fill: var(--card); stroke: var(--accent); stroke-width: 2; } svg .dot.best { fill: var(--accent); }
svg .heat { fill: var(--accent); }
svg .line { fill: none; stroke-width: 1.8; stroke: var(--base); } svg .mark { fill: var(--base); } svg .spread { stroke: var(--base); stroke-width: 1.5; stroke-opacity: .5; }
svg .line.base { stroke-width: 3; stroke-opacity: .8; } svg .line.dashed { stroke-dasharray: 6 4; }
svg .tie { stroke: var(--base); stroke-width: 1.2; }
svg .c0 { stroke: var(--c0); } svg .mark.c0 { fill: var(--c0); } svg .c1 { stroke: var(--c1); } svg .mark.c1 { fill: var(--c1); }
svg .c2 { stroke: var(--c2); } svg .mark.c2 { fill: var(--c2); } svg .c3 { stroke: var(--c3); } svg .mark.c3 { fill: var(--c3); }
svg .c4 { stroke: var(--c4); } svg .mark.c4 { fill: var(--c4); } svg .c5 { stroke: var(--c5); } svg .mark.c5 { fill: var(--c5); }
svg .c6 { stroke: var(--c6); } svg .mark.c6 { fill: var(--c6); } svg .c7 { stroke: var(--c7); } svg .mark.c7 { fill: var(--c7); }
@media print { body { max-width: none; } figure { break-inside: avoid; } }
)css";

} // namespace mustafar::experiment
