// SPDX-License-Identifier: Apache-2.0
// What the service does: requests, queue, refusals, and the newest errors with the ids that the log has too.
import { ask, maybe, poll } from '../api.ts';
import { empty, fill, foreign, h, table, tile, type Column } from '../dom.ts';
import { figure } from '../figure.ts';
import { clock, count, short, tick } from '../format.ts';
import { lines } from '../lines.ts';
import type { Scene } from '../scene.ts';
import type { Activity } from '../types.ts';

interface Point {
  at: number; // seconds since the view was opened
  rate: number;
  queue: number;
}

type Fault = Activity['recent_errors'][number];
const columns: Column<Fault>[] = [
  { name: 'Time', text: true, show: (one) => clock(one.time) },
  { name: 'Status', show: (one) => String(one.status) },
  { name: 'Problem', text: true, show: (one) => one.problem.split(':').pop() ?? '' },
  { name: 'Method', text: true, show: (one) => foreign(one.method) },
  { name: 'Route', text: true, show: (one) => foreign(one.route) },
  { name: 'Request', text: true, show: (one) => h('code', null, one.id) },
];

// An older service tells less, but it has counters.
async function read(signal: AbortSignal): Promise<Activity> {
  const told = await maybe<Activity>('/v1/activity', signal);
  if (told) return told;
  const text = await (await ask({ path: '/metrics', accept: 'text/plain' }, signal)).text();
  const all = (name: string) => [...text.matchAll(new RegExp(`^${name}(?:\\{([^}]*)\\})? (\\S+)$`, 'gm'))];
  const one = (name: string) => Number(all(name)[0]?.[2] ?? 0);
  return { requests_total: all('mustafard_http_requests_total').reduce((sum, hit) => sum + Number(hit[2]), 0),
    rejected: Object.fromEntries(all('mustafard_http_rejected_total').map((hit) => [/reason="([^"]*)"/.exec(hit[1] ?? '')?.[1] ?? '', Number(hit[2])])),
    queue_depth: one('mustafard_queue_depth'), in_flight: 0, connections: one('mustafard_connections'), recent_errors: [] };
}

export async function activity(scene: Scene): Promise<void> {
  scene.open('Activity', 'Requests, queue and refusals since the service started; errors carry the id that the log and the reply have.');
  const tiles = h('div', { class: 'tiles' });
  const points: Point[] = [];
  const begun = performance.now() / 1000;
  let last: { at: number; total: number } | null = null;
  const chart = scene.keep(figure<Point>({
    name: 'requests', title: 'Requests a second', wide: true, call: { path: '/v1/activity' }, rows: () => points,
    columns: [{ name: 'Seconds', show: (point) => point.at.toFixed(1) }, { name: 'Requests a second', show: (point) => short(point.rate) }, { name: 'Queue', show: (point) => count(point.queue) }],
    head: ['seconds', 'requests_per_second', 'queue_depth'], cells: (point) => [point.at, point.rate, point.queue],
    caption: 'Since this page was opened, ten minutes at most; this page itself asks about once a second.' }));
  const refused = h('div');
  const faults = h('div');
  fill(scene.body, tiles, chart.element, h('div', { class: 'pair' }, refused, faults));
  let was = '';
  await poll(1000, scene.signal, async () => {
    const now = await read(scene.signal);
    scene.fault(null);
    const at = performance.now() / 1000;
    // A total that fell belongs to another process.
    if (last && now.requests_total >= last.total) {
      points.push({ at: at - begun, rate: (now.requests_total - last.total) / (at - last.at), queue: now.queue_depth });
      if (points.length > 600) points.shift();
    }
    last = { at, total: now.requests_total };
    const rejections = Object.values(now.rejected).reduce((sum, one) => sum + one, 0);
    fill(tiles, tile('Requests', count(now.requests_total), points.length ? `${short(points[points.length - 1]!.rate)} a second` : ''),
      tile('In flight', count(now.in_flight), 'being answered'), tile('Queue', count(now.queue_depth), 'wait for a worker'), tile('Connections', count(now.connections), 'open'),
      tile('Refused', count(rejections), 'before a handler'), tile('Newest errors', count(now.recent_errors.length), '64 are kept'));
    const line = { name: 'requests', look: { color: '--accent', dash: [], base: false }, points: points.map((point) => ({ x: point.at, low: null, y: point.rate, high: null })) };
    if (points.length > 1) chart.set(lines([line], { x: 'seconds', y: 'a second', showX: count, showY: tick, time: true }));
    const shown = JSON.stringify([now.rejected, now.recent_errors]);
    if (shown === was) return;
    was = shown;
    const reasons = Object.entries(now.rejected).sort((a, b) => b[1] - a[1]);
    fill(refused, reasons.length === 0 ? empty('Nothing refused', h('p', null, 'Requests that the guard turns away are counted here by their reason.')) :
      h('div', { class: 'card' }, h('div', { class: 'top' }, h('h3', null, 'Refused by the guard')),
        table<[string, number]>([{ name: 'Reason', text: true, show: ([name]) => foreign(name) }, { name: 'Times', show: ([, number]) => count(number) }], reasons, 'Refused')));
    fill(faults, now.recent_errors.length === 0 ? empty('No errors', h('p', null, 'The newest 64 replies of 400 and above stand here with their request ids.')) :
      h('div', { class: 'card' }, h('div', { class: 'top' }, h('h3', null, 'Newest errors')), table(columns, now.recent_errors, 'Newest errors')));
  }, (error) => scene.fault(error));
}
