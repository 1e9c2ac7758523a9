// SPDX-License-Identifier: Apache-2.0
// Memory now: by part, by cache, beside what it would be as dense, and beside the quota.
import { ask, json, poll } from '../api.ts';
import { bars, partKeys, parts } from '../bars.ts';
import { empty, fill, foreign, h, table, tile, type Column } from '../dom.ts';
import { figure, request, type Figure } from '../figure.ts';
import { bytes, clock, count, percent } from '../format.ts';
import { writePlace } from '../place.ts';
import type { Scene } from '../scene.ts';
import type { ByteParts, Cache, Stats, Version } from '../types.ts';

const shown = 16; // bars; the table has all

async function allCaches(signal: AbortSignal): Promise<Cache[]> {
  const list: Cache[] = [];
  let after: string | null = null;
  do {
    const page: { caches: Cache[]; next: string | null } = await json(
      `/v1/caches${after ? `?after=${encodeURIComponent(after)}` : ''}`, signal);
    list.push(...page.caches);
    after = page.next;
  } while (after);
  return list;
}

// Parts of a cache change with its revision only, so each is asked for once.
class Parts {
  private known = new Map<string, ByteParts>();
  private key = (cache: Cache) => `${cache.id} ${cache.created} ${cache.revision} ${cache.bytes}`;

  of(cache: Cache): ByteParts | null {
    return this.known.get(this.key(cache)) ?? null;
  }
  async fetch(caches: Cache[], signal: AbortSignal): Promise<void> {
    const next = new Map<string, ByteParts>();
    const wanted: Cache[] = [];
    for (const cache of caches) {
      const there = this.of(cache);
      if (there) next.set(this.key(cache), there);
      else wanted.push(cache);
    }
    this.known = next;
    await Promise.all(Array.from({ length: 4 }, async () => {
      for (let cache = wanted.pop(); cache; cache = wanted.pop()) {
        try {
          const stats: Stats = await json(`/v1/caches/${cache.id}/stats`, signal);
          this.known.set(this.key(cache), stats.bytes);
        } catch (error) {
          if ((error as { status?: number }).status !== 404) throw error; // deleted meanwhile
        }
      }
    }));
  }
}

function sum(list: (ByteParts | null)[]): ByteParts {
  const total: ByteParts = { total: 0, values: 0, bitmaps: 0, meta: 0, slack: 0, window: 0, tables: 0, positions: 0 };
  for (const one of list) if (one) for (const key of Object.keys(total) as (keyof ByteParts)[]) total[key] += one[key];
  return total;
}

const columns: Column<Cache>[] = [
  { name: 'Cache', text: true, show: (cache) => h('a', { href: writePlace(['caches', cache.id]) }, foreign(cache.id)) },
  { name: 'Labels', text: true, show: (cache) => labels(cache) },
  { name: 'Recipe', text: true, show: (cache) => foreign(cache.recipe.name || 'custom') },
  { name: 'Layers', show: (cache) => count(cache.geometry.layers) },
  { name: 'KV heads', show: (cache) => count(cache.geometry.kv_heads) },
  { name: 'Head dim', show: (cache) => count(cache.geometry.head_dim_k) },
  { name: 'Tokens', title: 'of the longest layer', show: (cache) => count(Math.max(0, ...cache.lengths)) },
  { name: 'Bytes', show: (cache) => bytes(cache.bytes) },
  { name: 'As dense', show: (cache) => bytes(cache.dense_bytes) },
  { name: 'Share', title: 'of dense', show: (cache) => percent(cache.dense_bytes ? cache.bytes / cache.dense_bytes : null) },
  { name: 'Created', text: true, show: (cache) => clock(cache.created) },
];

export function labels(cache: Cache): Node | string {
  const pairs = Object.entries(cache.labels ?? {});
  return pairs.length === 0 ? '' : foreign(pairs.map(([name, value]) => `${name}=${value}`).join(' '));
}

