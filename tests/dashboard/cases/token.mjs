// SPDX-License-Identifier: Apache-2.0
// 401: the token is asked for once, a wrong one again, the right one goes with every call, files included, and stays in
// its tab.
import assert from 'node:assert/strict';
import { text, unauthorized } from '../browser.mjs';
import { Service } from '../service.mjs';

const right = 'correct-horse-battery';

export default async function token(scene) {
  const service = scene.use(new Service());
  service.token = right;
  await service.begin('--token-file', service.tokenFile(`write ${right}`, 'read only-for-reading-1'));
  await service.makeCache('mine', { tokens: 64 });
  const page = await scene.page(service, { expected: unauthorized });
  await page.locator('dialog[open]').waitFor();
  assert.match(await text(page, '#door-why'), /only those who have a token/);
  await page.keyboard.press('Escape');
  assert.ok(await page.locator('dialog[open]').isVisible(), 'there is nothing behind it to look at');
  await page.fill('#door-token', 'wrong but long enough');
  await page.keyboard.press('Enter');
  assert.match(await text(page, '#door-why'), /visible ASCII/);
  await page.fill('#door-token', 'wrong-but-long-enough');
  await page.keyboard.press('Enter');
  await page.locator('#door-why', { hasText: 'did not take' }).waitFor();
  await page.fill('#door-token', right);
  await page.keyboard.press('Enter');
  await page.locator('tbody a', { hasText: 'mine' }).waitFor();
  const calls = [];
  page.on('request', (request) => calls.push(request));
  await page.reload();
  await page.locator('tbody a', { hasText: 'mine' }).waitFor();
  assert.equal(await page.locator('dialog[open]').count(), 0, 'asked once a tab');
  const data = calls.filter((call) => !['document'].includes(call.resourceType()) && call.url().startsWith('http'));
  assert.ok(data.length >= 3);
  for (const call of data) assert.equal(await call.headerValue('authorization'), `Bearer ${right}`, call.url());
  assert.ok(!calls.some((call) => call.url().includes(right)), 'never in an address');
  const kept = await page.evaluate(() => [Object.values({ ...sessionStorage }), Object.values({ ...localStorage }), document.cookie]);
  assert.deepEqual([kept[0].includes(right), kept[1].includes(right), kept[2]], [true, false, '']);
  await page.locator('figure').first().getByRole('button', { name: 'Request' }).click();
  const curl = await page.locator('.request code').first().innerText();
  assert.ok(curl.includes('$MUSTAFARD_TOKEN') && !curl.includes(right), curl);
  // Another tab is asked for its own.
  const other = await scene.page(service, { expected: unauthorized });
  await other.locator('dialog[open]').waitFor();
  await page.getByRole('button', { name: 'Forget token' }).click();
  await page.locator('dialog[open]').waitFor();
}
