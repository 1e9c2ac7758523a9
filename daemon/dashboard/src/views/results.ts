// SPDX-License-Identifier: Apache-2.0
// The history: every result, two of which can be compared.
import { json, maybe, poll } from '../api.ts';
import { empty, fill, foreign, h, table, type Column } from '../dom.ts';
import { clock, count } from '../format.ts';
import { writePlace } from '../place.ts';
import type { Scene } from '../scene.ts';
import type { ResultSummary, Version } from '../types.ts';

export async function results(scene: Scene): Promise<void> {
  const pair = h('a', { class: 'tool', 'aria-disabled': 'true' }, 'Compare two');
  scene.open('Results', 'Finished experiments, newest first. Choose two to compare them.', pair);
  const first = await maybe<{ results: ResultSummary[] }>('/v1/results?limit=1', scene.signal);
  if (!first) return fill(scene.body, empty('No results here', h('p', null, 'This mustafard has no jobs: it is older than this page.')));
  const version = await json<Version>('/version', scene.signal);
  const chosen: string[] = (scene.place.query['choose'] ?? '').split(',').filter(Boolean);
  const list = h('div');
  const choose = (id: string, on: boolean) => {
    const at = chosen.indexOf(id);
    if (at >= 0) chosen.splice(at, 1);
    if (on) chosen.push(id);
    if (chosen.length > 2) chosen.shift();
    scene.note({ choose: chosen.join(',') || null });
    list.querySelectorAll<HTMLInputElement>('input').forEach((input) => (input.checked = chosen.includes(input.value)));
    told();
  };
  const told = () => {
    const ready = chosen.length === 2;
    pair.textContent = ready ? 'Compare the two' : `Compare two (${chosen.length} chosen)`;
    pair.setAttribute('aria-disabled', String(!ready));
    // The older one first: what changed since.
    if (ready) pair.setAttribute('href', writePlace(['compare'], { a: chosen[1]!, b: chosen[0]! }));
    else pair.removeAttribute('href');
    pair.className = ready ? 'primary' : 'tool';
  };
  const columns: Column<ResultSummary>[] = [
    { name: 'Result', text: true, show: (one) => h('a', { href: writePlace(['results', one.id]) }, foreign(one.label || one.id)) },
    { name: 'Compare', text: true, show: (one) => h('input', { type: 'checkbox', value: one.id, checked: chosen.includes(one.id), 'aria-label': `choose ${one.id}`,
      onchange: (event) => choose(one.id, (event.target as HTMLInputElement).checked) }) },
    { name: 'Made', text: true, show: (one) => clock(one.created) },
    { name: 'Traces', text: true, show: (one) => foreign(one.traces.join(', ')) },
    { name: 'Recipes', text: true, show: (one) => foreign(one.recipes.join(', ')) },
    { name: 'Rows', show: (one) => count(one.rows) },
    { name: 'Threads', show: (one) => count(one.threads) },
    { name: 'Job', text: true, show: (one) => h('a', { href: writePlace(['jobs', one.job]) }, foreign(one.job)) },
    { name: 'State', text: true, show: (one) => [one.complete ? 'complete' : 'partial', one.contended ? ', contended' : ''] },
  ];
  fill(scene.body, version.history === false ? h('p', { class: 'note' }, 'Started without --data-dir: results end with the process.') : null, list);
  told();
  let was = '';
  await poll(4000, scene.signal, async () => {
    const page = await json<{ results: ResultSummary[]; next: string | null }>('/v1/results?limit=200', scene.signal);
    scene.fault(null);
    const now = JSON.stringify(page);
    if (now === was) return;
    was = now;
    fill(list, page.results.length === 0
      ? empty('No results yet', h('p', null, 'Run an experiment: it takes seconds with the traces that come along.'), h('a', { class: 'primary', href: '#/experiments' }, 'New experiment'))
      : h('div', { class: 'card' }, table(columns, page.results, 'Results'), page.next ? h('p', { class: 'soft' }, 'The newest 200.') : null));
  }, (error) => scene.fault(error));
}
