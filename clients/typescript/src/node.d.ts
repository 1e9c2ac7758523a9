// SPDX-License-Identifier: Apache-2.0
// The little of Node that is used here, so that the compiler needs no packages. Not part of what is installed.

declare module "node:http" {
  export interface IncomingMessage extends AsyncIterable<Uint8Array> {
    statusCode?: number;
    rawHeaders: string[];
    destroy(error?: Error): void;
  }
  export interface ClientRequest {
    on(event: "error", listener: (error: Error) => void): void;
    on(event: "response", listener: (reply: IncomingMessage) => void): void;
    end(body?: Uint8Array): void;
  }
  export class Agent {
    constructor(options: { keepAlive?: boolean });
  }
  export function request(options: {
    socketPath: string;
    path: string;
    method: string;
    headers: Record<string, string>;
    agent: Agent;
    signal?: AbortSignal;
  }): ClientRequest;
}

declare module "node:fs" {
  export function readFileSync(path: string | URL, encoding: "utf8"): string;
  export function readFileSync(path: string): Uint8Array;
  export function writeFileSync(path: string, data: string): void;
  export function appendFileSync(path: string, data: string): void;
}

declare module "node:crypto" {
  export function createHash(name: "sha256"): {
    update(data: Uint8Array | string): { digest(encoding: "hex"): string };
  };
}

declare module "node:test" {
  export function test(name: string, body: () => void | Promise<void>): Promise<void>;
}

declare module "node:assert/strict" {
  const assert: {
    equal(actual: unknown, expected: unknown, message?: string): void;
    deepEqual(actual: unknown, expected: unknown, message?: string): void;
    ok(value: unknown, message?: string): asserts value;
    throws(body: () => unknown, expected?: unknown): void;
    rejects(body: Promise<unknown> | (() => Promise<unknown>), expected?: unknown): Promise<void>;
  };
  export default assert;
}

declare const process: { argv: string[]; env: Record<string, string | undefined>; exit(status: number): never };