export async function memory(scene: Scene): Promise<void> {
  scene.open('Memory', 'What the caches of this service hold now, and what the same rows would take as 16-bit values.');
  const tiles = h('div', { class: 'tiles' });
  const list = h('div');
  let caches: Cache[] = [];
  const known = new Parts();
  const files = {
    head: ['cache', 'recipe', 'tokens', 'bytes', 'dense_bytes', ...parts.map((part) => `${part.key}_bytes`)],
    cells: (cache: Cache) => [cache.id, cache.recipe.name, Math.max(0, ...cache.lengths), cache.bytes, cache.dense_bytes,
      ...parts.map((part) => known.of(cache)?.[part.key])],
    columns: [columns[0]!, columns[7]!, columns[8]!, ...parts.map((part): Column<Cache> => ({ name: part.name, title: part.what, show: (cache) => bytes(known.of(cache)?.[part.key]) }))],
  };
  const whole: Figure = scene.keep(figure<Cache>({
    name: 'memory', title: 'All caches, by part', legend: partKeys('as dense'), wide: true,
    call: [{ path: '/v1/caches' }, { path: '/metrics', accept: 'text/plain' }], rows: () => caches, ...files,
    caption: 'Left in the dashed outline is what compression saves. Parts are those of docs/format.md.' }));
  const each: Figure = scene.keep(figure<Cache>({
    name: 'caches', title: 'Each cache, by part', legend: partKeys('as dense'), wide: true, call: { path: '/v1/caches' },
    rows: () => caches, ...files, caption: 'On one scale, largest first. A bar opens its cache.' }));
  const version = await json<Version>('/version', scene.signal);
  let was = '';

  const draw = (used: number, quota: number) => {
    const total = caches.reduce((at, cache) => at + cache.bytes, 0);
    const dense = caches.reduce((at, cache) => at + cache.dense_bytes, 0);
    const tokens = caches.reduce((at, cache) => at + Math.max(0, ...cache.lengths), 0);
    const meter = h('i');
    meter.style.width = `${Math.min(100, (100 * used) / quota)}%`;
    fill(tiles,
      tile('In use', bytes(used), [h('div', { class: 'meter', role: 'img', 'aria-label': `${percent(used / quota)} of the quota` }, meter), `${percent(used / quota)} of ${bytes(quota)}`]),
      tile('Caches', count(caches.length), `of ${count(version.limits['caches'])} there may be`),
      tile('They hold', bytes(total), `${count(tokens)} tokens`),
      tile('As dense', bytes(dense), '16-bit values'),
      tile('Share of dense', percent(dense ? total / dense : null), dense > total ? `${bytes(dense - total)} saved` : total ? 'no saving yet' : 'nothing held'));
    const now = JSON.stringify(caches.map((cache) => [cache.id, cache.revision, cache.bytes, cache.created, cache.labels, Boolean(known.of(cache))]));
    if (now === was) return;
    was = now;
    if (caches.length === 0) return fill(list, nothing());
    const sorted = [...caches].sort((a, b) => b.dense_bytes - a.dense_bytes || (a.id < b.id ? -1 : 1));
    whole.set(bars([{ name: `${count(caches.length)} ${caches.length === 1 ? 'cache' : 'caches'}`, bytes: sum(caches.map((cache) => known.of(cache))), total, dense }], 30));
    each.set(bars(sorted.slice(0, shown).map((cache) => ({ name: cache.id, bytes: known.of(cache), total: cache.bytes, dense: cache.dense_bytes,
      open: () => (location.hash = writePlace(['caches', cache.id])) }))));
    const more = caches.length > shown ? h('p', { class: 'soft' }, `The ${shown} largest; the table below has all ${count(caches.length)}.`) : null;
    const labelled = caches.some((cache) => Object.keys(cache.labels ?? {}).length > 0);
    if (!each.element.isConnected) fill(list, whole.element, each.element);
    list.querySelectorAll('.all').forEach((old) => old.remove());
    list.append(h('div', { class: 'all' }, more, h('div', { class: 'card' }, h('div', { class: 'top' }, h('h3', null, 'Caches')), table(columns.filter((column) => column.name !== 'Labels' || labelled), sorted, 'Caches'))));
  };

  fill(scene.body, tiles, list);
  await new Promise<void>((first) => {
    void poll(2000, scene.signal, async () => {
      const text = await (await ask({ path: '/metrics', accept: 'text/plain' }, scene.signal)).text();
      const number = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? 0);
      caches = await allCaches(scene.signal);
      const show = () => draw(number('mustafard_memory_used_bytes'), number('mustafard_quota_bytes') || version.limits['memory_quota_bytes']!);
      if (was === '') show();
      first();
      await known.fetch(caches, scene.signal);
      show();
      scene.fault(null);
    }, (error) => {
      scene.fault(error);
      first();
    });
  });
}

function nothing(): HTMLElement {
  const path = `${location.origin}/v1/caches/demo`;
  return empty('No caches yet', h('p', null, 'A cache holds the keys and values of one sequence. Make one and append a thousand tokens:'),
    request(`curl -X PUT ${path} -H 'Content-Type: application/json' -d '{"geometry": {"layers": 1, "kv_heads": 8, "head_dim": 128}, "recipe": "lean", "max_tokens": 65536}'
head -c 4194304 /dev/zero | curl "${path}/layers/0/append?dtype=f16&tokens=1024&expect=0" -H 'Content-Type: application/octet-stream' --data-binary @-`),
    h('p', null, 'Or measure recipes on recorded keys and values, without a cache of your own: ', h('a', { href: '#/experiments' }, 'Experiments'), '.'));
}
