// SPDX-License-Identifier: Apache-2.0
// One cache: what it holds, how dense its heads are, and which elements of one head are kept.
import { json, maybe, Refused } from '../api.ts';
import { bars, partKeys, parts } from '../bars.ts';
import { css, facts, fill, foreign, h, tile } from '../dom.ts';
import { figure } from '../figure.ts';
import { bytes, clock, count, percent, seconds } from '../format.ts';
import { heat, scaleBar } from '../heat.ts';
import type { Scene } from '../scene.ts';
import type { Bitmap, Cache, Density, Stats } from '../types.ts';
import { labels } from './memory.ts';

interface Cell {
  layer: number;
  kv_head: number;
  k: number | null;
  v: number | null;
  rows: number;
}

const sides = { k: 'K', v: 'V' } as const;
type Side = keyof typeof sides;

export async function cache(scene: Scene): Promise<void> {
  const id = scene.place.path[1]!;
  const base = `/v1/caches/${encodeURIComponent(id)}`;
  scene.open(foreign(id), 'One cache: the keys and values of one sequence.', h('a', { href: '#/memory', class: 'tool' }, 'All caches'));
  const [it, stats, density] = await Promise.all([
    json<Cache>(base, scene.signal), json<Stats>(`${base}/stats`, scene.signal), densities(`${base}/density`, scene.signal)]);
  const longest = Math.max(0, ...it.lengths);
  const shape = it.geometry;
  const picture = h('div', { id: 'head' });
  const whole = scene.keep(figure<Stats>({
    name: `${id}-bytes`, title: 'Bytes by part', legend: partKeys('as dense'), call: { path: `${base}/stats` }, rows: () => [stats],
    columns: parts.map((part) => ({ name: part.name, title: part.what, show: (row: Stats) => bytes(row.bytes[part.key]) })),
    head: [...parts.map((part) => `${part.key}_bytes`), 'dense_bytes'], cells: (row) => [...parts.map((part) => row.bytes[part.key]), row.dense_bytes] }));
  whole.set(bars([{ name: `${count(longest)} tokens`, bytes: stats.bytes, total: it.bytes, dense: it.dense_bytes }], 30));
  fill(scene.body,
    h('div', { class: 'tiles' },
      tile('Bytes', bytes(it.bytes), `dense ${bytes(it.dense_bytes)}`), tile('Share of dense', percent(it.dense_bytes ? it.bytes / it.dense_bytes : null)),
      tile('Tokens', count(longest), `of ${count(it.max_tokens)}`), tile('Packed rows', count(stats.body_rows), `of ${count(stats.rows)}`),
      tile('Attend', count(stats.attend_calls), stats.attend_calls ? `${seconds(stats.attend_seconds / stats.attend_calls)} each` : 'not asked yet')),
    whole.element,
    density ? heads(scene, id, density, picture) : h('p', { class: 'note' }, 'This service does not tell the density of heads.'),
    picture,
    h('h2', null, 'What it is'),
    h('div', { class: 'card' }, facts([
      ['recipe', [foreign(it.recipe.name || 'custom'), ' ', h('code', { class: 'soft' }, it.recipe.digest)]],
      ['geometry', `${shape.layers} layers, ${shape.q_heads} query and ${shape.kv_heads} kv heads, head dim ${shape.head_dim_k}${shape.head_dim_v === shape.head_dim_k ? '' : ` and ${shape.head_dim_v}`}, ${shape.dtype}`],
      ['created', clock(it.created)], ['revision', count(it.revision)],
      ...(it.expires ? [['expires', clock(it.expires)] as [string, string]] : []),
      ...(Object.keys(it.labels ?? {}).length ? [['labels', labels(it)] as [string, Node | string]] : []),
      ['kernels', `attend ${stats.attend_kernel}, pack ${stats.pack_kernel}`],
      ['pages', `${count(stats.pages)}, ${count(stats.shared_pages)} of them shared`],
      ['evicted rows', count(stats.evicted_rows)],
      ['time in', `append ${seconds(stats.append_seconds)}, pack ${seconds(stats.pack_seconds)}, attend ${seconds(stats.attend_seconds)}`],
    ])));
  const { layer, side, head } = scene.place.query;
  if (density && layer !== undefined && (side === 'k' || side === 'v')) {
    await openHead(scene, id, picture, Number(layer), side, Number(head ?? 0));
  }
}

