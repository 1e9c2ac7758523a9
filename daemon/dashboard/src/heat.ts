// SPDX-License-Identifier: Apache-2.0
// A heat map on a canvas: painted a pixel a cell and enlarged, so that its size costs little. Arrow keys walk it.
import { css, h } from './dom.ts';
import { font } from './chart.ts';

export interface HeatOptions {
  rows: number;
  columns: number;
  value: (row: number, column: number) => number | null; // 0 .. 1; null: nothing is there
  color: string; // a custom property
  height: number; // of the picture without its frame, in CSS pixels
  labelX: string;
  labelY: string;
  tickX: (column: number) => string;
  tickY: (row: number) => string;
  say: (row: number, column: number) => string[];
  text?: (row: number, column: number) => string; // in the cell, where there is room
  open?: (row: number, column: number) => void;
  mark?: (ctx: CanvasRenderingContext2D, frame: { x: number; y: number; width: number; height: number }) => void;
  name: string;
  left?: number; // room for ticks of rows
  squarish?: number; // the most a cell is wide, in CSS pixels
}

type Rgb = [number, number, number];
function rgb(color: string): Rgb {
  const number = parseInt(color.slice(1), 16);
  return [number >> 16, (number >> 8) & 255, number & 255];
}
const mix = (a: Rgb, b: Rgb, t: number): Rgb => [0, 1, 2].map((i) => Math.round(a[i]! + (b[i]! - a[i]!) * t)) as Rgb;

// From the paper over the hue to a deep (on dark paper: a bright) end, so that lightness alone tells the order.
export function ramp(color: string): (t: number) => Rgb {
  const paper = rgb(css('--heat-0'));
  const hue = rgb(css(color));
  const end = mix(hue, rgb(css('--heat-1')), 0.45);
  return (t) => (t < 0.65 ? mix(paper, hue, t / 0.65) : mix(hue, end, (t - 0.65) / 0.35));
}

// The power of two that is not below `least`: 0, 16, 32 are better ticks than 0, 7, 14.
const power = (least: number) => 2 ** Math.max(0, Math.ceil(Math.log2(least)));

const bottom = 38;

