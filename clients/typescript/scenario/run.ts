// SPDX-License-Identifier: Apache-2.0
// The runner of the scenario for the TypeScript client; clients/scenario/README.md says what a runner does.

import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import {
  BadReply,
  Client,
  ConnectionLost,
  type JobRequest,
  type Pair,
  ProblemError,
  type Tensor,
} from "../src/index.js";
import { canonical, makeTensor, sha256, type TensorSpec } from "./values.js";

interface Step {
  id: string;
  call: string;
  via?: string;
  problem?: string;
  path?: unknown[];
  body?: unknown;
  query?: Record<string, unknown>;
  tensors?: Record<string, TensorSpec>;
  parts?: Record<string, { expect?: number; tensors: Record<string, TensorSpec> }>;
  content_of?: string;
  spoil?: number;
  file?: string;
  key?: string;
  save?: Record<string, Array<string | number>>;
  only?: string[];
  keep?: string[];
  first_line?: boolean;
}

type Method = (...all: unknown[]) => Promise<unknown>;

function options(): Record<string, string> {
  const given: Record<string, string> = {};
  for (let i = 2; i + 1 < process.argv.length; i += 2) given[process.argv[i]!.slice(2)] = process.argv[i + 1]!;
  for (const name of ["scenario", "url", "faults", "unix", "token", "read-token", "name", "out", "root"]) {
    if (given[name] === undefined) throw new Error(`--${name} is missing`);
  }
  return given;
}

/** Every text changed, and objects without some of their members. */
function mapTexts(value: unknown, without: Set<string>, change: (text: string) => string): unknown {
  if (typeof value === "string") return change(value);
  if (Array.isArray(value)) return value.map((one) => mapTexts(one, without, change));
  if (value === null || typeof value !== "object") return value;
  const members = Object.entries(value).filter(([name]) => !without.has(name));
  return Object.fromEntries(members.map(([name, one]) => [change(name), mapTexts(one, without, change)]));
}

function isTensor(value: unknown): value is Tensor {
  return typeof value === "object" && value !== null && "dtype" in value && "shape" in value && "data" in value;
}

/** 0.k, 0.v, 1.k, ... as a pair per layer. */
function pairs(tensors: Record<string, TensorSpec>): Pair[] {
  const layers = Object.keys(tensors).length / 2;
  return Array.from({ length: layers }, (_, i) => [makeTensor(tensors[`${i}.k`]!), makeTensor(tensors[`${i}.v`]!)]);
}

/** Tensors and files by their digests. */
function described(value: unknown): unknown {
  if (value instanceof Uint8Array) return { bytes: value.length, sha256: sha256(value) };
  if (isTensor(value)) {
    const bytes = new Uint8Array(value.data.buffer, value.data.byteOffset, value.data.byteLength);
    return { dtype: value.dtype, shape: value.shape, sha256: sha256(bytes) };
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, described(one)]));
}

class Runner {
  private readonly names: Map<string, string>; // what stands for it in arguments, and what it is
  private readonly clients: Record<string, Client>;

  constructor(
    private readonly given: Record<string, string>,
    private readonly ignore: string[],
  ) {
    this.names = new Map([["@", `${given["name"]}--`]]);
    const { url, token, unix, faults } = given;
    const quick = { firstWait: 20 };
    this.clients = {
      "": new Client({ url, token }),
      read: new Client({ url, token: given["read-token"] }),
      none: new Client({ url }),
      unix: new Client({ unix, token }),
      faults: new Client({ url: faults, token, retry: quick, timeout: 2000 }),
      "no-streams": new Client({ url: `${faults}/no-streams`, token, retry: quick }),
    };
  }

  /** @ in arguments is the name of this runner, so that all can use one server; $NAME is what a step saved. */
  private named<T>(value: T): T {
    const change = (text: string) => this.names.get(text) ?? text.replaceAll("@", this.names.get("@")!);
    return mapTexts(value, new Set(), change) as T;
  }

