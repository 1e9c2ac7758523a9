// SPDX-License-Identifier: Apache-2.0
// A picture with everything that belongs to it: what it says, the request behind it, its numbers, and ways to keep them.
import { ask, curl, Refused, type Call } from './api.ts';
import { css, h, save, table, type Child, type Column } from './dom.ts';
import { csv, type Cell } from './format.ts';

export interface Picture {
  element: HTMLElement;
  canvas?: () => HTMLCanvasElement;
  redraw?: () => void;
  destroy?: () => void;
}

export interface FigureOptions<Row> {
  name: string; // of files
  title: Child;
  caption?: Child;
  legend?: Child;
  wide?: boolean;
  call: Call | Call[];
  columns: Column<Row>[];
  rows: () => readonly Row[];
  cells: (row: Row) => Cell[]; // full precision, for files
  head: string[];
}

export interface Figure {
  element: HTMLElement;
  set: (picture: Picture, legend?: Child) => void;
  redraw: () => void;
  destroy: () => void;
}

export function figure<Row>(options: FigureOptions<Row>): Figure {
  let picture: Picture | null = null;
  const place = h('div', { class: 'place' });
  const legend = h('div', { class: 'legend' }, options.legend);
  const below = h('div', { class: 'below' });
  let open = '';
  const calls = Array.isArray(options.call) ? options.call : [options.call];

  const show = () => {
    below.replaceChildren();
    if (open === 'request') {
      const text = calls.map(curl).join('\n');
      below.append(request(text));
    } else if (open === 'table') {
      below.append(table(options.columns, options.rows(), `${options.name}: numbers`));
    }
    for (const [name, button] of Object.entries(toggles)) button.setAttribute('aria-expanded', String(open === name));
  };
  const toggle = (name: string, text: string) =>
    h('button', { type: 'button', class: 'tool', 'aria-expanded': 'false', onclick: () => {
      open = open === name ? '' : name;
      show();
    } }, text);
  const toggles: Record<string, HTMLButtonElement> = { request: toggle('request', 'Request'), table: toggle('table', 'Table') };
  const file = (text: string, title: string, make: () => Blob | Promise<Blob | null> | null) =>
    h('button', { type: 'button', class: 'tool', title, onclick: async () => {
      const blob = await make();
      if (blob) save(blob, `${options.name}.${text.toLowerCase()}`);
    } }, text);
  const objects = () => options.rows().map((row) => Object.fromEntries(options.cells(row).map((cell, index) => [options.head[index], cell ?? null])));
  const element: HTMLElement = h('figure', { class: options.wide ? 'wide' : null },
    h('div', { class: 'top' }, h('h3', null, options.title),
      h('div', { class: 'tools' }, toggles['request'], toggles['table'],
        file('CSV', 'Save the numbers as CSV', () => new Blob([csv(options.head, options.rows().map(options.cells))], { type: 'text/csv' })),
        file('JSON', 'Save the numbers as JSON', () => new Blob([`${JSON.stringify(objects(), null, 1)}\n`], { type: 'application/json' })),
        file('PNG', 'Save the picture', () => (picture?.canvas ? png(picture.canvas(), element.querySelector('h3')!.textContent ?? '') : null)))),
    legend, place, below, options.caption ? h('figcaption', null, options.caption) : null);
  return {
    element,
    set: (next, words) => {
      picture?.destroy?.();
      picture = next;
      if (words !== undefined) legend.replaceChildren(...[words].flat().filter((child): child is Node => child instanceof Node));
      place.replaceChildren(next.element);
      element.querySelectorAll<HTMLButtonElement>('.tool').forEach((button) => {
        if (button.textContent === 'PNG') button.hidden = !next.canvas;
      });
      if (open === 'table') show();
    },
    redraw: () => picture?.redraw?.(),
    destroy: () => picture?.destroy?.(),
  };
}

export function request(text: string): HTMLElement {
  const copy = h('button', { type: 'button', class: 'tool', onclick: async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = 'Copied';
    } catch {
      getSelection()?.selectAllChildren(code);
      copy.textContent = 'Selected';
    }
    setTimeout(() => (copy.textContent = 'Copy'), 1500);
  } }, 'Copy');
  const code = h('code', null, text);
  return h('div', { class: 'request' }, h('pre', { tabindex: 0 }, code), copy);
}

// The picture on its paper, with its title.
function png(canvas: HTMLCanvasElement, title: string): Promise<Blob | null> {
  const ratio = canvas.width / (canvas.clientWidth || canvas.width);
  const pad = 16 * ratio;
  const head = 34 * ratio;
  const sheet = document.createElement('canvas');
  sheet.width = canvas.width + 2 * pad;
  sheet.height = canvas.height + head + 2 * pad;
  const ctx = sheet.getContext('2d')!;
  ctx.fillStyle = css('--card');
  ctx.fillRect(0, 0, sheet.width, sheet.height);
  ctx.fillStyle = css('--ink');
  ctx.font = `600 ${15 * ratio}px system-ui, sans-serif`;
  ctx.textBaseline = 'middle';
  ctx.fillText(title, pad, pad + head / 2 - 4 * ratio);
  ctx.drawImage(canvas, pad, pad + head);
  return new Promise((resolve) => sheet.toBlob(resolve, 'image/png'));
}

// A file the service writes. Fetched, so that the token goes with it.
export function download(call: Call, name: string, text: string): HTMLButtonElement {
  const button = h('button', { type: 'button', class: 'tool', onclick: async () => {
    button.disabled = true;
    try {
      save(await (await ask(call)).blob(), name);
    } catch (error) {
      button.textContent = error instanceof Refused ? `${text}: ${error.message}` : `${text}: no answer`;
    }
    button.disabled = false;
  } }, text);
  return button;
}
