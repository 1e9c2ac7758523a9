// SPDX-License-Identifier: Apache-2.0
// No stream is left for this page: it follows by long poll, says so, and sees the end all the same.
import assert from 'node:assert/strict';
import { Service, quick, traces, until } from '../service.mjs';

export default async function streams(scene) {
  const service = scene.use(await Service.start(...traces(), '--max-streams', '1'));
  const job = await service.ask('POST', '/v1/jobs', quick({ repeats: 300 }));
  const stop = new AbortController();
  const held = await fetch(`${service.base}/v1/jobs/${job.id}/events`, { signal: stop.signal });
  assert.equal(held.status, 200);
  const page = await scene.page(service, { hash: `#/jobs/${job.id}`, expected: [/status of 503/] });
  await page.locator('.badge.live', { hasText: 'long poll' }).waitFor();
  await page.locator('.badge.done').waitFor({ timeout: 120_000 });
  const { rows } = await service.ask('GET', `/v1/jobs/${job.id}`);
  await until(async () => (await page.locator('.card:has(h3:text-is("Rows so far")) tbody tr').count()) === rows, `${rows} rows`);
  stop.abort();
}
