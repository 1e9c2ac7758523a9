// SPDX-License-Identifier: Apache-2.0
// The form of an experiment, and the jobs that ran or wait.
import { ask, curl, json, maybe, poll } from '../api.ts';
import { empty, fill, foreign, h, table, type Child, type Column } from '../dom.ts';
import { request } from '../figure.ts';
import { bytes, clock, count, integers } from '../format.ts';
import { writePlace } from '../place.ts';
import { complaint, type Scene } from '../scene.ts';
import type { Job, Trace } from '../types.ts';

interface Recipe {
  name: string;
  builtin: boolean;
  sentence?: string;
}

const usual = ['dense', 'int8', 'int4', 'mustafar-50', 'mustafar-70', 'lean', 'leaner'];
const split = (text: string | undefined) => (text ?? '').split(/[\s,]+/).filter((word) => word !== '');

export function badge(state: string): HTMLElement {
  return h('span', { class: `badge ${/^[a-z]+$/.test(state) ? state : ''}` }, state);
}

export function meter(ratio: number, style = 'tiny'): HTMLElement {
  const bar = h('i');
  const percent = Math.max(0, Math.min(100, ratio * 100));
  bar.style.width = `${percent}%`;
  return h('div', { class: `meter ${style}`, role: 'progressbar', 'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-valuenow': Math.round(percent), 'aria-label': 'progress' }, bar);
}

const columns: Column<Job>[] = [
  { name: 'Job', text: true, show: (job) => h('a', { href: writePlace(['jobs', job.id]) }, foreign(job.label || job.id)) },
  { name: 'State', text: true, show: (job) => badge(job.state) },
  { name: 'Progress', text: true, show: (job) => [meter(job.progress), `${count(job.items_done)} of ${count(job.items)}`] },
  { name: 'Rows', show: (job) => count(job.rows) },
  { name: 'Results', text: true, show: (job) => job.results.map((id, index) => [index ? ' ' : '', h('a', { href: writePlace(['results', id]) }, job.results.length > 1 ? String(index + 1) : 'open')]) },
  { name: 'Made', text: true, show: (job) => clock(job.created) },
  { name: 'Ended', text: true, show: (job) => clock(job.finished) },
];

export async function experiments(scene: Scene): Promise<void> {
  scene.open('Experiments', 'What recipes save and cost: bytes, error and time, on recorded or made keys and values.',
    h('a', { class: 'tool', href: '#/results' }, 'Results'));
  const [traces, recipes] = await Promise.all([
    maybe<{ traces: Trace[] }>('/v1/traces', scene.signal), json<{ recipes: Recipe[] }>('/v1/recipes', scene.signal)]);
  if (!traces) {
    fill(scene.body, empty('No experiments here', h('p', null, 'This mustafard has no jobs: it is older than this page. ',
      h('code', null, './dev run'), ' does the same from a command line.')));
    return;
  }
  const jobs = h('div');
  fill(scene.body, form(scene, traces.traces, recipes.recipes), h('h2', null, 'Jobs'), jobs);
  let was = '';
  await poll(2000, scene.signal, async () => {
    const page = await json<{ jobs: Job[]; next: string | null }>('/v1/jobs?limit=50', scene.signal);
    scene.fault(null);
    const now = JSON.stringify(page.jobs);
    if (now === was) return;
    was = now;
    fill(jobs, page.jobs.length === 0 ? empty('No jobs yet', h('p', null, 'Choose recipes above and press Run. Results stay in Results.')) :
      h('div', { class: 'card' }, table(columns, page.jobs, 'Jobs'), page.next ? h('p', { class: 'soft' }, 'The newest 50.') : null));
  }, (error) => scene.fault(error));
}

