// SPDX-License-Identifier: Apache-2.0
// Two results side by side: what changed in bytes, error and time, and whether time changed beyond its spread.
import { json, type Call } from '../api.ts';
import { empty, facts, fill, foreign, h, table, type Column } from '../dom.ts';
import { figure } from '../figure.ts';
import { clock, count, nanoseconds, percent, short, tick } from '../format.ts';
import { dots, errors, sizes } from '../rows.ts';
import { scatter } from '../scatter.ts';
import type { Scene } from '../scene.ts';
import type { Result, ResultSummary, Row } from '../types.ts';
import { about } from './result.ts';

interface Pair {
  a: Row;
  b: Row;
}

const ratio = (a: number | null, b: number | null) => (a && b !== null ? b / a : null);
// "x 1.20", signed words are left to the reader: less is better in every column.
const times = (value: number | null) => (value === null ? '' : `\u00d7 ${value.toPrecision(3)}`);

export function verdict(a: Row, b: Row): string {
  if (a.p10 === null || a.p90 === null || b.p10 === null || b.p90 === null) return '';
  if (a.attend_tokens !== b.attend_tokens) return 'other lengths';
  if (b.p10 > a.p90) return 'slower';
  if (b.p90 < a.p10) return 'faster';
  return 'within spread';
}

const columns: Column<Pair>[] = [
  { name: 'Recipe', text: true, show: ({ a }) => foreign(a.recipe) },
  { name: 'Trace', text: true, show: ({ a }) => foreign(a.trace) },
  { name: 'Bytes, A', title: 'per token', show: ({ a }) => count(a.bytes_per_token) },
  { name: 'Bytes, B', title: 'per token', show: ({ b }) => count(b.bytes_per_token) },
  { name: 'Error, A', title: 'of the attention output', show: ({ a }) => short(a.out_error) },
  { name: 'Error, B', title: 'of the attention output', show: ({ b }) => short(b.out_error) },
  { name: 'B / A', show: ({ a, b }) => times(ratio(a.out_error, b.out_error)) },
  { name: 'Attend, A', title: 'median at the longest length', show: ({ a }) => nanoseconds(a.attend_ns_per_token) },
  { name: 'Attend, B', title: 'median at the longest length', show: ({ b }) => nanoseconds(b.attend_ns_per_token) },
  { name: 'B / A', show: ({ a, b }) => times(ratio(a.attend_ns_per_token, b.attend_ns_per_token)) },
  { name: 'Time', text: true, title: 'whether the ranges p10..p90 lie apart', show: ({ a, b }) => {
    const word = verdict(a, b);
    return h('span', { class: word === 'slower' ? 'bad' : word === 'faster' ? 'good' : 'soft' }, word);
  } },
  { name: 'Outputs', text: true, title: 'digests of the attention outputs', show: ({ a, b }) => (a.digest && a.digest === b.digest ? 'the same bits' : 'differ') },
];
const head = ['recipe', 'trace', 'a_bytes_per_token', 'b_bytes_per_token', 'a_out_error', 'b_out_error', 'a_attend_ns', 'b_attend_ns', 'time', 'same_digest'];
const cells = ({ a, b }: Pair) => [a.recipe, a.trace, a.bytes_per_token, b.bytes_per_token, a.out_error, b.out_error, a.attend_ns_per_token, b.attend_ns_per_token, verdict(a, b), a.digest === b.digest];

