// SPDX-License-Identifier: Apache-2.0
// A real mustafard on a free port of the loopback, and what tests ask of it.
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));

// What --help says: tests that need a flag skip where it is not there.
export const flags = () => spawnSync(process.env.MUSTAFARD, ['--help'], { encoding: 'utf8' }).stdout;

// The recorded traces of this tree, where this mustafard takes any.
export const traces = () => (flags().includes('--trace-dir') ? ['--trace-dir', join(here, '../data/traces')] : []);

export class Skip extends Error {}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Waits until `ask` gives something true.
export async function until(ask, what, seconds = 60) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const found = await ask();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${seconds} s for: ${what}`);
    await sleep(50);
  }
}

export class Service {
  constructor(token) {
    this.token = token;
    this.folder = mkdtempSync(join(tmpdir(), 'dashboard-'));
  }

  static async start(...flags) {
    const service = new Service();
    await service.begin(...flags);
    return service;
  }

  // With --port N it comes back where it was.
  async begin(...flags) {
    const file = join(this.folder, 'port');
    rmSync(file, { force: true });
    const log = openSync(join(this.folder, 'log'), 'a');
    this.flags = flags;
    const port = this.port ?? 0;
    this.process = spawn(process.env.MUSTAFARD, ['--port', String(port), '--port-file', file, '--log-level', 'warning', ...flags], { stdio: ['ignore', 'ignore', log] });
    closeSync(log);
    this.ended = new Promise((resolve) => this.process.once('exit', resolve));
    this.process.exited = false;
    void this.ended.then(() => (this.process.exited = true));
    await until(() => {
      if (this.process.exited) throw new Error(`mustafard ended: ${this.log()}`);
      return existsSync(file) && readFileSync(file, 'utf8').trim() !== '';
    }, 'mustafard listens');
    this.port = Number(readFileSync(file, 'utf8'));
    this.base = `http://127.0.0.1:${this.port}`;
  }

  log() {
    return readFileSync(join(this.folder, 'log'), 'utf8');
  }

  async kill() {
    this.process.kill('SIGKILL');
    await this.ended;
  }

  async stop() {
    if (!this.process.exited) {
      this.process.kill('SIGTERM');
      setTimeout(() => this.process.kill('SIGTERM'), 3000).unref();
      await this.ended;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }

  async ask(method, path, body, type = 'application/json') {
    const headers = { ...(body === undefined ? {} : { 'Content-Type': type }), ...(this.token ? { Authorization: `Bearer ${this.token}` } : {}) };
    const reply = await fetch(this.base + path, { method, headers, body: body === undefined ? undefined : type === 'application/json' ? JSON.stringify(body) : body });
    const text = await reply.text();
    if (!reply.ok) throw new Error(`${method} ${path}: ${reply.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  // A case that needs a resource fails where there is none.
  async need(path) {
    const { paths } = await this.ask('GET', '/openapi.json');
    if (!paths[path]) throw new Error(`this mustafard has no ${path}`);
  }

  tokenFile(...lines) {
    const file = join(this.folder, 'tokens');
    writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 });
    return file;
  }

  async makeCache(id, { layers = 1, kv_heads = 2, head_dim = 64, recipe = 'lean', tokens = 0, max_tokens = 4096, ...more } = {}) {
    await this.ask('PUT', `/v1/caches/${id}`, { geometry: { layers, kv_heads, head_dim }, recipe, max_tokens, ...more });
    if (tokens === 0) return;
    const rows = noise(2 * tokens * kv_heads * head_dim);
    for (let layer = 0; layer < layers; layer += 1) {
      await this.ask('POST', `/v1/caches/${id}/layers/${layer}/append?dtype=f32&tokens=${tokens}&expect=0`, rows, 'application/octet-stream');
    }
  }

  async finish(body) {
    const job = await this.ask('POST', '/v1/jobs', body);
    return until(async () => {
      const now = await this.ask('GET', `/v1/jobs/${job.id}`);
      return ['done', 'failed', 'cancelled', 'interrupted'].includes(now.state) && now;
    }, `job ${job.id} ends`, 120);
  }
}

// Normally distributed enough: twelve uniform numbers, of a generator that is the same each time.
function noise(count) {
  const values = new Float32Array(count);
  let state = 12345;
  for (let i = 0; i < count; i += 1) {
    let sum = -6;
    for (let j = 0; j < 12; j += 1) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      sum += state / 2 ** 32;
    }
    values[i] = sum;
  }
  return Buffer.from(values.buffer);
}

// An experiment of a second or two on the small recorded trace.
export const quick = (more = {}) => ({ traces: ['tiny-llama-d64-needle-2048'], recipes: ['dense', 'int8', 'int4', 'mustafar-70', 'lean'], lengths: [128, 256], repeats: 3, layers: [0, 1], ...more });
