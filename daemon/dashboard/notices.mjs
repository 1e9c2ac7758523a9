// SPDX-License-Identifier: Apache-2.0
// node notices.mjs --packages FOLDER: NOTICES.md from the licences of the packages that are bundled; --check compares.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const here = dirname(fileURLToPath(import.meta.url));
const { values } = parseArgs({ options: { packages: { type: 'string' }, check: { type: 'boolean' } } });
let text = `# Third-party notices

What the bundle of the dashboard, and so mustafard, contains of others. \`node notices.mjs --packages FOLDER\` writes this
page from the packages themselves; a test compares.
`;
for (const name of Object.keys(JSON.parse(readFileSync(join(here, 'package.json'))).dependencies)) {
  const folder = join(values.packages ?? here, 'node_modules', name);
  const about = JSON.parse(readFileSync(join(folder, 'package.json')));
  const licence = readFileSync(join(folder, 'LICENSE'), 'utf8').replace(/\r/g, '').trim();
  text += `\n## ${about.name} ${about.version} (${about.license})\n\n${licence.split('\n').map((line) => `    ${line}`.trimEnd()).join('\n')}\n`;
}
const file = join(here, 'NOTICES.md');
if (!values.check) writeFileSync(file, text);
else if (readFileSync(file, 'utf8') !== text) {
  console.error('NOTICES.md is not what notices.mjs writes');
  process.exit(1);
}