// All of them, a page of layers at a time; those of a cache that has changed meanwhile are as it is now.
async function densities(path: string, signal: AbortSignal): Promise<Density | null> {
  const whole = await maybe<Density>(path, signal);
  for (let next = whole?.next ?? null; whole && next !== null;) {
    const page = await json<Density>(`${path}?from=${next}`, signal);
    whole.layers.push(...page.layers);
    next = page.next ?? null;
  }
  return whole;
}

function heads(scene: Scene, id: string, density: Density, picture: HTMLElement): HTMLElement {
  const cells: Cell[] = density.layers.flatMap((layer) => layer.heads.map((head) => ({ layer: layer.layer, ...head })));
  const rows = density.layers.length;
  const columns = Math.max(1, ...density.layers.map((layer) => layer.heads.length));
  const grid = (['k', 'v'] as Side[]).map((side) => {
    const one = scene.keep(figure<Cell>({
      name: `${id}-density-${side}`, title: `${sides[side]}: share of elements kept`, legend: scaleBar(side, '0 %', '100 %'),
      call: { path: `/v1/caches/${encodeURIComponent(id)}/density` }, rows: () => cells,
      columns: [{ name: 'Layer', show: (cell) => count(cell.layer) }, { name: 'KV head', show: (cell) => count(cell.kv_head) },
        { name: 'Rows', show: (cell) => count(cell.rows) }, { name: 'K', show: (cell) => percent(cell.k) }, { name: 'V', show: (cell) => percent(cell.v) }],
      head: ['layer', 'kv_head', 'rows', 'k', 'v'], cells: (cell) => [cell.layer, cell.kv_head, cell.rows, cell.k, cell.v],
      caption: 'A cell is one head of one layer; dense rows of the window count as 1. Choose one to see its elements.' }));
    one.set(heat({
      rows, columns, color: `--${side}`, name: `${sides[side]}, layers by heads`, height: Math.max(60, Math.min(480, rows * 26)), squarish: 90,
      value: (row, column) => density.layers[row]?.heads[column]?.[side] ?? null,
      labelX: 'kv head', labelY: 'layer', tickX: (column) => String(column), tickY: (row) => String(density.layers[row]?.layer ?? row),
      say: (row, column) => {
        const head = density.layers[row]?.heads[column];
        return [`layer ${density.layers[row]?.layer}, head ${column}`, `${sides[side]} keeps ${percent(head?.[side])}`, `${count(head?.rows)} rows`];
      },
      text: (row, column) => percent(density.layers[row]?.heads[column]?.[side]),
      open: (row, column) => void openHead(scene, id, picture, density.layers[row]!.layer, side, column, true),
    }));
    return one.element;
  });
  return h('section', null, h('h2', null, 'Density of heads'), h('div', { class: 'pair' }, grid));
}

