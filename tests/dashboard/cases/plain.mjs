// SPDX-License-Identifier: Apache-2.0
// The page of a build without npm, under the policy that embed.cmake gives it, on the API of a real service: numbers and
// tables, the token asked for, nothing in the console.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { text, unauthorized, wide } from '../browser.mjs';
import { Service, until } from '../service.mjs';

const dashboard = join(dirname(fileURLToPath(import.meta.url)), '../../../daemon/dashboard');
const right = 'correct-horse-battery';

export default async function plain(scene) {
  const service = scene.use(new Service());
  service.token = right;
  await service.begin('--token-file', service.tokenFile(`write ${right}`));
  const html = join(dashboard, 'plain.html');
  const output = join(service.folder, 'page.cpp');
  execFileSync(process.env.CMAKE ?? 'cmake', [`-DHTML=${html}`, `-DOUTPUT=${output}`, '-P', join(dashboard, 'embed.cmake')]);
  const policy = /"(default-src [^"]*)"/.exec(readFileSync(output, 'utf8'))[1];
  rmSync(output);
  const context = await scene.browser.newContext({ viewport: { width: 360, height: 740 } });
  await context.route(`${service.base}/`, (route) => route.fulfill({ path: html, contentType: 'text/html; charset=utf-8', headers: { 'Content-Security-Policy': policy } }));
  const page = await scene.page(service, { context, expected: unauthorized });
  await page.locator('#door').waitFor();
  await page.fill('#token', right);
  await page.keyboard.press('Enter');
  await until(async () => (await text(page, '#state')).startsWith('No caches yet'), 'an empty state');
  await service.makeCache('one', { tokens: 300 });
  await page.locator('#caches tr', { hasText: 'one' }).waitFor();
  const { caches: [it] } = await service.ask('GET', '/v1/caches');
  assert.match(await text(page, '#caches tr'), new RegExp(`${((100 * it.bytes) / it.dense_bytes).toFixed(1)} %`));
  assert.ok((await wide(page)) <= 0, 'scrolls sideways at 360 px');
}
