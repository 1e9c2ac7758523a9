// SPDX-License-Identifier: Apache-2.0
// Requests with time limits, repeated only where that is safe.

import { BadReply, ClientError, ConnectionLost, prefix, ProblemError, type ProblemDocument } from "./errors.js";
import { problems } from "./problems.js";

export const json = "application/json";
const problemMedia = "application/problem+json";

/**
 * How often a request is repeated, and how long to wait in between. A request that never left, and one answered with
 * 503 (nothing was done then), is always repeated; one whose answer was lost only if to do it twice is to do it once.
 */
export interface Retry {
  attempts: number; // 1: never
  firstWait: number; // milliseconds; doubled each time, and spread by half
  longestWait: number; // a server that asks for more (Retry-After) gets no further attempt
}

export interface ClientOptions {
  url?: string; // http://127.0.0.1:8642 unless given
  unix?: string; // path of a UNIX socket, instead of url; Node only
  token?: string;
  timeout?: number; // milliseconds of one call with all its attempts; 60000 unless given
  retry?: Partial<Retry>;
  fetch?: typeof fetch; // another way to send
}

/** What every call takes last. */
export interface CallOptions {
  signal?: AbortSignal;
  timeout?: number;
}

export interface CallInit extends CallOptions {
  query?: Record<string, string | number | boolean | undefined>;
  body?: unknown; // sent as JSON, or a Uint8Array as it is
  headers?: Record<string, string>;
  safe?: boolean; // it may be repeated although it may have been done
}

export interface Reply {
  status: number;
  headers: Headers;
  body: Uint8Array;
}

/** One segment of a path. */
export function segment(value: string | number): string {
  return encodeURIComponent(String(value));
}

export function mediaOf(headers: Headers): string {
  return (headers.get("content-type") ?? "").split(";")[0]!.trim();
}

/** Part of Client. */
export abstract class Transport {
  protected readonly base: string;
  protected readonly timeout: number;
  protected readonly retry: Retry;
  private readonly token: string | undefined;
  private readonly unix: string | undefined;
  private send: typeof fetch | undefined;

  constructor(options: ClientOptions = {}) {
    const url = options.unix === undefined ? options.url ?? "http://127.0.0.1:8642" : "http://localhost";
    if (!/^https?:\/\/[^/\s]+/.test(url)) throw new ClientError(`"${url}" is no address; http://HOST:PORT is expected`);
    this.base = url.replace(/\/+$/, "");
    this.timeout = options.timeout ?? 60000;
    this.retry = { attempts: 4, firstWait: 100, longestWait: 10000, ...options.retry };
    this.token = options.token;
    this.unix = options.unix;
    this.send = options.fetch;
  }

  /** One request, for what the other methods do not offer (If-Match, say). Refusals are thrown. */
  async request(method: string, path: string, init: CallInit = {}): Promise<Reply> {
    const limit = Date.now() + (init.timeout ?? this.timeout);
    for (let attempt = 1; ; attempt++) {
      let failure: unknown;
      let again = false;
      let asked = 0;
      try {
        const reply = await this.once(method, path, init, limit);
        if (isAnswer(reply)) return reply;
        failure = problemOf(reply);
        again = reply.status === 503;
        asked = 1000 * seconds(reply.headers.get("retry-after"));
      } catch (error) {
        if (!(error instanceof ConnectionLost)) throw error;
        failure = error;
        again = init.safe === true || !error.sent;
      }
      const wait = this.wait(attempt, asked);
      const late = asked > this.retry.longestWait || Date.now() + wait >= limit;
      if (!again || late || attempt >= this.retry.attempts || init.signal?.aborted) throw failure;
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  protected wait(attempt: number, asked: number): number {
    const doubled = this.retry.firstWait * 2 ** (attempt - 1) * (0.75 + Math.random() / 2);
    return Math.max(asked, Math.min(doubled, this.retry.longestWait));
  }

  protected async json<T>(method: string, path: string, init: CallInit): Promise<T> {
    const reply = await this.request(method, path, init);
    return document(reply) as T;
  }

  protected async text(method: string, path: string, init: CallInit): Promise<string> {
    return new TextDecoder().decode((await this.request(method, path, init)).body);
  }

  protected async nothing(method: string, path: string, init: CallInit): Promise<void> {
    await this.request(method, path, init);
  }

  /** The head of the answer, of one attempt. The caller reads the body or cancels it. */
  protected async open(method: string, path: string, init: CallInit, signal: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { accept: "*/*", ...init.headers };
    if (this.token !== undefined) headers["authorization"] = `Bearer ${this.token}`;
    let body = init.body as Uint8Array | undefined;
    if (body !== undefined && !(body instanceof Uint8Array)) {
      body = new TextEncoder().encode(JSON.stringify(init.body));
      headers["content-type"] = json;
    }
    if (this.send === undefined) {
      this.send = this.unix === undefined ? globalThis.fetch : (await import("./unix.js")).unixFetch(this.unix);
    }
    try {
      const send = this.send;
      return await send(this.base + path + queryText(init.query), { method, headers, body, signal, redirect: "manual" });
    } catch (error) {
      throw new ConnectionLost(`${method} ${path}`, !neverSent(error), error);
    }
  }

  private async once(method: string, path: string, init: CallInit, limit: number): Promise<Reply> {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(new Error("out of time")), Math.max(limit - Date.now(), 1));
    const stop = () => abort.abort(init.signal?.reason);
    if (init.signal?.aborted) stop();
    init.signal?.addEventListener("abort", stop);
    try {
      const response = await this.open(method, path, init, abort.signal);
      try {
        const body = new Uint8Array(await response.arrayBuffer());
        return { status: response.status, headers: response.headers, body };
      } catch (error) {
        throw new ConnectionLost(`${method} ${path}`, true, error);
      }
    } finally {
      clearTimeout(timer);
      init.signal?.removeEventListener("abort", stop);
    }
  }
}

function queryText(query: CallInit["query"]): string {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined);
  const pairs = given.map(([name, value]) => `${segment(name)}=${segment(String(value))}`);
  return pairs.length > 0 ? `?${pairs.join("&")}` : "";
}

export function document(reply: Reply): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(reply.body));
  } catch (error) {
    throw new BadReply(reply.status, `not the JSON that is expected: ${String(error)}`);
  }
}

function isAnswer(reply: Reply): boolean {
  const media = mediaOf(reply.headers);
  // /readyz says with 503 what it says with 200.
  return media !== problemMedia && (reply.status < 300 || reply.status === 304 || media === json);
}

/** The error for a reply that is none of success. */
export function problemOf(reply: Reply): ClientError {
  if (mediaOf(reply.headers) !== problemMedia) {
    const start = new TextDecoder().decode(reply.body.subarray(0, 80));
    return new BadReply(reply.status, `"${mediaOf(reply.headers)}": ${start}`);
  }
  const read = document(reply) as ProblemDocument;
  const Kind = problems[String(read.type).replace(prefix, "")] ?? ProblemError;
  return new Kind(read);
}

function seconds(text: string | null): number {
  return text !== null && /^[0-9]+$/.test(text) ? Number(text) : 0;
}

function neverSent(error: unknown): boolean {
  const codes = ["ECONNREFUSED", "ENOENT", "ENOTFOUND", "EAI_AGAIN", "EACCES", "UND_ERR_CONNECT_TIMEOUT"];
  const inner = error instanceof Error && error.cause !== undefined ? error.cause : error;
  return codes.includes(String((inner as { code?: unknown } | null)?.code));
}
