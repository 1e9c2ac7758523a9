// SPDX-License-Identifier: Apache-2.0
// The form, a job as it runs, its result with pictures and files, and the comparison of two.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { text, wide } from '../browser.mjs';
import { Service, quick, traces, until } from '../service.mjs';

async function saved(page, button) {
  const [file] = await Promise.all([page.waitForEvent('download'), button.click()]);
  return readFileSync(await file.path());
}

export default async function job(scene) {
  const service = scene.use(await Service.start(...traces()));
  await service.need('/v1/jobs');
  const page = await scene.page(service, { hash: '#/experiments' });
  await page.locator('form.card').waitFor();
  // What is wrong in the form is told before anything is sent.
  await page.fill('input[name=lengths]', '12, x');
  await page.click('form.card button[type=submit]');
  assert.match(await text(page, '.complaint:not(:empty)'), /Lengths: whole numbers/);
  await page.fill('input[name=lengths]', '128, 256');
  const chip = (text) => page.locator('.chips label', { hasText: text }).first();
  for (const box of await page.locator('input[name=trace]:checked').all()) await box.uncheck({ force: true });
  await chip('d64').locator('input').check({ force: true });
  await page.fill('input[name=label]', 'one <b>run</b>');
  await page.fill('input[name=more]', 'k32i4/v64i2');
  await page.click('summary');
  await page.fill('input[name=repeats]', '100'); // long enough to be seen live
  await page.fill('input[name=layers]', '0, 1');
  // The request shown is the one that is sent; and the form comes back from its address.
  await page.getByRole('button', { name: 'Show request' }).click();
  const curl = await page.locator('.request code').innerText();
  assert.match(curl, /-X POST .*\/v1\/jobs/);
  await page.reload();
  assert.equal(await page.inputValue('input[name=label]'), 'one <b>run</b>');
  assert.equal(await page.inputValue('input[name=more]'), 'k32i4/v64i2');
  const [sent] = await Promise.all([page.waitForRequest((request) => request.method() === 'POST'), page.click('form.card button[type=submit]')]);
  assert.ok(curl.includes(sent.postData().replace(/'/g, `'\\''`)), 'the line shown is what was sent');
  await page.locator('h1', { hasText: 'one <b>run</b>' }).waitFor();
  await page.locator('.meter.big').waitFor();
  await page.locator('.badge.live').waitFor();
  await page.locator('.badge.done').waitFor({ timeout: 120_000 });
  const rows = page.locator('.card:has(h3:text-is("Rows so far")) tbody tr');
  const [it] = (await service.ask('GET', '/v1/jobs')).jobs;
  assert.equal(it.state, 'done');
  await until(async () => (await rows.count()) === it.rows, `${it.rows} rows live`);
  await page.getByRole('link', { name: 'Open result' }).click();
  await page.locator('.uplot').nth(1).waitFor();
  const result = await service.ask('GET', `/v1/results/${it.results[0]}`);
  const numbers = page.locator('.card:has(h3:text-is("Numbers")) tbody tr');
  assert.equal(await numbers.count(), result.rows.length);
  // Files: the service's CSV and JSON, the picture's own, PNG.
  assert.equal((await saved(page, page.locator('.head').getByRole('button', { name: 'CSV' }))).toString().trim().split('\r\n').length, result.rows.length + 1);
  assert.equal(JSON.parse(await saved(page, page.locator('.head').getByRole('button', { name: 'JSON' }))).id, result.id);
  const figure = page.locator('figure').first();
  assert.equal((await saved(page, figure.getByRole('button', { name: 'PNG' }))).subarray(1, 4).toString(), 'PNG');
  assert.equal(JSON.parse(await saved(page, figure.getByRole('button', { name: 'JSON' }))).length, result.rows.length);
  await page.selectOption('select[aria-label=Error]', 'kl');
  assert.match(page.url(), /y=kl/);
  await page.reload();
  assert.equal(await page.inputValue('select[aria-label=Error]'), 'kl');
  // A second run, at once by the API, and the comparison.
  await service.finish(quick({ label: 'second' }));
  await page.click('nav a[href="#/results"]');
  await page.locator('tbody tr').nth(1).waitFor();
  for (const box of await page.locator('tbody input[type=checkbox]').all()) await box.check();
  await page.getByRole('link', { name: 'Compare the two' }).click();
  const pairs = page.locator('.card:has(h3:text-is("Row by row")) tbody tr');
  await pairs.first().waitFor();
  assert.ok((await pairs.count()) >= 5);
  assert.ok((await pairs.filter({ hasText: 'the same bits' }).count()) >= 5, 'equal recipes have equal digests');
  const narrow = await scene.page(service, { width: 360, height: 740, hash: `#/results/${result.id}` });
  await narrow.locator('.uplot').nth(1).waitFor();
  assert.ok((await wide(narrow)) <= 0, 'scrolls sideways at 360 px');
}
