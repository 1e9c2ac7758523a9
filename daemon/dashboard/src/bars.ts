// SPDX-License-Identifier: Apache-2.0
// Bars of parts beside an outline: what is held, and what it would be as dense.
import { font } from './chart.ts';
import { css, h } from './dom.ts';
import { bytes } from './format.ts';
import type { Picture } from './figure.ts';
import type { ByteParts } from './types.ts';

export const parts: { key: keyof ByteParts; name: string; what: string }[] = [
  { key: 'values', name: 'values', what: 'codes of the kept elements' },
  { key: 'bitmaps', name: 'bitmaps', what: 'which elements are kept' },
  { key: 'meta', name: 'meta', what: 'scale and zero of quantized rows' },
  { key: 'window', name: 'window', what: 'newest and first tokens, dense' },
  { key: 'positions', name: 'positions', what: 'of tokens, once rows were evicted' },
  { key: 'tables', name: 'tables', what: 'page tables and the cache itself' },
  { key: 'slack', name: 'slack', what: 'alignment, and pages not yet full' },
];
export const partColor = (key: string) => `--p-${key}`;

export function partKeys(outline: string): HTMLElement[] {
  const keys = parts.map((part) => {
    const key = h('span', { class: 'key', title: part.what }, part.name);
    key.style.setProperty('--key', `var(${partColor(part.key)})`);
    return key;
  });
  const dense = h('span', { class: 'key open' }, outline);
  dense.style.setProperty('--key', 'var(--base)');
  return [...keys, dense];
}

export interface Bar {
  name: string;
  bytes: ByteParts | null; // null: not yet known
  total: number;
  dense: number;
  open?: () => void;
}

export function bars(list: Bar[], thick = 18): Picture {
  const canvas = h('canvas', { role: 'img', 'aria-label': 'Bars; the table has the numbers' });
  const box = h('div', { class: 'hint', hidden: true });
  const element = h('div', { class: 'plot heat' }, canvas, box);
  const pitch = thick + 26;
  const scale = Math.max(1, ...list.map((bar) => Math.max(bar.total, bar.dense)));
  let drawn = 0;
  let width = 0;

  const paint = () => {
    width = element.clientWidth;
    if (width < 40) return;
    drawn = width;
    const height = list.length * pitch + 2;
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const ctx = canvas.getContext('2d')!;
    ctx.scale(ratio, ratio);
    ctx.textBaseline = 'middle';
    list.forEach((bar, index) => row(ctx, bar, index * pitch));
  };

  const row = (ctx: CanvasRenderingContext2D, bar: Bar, y: number) => {
    const right = `${bytes(bar.total)} of ${bytes(bar.dense)}`;
    ctx.font = font;
    ctx.fillStyle = css('--soft');
    ctx.textAlign = 'right';
    ctx.fillText(right, width - 1, y + 9);
    const room = width - ctx.measureText(right).width - 16;
    ctx.textAlign = 'left';
    ctx.font = font.replace('12px', '13px');
    ctx.fillStyle = css('--ink');
    let name = bar.name;
    while (name.length > 2 && ctx.measureText(name).width > room) name = `${name.slice(0, -2)}\u2026`;
    ctx.fillText(name, 0, y + 9);
    const top = y + 19;
    const full = width - 2;
    ctx.strokeStyle = css('--base');
    ctx.lineWidth = 1;
    ctx.setLineDash([3, 3]);
    ctx.strokeRect(0.5, top + 0.5, Math.max(1, (bar.dense / scale) * full), thick - 1);
    ctx.setLineDash([]);
    let x = 0;
    for (const part of bar.bytes ? parts : []) {
      const wide = (bar.bytes![part.key] / scale) * full;
      if (wide <= 0) continue;
      ctx.fillStyle = css(partColor(part.key));
      ctx.fillRect(x, top, Math.max(wide - 0.75, 0.5), thick);
      x += wide;
    }
    if (!bar.bytes) {
      ctx.fillStyle = css('--base');
      ctx.fillRect(0, top, (bar.total / scale) * full, thick);
    }
  };

  const at = (event: MouseEvent) => Math.floor((event.clientY - canvas.getBoundingClientRect().top) / pitch);
  canvas.addEventListener('mousemove', (event) => {
    const bar = list[at(event)];
    box.hidden = !bar;
    if (!bar) return;
    canvas.style.cursor = bar.open ? 'pointer' : '';
    const lines = parts.filter((part) => bar.bytes && bar.bytes[part.key] > 0).map((part) => `${part.name} ${bytes(bar.bytes![part.key])}`);
    box.replaceChildren(h('strong', null, bar.name), ...lines.map((line) => h('div', null, line)), h('div', { class: 'soft' }, `as dense ${bytes(bar.dense)}`));
    const x = event.clientX - canvas.getBoundingClientRect().left;
    box.style.left = `${Math.max(0, Math.min(x + 14, width - box.offsetWidth - 4))}px`;
    box.style.top = `${(at(event) + 1) * pitch + 2}px`;
  });
  canvas.addEventListener('mouseleave', () => (box.hidden = true));
  canvas.addEventListener('click', (event) => list[at(event)]?.open?.());
  const watch = new ResizeObserver(() => {
    if (element.clientWidth !== drawn) paint();
  });
  watch.observe(element);
  return { element, canvas: () => canvas, redraw: paint, destroy: () => watch.disconnect() };
}
