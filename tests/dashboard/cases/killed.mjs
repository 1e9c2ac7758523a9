// SPDX-License-Identifier: Apache-2.0
// The service is killed in the middle of a stream and comes back where it was: the page says both, goes on by itself,
// and what was finished is there.
import assert from 'node:assert/strict';
import { away, text } from '../browser.mjs';
import { Service, quick, traces, until } from '../service.mjs';

export default async function killed(scene) {
  const service = scene.use(new Service());
  const flags = [...traces(), '--data-dir', `${service.folder}/data`];
  const { mkdirSync } = await import('node:fs');
  mkdirSync(`${service.folder}/data`);
  await service.begin(...flags);
  const { paths } = await service.ask('GET', '/openapi.json');
  if (!paths['/v1/jobs']) return plainly(scene, service, flags);
  const job = await service.ask('POST', '/v1/jobs', quick({ label: 'long', layers: undefined, repeats: 200, lengths: [1024, 2048], recipes: ['dense', 'int4', 'lean', 'leaner', 'mustafar-50', 'mustafar-70'] }));
  const page = await scene.page(service, { hash: `#/jobs/${job.id}`, expected: away });
  await page.locator('.badge.live').waitFor();
  await until(async () => (await page.locator('.card:has(h3:text-is("Rows so far")) tbody tr').count()) >= 1, 'a first row', 120);
  await service.kill();
  await page.locator('#link.lost').waitFor();
  await page.locator('[role=status].bad', { hasText: 'trying again' }).waitFor();
  await service.begin(...flags);
  await page.locator('#link:not(.lost)', { hasText: 'Live' }).waitFor();
  await page.locator('.badge.interrupted').waitFor();
  assert.equal((await service.ask('GET', `/v1/jobs/${job.id}`)).state, 'interrupted');
  assert.ok((await page.locator('.card:has(h3:text-is("Rows so far")) tbody tr').count()) >= 1, 'rows stay');
  assert.match(await text(page, '.note'), /What was finished is kept/);
}

// A mustafard without jobs: the views that poll.
async function plainly(scene, service, flags) {
  const page = await scene.page(service, { expected: away });
  await page.locator('.empty').waitFor();
  await service.kill();
  await page.locator('#link.lost').waitFor();
  await page.locator('.note.bad', { hasText: 'does not answer' }).waitFor();
  await service.begin(...flags);
  await page.locator('#link:not(.lost)', { hasText: 'Live' }).waitFor();
  await until(async () => (await page.locator('.note.bad').count()) === 0, 'the message goes');
}
