// SPDX-License-Identifier: Apache-2.0
// A service that holds nothing: every view says what to do next, and the page is usable soon.
import assert from 'node:assert/strict';
import { text } from '../browser.mjs';
import { Service } from '../service.mjs';

export default async function empty(scene) {
  const service = scene.use(await Service.start());
  const { paths } = await service.ask('GET', '/openapi.json');
  const jobs = Boolean(paths['/v1/jobs']);
  const page = await scene.page(service, { expected: jobs ? [] : [/status of 404/] });
  await page.locator('.empty h3').waitFor();
  const usable = await page.evaluate(() => performance.now());
  console.log(`usable ${Math.round(usable)} ms after navigation began (asked for: 1000, on a quiet machine)`);
  assert.equal(await text(page, '.empty h3'), 'No caches yet');
  assert.match(await text(page, '.empty pre'), new RegExp(`curl -X PUT ${service.base}/v1/caches/demo`));
  assert.equal(await text(page, '#link'), 'Live');
  assert.match(await page.title(), /^Memory/);
  for (const [view, heading] of [['experiments', 'Experiments'], ['results', 'Results'], ['activity', 'Activity']]) {
    await page.click(`nav a[href="#/${view}"]`);
    await page.locator('h1', { hasText: heading }).waitFor();
    await page.locator('.empty').first().waitFor();
    assert.equal(await page.locator('nav a[aria-current=page]').getAttribute('href'), `#/${view}`);
  }
  // What the page says to try works as it stands there.
  await page.click('nav a[href="#/memory"]');
  const { execFileSync } = await import('node:child_process');
  let curl = true;
  try {
    execFileSync('curl', ['--version'], { stdio: 'ignore' });
  } catch {
    curl = false;
    console.log('curl is not here: its lines are not tried');
  }
  if (curl) {
    execFileSync('sh', ['-ec', await page.locator('.empty pre').innerText()], { stdio: 'ignore' });
    await page.locator('tbody a', { hasText: 'demo' }).waitFor();
  }
}
