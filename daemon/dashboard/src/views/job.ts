// SPDX-License-Identifier: Apache-2.0
// One job, live: progress, rows as they come, then its results.
import { ask, json } from '../api.ts';
import { facts, fill, foreign, h, table } from '../dom.ts';
import { clock, count, percent } from '../format.ts';
import { follow } from '../follow.ts';
import { writePlace } from '../place.ts';
import { columns, pareto } from '../rows.ts';
import { complaint, type Scene } from '../scene.ts';
import type { Job, Result, Row } from '../types.ts';
import { badge, meter } from './experiments.ts';

const ended = ['done', 'failed', 'cancelled', 'interrupted'];
const endings: Record<string, string> = {
  interrupted: 'The service ended while this job ran. What was finished is kept.',
  cancelled: 'Cancelled. What was finished is kept.',
};

export async function job(scene: Scene): Promise<void> {
  const id = scene.place.path[1]!;
  const path = `/v1/jobs/${encodeURIComponent(id)}`;
  let it = await json<Job>(path, scene.signal);
  const rows = new Map<string, Row>(); // a row comes again with its times, and where a stream is resumed
  const key = (result: string, row: Row) => JSON.stringify([result, row.trace, row.recipe]);
  const cancel = h('button', { type: 'button', class: 'tool', onclick: () => void act(async () => {
    it = { ...it, ...((await (await ask({ method: 'POST', path: `${path}/cancel` }, scene.signal)).json()) as Job) };
    draw();
  }) }, 'Cancel');
  let sure = false;
  const remove = h('button', { type: 'button', class: 'tool', onclick: () => void act(async () => {
    if (!sure) {
      sure = true;
      remove.textContent = 'Delete job and results?';
      return;
    }
    await ask({ method: 'DELETE', path }, scene.signal);
    location.hash = '#/experiments';
  }) }, 'Delete');
  const again = h('a', { class: 'tool' }, 'Run again');
  const act = async (what: () => Promise<void>) => {
    try {
      await what();
    } catch (error) {
      if (!scene.signal.aborted) fill(trouble, complaint(error));
    }
  };
  scene.open(foreign(it.label || it.id), h('span', null, 'Experiment ', h('code', null, it.id)), [again, cancel, remove]);
  const trouble = h('div', { role: 'alert' });
  const state = h('div', { class: 'row' });
  const way = h('span', { class: 'soft', role: 'status' });
  const bar = h('div');
  const open = h('div', { class: 'row' });
  const note = h('div');
  const list = h('div');
  const about = h('div', { class: 'card' });
  const figure = pareto(scene, { path: it.results[0] ? `/v1/results/${it.results[0]}` : path }, `${id}-live`, () => shown());
  const shown = () => [...rows.values()];

  const draw = () => {
    const over = ended.includes(it.state);
    fill(state, badge(it.state), h('span', null, it.what === it.state ? '' : it.what || (it.state === 'queued' ? 'waits for its turn' : '')), way);
    fill(bar, meter(it.progress, 'big'), h('div', { class: 'soft' }, `${percent(it.progress)}, ${count(it.items_done)} of ${count(it.items)} items, ${count(Math.max(it.rows, rows.size))} rows`));
    cancel.hidden = over;
    remove.hidden = !over;
    again.setAttribute('href', formOf(it));
    fill(open, it.results.map((result, index) => h('a', { class: 'primary', href: writePlace(['results', result]) }, `${over ? 'Open result' : 'What there is so far'}${it.results.length > 1 ? ` ${index + 1}` : ''}`)));
    fill(note, it.error ? h('p', { class: 'note bad' }, it.error.detail) : null, endings[it.state] ? h('p', { class: 'note' }, endings[it.state]) : null,
      it.contended ? h('p', { class: 'note' }, 'Other requests were computed at the same time: times are too long by an unknown share.') : null);
    fill(about, facts([['made', clock(it.created)], ['started', clock(it.started)], ['ended', clock(it.finished)], ['request', h('code', null, JSON.stringify(it.request))]]));
  };
  let due = 0;
  const drawRows = () => {
    if (due) return;
    due = setTimeout(() => {
      due = 0;
      if (scene.signal.aborted || rows.size === 0) return;
      const traces = new Set(shown().map((row) => row.trace));
      const more = new Set(shown().map((row) => row.threads)).size > 1;
      figure.draw(shown());
      if (!figure.element.isConnected) list.before(figure.element);
      const trace = { name: 'Trace', text: true, show: (row: Row) => foreign(row.trace) };
      fill(list, h('div', { class: 'card' }, h('div', { class: 'top' }, h('h3', null, 'Rows so far')),
        table([columns[0]!, ...(traces.size > 1 ? [trace] : []), ...columns.slice(more ? 1 : 2)], shown(), 'Rows so far')));
    }, 120) as unknown as number;
  };
  // What finished before this page was opened, and what the ring of events has lost.
  const fetchResult = async (result: string) => {
    const whole = await json<Result>(`/v1/results/${encodeURIComponent(result)}`, scene.signal);
    const threads = Number(whole.settings['threads']) || undefined;
    for (const row of whole.rows) rows.set(key(result, row), { threads, ...row });
    drawRows();
  };
  draw();
  fill(scene.body, trouble, h('div', { class: 'card' }, state, bar, open), note, list, h('h2', null, 'What was asked for'), about);
  await act(async () => {
    for (const result of it.results) await fetchResult(result);
  });
  if (ended.includes(it.state)) return;
  await follow(id, {
    job: (news) => {
      it = { ...it, ...news };
      draw();
    },
    row: (result, row) => {
      rows.set(key(result, row), row);
      drawRows();
    },
    result: (result) => {
      if (!it.results.includes(result)) it = { ...it, results: [...it.results, result] };
      draw();
      void act(() => fetchResult(result));
    },
    way: (text, live) => {
      way.textContent = text;
      way.className = live ? 'badge live' : 'bad';
    },
  }, scene.signal);
  await act(async () => {
    it = await json<Job>(path, scene.signal);
    draw();
    for (const result of it.results) await fetchResult(result);
  });
}

// The address of the form with what this job had.
function formOf(it: Job): string {
  const asked: Record<string, unknown> = { ...it.request };
  const words = (value: unknown) => (Array.isArray(value) ? value.filter((one) => typeof one !== 'object').join(',') : undefined);
  const made = asked['synthetic'] as { geometry?: Record<string, number | string>; tokens?: number; seed?: number } | undefined;
  const plain = (name: string) => {
    const value = asked[name];
    return typeof value === 'string' || typeof value === 'number' ? value : undefined;
  };
  return writePlace(['experiments'], {
    traces: words(asked['traces']), recipes: words(asked['recipes']), lengths: words(asked['lengths']), threads: words(asked['threads']), layers: words(asked['layers']),
    label: plain('label'), repeats: plain('repeats'), seed: plain('seed'), measure: plain('measure'), sides: plain('sides'), drop_mass: plain('drop_mass'),
    budget_seconds: plain('budget_seconds'), timing: asked['timing'] === false ? 'no' : undefined,
    ...(made ? { source: 'synthetic', tokens: made.tokens, s_seed: made.seed, s_layers: made.geometry?.['layers'], q_heads: made.geometry?.['q_heads'],
      kv_heads: made.geometry?.['kv_heads'], head_dim: made.geometry?.['head_dim'] ?? made.geometry?.['head_dim_k'], dtype: made.geometry?.['dtype'] } : {}) });
}