  /** A reply without what differs between runners and runs. */
  private common(value: unknown, keep: string[]): unknown {
    const ignore = new Set(this.ignore.filter((name) => !keep.includes(name)));
    return mapTexts(value, ignore, (text) => {
      for (const [name, meaning] of this.names) text = text.replaceAll(meaning, name);
      return text;
    });
  }

  private async ask(step: Step): Promise<unknown> {
    const client = this.clients[step.via ?? ""]!;
    const [first, ...more] = this.named(step.path ?? []) as [string, ...unknown[]];
    const tensors = step.tensors ?? {};
    const query = step.query === undefined ? [] : [this.named(step.query)];
    switch (step.call) {
      case "append_layers":
        return client.appendLayers(first, pairs(tensors), query[0]);
      case "append_caches": {
        const parts = Object.entries(this.named(step.parts!));
        return client.appendCaches(
          Object.fromEntries(parts.map(([id, one]) => [id, { layers: pairs(one.tensors), expect: one.expect }])),
        );
      }
      case "attend_caches": {
        const made = Object.entries(tensors).map(([id, one]) => [this.named(id), makeTensor(one)]);
        return client.attendCaches(first as unknown as number, Object.fromEntries(made), query[0]);
      }
      case "put_snapshot_content": {
        const content = await client.getSnapshotContent(this.named(step.content_of!));
        if (step.spoil !== undefined) content[step.spoil]! ^= 0xff;
        return client.putSnapshotContent(first, content);
      }
      case "put_trace":
        return client.putTrace(first, new Uint8Array(readFileSync(`${this.given["root"]}/${step.file}`)));
      case "post_jobs":
        return client.postJobs(this.named(step.body) as JobRequest, this.named(step.key));
      case "watch_job":
        return watch(client, first);
    }
    const name = step.call.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
    const method = (client as unknown as Record<string, Method>)[name]!.bind(client);
    const body = step.body === undefined ? [] : [this.named(step.body)];
    const place = step.path === undefined ? [] : [first, ...more];
    return method(...place, ...Object.values(tensors).map(makeTensor), ...body, ...query);
  }

  async run(step: Step): Promise<string> {
    let found = "";
    let answer: unknown;
    try {
      answer = described(await this.ask(step));
    } catch (error) {
      if (error instanceof ProblemError) {
        found = error.slug;
        answer = { problem: found, status: error.status, members: error.members };
      } else if (error instanceof ConnectionLost || error instanceof BadReply) {
        answer = found = error instanceof BadReply ? "bad-reply" : "lost";
      } else {
        return `failed ${String(error)}`;
      }
    }
    if (found !== (step.problem ?? "")) return `failed ${found}: ${JSON.stringify(answer)}`;
    for (const [name, way] of Object.entries(step.save ?? {})) {
      const saved = way.reduce<unknown>((value, key) => (value as Record<string, unknown>)[key], answer);
      this.names.set(`$${name}`, String(saved));
    }
    const members = answer as Record<string, unknown>;
    if (step.only !== undefined) answer = Object.fromEntries(step.only.map((name) => [name, members[name]]));
    if (step.first_line) answer = String(answer).split("\n")[0];
    return sha256(canonical(this.common(answer, step.keep ?? [])));
  }
}

async function watch(client: Client, id: string): Promise<unknown> {
  const kinds: string[] = [];
  const rows: unknown[] = [];
  let done: unknown;
  for await (const event of client.watchJob(id)) {
    if (event.kind !== "progress") kinds.push(event.kind);
    if (event.kind === "row") rows.push(event.data);
    done = event.data;
  }
  return { kinds, rows, done };
}

const given = options();
const scenario = JSON.parse(readFileSync(given["scenario"]!, "utf8")) as { ignore: string[]; steps: Step[] };
const runner = new Runner(given, scenario.ignore);
writeFileSync(given["out"]!, "");
for (const step of scenario.steps) {
  appendFileSync(given["out"]!, `${step.id} ${(await runner.run(step)).replaceAll("\n", " ")}\n`);
}
process.exit(0);