// Fields have the names of the request; what is chosen stands in the address, so that a form can be sent to someone.
function form(scene: Scene, traces: Trace[], recipes: Recipe[]): HTMLElement {
  const query = scene.place.query;
  const good = traces.filter((trace) => trace.state === 'good');
  const synthetic = query['source'] === 'synthetic' || good.length === 0;
  const chosenTraces = split(query['traces']);
  const chosen = query['recipes'] === undefined ? usual : split(query['recipes']);
  const known = new Set(recipes.map((recipe) => recipe.name));
  const chip = (type: string, name: string, value: string, on: boolean, title: string, ...text: Child[]) =>
    h('label', { title }, h('input', { type, name, value, checked: on }), ...text);
  const field = (name: string, label: string, otherwise: string | number, hint?: string, two?: boolean) =>
    h('label', { class: two ? 'two' : null }, label, h('input', { type: 'text', name, value: query[name] ?? otherwise, placeholder: hint ?? '', autocomplete: 'off', spellcheck: 'false' }));
  const choice = (name: string, label: string, all: string[]) => h('label', null, label, h('select', { name }, all.map((one) =>
    h('option', { value: one, selected: query[name] === one }, one))));

  const traceFields = h('div', { class: 'chips' }, good.map((trace, index) => chip('checkbox', 'trace', trace.name,
    chosenTraces.length ? chosenTraces.includes(trace.name) : index === 0,
    `${count(trace.tokens)} tokens, ${trace.layers} layers, ${trace.q_heads} query and ${trace.kv_heads} kv heads, head dim ${trace.head_dim}, ${bytes(trace.bytes)}`,
    foreign(trace.name), h('span', { class: 'soft' }, ` d${trace.head_dim}, ${count(trace.tokens)} tokens`))));
  const syntheticFields = h('div', { class: 'fields' }, field('tokens', 'Tokens', 2048), field('s_layers', 'Layers', 4), field('q_heads', 'Query heads', 8),
    field('kv_heads', 'KV heads', 2), field('head_dim', 'Head dim', 128), choice('dtype', 'Stored as', ['f16', 'bf16']), field('s_seed', 'Seed of the data', 1));
  const source = h('div', { class: 'chips' }, chip('radio', 'source', 'traces', !synthetic, 'Recorded from a real model', 'Recorded trace'),
    chip('radio', 'source', 'synthetic', synthetic, 'Made from a shape and a seed', 'Synthetic shape'));
  const complaints = h('div', { class: 'complaint', role: 'alert' });
  const shown = h('div');
  const run = h('button', { class: 'primary', type: 'submit' }, 'Run');
  const element = h('form', { class: 'card', autocomplete: 'off', novalidate: true },
    h('fieldset', null, h('legend', null, 'Data'), source, traceFields,
      good.length === 0 ? h('p', { class: 'soft' }, 'This service has no traces; --trace-dir offers some, PUT /v1/traces/{name} takes one.') : null, syntheticFields),
    h('fieldset', null, h('legend', null, 'Recipes'),
      h('div', { class: 'chips' }, recipes.map((recipe) => chip('checkbox', 'recipe', recipe.name, chosen.includes(recipe.name), recipe.sentence ?? '', foreign(recipe.name)))),
      h('label', null, 'Also, by shorthand', h('input', { type: 'text', name: 'more', value: chosen.filter((name) => !known.has(name)).join(', '), placeholder: 'k64i4/v128i2, k40/v40i8', spellcheck: 'false' }))),
    h('div', { class: 'fields' }, field('lengths', 'Lengths to time, tokens', '256, 1024, 2048', '', true), field('threads', 'Threads', 1, '1, 2'), field('label', 'Label', '', 'for the list of results', true)),
    h('details', { open: ['repeats', 'measure', 'sides', 'layers', 'drop_mass', 'seed', 'budget_seconds', 'timing'].some((name) => query[name] !== undefined) },
      h('summary', null, 'More options'), h('div', { class: 'fields' },
        field('repeats', 'Rounds', '', '15'), field('budget_seconds', 'Seconds at most', '', '60'), choice('measure', 'A query sees', ['decode', 'window', 'none']),
        choice('sides', 'Compress', ['both', 'k', 'v']), field('layers', 'Only these layers', '', 'all'), field('drop_mass', 'Drop mass', '', '0'),
        field('seed', 'Seed', '', '0'), choice('timing', 'Take times', ['yes', 'no']))),
    h('div', { class: 'submit' }, run, h('button', { type: 'button', class: 'tool', onclick: () => {
      if (shown.childElementCount) return fill(shown);
      const body = read(element);
      fill(shown, typeof body === 'string' ? h('p', { class: 'complaint' }, body) : request(curl({ method: 'POST', path: '/v1/jobs', body })));
    } }, 'Show request')), complaints, shown);

  const changed = () => {
    const data = new FormData(element);
    const made = data.get('source') === 'synthetic';
    traceFields.hidden = made;
    syntheticFields.hidden = !made;
    const list = recipesOf(element);
    run.textContent = list.length === 1 ? 'Run 1 recipe' : `Run ${list.length} recipes`;
    if (shown.childElementCount) fill(shown);
  };
  element.addEventListener('input', () => {
    changed();
    const data = new FormData(element);
    const now: Record<string, string | null> = { recipes: recipesOf(element).join(','), traces: data.getAll('trace').join(',') };
    for (const input of element.querySelectorAll<HTMLInputElement | HTMLSelectElement>('.fields [name]')) {
      const first = input instanceof HTMLSelectElement ? input.options[0]!.value : '';
      now[input.name] = input.value === first ? null : input.value;
    }
    now['source'] = data.get('source') === 'synthetic' ? 'synthetic' : null;
    scene.note(now);
  });
  element.addEventListener('submit', async (event) => {
    event.preventDefault();
    const body = read(element);
    if (typeof body === 'string') return fill(complaints, body);
    run.disabled = true;
    fill(complaints);
    try {
      // A repeated press, or a reply that was lost, makes no second job.
      const key = crypto.randomUUID();
      const job = (await (await ask({ method: 'POST', path: '/v1/jobs', body }, scene.signal, { 'Idempotency-Key': key })).json()) as Job;
      location.hash = writePlace(['jobs', job.id]);
    } catch (error) {
      if (!scene.signal.aborted) fill(complaints, complaint(error));
    }
    run.disabled = false;
  });
  changed();
  return element;
}

