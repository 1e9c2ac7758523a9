// SPDX-License-Identifier: Apache-2.0
// Elements without markup: text is always text, so that no label, id or message can become anything else.

export type Child = Node | string | number | null | undefined | false | Child[];
type Handler = (event: Event) => void;
type Props = Record<string, string | number | boolean | null | undefined | Handler>;

function add(parent: Element | DocumentFragment, children: Child[]): void {
  for (const child of children) {
    if (Array.isArray(child)) add(parent, child);
    else if (child instanceof Node) parent.append(child);
    else if (child !== null && child !== undefined && child !== false) parent.append(String(child));
  }
}

// h('a', {class: 'x', href: '#/', onclick: f}, 'text', other)
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props?: Props | null, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') element.addEventListener(name.slice(2), value);
    else if (name === 'value') (element as HTMLInputElement).value = String(value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  add(element, children);
  return element;
}

export function fill(parent: Element, ...children: Child[]): void {
  parent.replaceChildren();
  add(parent, children);
}

// A word that came from outside: kept apart, so that its writing direction is its own.
export function foreign(text: string): HTMLElement {
  return h('bdi', null, text);
}

export function css(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// What a colour looks like is known at drawing time only: light or dark.
export interface Column<Row> {
  name: string;
  unit?: string;
  title?: string;
  text?: boolean; // left aligned
  show: (row: Row) => Child;
}

export function table<Row>(columns: Column<Row>[], rows: readonly Row[], caption?: string): HTMLElement {
  const head = columns.map((column) =>
    h('th', { scope: 'col', class: column.text ? 'text' : null, title: column.title },
      column.name, column.unit ? h('span', { class: 'unit' }, ` ${column.unit}`) : null));
  const body = rows.map((row) => h('tr', null, columns.map((column, index) =>
    h(index === 0 ? 'th' : 'td', { class: column.text ? 'text' : null, scope: index === 0 ? 'row' : null }, column.show(row)))));
  return h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption ?? 'Table' },
    h('table', null, caption ? h('caption', { class: 'hidden' }, caption) : null,
      h('thead', null, h('tr', null, head)), h('tbody', null, body)));
}

export function facts(pairs: [string, Child][]): HTMLElement {
  return h('dl', null, pairs.map(([name, value]) => [h('dt', null, name), h('dd', null, value)]));
}

export function tile(name: string, value: Child, note?: Child): HTMLElement {
  return h('div', { class: 'tile' }, h('span', { class: 'name' }, name), h('strong', null, value),
    note ? h('span', { class: 'soft' }, note) : null);
}

export function empty(title: string, ...what: Child[]): HTMLElement {
  return h('div', { class: 'empty' }, h('h3', null, title), what);
}

export function save(blob: Blob, name: string): void {
  const link = h('a', { href: URL.createObjectURL(blob), download: name.replace(/[^A-Za-z0-9._-]+/g, '-') });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
