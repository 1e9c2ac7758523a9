// SPDX-License-Identifier: Apache-2.0
// Rows of an experiment as tables and pictures; the live view, a result and a comparison share them.
import { looks } from './chart.ts';
import type { Call } from './api.ts';
import { fill, foreign, h, type Column } from './dom.ts';
import { figure, type Figure } from './figure.ts';
import { count, nanoseconds, percent, short, tick } from './format.ts';
import { lines, type Line } from './lines.ts';
import { scatter, type Dot } from './scatter.ts';
import type { Scene } from './scene.ts';
import type { Row } from './types.ts';

export const errors = {
  out_error: 'output error',
  out_error_max: 'largest output error',
  k_error: 'K error',
  v_error: 'V error',
  kl: 'KL divergence, nats',
} as const;
export type ErrorName = keyof typeof errors;

export const sizes = {
  bytes_per_token: { name: 'bytes per token', show: (value: number | null) => `${count(value)} B`, tick: count },
  body_ratio_to_dense_f16: { name: 'rows, share of f16', show: percent, tick: (value: number) => `${tick(value * 100)} %` },
  ratio_to_dense_f16: { name: 'whole cache, share of f16', show: percent, tick: (value: number) => `${tick(value * 100)} %` },
} as const;
export type SizeName = keyof typeof sizes;

// Beyond the packed rows: the window is exact, so errors of the attention output are those of decode.
export const columns: Column<Row>[] = [
  { name: 'Recipe', text: true, show: (row) => foreign(row.recipe) },
  { name: 'Threads', show: (row) => count(row.threads ?? null) },
  { name: 'B / token', title: 'packed rows of one token, all layers and heads', show: (row) => count(row.bytes_per_token) },
  { name: 'Row K', unit: 'B', show: (row) => short(row.row_bytes_k) },
  { name: 'Row V', unit: 'B', show: (row) => short(row.row_bytes_v) },
  { name: 'Of f16', title: 'packed rows', show: (row) => percent(row.body_ratio_to_dense_f16) },
  { name: 'Cache of f16', title: 'window and tables included', show: (row) => percent(row.ratio_to_dense_f16) },
  { name: 'K error', show: (row) => short(row.k_error) },
  { name: 'V error', show: (row) => short(row.v_error) },
  { name: 'Out error', show: (row) => short(row.out_error) },
  { name: 'Worst layer', show: (row) => `${short(row.out_error_worst_layer)} (${row.worst_layer})` },
  { name: 'KL', unit: 'nats', show: (row) => short(row.kl) },
  { name: 'Pack / token', show: (row) => nanoseconds(row.pack_ns_per_token) },
  { name: 'Attend', title: 'median at the longest length', show: (row) => nanoseconds(row.attend_ns_per_token) },
  { name: 'p10..p90', show: (row) => (row.p10 === null ? '' : `${nanoseconds(row.p10)} .. ${nanoseconds(row.p90)}`) },
  { name: 'GB/s', show: (row) => short(row.gigabytes_per_second) },
  { name: 'Beats f16 from', unit: 'tokens', show: (row) => count(row.break_even_f16) },
  { name: 'int8', unit: 'tokens', show: (row) => count(row.break_even_int8) },
  { name: 'int4', unit: 'tokens', show: (row) => count(row.break_even_int4) },
];

export const head = ['recipe', 'trace', 'threads', 'tokens', 'bytes_per_token', 'row_bytes_k', 'row_bytes_v', 'body_ratio_to_dense_f16',
  'ratio_to_dense_f16', 'k_error', 'v_error', 'out_error', 'out_error_max', 'out_error_worst_layer', 'worst_layer', 'kl', 'pack_ns_per_token',
  'attend_ns_per_token', 'p10', 'p90', 'attend_tokens'] as const;
export const cells = (row: Row) => head.map((name) => row[name] ?? null);

const number = (value: number | null | undefined) => (value === null || value === undefined ? NaN : value);

export function dots(rows: readonly Row[], size: SizeName, error: ErrorName): Dot[] {
  return rows.map((row) => ({
    name: row.recipe,
    x: number(row[size]),
    y: number(row[error]),
    top: error === 'out_error' ? row.out_error_worst_layer : null,
    lines: [row.recipe, `${sizes[size].show(row[size])} ${size === 'bytes_per_token' ? 'a token' : 'of f16'}`, `${errors[error]} ${short(row[error])}`,
      ...(error === 'out_error' ? [`worst layer ${row.worst_layer}: ${short(row.out_error_worst_layer)}`] : [])],
  }));
}

