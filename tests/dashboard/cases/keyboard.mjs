// SPDX-License-Identifier: Apache-2.0
// Without a mouse: Tab reaches everything that does something, in reading order and visibly; what a name needs has one.
import assert from 'node:assert/strict';
import { Service } from '../service.mjs';

export default async function keyboard(scene) {
  const service = scene.use(await Service.start());
  const { paths } = await service.ask('GET', '/openapi.json');
  const expected = paths['/v1/jobs'] && paths['/v1/caches/{id}/density'] ? [] : [/status of 404/];
  for (const id of ['a', 'b', 'c']) await service.makeCache(id, { tokens: 128, layers: 2 });
  const page = await scene.page(service, { expected });
  await page.locator('tbody a').nth(2).waitFor();
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'skip');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
  for (const hash of ['#/memory', '#/caches/a', '#/experiments', '#/results', '#/activity']) {
    await page.evaluate((to) => (location.hash = to), hash);
    await page.locator('h1').waitFor();
    await page.waitForTimeout(900);
    await page.evaluate(() => {
      document.activeElement.blur();
      getSelection().removeAllRanges();
      window.walked = new Set();
    });
    await page.keyboard.press('Home');
    const wanted = await page.evaluate(() => [...document.querySelectorAll('a[href], button, input, select, summary, canvas[tabindex]')]
      .filter((one) => one.checkVisibility({ visibilityProperty: true }) && !one.disabled && one.id !== 'skip' && one.type !== 'radio').length);
    let last = 0;
    for (let turn = 0; turn < wanted + 40; turn += 1) {
      await page.keyboard.press('Tab');
      const at = await page.evaluate(() => {
        const one = document.activeElement;
        if (one === document.body) return null;
        const style = getComputedStyle(one.matches('.chips input') ? one.closest('label') : one);
        const name = one.getAttribute('aria-label') || one.labels?.[0]?.textContent || one.textContent || one.placeholder;
        const fresh = !window.walked.has(one);
        window.walked.add(one);
        return { html: one.outerHTML.slice(0, 120), seen: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2, name: name?.trim(), fresh };
      });
      if (!at) continue;
      if (!at.fresh && at.html.includes('id="skip"')) break; // once around
      assert.ok(at.seen, `no visible focus: ${at.html}`);
      assert.ok(at.name, `no name: ${at.html}`);
      last = turn;
    }
    const missed = await page.evaluate(() => [...document.querySelectorAll('a[href], button, input, select, summary, canvas[tabindex]')]
      .filter((one) => one.checkVisibility({ visibilityProperty: true }) && !one.disabled && one.type !== 'radio' && !window.walked.has(one)).map((one) => one.outerHTML.slice(0, 160)));
    assert.deepEqual(missed, [], `${hash}: Tab does not reach (after ${last} steps)`);
  }
}
