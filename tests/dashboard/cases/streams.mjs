// SPDX-License-Identifier: Apache-2.0
// No stream is left for this page: it follows by long poll, says so, and sees the end all the same.
import assert from 'node:assert/strict';
import { Service, quick, traces, until } from '../service.mjs';

export default async function streams(scene) {
  const service = scene.use(await Service.start(...traces(), '--max-streams', '1'));
  // It waits behind another one until the page is there.
  const lengths = Array.from({ length: 16 }, (_, i) => 65520 + i);
  const before = await service.ask('POST', '/v1/jobs', { synthetic: { geometry: { layers: 1, kv_heads: 1, q_heads: 8, head_dim: 128 }, tokens: 64 },
    recipes: ['dense'], lengths, repeats: 1000, budget_seconds: 1e6 }); // without an end
  const job = await service.ask('POST', '/v1/jobs', quick());
  const stop = new AbortController();
  const held = await fetch(`${service.base}/v1/jobs/${job.id}/events`, { signal: stop.signal });
  assert.equal(held.status, 200);
  const page = await scene.page(service, { hash: `#/jobs/${job.id}`, expected: [/status of 503/] });
  await page.locator('.badge.live', { hasText: 'long poll' }).waitFor();
  await service.ask('POST', `/v1/jobs/${before.id}/cancel`, {});
  await page.locator('.badge.done').waitFor({ timeout: 120_000 });
  const { rows } = await service.ask('GET', `/v1/jobs/${job.id}`);
  await until(async () => (await page.locator('.card:has(h3:text-is("Rows so far")) tbody tr').count()) === rows, `${rows} rows`);
  stop.abort();
}
