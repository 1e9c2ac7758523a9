// SPDX-License-Identifier: Apache-2.0
// uPlot as this page uses it: axes in the page's colours, labels beside what they name, a hint under the pointer.
import uPlot from 'uplot';
import { css, h } from './dom.ts';

export const font = '12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif';

// Colours of series, by place; the hues of K and V are not among them. Beyond eight, lines are dashed.
export interface Look {
  color: string;
  dash: number[];
  base: boolean;
}
export const baselines = /^(dense|int8|int4)$/;
export function looks(names: readonly string[]): Map<string, Look> {
  const found = new Map<string, Look>();
  let next = 0;
  for (const name of names) {
    if (baselines.test(name)) {
      const dash = name === 'dense' ? [] : name === 'int8' ? [10, 4] : [3, 4];
      found.set(name, { color: '--base', dash, base: true });
    } else {
      found.set(name, { color: `--s${next % 8}`, dash: next >= 8 ? [6, 4] : [], base: false });
      next += 1;
    }
  }
  return found;
}

export function axis(label: string, values?: (value: number) => string, log = false): uPlot.Axis {
  return {
    label,
    labelFont: font,
    font,
    labelSize: 22,
    gap: 6,
    stroke: () => css('--soft'),
    grid: { stroke: () => css('--grid'), width: 1 },
    ticks: { stroke: () => css('--rule'), width: 1, size: 4 },
    ...(values ? { values: (_, splits) => splits.map((split) => (split === null ? '' : values(split))) } : {}),
    ...(log ? { filter: (_: uPlot, splits: number[]) => decades(splits) } : {}),
  };
}

// Of a logarithmic axis: 1, 2 and 5 where few decades are shown, else the decades.
function decades(splits: number[]): (number | null)[] {
  const few = splits.length < 22;
  return splits.map((split) => {
    const lead = split / 10 ** Math.floor(Math.log10(split) + 1e-9);
    const near = (value: number) => Math.abs(lead - value) < 0.01;
    return near(1) || (few && (near(2) || near(5))) ? split : null;
  });
}

export interface Hint {
  x: number; // in CSS pixels of the plot
  y: number;
  lines: string[];
}

export interface Chart {
  element: HTMLElement;
  canvas: () => HTMLCanvasElement;
  redraw: () => void;
  destroy: () => void;
}

// Keeps a plot as wide as its place, and shows what `hint` finds under the pointer.
export function chart(options: Omit<uPlot.Options, 'width' | 'height'>, data: uPlot.AlignedData, height: (width: number) => number,
  hint: (u: uPlot, x: number, y: number) => Hint | null): Chart {
  const box = h('div', { class: 'hint', hidden: true });
  const element = h('div', { class: 'plot' }, box);
  let plot: uPlot | null = null;
  let drawn = 0;
  const move = (u: uPlot) => {
    const { left, top } = u.cursor;
    const found = left === undefined || top === undefined || left < 0 ? null : hint(u, left, top);
    box.hidden = !found;
    if (!found) return;
    box.replaceChildren(...found.lines.map((line, index) => h(index ? 'div' : 'strong', null, line)));
    const over = u.over.getBoundingClientRect();
    const from = element.getBoundingClientRect();
    const x = over.left - from.left + found.x;
    box.style.left = `${Math.max(0, Math.min(x + 12, from.width - box.offsetWidth - 4))}px`;
    box.style.top = `${Math.max(0, over.top - from.top + found.y - box.offsetHeight - 10)}px`;
  };
  const make = (width: number) => {
    plot?.destroy();
    drawn = width;
    plot = new uPlot(
      {
        ...options,
        width,
        height: height(width),
        legend: { show: false },
        cursor: { y: false, x: false, drag: { x: false, y: false }, points: { show: false }, ...options.cursor },
        hooks: { ...options.hooks, setCursor: [move] },
      },
      data,
      element,
    );
  };
  const watch = new ResizeObserver(() => {
    const width = Math.floor(element.clientWidth);
    if (width > 40 && width !== drawn) make(width);
  });
  watch.observe(element);
  return {
    element,
    canvas: () => plot!.ctx.canvas,
    redraw: () => plot?.redraw(),
    destroy: () => {
      watch.disconnect();
      plot?.destroy();
    },
  };
}

interface Box {
  x1: number;
  y1: number;
  x2: number;
  y2: number;
}

// Puts words beside points, where nothing is yet; a word without room is left out (its point still has a hint).
export class Words {
  private readonly taken: Box[] = [];
  constructor(private readonly ctx: CanvasRenderingContext2D, private readonly frame: Box, private readonly ratio: number) {}

  block(x: number, y: number, radius: number): void {
    this.taken.push({ x1: x - radius, y1: y - radius, x2: x + radius, y2: y + radius });
  }

  place(text: string, x: number, y: number, color: string): boolean {
    const { ctx, ratio } = this;
    ctx.font = font.replace('12px', `${11.5 * ratio}px`);
    const width = ctx.measureText(text).width;
    const half = 7 * ratio;
    for (const shift of [0, -1, 1, -2, 2, -3, 3, -4, 4]) {
      for (const right of [true, false]) {
        const left = right ? x + 9 * ratio : x - 9 * ratio - width;
        const middle = y + shift * 13 * ratio;
        const box = { x1: left - 2, y1: middle - half, x2: left + width + 2, y2: middle + half };
        if (box.x1 < this.frame.x1 || box.x2 > this.frame.x2 || box.y1 < this.frame.y1 || box.y2 > this.frame.y2) continue;
        if (this.taken.some((other) => box.x1 < other.x2 && other.x1 < box.x2 && box.y1 < other.y2 && other.y1 < box.y2)) continue;
        this.taken.push(box);
        if (Math.abs(shift) > 1) {
          ctx.strokeStyle = css('--rule');
          ctx.lineWidth = ratio;
          ctx.beginPath();
          ctx.moveTo(x, y);
          ctx.lineTo(right ? left - 2 : left + width + 2, middle);
          ctx.stroke();
        }
        ctx.fillStyle = color;
        ctx.textAlign = 'left';
        ctx.textBaseline = 'middle';
        ctx.fillText(text, left, middle);
        return true;
      }
    }
    return false;
  }
}
