// SPDX-License-Identifier: Apache-2.0
// node build.mjs --packages FOLDER --out FOLDER: the dashboard as one HTML file, plain and compressed.
// FOLDER/node_modules of --packages holds what package-lock.json names.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { parseArgs } from 'node:util';

const limit = 120_000; // bytes, compressed: what the page may cost
const here = dirname(fileURLToPath(import.meta.url));
const { values } = parseArgs({ options: { packages: { type: 'string' }, out: { type: 'string' } } });
const packages = resolve(values.packages ?? here);
const out = resolve(values.out ?? '.');
const { buildSync } = createRequire(join(packages, 'package.json'))('esbuild');
const common = { bundle: true, minify: true, write: false, charset: 'utf8', nodePaths: [join(packages, 'node_modules')], logLevel: 'warning' };

const script = buildSync({ ...common, entryPoints: [join(here, 'src/main.ts')], format: 'iife', target: 'es2021', legalComments: 'none' });
const style = buildSync({ ...common, stdin: { contents: '@import "uplot/dist/uPlot.min.css"; @import "./style.css";', resolveDir: join(here, 'src'), loader: 'css' }, target: 'chrome111' });
// The one sequence that would end the element early, and a note of whose work is inside.
const js = `/* mustafard dashboard. With uPlot 1.6.32, (c) 2022 Leon Sorokin, MIT licence: daemon/dashboard/NOTICES.md */\n${script.outputFiles[0].text.trim()}`.replace(/<\/(script)/gi, '<\\/$1');
const html = readFileSync(join(here, 'src/index.html'), 'utf8')
  .replace('/*STYLE*/', () => style.outputFiles[0].text.trim())
  .replace('/*SCRIPT*/', () => js);
const compressed = gzipSync(html, { level: 9 });
if (compressed.length > limit) {
  console.error(`the dashboard takes ${compressed.length} bytes compressed, ${limit} are allowed`);
  process.exit(1);
}
writeFileSync(join(out, 'dashboard.html'), html);
writeFileSync(join(out, 'dashboard.html.gz'), compressed);
