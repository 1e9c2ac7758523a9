// SPDX-License-Identifier: Apache-2.0
// The runner of the scenario for the TypeScript client; clients/scenario/README.md says what a runner does.

import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { BadReply, Client, ConnectionLost, ProblemError, type Tensor } from "../src/index.js";
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
}

function options(): Record<string, string> {
  const given: Record<string, string> = {};
  for (let i = 2; i + 1 < process.argv.length; i += 2) given[process.argv[i]!.slice(2)] = process.argv[i + 1]!;
  for (const name of ["scenario", "url", "faults", "unix", "token", "read-token", "name", "out"]) {
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
  return Object.fromEntries(members.map(([name, one]) => [name, mapTexts(one, without, change)]));
}

function isTensor(value: unknown): value is Tensor {
  return typeof value === "object" && value !== null && "dtype" in value && "shape" in value && "data" in value;
}

/** Tensors by their digests. */
function described(value: unknown): unknown {
  if (isTensor(value)) {
    const bytes = new Uint8Array(value.data.buffer, value.data.byteOffset, value.data.byteLength);
    return { dtype: value.dtype, shape: value.shape, sha256: sha256(bytes) };
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, described(one)]));
}

class Runner {
  private readonly prefix: string;
  private readonly clients: Record<string, Client>;

  constructor(
    given: Record<string, string>,
    private readonly ignore: Set<string>,
  ) {
    this.prefix = `${given["name"]}--`;
    const { url, token, unix, faults } = given;
    const quick = { firstWait: 20 };
    this.clients = {
      "": new Client({ url, token }),
      read: new Client({ url, token: given["read-token"] }),
      none: new Client({ url }),
      unix: new Client({ unix, token }),
      faults: new Client({ url: faults, token, retry: quick, timeout: 2000 }),
    };
  }

  private async ask(step: Step): Promise<unknown> {
    // @ in arguments is the name of this runner, so that all can use one server.
    const named = <T>(value: T) => mapTexts(value, new Set(), (text) => text.replaceAll("@", this.prefix)) as T;
    const client = this.clients[step.via ?? ""] as unknown as Record<string, (...all: unknown[]) => Promise<unknown>>;
    const name = step.call.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
    const tensors = Object.values(step.tensors ?? {}).map(makeTensor);
    const body = step.body === undefined ? [] : [named(step.body)];
    const query = step.query === undefined ? [] : [named(step.query)];
    return client[name]!(...named(step.path ?? []), ...tensors, ...body, ...query);
  }

  async run(step: Step): Promise<string> {
    let found = "";
    let answer: unknown;
    try {
      answer = await this.ask(step);
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
    // Without what differs between runners and runs.
    const common = mapTexts(described(answer), this.ignore, (text) => text.replaceAll(this.prefix, "@"));
    return sha256(canonical(common));
  }
}

const given = options();
const scenario = JSON.parse(readFileSync(given["scenario"]!, "utf8")) as { ignore: string[]; steps: Step[] };
const runner = new Runner(given, new Set(scenario.ignore));
writeFileSync(given["out"]!, "");
for (const step of scenario.steps) {
  appendFileSync(given["out"]!, `${step.id} ${(await runner.run(step)).replaceAll("\n", " ")}\n`);
}
process.exit(0);
