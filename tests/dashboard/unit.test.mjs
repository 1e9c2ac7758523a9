// SPDX-License-Identifier: Apache-2.0
// The pure parts of the dashboard, bundled as they are for the page.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';

const source = join(dirname(fileURLToPath(import.meta.url)), '../../daemon/dashboard/src');
const { buildSync } = createRequire(join(process.env.DASHBOARD_PACKAGES, 'package.json'))('esbuild');
const out = mkdtempSync(join(tmpdir(), 'dashboard-unit-'));
after(() => rmSync(out, { recursive: true, force: true }));
const names = ['format', 'pareto', 'place', 'sse'];
buildSync({ entryPoints: names.map((name) => join(source, `${name}.ts`)), bundle: true, format: 'esm', outdir: out, outExtension: { '.js': '.mjs' }, target: 'node18' });
const [format, pareto, place, sse] = await Promise.all(names.map((name) => import(pathToFileURL(join(out, `${name}.mjs`)))));
const plain = (text) => text.replace(/\u202f/g, ' ').replace(/\u2013/g, '-');

test('bytes have a unit and three digits', () => {
  const shown = { 0: '0 B', 1: '1 B', 1023: '1023 B', 1024: '1.00 KiB', 1536: '1.50 KiB', 10_240: '10.0 KiB', 1_048_575: '1.00 MiB',
    1_000_000_000: '954 MiB', 1_073_741_824: '1.00 GiB', [5 * 2 ** 50]: '5.00 PiB' };
  for (const [value, expected] of Object.entries(shown)) assert.equal(format.bytes(Number(value)), expected);
  assert.equal(format.bytes(-2048), '-2.00 KiB');
  assert.equal(plain(format.bytes(null)), '-');
  assert.equal(plain(format.bytes(NaN)), '-');
});

test('times keep three digits from nanoseconds to hours', () => {
  assert.equal(format.nanoseconds(7), '7 ns');
  assert.equal(format.nanoseconds(1234), '1.23 \u00b5s');
  assert.equal(format.nanoseconds(999_600), '1.00 ms');
  assert.equal(format.nanoseconds(2.5e9), '2.50 s');
  assert.equal(format.seconds(0.0015), '1.50 ms');
  assert.equal(format.seconds(75), '1 min 15 s');
  assert.equal(format.seconds(3725), '1 h 2 min');
});

test('counts are grouped, other numbers are short', () => {
  assert.equal(plain(format.count(1e9)), '1 000 000 000');
  assert.equal(plain(format.count(999)), '999');
  assert.equal(plain(format.count(undefined)), '-');
  assert.equal(format.short(0), '0');
  assert.equal(format.short(0.0401), '0.0401');
  assert.equal(format.short(1.2345e-8), '1.2e-8');
  assert.equal(plain(format.short(12345.6)), '12 346');
  assert.equal(format.percent(0.1716), '17.2 %');
  assert.equal(format.percent(1.5), '150 %');
  assert.equal(format.percent(0.00001), '1e-3 %');
});

test('times of day are local, others are shown as they came', () => {
  assert.equal(format.clock('rubbish'), 'rubbish');
  assert.match(format.clock('2020-01-02T03:04:05Z'), /^20(19|20)-\d\d-\d\d \d\d:\d\d:\d\d$/);
  const now = new Date();
  assert.match(format.clock(now.toISOString(), now), /^\d\d:\d\d:\d\d$/);
});

test('lists of integers', () => {
  assert.deepEqual(format.integers(' 256, 1024 2048,'), [256, 1024, 2048]);
  assert.deepEqual(format.integers(''), []);
  assert.equal(format.integers('1, x'), null);
  assert.equal(format.integers('1.5'), null);
  assert.equal(format.integers('-1'), null);
});

test('words for a shell cannot end their quotes', () => {
  assert.equal(format.quoted('http://127.0.0.1:1/v1/caches'), 'http://127.0.0.1:1/v1/caches');
  assert.equal(format.quoted(`a'b; rm -rf $HOME`), `'a'\\''b; rm -rf $HOME'`);
  assert.equal(format.quoted(''), `''`);
});

