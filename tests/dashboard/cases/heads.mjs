// SPDX-License-Identifier: Apache-2.0
// From a cache to its heads to the elements of one, by mouse and by keyboard; the address leads back.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { text } from '../browser.mjs';
import { Service } from '../service.mjs';

export default async function heads(scene) {
  const service = scene.use(await Service.start());
  await service.need('/v1/caches/{id}/density');
  await service.makeCache('wide', { layers: 6, kv_heads: 8, head_dim: 64, tokens: 300, recipe: 'mustafar-50' });
  const page = await scene.page(service);
  await page.locator('tbody a', { hasText: 'wide' }).click();
  const maps = page.locator('section canvas');
  await maps.nth(1).waitFor();
  const { layers } = await service.ask('GET', '/v1/caches/wide/density');
  // Arrow keys walk; what is there is said and shown.
  await maps.nth(0).focus();
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowRight');
  const said = await text(page, 'section .plot .hint:not([hidden])');
  assert.match(said, /layer 1, head 1/);
  assert.match(said, new RegExp(`K keeps ${(100 * layers[1].heads[1].k).toFixed(1)} %`));
  await page.keyboard.press('Enter');
  await page.locator('#head canvas').waitFor();
  assert.match(await text(page, '#head figure h3'), /^K of layer 1, head 1/);
  assert.match(page.url(), /layer=1&side=k&head=1/);
  // A click on the V map opens that head.
  const box = await maps.nth(1).boundingBox();
  await maps.nth(1).click({ position: { x: 46 + (box.width - 56) * 0.01, y: 12 } });
  await page.locator('#head h3', { hasText: 'V of layer 0, head 0' }).waitFor();
  // The request shown is the one that answers.
  await page.locator('#head').getByRole('button', { name: 'Request' }).click();
  const curl = await page.locator('#head .request code').innerText();
  const path = /'?(http[^' ]+)/.exec(curl)[1].slice(service.base.length);
  const map = await service.ask('GET', path);
  assert.equal(map.density.length, map.rows * map.columns);
  const [file] = await Promise.all([page.waitForEvent('download'), page.locator('#head').getByRole('button', { name: 'PNG' }).click()]);
  assert.equal(readFileSync(await file.path()).subarray(1, 4).toString(), 'PNG');
  // Part of the rows, kept in the address.
  await page.locator('#head input[name=from]').fill('10');
  await page.locator('#head input[name=to]').fill('42');
  await page.locator('#head').getByRole('button', { name: 'Show', exact: true }).click();
  await page.locator('#head figcaption', { hasText: 'Rows 10 to 42' }).waitFor();
  await page.reload();
  await page.locator('#head figcaption', { hasText: 'Rows 10 to 42' }).waitFor();
  // The redraw of 256 x 64 cells.
  await service.makeCache('deep', { layers: 256, kv_heads: 64, head_dim: 32, recipe: 'dense', max_tokens: 32 });
  const deep = await scene.page(service, { hash: '#/caches/deep', expected: [/willReadFrequently/] });
  await deep.locator('section canvas').nth(1).waitFor();
  const took = await deep.evaluate(async () => {
    const canvas = document.querySelector('section canvas');
    const times = [];
    for (let i = 0; i < 9; i += 1) {
      const begin = performance.now();
      canvas.dispatchEvent(new MouseEvent('mousemove', { clientX: canvas.getBoundingClientRect().left + 60 + i * 9, clientY: canvas.getBoundingClientRect().top + 20 + i * 9 }));
      canvas.getContext('2d').getImageData(0, 0, 1, 1);
      times.push(performance.now() - begin);
    }
    return times.sort((a, b) => a - b)[4];
  });
  console.log(`256 x 64 cells are drawn anew in ${took.toFixed(1)} ms (asked for: 50)`);
}
