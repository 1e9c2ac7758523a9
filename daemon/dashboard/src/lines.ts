// SPDX-License-Identifier: Apache-2.0
// Medians as lines with p10 to p90 as a band, and their names where the lines end.
import uPlot from 'uplot';
import { axis, chart, font, type Chart, type Look } from './chart.ts';
import { css } from './dom.ts';
import { plain } from './format.ts';

export interface Line {
  name: string;
  look: Look;
  points: { x: number; low: number | null; y: number; high: number | null }[];
}

export interface LinesOptions {
  x: string;
  y: string;
  showX: (value: number) => string;
  showY: (value: number) => string;
  time?: boolean;
  focus?: string | null; // the others fade
}

export function lines(all: Line[], options: LinesOptions): Chart {
  const xs = [...new Set(all.flatMap((line) => line.points.map((point) => point.x)))].sort((a, b) => a - b);
  const data: (number | null)[][] = [xs];
  const series: uPlot.Series[] = [{}];
  const bands: uPlot.Band[] = [];
  const thin = Math.max(0.035, Math.min(0.14, 0.4 / all.length)); // many bands may not hide the lines
  for (const line of all) {
    const faded = Boolean(options.focus) && options.focus !== line.name;
    const at = new Map(line.points.map((point) => [point.x, point]));
    const first = data.length;
    data.push(xs.map((x) => at.get(x)?.high ?? null), xs.map((x) => at.get(x)?.low ?? null), xs.map((x) => at.get(x)?.y ?? null));
    const edge: uPlot.Series = { stroke: 'transparent', points: { show: false }, spanGaps: true };
    const color = () => css(line.look.color);
    series.push(edge, edge, {
      stroke: color,
      width: line.look.base ? 2.5 : 2,
      dash: line.look.dash,
      spanGaps: true,
      alpha: faded ? 0.18 : 1,
      points: { show: !options.time, size: 6, fill: color, stroke: color },
    });
    bands.push({ series: [first, first + 1], fill: () => tint(css(line.look.color), faded ? 0.01 : options.focus ? 0.24 : thin) });
  }
  const lastX = xs[xs.length - 1] ?? 1;
  const firstX = xs[0] ?? 0;
  // Medians decide the scale: a few slow samples may not press all lines to the ground. Hints have the whole range.
  const middle = Math.max(1e-12, ...all.flatMap((line) => line.points.map((point) => point.y)));
  const high = Math.min(1.6 * middle, Math.max(middle, ...all.flatMap((line) => line.points.map((point) => point.high ?? 0))));
  const narrow = (width: number) => width < 560;
  let names = true;
  return chart(
    {
      padding: [12, null, null, null],
      scales: {
        x: { time: false, range: () => (options.time ? [firstX, Math.max(lastX, firstX + 10)] : [0, lastX]) },
        y: { range: () => [0, high * 1.06] },
      },
      axes: [
        { ...axis(options.x, options.showX), space: 70, size: 32 },
        { ...axis(options.y, (value) => plain(options.showY(value))), size: 64 },
        { show: true, side: 1, scale: 'y', size: (u) => ((names = !narrow(u.width) && !options.time) ? 170 : 14), values: () => [],
          grid: { show: false }, ticks: { show: false } },
      ],
      series,
      bands,
      hooks: { draw: [(u) => { if (names) label(u, all, options); }] },
    },
    data as uPlot.AlignedData,
    (width) => (options.time ? 190 : Math.round(Math.max(300, Math.min(440, width * 0.55)))),
    (u, x, y) => {
      let found: { line: Line; point: Line['points'][number] } | null = null;
      let least = 40;
      for (const line of all) {
        for (const point of line.points) {
          const gap = Math.hypot((u.valToPos(point.x, 'x') - x) * (options.time ? 2 : 1), (u.valToPos(point.y, 'y') - y) / (options.time ? 8 : 1));
          if (gap < least) [found, least] = [{ line, point }, gap];
        }
      }
      if (!found) return null;
      const { line, point } = found;
      const texts = [line.name, `${options.showX(point.x)}: ${options.showY(point.y)}`];
      if (point.low !== null && point.high !== null) texts.push(`p10..p90 ${options.showY(point.low)} .. ${options.showY(point.high)}`);
      return { x: u.valToPos(point.x, 'x'), y: u.valToPos(point.y, 'y'), lines: texts };
    },
  );
}

// A colour of the style sheet (#rrggbb), let through.
export function tint(color: string, alpha: number): string {
  const number = parseInt(color.slice(1), 16);
  return `rgba(${number >> 16}, ${(number >> 8) & 255}, ${number & 255}, ${alpha})`;
}

function label(u: uPlot, all: Line[], options: LinesOptions): void {
  const { ctx } = u;
  const ratio = uPlot.pxRatio;
  const pitch = 15 * ratio;
  const ends = all
    .filter((line) => line.points.length > 0)
    .map((line) => {
      const point = line.points[line.points.length - 1]!;
      return { line, point, at: u.valToPos(point.y, 'y', true), y: 0 };
    })
    .sort((a, b) => a.at - b.at);
  const top = u.bbox.top;
  let next = top;
  for (const end of ends) {
    end.y = Math.max(end.at, next);
    next = end.y + pitch;
  }
  let limit = Math.max(top + u.bbox.height, top + pitch * (ends.length - 1));
  for (const end of [...ends].reverse()) {
    end.y = Math.min(end.y, limit);
    limit = end.y - pitch;
  }
  const x = u.bbox.left + u.bbox.width;
  ctx.save();
  ctx.font = font.replace('12px', `${11.5 * ratio}px`);
  ctx.textAlign = 'left';
  ctx.textBaseline = 'middle';
  for (const { line, point, at, y } of ends) {
    ctx.globalAlpha = options.focus && options.focus !== line.name ? 0.25 : 1;
    ctx.strokeStyle = css(line.look.color);
    ctx.lineWidth = 1.2 * ratio;
    ctx.beginPath();
    ctx.moveTo(x + 3 * ratio, at);
    ctx.lineTo(x + 14 * ratio, y);
    ctx.lineTo(x + 20 * ratio, y);
    ctx.stroke();
    ctx.fillStyle = css(line.look.base ? '--soft' : '--ink');
    ctx.fillText(`${line.name.slice(0, 18)}  ${options.showY(point.y)}`, x + 24 * ratio, y);
  }
  ctx.restore();
}