export async function compare(scene: Scene): Promise<void> {
  scene.open('Compare two results', 'The same recipe on the same trace, before and after.');
  const { results } = await json<{ results: ResultSummary[] }>('/v1/results?limit=200', scene.signal);
  if (results.length < 2) return fill(scene.body, empty('Two results are needed', h('p', null, 'There are ', String(results.length), '. Run an experiment twice, with another kernel, thread count or recipe.'),
    h('a', { class: 'primary', href: '#/experiments' }, 'New experiment')));
  const ids = results.map((one) => one.id);
  const start = (key: 'a' | 'b', otherwise: string) => {
    const wanted = scene.place.query[key];
    return wanted && ids.includes(wanted) ? wanted : otherwise;
  };
  const b = start('b', ids[0]!);
  const chosen = { b, a: start('a', ids.find((id) => id !== b)!) };
  const body = h('div');
  const select = (key: 'a' | 'b') => h('label', { class: 'inline' }, key.toUpperCase(), h('select', { class: 'small', 'aria-label': `Result ${key.toUpperCase()}`, onchange: (event) => {
    chosen[key] = (event.target as HTMLSelectElement).value;
    scene.note({ [key]: chosen[key] });
    void draw();
  } }, results.map((one) => h('option', { value: one.id, selected: one.id === chosen[key] }, `${(one.label || one.id).slice(0, 60)}, ${one.threads} ${one.threads === 1 ? 'thread' : 'threads'}, ${clock(one.created)}`))));
  const draw = async () => {
    try {
      const [first, second] = await Promise.all([json<Result>(`/v1/results/${chosen.a}`, scene.signal), json<Result>(`/v1/results/${chosen.b}`, scene.signal)]);
      scene.drop();
      fill(body, ...show(scene, first, second));
    } catch (error) {
      scene.fault(error);
    }
  };
  fill(scene.body, h('div', { class: 'card row' }, select('a'), select('b')), body);
  await draw();
}

function show(scene: Scene, first: Result, second: Result): HTMLElement[] {
  const key = (row: Row) => `${row.trace}\n${row.recipe}`;
  const there = new Map(second.rows.map((row) => [key(row), row]));
  const pairs = first.rows.filter((row) => there.has(key(row))).map((row) => ({ a: row, b: there.get(key(row))! }));
  const only = (from: Result, other: Result) => {
    const keys = new Set(other.rows.map(key));
    return [...new Set(from.rows.filter((row) => !keys.has(key(row))).map((row) => row.recipe))];
  };
  const left = [...only(first, second).map((name) => `${name} (A)`), ...only(second, first).map((name) => `${name} (B)`)];
  if (pairs.length === 0) return [empty('Nothing in common', h('p', null, 'No recipe was measured on the same trace in both.'))];
  const call: Call[] = [{ path: `/v1/results/${first.id}` }, { path: `/v1/results/${second.id}` }];
  const files = { call, rows: () => pairs, columns, head, cells };
  const moved = scene.keep(figure<Pair>({ ...files, name: `compare-${first.id}-${second.id}`, title: 'Error against bytes: from A (open) to B (filled)',
    caption: 'A line joins the two; a recipe that did not move is one dot.' }));
  const to = dots(pairs.map((pair) => pair.b), 'bytes_per_token', 'out_error').map((dot, index) => ({ ...dot, top: null, color: '--e',
    from: { x: pairs[index]!.a.bytes_per_token ?? NaN, y: pairs[index]!.a.out_error ?? NaN } }));
  moved.set(scatter(to, { x: sizes.bytes_per_token.name, y: errors.out_error, showX: count, showY: tick }));
  const differs = about(first).map(([name, value], index) => [name, value, about(second)[index]![1]] as const).filter(([, x, y]) => x !== y);
  return [
    h('div', { class: 'pair' }, moved.element, h('div', { class: 'card' }, h('h3', null, 'What differs'),
      facts([...differs.filter(([name]) => name !== 'work').map(([name, x, y]): [string, HTMLElement] => [name, h('div', null, h('div', null, 'A: ', x), h('div', null, 'B: ', y))]),
        ['time', summary(pairs)], ['outputs', `${percent(pairs.filter(({ a, b }) => a.digest && a.digest === b.digest).length / pairs.length)} of ${pairs.length} rows the same bits`],
        ...(first.contended || second.contended ? [['note', 'other requests ran at the same time: times are not comparable'] as [string, string]] : []),
        ...(left.length ? [['not in both', left.join(', ')] as [string, string]] : [])]))),
    h('div', { class: 'card' }, h('div', { class: 'top' }, h('h3', null, 'Row by row')), table(columns, pairs, 'Row by row')),
  ];
}

function summary(pairs: Pair[]): string {
  const words = pairs.map(({ a, b }) => verdict(a, b)).filter(Boolean);
  if (words.length === 0) return 'not taken in both';
  return ['faster', 'slower', 'within spread', 'other lengths'].map((word) => [word, words.filter((one) => one === word).length] as const)
    .filter(([, number]) => number > 0).map(([word, number]) => `${number} ${word}`).join(', ');
}