async function openHead(scene: Scene, id: string, place: HTMLElement, layer: number, side: Side, head: number, jump = false): Promise<void> {
  const { from, to } = jump ? { from: undefined, to: undefined } : scene.place.query;
  scene.note({ layer, side, head, from: from ?? null, to: to ?? null });
  const query = new URLSearchParams({ side, kv_head: String(head), ...(from ? { from } : {}), ...(to ? { to } : {}) });
  const path = `/v1/caches/${encodeURIComponent(id)}/layers/${layer}/bitmap?${query}`;
  let map: Bitmap;
  try {
    map = await json<Bitmap>(path, scene.signal);
  } catch (error) {
    if (error instanceof Refused) return fill(place, h('p', { class: 'note' }, `Layer ${layer}, head ${head}: ${error.message}`));
    throw error;
  }
  if (map.rows === 0) return fill(place, h('p', { class: 'note' }, `Layer ${layer}, head ${head} holds no rows yet.`));
  const one = scene.keep(figure<number>({
    name: `${id}-layer${layer}-${side}-head${head}`, wide: true, title: `${sides[side]} of layer ${layer}, head ${head}: tokens by channels`,
    legend: [scaleBar(side, 'none kept', 'all kept'), ...edgeKeys()], call: { path }, rows: () => map.positions.map((_, index) => index),
    columns: [{ name: 'Row', show: (row) => count(map.from + row * map.bin_tokens) }, { name: 'Position', show: (row) => count(map.positions[row]) },
      { name: 'Kept', show: (row) => percent(mean(map, row)) }],
    head: ['row', 'position', ...Array.from({ length: map.columns }, (_, column) => `channel_${column * map.bin_channels}`)],
    cells: (row) => [map.from + row * map.bin_tokens, map.positions[row], ...map.density.slice(row * map.columns, (row + 1) * map.columns)],
    caption: `${map.bin_tokens > 1 || map.bin_channels > 1 ? `A cell is ${map.bin_tokens} ${map.bin_tokens === 1 ? 'token' : 'tokens'} by ${map.bin_channels} ${map.bin_channels === 1 ? 'channel' : 'channels'}. ` : ''}`
      + `Pages hold ${map.page_rows} rows. Rows ${count(map.from)} to ${count(map.to)} of the head.` }));
  const input = (name: string, value: number) => h('input', { type: 'text', inputmode: 'numeric', size: 8, name, value, 'aria-label': name });
  const fromInput = input('from', map.from);
  const toInput = input('to', map.to);
  const range = h('form', { class: 'row', onsubmit: (event) => {
    event.preventDefault();
    scene.note({ from: fromInput.value, to: toInput.value });
    void openHead(scene, id, place, layer, side, head);
  } }, h('label', { class: 'inline' }, 'Rows', fromInput), h('label', { class: 'inline' }, 'to', toInput), h('button', { class: 'tool', type: 'submit' }, 'Show'),
    h('button', { class: 'tool', type: 'button', onclick: () => void openHead(scene, id, place, layer, side, head, true) }, 'All rows'));
  one.set(heat({
    rows: map.columns, columns: map.rows, color: `--${side}`, name: `${sides[side]}, channels by tokens`, height: 300,
    value: (row, column) => map.density[column * map.columns + row] ?? null,
    labelX: 'token', labelY: 'channel', tickX: (column) => count(map.positions[column]), tickY: (row) => String(row * map.bin_channels),
    say: (row, column) => {
      const value = map.density[column * map.columns + row] ?? 0;
      return [`token ${count(map.positions[column])}${map.bin_tokens > 1 ? ` and ${map.bin_tokens - 1} more` : ''}, channel ${row * map.bin_channels}`,
        map.bin_tokens * map.bin_channels === 1 ? (value ? 'kept' : 'pruned') : `${percent(value)} kept`];
    },
    mark: (ctx, frame) => edges(ctx, frame, map),
  }));
  fill(place, h('h2', null, 'Elements of one head'), h('div', { class: 'card' }, range), one.element);
  if (jump) place.scrollIntoView({ block: 'nearest' });
}

function mean(map: Bitmap, row: number): number {
  const cells = map.density.slice(row * map.columns, (row + 1) * map.columns);
  return cells.reduce((a, b) => a + b, 0) / Math.max(1, cells.length);
}

function edgeKeys(): HTMLElement[] {
  return [['window edge', '--ink'], ['page edge', '--base']].map(([name, color]) => {
    const key = h('span', { class: 'key line' }, name);
    key.style.setProperty('--key', `var(${color})`);
    return key;
  });
}

// Pages as short ticks above and below, the window and the sink as lines through the picture.
function edges(ctx: CanvasRenderingContext2D, frame: { x: number; y: number; width: number; height: number }, map: Bitmap): void {
  const span = map.to - map.from;
  const at = (row: number) => frame.x + ((row - map.from) / span) * frame.width;
  const inside = (row: number) => row > map.from && row < map.to;
  if ((map.page_rows / span) * frame.width >= 3) {
    ctx.fillStyle = css('--base');
    const first = map.sink;
    for (let row = first; row < Math.min(map.to, map.window_from); row += map.page_rows) {
      if (!inside(row)) continue;
      ctx.fillRect(Math.round(at(row)), frame.y - 6, 1, 6);
      ctx.fillRect(Math.round(at(row)), frame.y + frame.height, 1, 5);
    }
  }
  ctx.fillStyle = css('--ink');
  for (const row of [map.sink, map.window_from]) if (row > 0 && inside(row)) ctx.fillRect(Math.round(at(row)) - 1, frame.y - 6, 2, frame.height + 12);
}
