// SPDX-License-Identifier: Apache-2.0
// Debian's chromium, and what every test of the page holds: no message in the console, no report of the policy, no
// request that leaves the origin.
import { existsSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Skip } from './service.mjs';

const executables = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

export async function open() {
  const executablePath = executables.find((path) => path && existsSync(path));
  if (!executablePath) throw new Skip('chromium not found (package chromium; or name one in CHROMIUM)');
  const { chromium } = createRequire(join(process.env.TEST_PACKAGES, 'package.json'))('playwright-core');
  const browser = await chromium.launch({ executablePath, args: [
    ...(process.getuid() === 0 ? ['--no-sandbox'] : []), '--disable-background-networking', '--disable-component-update', '--disable-dev-shm-usage'] });
  return new Scene(browser);
}

class Scene {
  constructor(browser) {
    this.browser = browser;
    this.faults = [];
    this.pages = [];
    this.services = [];
  }

  // A service that ends with the test.
  use(service) {
    this.services.push(service);
    return service;
  }

  // `expected`: texts of the console that belong to the test, as a 401 does to a missing token.
  async page(service, { width = 1280, height = 900, scheme = 'light', expected = [], hash = '#/memory', context } = {}) {
    context ??= await this.browser.newContext({ viewport: { width, height }, colorScheme: scheme, acceptDownloads: true });
    const page = await context.newPage();
    page.setDefaultTimeout(60_000);
    page.on('console', (message) => {
      if (!['error', 'warning'].includes(message.type())) return;
      if (!expected.some((pattern) => pattern.test(message.text()))) this.faults.push(`console: ${message.text()} ${message.location().url}`);
    });
    page.on('pageerror', (error) => this.faults.push(`exception: ${error.stack}`));
    page.on('dialog', (dialog) => {
      this.faults.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on('request', (request) => {
      const url = new URL(request.url());
      if (url.origin !== service.base && !['data:', 'blob:'].includes(url.protocol)) this.faults.push(`request to ${request.url()}`);
    });
    await page.addInitScript(() => {
      window.reports = [];
      document.addEventListener('securitypolicyviolation', (event) => window.reports.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
    });
    this.pages.push(page);
    await page.goto(`${service.base}/${hash}`);
    return page;
  }

  async reports() {
    for (const page of this.pages) {
      if (!page.isClosed()) this.faults.push(...(await page.evaluate(() => window.reports ?? [])).map((text) => `policy: ${text}`));
    }
  }

  check() {
    if (this.faults.length) throw new Error(`the page complained:\n  ${[...new Set(this.faults)].join('\n  ')}`);
  }

  // A picture of what was there when a test failed.
  async explain(name) {
    const folder = join(process.env.TEST_PACKAGES, 'failed');
    mkdirSync(folder, { recursive: true });
    for (const [index, page] of this.pages.entries()) {
      const path = join(folder, `${name}-${index}.png`);
      await page.screenshot({ path, fullPage: true, timeout: 5000 }).then(() => console.error(`see ${path}`), () => {});
    }
    if (this.faults.length) console.error(`complaints so far:\n  ${this.faults.join('\n  ')}`);
  }

  async close() {
    await this.browser.close();
    for (const service of this.services) await service.stop();
  }
}

// Offline while a service is away is the browser's to tell.
export const away = [/net::ERR_/, /Failed to load resource/];
export const unauthorized = [/status of 401/];

export async function text(page, selector) {
  return (await page.locator(selector).first().textContent()).replace(/\u202f/g, ' ').trim();
}

export async function wide(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}
