// SPDX-License-Identifier: Apache-2.0
// One cache, then 256: numbers agree with the API, tables are whole, and sums of 1e9 bytes stay readable.
import assert from 'node:assert/strict';
import { text, wide } from '../browser.mjs';
import { Service, until } from '../service.mjs';

const tile = async (page, name) => text(page, `.tile:has(.name:text-is("${name}")) strong`);

export default async function caches(scene) {
  const service = scene.use(await Service.start());
  await service.makeCache('first', { kv_heads: 8, head_dim: 128, tokens: 1024, max_tokens: 1024, layers: 2 });
  // A cache may be deleted between the list and the question for its parts.
  const page = await scene.page(service, { expected: [/status of 404/] });
  await page.locator('tbody tr').first().waitFor();
  assert.equal(await page.locator('.all tbody tr').count(), 1);
  const { caches: [it] } = await service.ask('GET', '/v1/caches');
  const share = `${((100 * it.bytes) / it.dense_bytes).toFixed(1)} %`;
  assert.equal(await tile(page, 'Share of dense'), share);
  assert.equal(await tile(page, 'Caches'), '1');
  // The table behind the picture has the parts, and they add up to the whole.
  await page.locator('figure').first().getByRole('button', { name: 'Table' }).click();
  const stats = await service.ask('GET', '/v1/caches/first/stats');
  const { total, exact, ...parts } = stats.bytes;
  assert.equal(Object.values(parts).reduce((a, b) => a + b, 0), total);
  const [file] = await Promise.all([page.waitForEvent('download'), page.locator('figure').first().getByRole('button', { name: 'CSV' }).click()]);
  const { readFileSync } = await import('node:fs');
  const lines = readFileSync(await file.path(), 'utf8').trim().split('\r\n').map((line) => line.split(','));
  assert.equal(Number(lines[1][lines[0].indexOf('values_bytes')]), parts.values);
  assert.equal(Number(lines[1][lines[0].indexOf('bytes')]), it.bytes);

  // Forks share their pages, so that many bytes cost few. 255 more make 1e9 as dense.
  for (let index = 1; index < 256; index += 1) await service.ask('POST', '/v1/caches/first/fork', { to: `fork-${String(index).padStart(3, '0')}` });
  const dense = 256 * it.dense_bytes;
  assert.ok(dense > 1e9, `${dense}`);
  await until(async () => (await page.locator('.all tbody tr').count()) === 256, '256 rows');
  assert.equal(await tile(page, 'As dense'), `${(dense / 2 ** 30).toFixed(2)} GiB`);
  assert.equal(await tile(page, 'Caches'), '256');
  const narrow = await scene.page(service, { width: 360, height: 740, expected: [/status of 404/] });
  const begun = Date.now();
  await until(async () => (await narrow.locator('.all tbody tr').count()) === 256, '256 rows');
  console.log(`256 caches shown ${Date.now() - begun} ms after the page was loaded`);
  assert.ok((await wide(narrow)) <= 0, 'scrolls sideways at 360 px');
  for (const value of await narrow.locator('.tile strong').all()) {
    const { inside, clipped } = await value.evaluate((element) => ({ inside: element.textContent, clipped: element.scrollWidth > element.clientWidth + 1 }));
    assert.ok(!clipped, `${inside} is cut off`);
  }
  // A deleted one leaves.
  await service.ask('DELETE', '/v1/caches/fork-001');
  await until(async () => (await page.locator('.all tbody tr').count()) === 255, '255 rows');
}