export function heat(options: HeatOptions): { element: HTMLElement; canvas: () => HTMLCanvasElement; redraw: () => void; destroy: () => void } {
  const { rows, columns } = options;
  const left = options.left ?? 46;
  const canvas = h('canvas', { tabindex: 0, role: 'application', 'aria-label': `${options.name}. Arrow keys walk the cells.` });
  const box = h('div', { class: 'hint', hidden: true });
  const spoken = h('div', { class: 'hidden', 'aria-live': 'polite' });
  const element = h('div', { class: 'plot heat' }, canvas, box, spoken);
  let frame = { x: left, y: 8, width: 0, height: options.height };
  let cell: { row: number; column: number } | null = null;
  let drawn = 0;

  function paint(): void {
    const full = element.clientWidth;
    if (full < 40) return;
    drawn = full;
    const widest = (options.squarish ?? Infinity) * columns;
    frame = { x: left, y: 8, width: Math.min(full - left - 10, widest), height: options.height };
    const height = frame.height + frame.y + bottom;
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(full * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = `${full}px`;
    canvas.style.height = `${height}px`;
    const ctx = canvas.getContext('2d')!;
    ctx.scale(ratio, ratio);
    const small = document.createElement('canvas');
    small.width = columns;
    small.height = rows;
    const image = new ImageData(columns, rows);
    const color = ramp(options.color);
    const steps = Array.from({ length: 256 }, (_, step) => color(step / 255));
    for (let row = 0, at = 0; row < rows; row += 1) {
      for (let column = 0; column < columns; column += 1, at += 4) {
        const value = options.value(row, column);
        if (value === null) continue;
        const [r, g, b] = steps[Math.max(0, Math.min(255, Math.round(value * 255)))]!;
        image.data[at] = r;
        image.data[at + 1] = g;
        image.data[at + 2] = b;
        image.data[at + 3] = 255;
      }
    }
    small.getContext('2d')!.putImageData(image, 0, 0);
    ctx.imageSmoothingEnabled = false;
    ctx.drawImage(small, frame.x, frame.y, frame.width, frame.height);
    gaps(ctx);
    if (options.text) texts(ctx, steps);
    options.mark?.(ctx, frame);
    ticks(ctx);
    if (cell) {
      ctx.strokeStyle = css('--ink');
      ctx.lineWidth = 2;
      const w = frame.width / columns;
      const t = frame.height / rows;
      ctx.strokeRect(frame.x + cell.column * w, frame.y + cell.row * t, Math.max(3, w), Math.max(3, t));
    }
  }

  // Cells that are large enough stand apart.
  function gaps(ctx: CanvasRenderingContext2D): void {
    ctx.fillStyle = css('--card');
    const w = frame.width / columns;
    const t = frame.height / rows;
    if (w < 7 || t < 7) return;
    for (let i = 1; i < columns; i += 1) ctx.fillRect(frame.x + i * w - 0.5, frame.y, 1, frame.height);
    for (let i = 1; i < rows; i += 1) ctx.fillRect(frame.x, frame.y + i * t - 0.5, frame.width, 1);
  }

  function texts(ctx: CanvasRenderingContext2D, steps: Rgb[]): void {
    const w = frame.width / columns;
    const t = frame.height / rows;
    if (w < 46 || t < 17) return;
    ctx.font = font.replace('12px', '11px');
    ctx.textAlign = 'center';
    ctx.textBaseline = 'middle';
    for (let row = 0; row < rows; row += 1) {
      for (let column = 0; column < columns; column += 1) {
        const value = options.value(row, column);
        if (value === null) continue;
        const [r, g, b] = steps[Math.max(0, Math.min(255, Math.round(value * 255)))]!;
        ctx.fillStyle = 0.299 * r + 0.587 * g + 0.114 * b > 138 ? '#101418' : '#ffffff';
        ctx.fillText(options.text!(row, column), frame.x + (column + 0.5) * w, frame.y + (row + 0.5) * t + 0.5);
      }
    }
  }

  function ticks(ctx: CanvasRenderingContext2D): void {
    ctx.font = font;
    ctx.fillStyle = css('--soft');
    ctx.textBaseline = 'middle';
    ctx.textAlign = 'right';
    const stepY = power((rows * 16) / frame.height);
    for (let row = 0; row < rows; row += stepY) {
      ctx.fillText(options.tickY(row), frame.x - 6, frame.y + ((row + 0.5) * frame.height) / rows);
    }
    ctx.textAlign = 'center';
    ctx.textBaseline = 'top';
    const stepX = power((columns * 46) / frame.width);
    for (let column = 0; column < columns; column += stepX) {
      ctx.fillText(options.tickX(column), frame.x + ((column + 0.5) * frame.width) / columns, frame.y + frame.height + 5);
    }
    ctx.fillText(options.labelX, frame.x + frame.width / 2, frame.y + frame.height + 21);
    if (options.labelY) {
      ctx.save();
      ctx.translate(7, frame.y + frame.height / 2);
      ctx.rotate(-Math.PI / 2);
      ctx.textBaseline = 'middle';
      ctx.fillText(options.labelY, 0, 0);
      ctx.restore();
    }
  }

  function show(found: { row: number; column: number } | null, speak: boolean): void {
    cell = found;
    paint();
    box.hidden = !found;
    if (!found) return;
    const lines = options.say(found.row, found.column);
    if (speak) spoken.textContent = lines.join(', ');
    box.replaceChildren(...lines.map((line, index) => h(index ? 'div' : 'strong', null, line)));
    const x = frame.x + ((found.column + 0.5) * frame.width) / columns;
    const y = frame.y + (found.row * frame.height) / rows;
    box.style.left = `${Math.max(0, Math.min(x + 10, element.clientWidth - box.offsetWidth - 4))}px`;
    const above = y - box.offsetHeight - 8;
    box.style.top = `${above >= 0 ? above : y + frame.height / rows + 8}px`;
  }

  function under(event: MouseEvent): { row: number; column: number } | null {
    const at = canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - at.left - frame.x) / frame.width) * columns);
    const row = Math.floor(((event.clientY - at.top - frame.y) / frame.height) * rows);
    return row >= 0 && row < rows && column >= 0 && column < columns ? { row, column } : null;
  }

  canvas.addEventListener('mousemove', (event) => {
    const found = under(event);
    if (found?.row !== cell?.row || found?.column !== cell?.column) show(found, false);
  });
  canvas.addEventListener('mouseleave', () => show(null, false));
  canvas.addEventListener('blur', () => show(null, false));
  canvas.addEventListener('click', (event) => {
    const found = under(event);
    if (found) options.open?.(found.row, found.column);
  });
  canvas.addEventListener('keydown', (event) => {
    const moves: Record<string, [number, number]> = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const move = moves[event.key];
    if (move) {
      event.preventDefault();
      const from = cell ?? { row: 0, column: 0 };
      const to = cell ? { row: from.row + move[0], column: from.column + move[1] } : from;
      show({ row: Math.max(0, Math.min(rows - 1, to.row)), column: Math.max(0, Math.min(columns - 1, to.column)) }, true);
    } else if ((event.key === 'Enter' || event.key === ' ') && cell && options.open) {
      event.preventDefault();
      options.open(cell.row, cell.column);
    } else if (event.key === 'Escape') show(null, false);
  });
  if (options.open) canvas.style.cursor = 'pointer';
  const watch = new ResizeObserver(() => {
    if (element.clientWidth !== drawn) paint();
  });
  watch.observe(element);
  return { element, canvas: () => canvas, redraw: paint, destroy: () => watch.disconnect() };
}

// The scale beside a heat map; style.css has its colours.
export function scaleBar(hue: 'k' | 'v' | 'e', low: string, high: string): HTMLElement {
  return h('span', { class: 'scale' }, low, h('span', { class: `ramp ${hue}` }), high);
}