export interface ParetoFigure extends Figure {
  draw: (rows: readonly Row[]) => void;
}

// Error against bytes with a choice of both axes, kept in the address.
export function pareto(scene: Scene, call: Call, name: string, rows: () => readonly Row[]): ParetoFigure {
  const pick = <T extends string>(key: string, all: readonly T[], text: (one: T) => string): [() => T, HTMLElement] => {
    const now = scene.place.query[key] as T;
    const select = h('select', { class: 'small', 'aria-label': key === 'x' ? 'Size' : 'Error' }, all.map((one) =>
      h('option', { value: one, selected: one === now }, text(one))));
    select.addEventListener('change', () => {
      scene.note({ [key]: select.value === all[0] ? null : select.value });
      draw(rows());
    });
    return [() => select.value as T, select];
  };
  const [error, errorSelect] = pick('y', Object.keys(errors) as ErrorName[], (one) => errors[one]);
  const [size, sizeSelect] = pick('x', Object.keys(sizes) as SizeName[], (one) => sizes[one].name);
  const one = scene.keep(figure<Row>({
    name, title: 'Error against bytes', call, rows, columns: columns.slice(0, 12), head: [...head], cells,
    legend: [h('label', { class: 'inline' }, errorSelect), 'against', h('label', { class: 'inline' }, sizeSelect)],
    caption: 'Down and left is better. Filled: no other recipe has less error in as few bytes; grey: another one beats it in both. '
      + 'A line reaches up to the worst layer; errors below the axis stand on it. Errors do not rank recipes end to end (docs/experiments.md, section 5).' }));
  const draw = (list: readonly Row[]) => one.set(scatter(dots(list, size(), error()), {
    x: sizes[size()].name, y: errors[error()], showX: (value) => sizes[size()].tick(value), showY: tick }));
  return { ...one, draw };
}

export function linesOf(rows: readonly Row[]): Line[] {
  const timed = rows.filter((row) => row.samples?.length);
  const look = looks(timed.map((row) => row.recipe));
  return timed.map((row) => ({
    name: row.recipe,
    look: look.get(row.recipe)!,
    points: row.samples!.filter((sample) => sample.p50 !== null).map((sample) => ({ x: sample.tokens, low: sample.p10, y: sample.p50!, high: sample.p90 })),
  }));
}

interface Timed {
  row: Row;
  tokens: number;
  p10: number | null;
  p50: number | null;
  p90: number | null;
}

// Time of a decode step against length; a name in the legend brings its line forward.
export function times(scene: Scene, call: Call, name: string, rows: readonly Row[]): Figure | null {
  const all = linesOf(rows);
  if (all.length === 0) return null;
  const flat: Timed[] = rows.flatMap((row) => (row.samples ?? []).map((sample) => ({ row, ...sample })));
  const legend = h('div', { class: 'legend' });
  const one = scene.keep(figure<Timed>({
    name, title: 'Time of a decode step against length', call, legend, rows: () => flat, wide: true,
    columns: [{ name: 'Recipe', text: true, show: (at) => foreign(at.row.recipe) }, { name: 'Tokens', show: (at) => count(at.tokens) },
      { name: 'p10', show: (at) => nanoseconds(at.p10) }, { name: 'Median', show: (at) => nanoseconds(at.p50) }, { name: 'p90', show: (at) => nanoseconds(at.p90) }],
    head: ['recipe', 'trace', 'threads', 'tokens', 'p10_ns', 'p50_ns', 'p90_ns'],
    cells: (at) => [at.row.recipe, at.row.trace, at.row.threads ?? null, at.tokens, at.p10, at.p50, at.p90],
    caption: 'One query through all layers. Lines are medians, bands p10 to p90; grey: the dense caches that others are compared with.' }));
  const draw = () => {
    const focus = all.some((line) => line.name === scene.place.query['focus']) ? scene.place.query['focus']! : null;
    fill(legend, all.map((line) => {
      const key = h('button', { type: 'button', class: `key line${line.look.dash.length ? ' dash' : ''}`, 'aria-pressed': String(line.name === focus), onclick: () => {
        scene.note({ focus: line.name === focus ? null : line.name });
        draw();
      } }, foreign(line.name));
      key.style.setProperty('--key', `var(${line.look.color})`);
      return key;
    }));
    one.set(lines(all, { x: 'tokens in the cache', y: 'time of a step', showX: count, showY: nanoseconds, focus }));
  };
  draw();
  return one;
}
