// SPDX-License-Identifier: Apache-2.0
// 360 px wide: nothing scrolls sideways but tables in their own place, and what is pressed is large enough.
import assert from 'node:assert/strict';
import { wide } from '../browser.mjs';
import { Service, quick, traces } from '../service.mjs';

export default async function narrow(scene) {
  const service = scene.use(await Service.start(...traces()));
  await service.makeCache('a-cache-with-quite-a-long-name-for-a-narrow-screen', { tokens: 200, layers: 2, kv_heads: 8 });
  const { paths } = await service.ask('GET', '/openapi.json');
  const views = ['#/memory', '#/caches/a-cache-with-quite-a-long-name-for-a-narrow-screen?layer=0&side=v&head=0', '#/experiments', '#/activity', '#/results'];
  if (paths['/v1/jobs']) {
    const one = await service.finish(quick({ label: `a label of ${'many '.repeat(30)}words${'x'.repeat(30)}` }));
    const two = await service.finish(quick());
    views.push(`#/jobs/${one.id}`, `#/results/${one.results[0]}`, `#/compare?a=${one.results[0]}&b=${two.results[0]}`);
  }
  const page = await scene.page(service, { width: 360, height: 740, expected: [/status of 404/] });
  for (const hash of views) {
    await page.evaluate((to) => (location.hash = to), hash);
    await page.waitForTimeout(1200);
    assert.ok((await wide(page)) <= 0, `${hash} is ${await wide(page)} px too wide`);
    const small = await page.evaluate(() => [...document.querySelectorAll('button, nav a, select, input[type=text]')]
      .filter((one) => one.checkVisibility({ visibilityProperty: true })).map((one) => ({ box: one.getBoundingClientRect(), html: one.outerHTML.slice(0, 80) }))
      .filter(({ box }) => box.width < 24 || box.height < 24).map(({ box, html }) => `${box.width} x ${box.height} ${html}`));
    assert.deepEqual(small, [], `${hash}: smaller than 24 px`);
  }
}
