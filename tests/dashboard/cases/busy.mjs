// SPDX-License-Identifier: Apache-2.0
// 503: one worker, a queue of one, and clients that keep both full. The page says so and comes back by itself.
import { text } from '../browser.mjs';
import { Service, sleep, until } from '../service.mjs';

export default async function busy(scene) {
  const service = scene.use(await Service.start('--workers', '1', '--queue-limit', '1', '--memory-quota', '512m', '--threads', '1'));
  await service.makeCache('c', { tokens: 256 });
  const page = await scene.page(service, { expected: [/status of 503/] });
  await page.locator('tbody a').first().waitFor();
  let going = true;
  const query = Buffer.alloc(4096 * 2 * 64 * 4);
  const clients = Array.from({ length: 6 }, async () => {
    while (going) {
      await fetch(`${service.base}/v1/caches/c/layers/0/attend?dtype=f32&q_tokens=4096&q_position=100`, {
        method: 'POST', body: query, headers: { 'Content-Type': 'application/octet-stream' } }).then((reply) => reply.arrayBuffer()).catch(() => sleep(100));
    }
  });
  await until(() => page.locator('#link.busy').count(), 'the page says busy', 60);
  await page.locator('.note.bad', { hasText: 'The queue is full' }).waitFor();
  await until(async () => (await page.locator('tbody a').count()) === 1, 'what was known stays');
  going = false;
  await Promise.all(clients);
  await until(async () => (await text(page, '#link')) === 'Live', 'live again', 60);
  await until(async () => (await page.locator('.note.bad').count()) === 0, 'the message goes', 60);
}
