// SPDX-License-Identifier: Apache-2.0
// Markup in every place a stranger can name: it is shown as text, and nothing of it becomes an element or runs.
import assert from 'node:assert/strict';
import { Service, quick, traces, until } from '../service.mjs';

const evil = '<img src=x onerror=alert(1)><script>alert(2)</script>"\'>\u202e\u0007=1+1';

export default async function hostile(scene) {
  const service = scene.use(await Service.start(...traces()));
  const { paths } = await service.ask('GET', '/openapi.json');
  await service.makeCache('victim', { tokens: 64 });
  const elements = (page) => page.evaluate(() => document.querySelectorAll('main img, main script, main iframe, body > script + *').length);
  if (paths['/v1/caches/{id}'].patch) {
    await service.ask('PATCH', '/v1/caches/victim', { labels: { owner: evil, '<b>': evil } });
    const page = await scene.page(service);
    await page.locator('td', { hasText: '<img src=x onerror' }).first().waitFor();
    assert.equal(await elements(page), 0);
  }
  // The address is a stranger's, too.
  const expected = [/status of 4\d\d/];
  for (const hash of [`#/caches/${encodeURIComponent(evil)}`, `#/results/${encodeURIComponent(evil)}`, `#/jobs/x?y=${encodeURIComponent(evil)}`,
    '#/caches/victim?layer=%3Cb%3E&side=k&head=-1', `#/experiments?label=${encodeURIComponent(evil)}&recipes=${encodeURIComponent(evil)}`, '#/caches/..%2f..%2fversion', '#/%zz?__proto__=x']) {
    const page = await scene.page(service, { hash, expected });
    await page.locator('h1, .note').first().waitFor();
    await page.waitForTimeout(300);
    assert.equal(await elements(page), 0, hash);
    await scene.reports();
    await page.close();
  }
  if (paths['/v1/jobs']) {
    const job = await service.finish(quick({ label: evil, timing: false }));
    for (const hash of ['#/experiments', `#/jobs/${job.id}`, `#/results/${job.results[0]}`, '#/results', '#/activity']) {
      const page = await scene.page(service, { hash, expected });
      await page.locator('h1').waitFor();
      if (hash !== '#/activity') await until(async () => (await page.locator('main').innerText()).includes('<img src=x onerror'), `${hash} shows the label`);
      assert.equal(await elements(page), 0, hash);
      await scene.reports();
      await page.close();
    }
  }
}