function recipesOf(element: HTMLFormElement): string[] {
  const data = new FormData(element);
  return [...new Set([...data.getAll('recipe').map(String), ...split(String(data.get('more') ?? ''))])];
}

// The request, or what is wrong in the form.
function read(element: HTMLFormElement): Record<string, unknown> | string {
  const data = new FormData(element);
  const text = (name: string) => String(data.get(name) ?? '').trim();
  const body: Record<string, unknown> = {};
  const wrong: string[] = [];
  const number = (name: string, label: string, whole = true): number | undefined => {
    const value = text(name);
    if (value === '') return undefined;
    const parsed = Number(value);
    if (!Number.isFinite(parsed) || parsed < 0 || (whole && !Number.isInteger(parsed))) wrong.push(`${label}: ${value} is no ${whole ? 'whole ' : ''}number`);
    return parsed;
  };
  const list = (name: string, label: string): number[] | undefined => {
    const found = integers(text(name));
    if (!found) wrong.push(`${label}: whole numbers are expected, with commas between`);
    return found?.length ? found : undefined;
  };
  if (data.get('source') === 'synthetic') {
    body['synthetic'] = {
      geometry: { layers: number('s_layers', 'Layers'), q_heads: number('q_heads', 'Query heads'), kv_heads: number('kv_heads', 'KV heads'), head_dim: number('head_dim', 'Head dim'), dtype: text('dtype') },
      tokens: number('tokens', 'Tokens'), seed: number('s_seed', 'Seed of the data') };
  } else {
    body['traces'] = data.getAll('trace').map(String);
    if (data.getAll('trace').length === 0) wrong.push('Data: choose a trace, or a synthetic shape');
  }
  body['recipes'] = recipesOf(element);
  if ((body['recipes'] as string[]).length === 0) wrong.push('Recipes: choose at least one');
  if ((body['recipes'] as string[]).length > 32) wrong.push('Recipes: at most 32');
  if (text('label')) body['label'] = text('label');
  if (text('label').length > 200) wrong.push('Label: at most 200 characters');
  const optional: Record<string, unknown> = { lengths: list('lengths', 'Lengths'), threads: list('threads', 'Threads'), layers: list('layers', 'Layers'),
    repeats: number('repeats', 'Rounds'), budget_seconds: number('budget_seconds', 'Seconds at most', false), drop_mass: number('drop_mass', 'Drop mass', false), seed: number('seed', 'Seed') };
  for (const [name, value] of Object.entries(optional)) if (value !== undefined) body[name] = value;
  if (text('measure') !== 'decode') body['measure'] = text('measure');
  if (text('sides') !== 'both') body['sides'] = text('sides');
  if (text('timing') === 'no') body['timing'] = false;
  return wrong.length ? wrong.join('. ') : body;
}
