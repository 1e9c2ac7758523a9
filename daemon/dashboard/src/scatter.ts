// SPDX-License-Identifier: Apache-2.0
// Error against bytes: a dot per recipe, a line up to its worst layer; what others beat in both is grey.
import uPlot from 'uplot';
import { axis, chart, Words, type Chart } from './chart.ts';
import { css } from './dom.ts';
import { frontier } from './pareto.ts';

export interface Dot {
  name: string;
  x: number;
  y: number;
  top?: number | null; // the end of its line
  color?: string; // a custom property; that of errors without it
  from?: { x: number; y: number }; // where the same recipe stood in another run
  lines: string[];
}

export interface ScatterOptions {
  x: string;
  y: string;
  showX: (value: number) => string;
  showY: (value: number) => string;
}

// A decade below the smallest value that is an error; exact recipes (1e-8) stand on the axis.
export function floorOf(dots: readonly { y: number }[]): number {
  const real = dots.map((dot) => dot.y).filter((y) => y > 1e-5);
  return 10 ** Math.floor(Math.log10(Math.min(0.01, ...real)) - 1e-9);
}

export function scatter(dots: Dot[], options: ScatterOptions): Chart {
  const shown = dots.filter((dot) => Number.isFinite(dot.x) && Number.isFinite(dot.y)).sort((a, b) => a.x - b.x);
  const best = frontier(shown);
  const low = floorOf(shown);
  const clamp = (y: number) => Math.max(y, low);
  const high = Math.max(low * 10, ...shown.flatMap((dot) => [dot.y, dot.top ?? 0, dot.from?.y ?? 0]));
  const right = Math.max(1, ...shown.flatMap((dot) => [dot.x, dot.from?.x ?? 0]));
  const draw = (u: uPlot) => paint(u, shown, best, clamp);
  return chart(
    {
      scales: {
        x: { time: false, range: () => [0, right * 1.08] },
        y: { distr: 3, range: () => [low, high * 1.35] },
      },
      axes: [{ ...axis(options.x, options.showX), size: 32, space: 64 }, { ...axis(options.y, options.showY, true), size: 58 }],
      series: [{}, { paths: () => null, points: { show: false } }],
      hooks: { draw: [draw] },
    },
    [shown.map((dot) => dot.x), shown.map((dot) => clamp(dot.y))],
    (width) => Math.round(Math.max(300, Math.min(460, width * 0.62))),
    (u, x, y) => {
      let near: Dot | null = null;
      let least = 26;
      for (const dot of shown) {
        const gap = Math.hypot(u.valToPos(dot.x, 'x') - x, u.valToPos(clamp(dot.y), 'y') - y);
        if (gap < least) [near, least] = [dot, gap];
      }
      return near && { x: u.valToPos(near.x, 'x'), y: u.valToPos(clamp(near.y), 'y'), lines: near.lines };
    },
  );
}

function paint(u: uPlot, dots: Dot[], best: boolean[], clamp: (y: number) => number): void {
  const { ctx } = u;
  const ratio = uPlot.pxRatio;
  const at = (dot: { x: number; y: number }) => ({ x: u.valToPos(dot.x, 'x', true), y: u.valToPos(clamp(dot.y), 'y', true) });
  const { left, top, width, height } = u.bbox;
  const words = new Words(ctx, { x1: left, y1: top - 6 * ratio, x2: left + width + 8 * ratio, y2: top + height }, ratio);
  ctx.save();
  // The frontier as a staircase: what a given number of bytes can buy.
  const stairs = dots.filter((dot, index) => best[index] && !dot.from);
  if (stairs.length > 1 && !dots.some((dot) => dot.from)) {
    ctx.strokeStyle = css('--e');
    ctx.globalAlpha = 0.35;
    ctx.lineWidth = 1.5 * ratio;
    ctx.beginPath();
    stairs.forEach((dot, index) => {
      const { x, y } = at(dot);
      if (index === 0) ctx.moveTo(x, y);
      else {
        ctx.lineTo(x, at(stairs[index - 1]!).y);
        ctx.lineTo(x, y);
      }
    });
    ctx.stroke();
    ctx.globalAlpha = 1;
  }
  dots.forEach((dot, index) => {
    const { x, y } = at(dot);
    const color = css(best[index] ? dot.color ?? '--e' : dot.from ? dot.color ?? '--base' : '--base');
    ctx.strokeStyle = color;
    ctx.lineWidth = 1.5 * ratio;
    if (dot.top && dot.top > dot.y) {
      ctx.globalAlpha = 0.4;
      ctx.beginPath();
      ctx.moveTo(x, y);
      ctx.lineTo(x, u.valToPos(dot.top, 'y', true));
      ctx.stroke();
      ctx.globalAlpha = 1;
    }
    if (dot.from) {
      const old = at(dot.from);
      ctx.beginPath();
      ctx.moveTo(old.x, old.y);
      ctx.lineTo(x, y);
      ctx.stroke();
      ctx.fillStyle = css('--card');
      ctx.beginPath();
      ctx.arc(old.x, old.y, 4 * ratio, 0, 7);
      ctx.fill();
      ctx.stroke();
    }
    ctx.beginPath();
    ctx.arc(x, y, (best[index] ? 5 : 4) * ratio, 0, 7);
    ctx.fillStyle = best[index] || dot.from ? color : css('--card');
    ctx.fill();
    ctx.lineWidth = 2 * ratio;
    ctx.stroke();
    words.block(x, y, 6 * ratio);
  });
  // The best ones get their words first.
  for (const turn of [true, false]) {
    dots.forEach((dot, index) => {
      if (best[index] !== turn) return;
      const { x, y } = at(dot);
      words.place(dot.name, x, y, css(turn ? '--ink' : '--soft'));
    });
  }
  ctx.restore();
}
