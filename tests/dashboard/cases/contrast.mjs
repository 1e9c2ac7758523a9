// SPDX-License-Identifier: Apache-2.0
// Every word on every view against what is behind it, light and dark: 4.5 to 1, large words 3 to 1 (WCAG 2.1, AA). The
// switch beats the system, and K and V have the same two hues everywhere.
import assert from 'node:assert/strict';
import { Service, quick, traces } from '../service.mjs';

const measure = () => {
  const part = (text) => (text.match(/[\d.]+/g) ?? []).map(Number);
  const rgba = (text) => {
    const [r, g, b, a = 1] = part(text);
    return text.startsWith('color(srgb') ? [r * 255, g * 255, b * 255, a] : [r, g, b, a];
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const light = (color) => {
    const [r, g, b] = color.slice(0, 3).map((value) => (value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) layers.push(rgba(getComputedStyle(one).backgroundColor));
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
  };
  const poor = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility({ visibilityProperty: true }) || element.closest('script, style, .hidden, .skip, option, :disabled')) continue;
    const style = getComputedStyle(element);
    const under = behind(element);
    const [a, b] = [light(over(rgba(style.color), under)), light(under)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) poor.push(`${ratio.toFixed(2)} ${node.data.trim().slice(0, 40)} (${element.tagName} ${element.className})`);
  }
  return [...new Set(poor)];
};

export default async function contrast(scene) {
  const service = scene.use(await Service.start(...traces()));
  await service.makeCache('a', { tokens: 200, layers: 2 });
  const { paths } = await service.ask('GET', '/openapi.json');
  const views = ['#/memory', '#/caches/a?layer=0&side=k&head=0', '#/experiments', '#/activity', '#/results', '#/results/none'];
  if (paths['/v1/jobs']) {
    const one = await service.finish(quick());
    const two = await service.finish(quick({ label: 'again' }));
    views.push(`#/jobs/${one.id}`, `#/results/${one.results[0]}`, `#/compare?a=${one.results[0]}&b=${two.results[0]}`);
  }
  const hues = {};
  for (const scheme of ['light', 'dark']) {
    const page = await scene.page(service, { scheme, expected: [/status of 404/] });
    for (const hash of views) {
      await page.evaluate((to) => (location.hash = to), hash);
      await page.waitForTimeout(1200);
      for (const button of await page.getByRole('button', { name: 'Request' }).all()) await button.click();
      assert.deepEqual(await page.evaluate(measure), [], `${scheme} ${hash}`);
    }
    hues[scheme] = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    // The switch: auto, light, dark.
    const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
    assert.equal(await theme(), scheme);
    const seen = [];
    for (let turn = 0; turn < 3; turn += 1) {
      await page.locator('#tools button').first().click();
      seen.push(await theme());
    }
    assert.deepEqual(seen, ['light', 'dark', scheme]);
    await page.locator('#tools button').first().click();
    await page.reload();
    assert.equal(await theme(), 'light', 'kept over a reload');
  }
  assert.notEqual(hues.light, hues.dark);
}
