// SPDX-License-Identifier: Apache-2.0
// node run.mjs NAME: one test. Ends with 0, 1, or 77 after a line that says what is missing.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { open } from './browser.mjs';
import { Skip } from './service.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const dashboard = join(here, '../../daemon/dashboard');
const bundle = process.env.DASHBOARD_PACKAGES;
const packages = process.env.TEST_PACKAGES;

function need(path, what) {
  if (!existsSync(path)) throw new Skip(what);
}
function run(...command) {
  const { status, error } = spawnSync(command[0], command.slice(1), { stdio: 'inherit' });
  if (error || status !== 0) throw new Error(`${command.join(' ')}: ${error ?? `status ${status}`}`);
}

const small = {
  types() {
    need(join(packages, 'node_modules/typescript'), 'typescript is not here (dashboard/packages says why)');
    need(join(bundle, 'node_modules/uplot'), 'uPlot is not here: mustafard was built without npm');
    const config = join(packages, 'tsconfig.json');
    writeFileSync(config, JSON.stringify({ extends: join(dashboard, 'tsconfig.json'), include: [join(dashboard, 'src')],
      compilerOptions: { paths: { uplot: [join(bundle, 'node_modules/uplot/dist/uPlot.d.ts')] } } }));
    run(process.execPath, join(packages, 'node_modules/typescript/bin/tsc'), '-p', config);
  },
  unit() {
    need(join(bundle, 'node_modules/esbuild'), 'esbuild is not here: mustafard was built without npm');
    run(process.execPath, '--test', join(here, 'unit.test.mjs'));
  },
  notices() {
    need(join(bundle, 'node_modules/uplot'), 'uPlot is not here: mustafard was built without npm');
    run(process.execPath, join(dashboard, 'notices.mjs'), '--packages', bundle, '--check');
  },
  bundle() {
    need(join(bundle, 'dashboard.html.gz'), 'there is no bundle: mustafard was built without npm');
    const size = readFileSync(join(bundle, 'dashboard.html.gz')).length;
    console.log(`the page takes ${size} bytes compressed, 120000 are allowed`);
    if (size > 120_000) throw new Error('too large');
  },
};

async function inBrowser(name) {
  need(join(packages, 'node_modules/playwright-core'), 'playwright-core is not here (dashboard/packages says why)');
  need(join(bundle, 'dashboard.html.gz'), 'mustafard has the plain page only: it was built without npm');
  const test = (await import(`./cases/${name}.mjs`)).default;
  const scene = await open();
  try {
    await test(scene);
    await scene.reports();
    scene.check();
  } catch (error) {
    await scene.explain(name);
    throw error;
  } finally {
    await scene.close();
  }
}

const name = process.argv[2];
try {
  await (small[name] ? small[name]() : inBrowser(name));
} catch (error) {
  if (error instanceof Skip) {
    console.log(`skipped: ${error.message}`);
    process.exit(77);
  }
  console.error(error);
  process.exit(1);
}