test('CSV is quoted, and no text starts a formula', () => {
  assert.equal(format.csv(['a', 'b'], [['x,"y"', 1.5], [null, -3], ['=1+1', '@x'], ['two\nlines', true]]),
    'a,b\r\n"x,""y""",1.5\r\n,-3\r\n\'=1+1,\'@x\r\n"two\nlines",true\r\n');
});

test('the frontier is what nobody beats', () => {
  const of = (...pairs) => pareto.frontier(pairs.map(([x, y]) => ({ x, y })));
  assert.deepEqual(of(), []);
  assert.deepEqual(of([1, 1]), [true]);
  assert.deepEqual(of([1, 3], [2, 2], [3, 1], [3, 3], [2, 2.5]), [true, true, true, false, false]);
  assert.deepEqual(of([1, 1], [1, 1], [1, 2], [2, 1]), [true, true, false, false]);
  assert.deepEqual(of([NaN, 0], [1, Infinity], [5, 5]), [false, false, true]);
});

test('the frontier is that of the definition, on many small sets', () => {
  let state = 7;
  const next = () => (state = (Math.imul(state, 48271) >>> 0) % 2147483647) % 6;
  for (let round = 0; round < 500; round += 1) {
    const points = Array.from({ length: 1 + next() * 2 }, () => ({ x: next(), y: next() }));
    const plainly = points.map((a) => !points.some((b) => b.x <= a.x && b.y <= a.y && (b.x < a.x || b.y < a.y)));
    assert.deepEqual(pareto.frontier(points), plainly, JSON.stringify(points));
  }
});

test('events of a stream, cut anywhere', () => {
  const stream = '\ufeff: ping\n\nid: 1\nevent: progress\ndata: {"a":1}\n\ndata: two\r\ndata: lines\r\n\r\nid: 3\rdata\r\revent: none\n\nid\ndata:x\n\n';
  const expected = [
    { id: '1', type: 'progress', data: '{"a":1}' }, { id: '1', type: 'message', data: 'two\nlines' },
    { id: '3', type: 'message', data: '' }, { id: '', type: 'message', data: 'x' }];
  for (let size = 1; size <= stream.length; size += 1) {
    const parser = new sse.EventParser();
    const events = [];
    for (let at = 0; at < stream.length; at += size) events.push(...parser.push(stream.slice(at, at + size)));
    assert.deepEqual(events, expected, `in pieces of ${size}`);
  }
});

test('an event without its empty line is not told', () => {
  const parser = new sse.EventParser();
  assert.deepEqual(parser.push('id: 9\ndata: half\n'), []);
  assert.equal(parser.lastId, '9');
  assert.deepEqual(parser.push('id: a\0b\n\n'), [{ id: '9', type: 'message', data: 'half' }]);
});

test('places survive the address', () => {
  const query = { a: 'x&y=z', b: '<b>', c: '100 %' };
  const hash = place.writePlace(['caches', 'a/b'], { ...query, none: null, empty: '' });
  assert.deepEqual(place.readPlace(hash).path, ['caches', 'a/b']);
  assert.deepEqual({ ...place.readPlace(hash).query }, query);
  assert.deepEqual(place.readPlace('').path, []);
  assert.deepEqual(place.readPlace('#/%zz?%zz').path, ['%zz']);
  assert.equal(place.readPlace('#/x?__proto__=1').query['__proto__'], '1');
});

test('axes have no idle digits', () => {
  assert.deepEqual([0.1, 0.001, 2000, 20_000, 1e-7].map((value) => plain(format.tick(value))), ['0.1', '0.001', '2000', '20 000', '1e-7']);
  assert.deepEqual(['2.00 ms', '2.50 ms', '20.0 s', '100 ns', '0 ns'].map(format.plain), ['2 ms', '2.5 ms', '20 s', '100 ns', '0 ns']);
});
