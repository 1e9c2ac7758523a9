// SPDX-License-Identifier: Apache-2.0
// One result: the pictures of mustafar-experiment's report, and every number.
import { json } from '../api.ts';
import { facts, fill, foreign, h, table, type Child } from '../dom.ts';
import { download, figure } from '../figure.ts';
import { clock, count, percent, seconds, short } from '../format.ts';
import { heat, scaleBar } from '../heat.ts';
import { writePlace } from '../place.ts';
import { columns, pareto, times } from '../rows.ts';
import { floorOf } from '../scatter.ts';
import type { Scene } from '../scene.ts';
import type { Result, Row } from '../types.ts';

export async function result(scene: Scene): Promise<void> {
  const id = scene.place.path[1]!;
  const path = `/v1/results/${encodeURIComponent(id)}`;
  const it = await json<Result>(path, scene.signal);
  scene.open(foreign(it.label || it.id), [clock(it.created), ', ', h('code', null, it.id)], [
    download({ path, accept: 'text/csv' }, `${id}.csv`, 'CSV'), download({ path }, `${id}.json`, 'JSON'),
    h('a', { class: 'tool', href: writePlace(['jobs', it.job]) }, 'Its job'),
    h('a', { class: 'tool', href: writePlace(['compare'], { b: id }) }, 'Compare')]);
  const body = h('div');
  const names = [...new Set(it.rows.map((row) => row.trace))];
  const select = h('select', { class: 'small', 'aria-label': 'Trace', onchange: () => {
    scene.note({ trace: select.value });
    draw();
  } }, names.map((name) => h('option', { value: name, selected: name === scene.place.query['trace'] }, name)));
  const draw = () => {
    scene.drop();
    const rows = it.rows.filter((row) => row.trace === (select.value || names[0]));
    const errors = pareto(scene, { path }, `${id}-error-bytes`, () => rows);
    errors.draw(rows);
    const timed = times(scene, { path }, `${id}-time`, rows);
    fill(body, h('div', { class: 'pair' }, errors.element, layers(scene, path, id, rows)), h('div', { class: 'gap' }),
      timed ? timed.element : h('p', { class: 'note' }, 'Taken without times.'),
      h('div', { class: 'card' }, h('div', { class: 'top' }, h('h3', null, 'Numbers')),
        table(rows.some((row) => row.threads !== undefined && row.threads !== rows[0]?.threads) ? columns : columns.filter((column) => column.name !== 'Threads'), rows, 'Rows')));
  };
  fill(scene.body,
    it.contended ? h('p', { class: 'note' }, 'Other requests were computed at the same time: times are too long by an unknown share. Bytes and errors are not touched.') : null,
    names.length > 1 ? h('p', { class: 'row' }, h('label', { class: 'inline' }, 'Trace', select)) : null,
    body, h('h2', null, 'Where it was taken'), h('div', { class: 'card' }, facts(about(it))));
  draw();
}

export function about(it: Result): [string, Child][] {
  const settings = Object.entries(it.settings ?? {}).filter(([, value]) => value !== null)
    .map(([name, value]) => `${name} ${Array.isArray(value) ? value.join(', ') : String(value)}`).join('; ');
  return [
    ['machine', `${it.machine.cpu}, ${it.machine.threads} of ${it.machine.cores} threads, ${it.machine.os}`],
    ['library', `libmustafar ${it.library.version}, ABI ${it.library.abi}, commit ${it.commit}; ${it.library.build}`],
    ['kernels', Object.entries(it.kernels ?? {}).map(([op, name]) => `${op}: ${name}`).join(', ')],
    ['settings', settings],
    ['traces', it.traces.map((trace) => `${trace.name}: ${count(trace.tokens)} tokens, ${count(trace.queries)} queries, ${trace.layers} layers, ${trace.q_heads} query and ${trace.kv_heads} kv heads, head dim ${trace.head_dim}, ${trace.dtype}`).join('; ')],
    ['work', seconds(it.seconds)],
  ];
}

interface Cell {
  row: Row;
  layer: number;
  error: number | null;
}

// Recipes by layers, on a logarithmic scale: which layers a recipe hurts.
function layers(scene: Scene, path: string, id: string, rows: Row[]): HTMLElement {
  const shown = rows.filter((row) => row.layers?.length);
  const flat: Cell[] = shown.flatMap((row) => row.layers!.map((layer) => ({ row, layer: layer.layer, error: layer.out_error })));
  const values = flat.map((cell) => cell.error ?? NaN).filter((value) => value > 0);
  const low = floorOf(values.map((y) => ({ y })));
  const high = Math.max(low * 10, ...values);
  const one = scene.keep(figure<Cell>({
    name: `${id}-layers`, title: 'Error of the attention output, by layer', call: { path }, rows: () => flat, legend: scaleBar('e', short(low), short(high)),
    columns: [{ name: 'Recipe', text: true, show: (cell) => foreign(cell.row.recipe) }, { name: 'Layer', show: (cell) => count(cell.layer) }, { name: 'Out error', show: (cell) => short(cell.error) }],
    head: ['recipe', 'layer', 'out_error'], cells: (cell) => [cell.row.recipe, cell.layer, cell.error],
    caption: 'Logarithmic. Layers that look far back suffer most.' }));
  const first = shown[0]?.layers ?? [];
  const longest = Math.max(4, ...shown.map((row) => row.recipe.length));
  one.set(heat({
    rows: Math.max(1, shown.length), columns: Math.max(1, first.length), color: '--e', name: 'Recipes by layers', left: Math.min(150, 14 + longest * 7),
    height: Math.max(120, Math.min(420, shown.length * 26)), squarish: 130,
    value: (row, column) => {
      const error = shown[row]?.layers?.[column]?.out_error;
      return error === null || error === undefined ? null : Math.max(0, Math.log(Math.max(error, low) / low) / Math.log(high / low));
    },
    text: (row, column) => short(shown[row]?.layers?.[column]?.out_error),
    labelX: 'layer', labelY: '', tickX: (column) => String(first[column]?.layer ?? ''), tickY: (row) => (shown[row]?.recipe ?? '').slice(0, 20),
    say: (row, column) => [shown[row]?.recipe ?? '', `layer ${first[column]?.layer}: ${short(shown[row]?.layers?.[column]?.out_error)}`,
      `${percent(shown[row]?.body_ratio_to_dense_f16)} of f16`],
  }));
  return one.element;
}
