// SPDX-License-Identifier: Apache-2.0
// Experiments: start one once, follow it until it ends.

import { BadReply, ConnectionLost, ProblemError } from "./errors.js";
import { Rows } from "./rows.js";
import type { Job, JobRequest } from "./schemas.js";
import { type CallOptions, mediaOf, problemOf, segment } from "./transport.js";

const quiet = 45000; // milliseconds without a line; the server sends one every 15 s
const poll = 25; // seconds of one long poll
const ended = ["done", "failed", "cancelled", "interrupted"];

/** kind: progress, row, result, done, reset. `data` of done and reset is the job. */
export interface JobEvent {
  id: number;
  kind: string;
  data: unknown;
}

/** Part of Client. */
export abstract class Jobs extends Rows {
  /**
   * Starts an experiment: POST /v1/jobs. It is started once, however often the request is sent: with a key of your own
   * even by a program that was started again.
   */
  postJobs(body: JobRequest, idempotencyKey?: string, options?: CallOptions): Promise<Job> {
    const headers = { "idempotency-key": `"${idempotencyKey ?? randomKey()}"` };
    return this.json("POST", "/v1/jobs", { body, headers, safe: true, ...options });
  }

  /** The rows of a result as a table: GET /v1/results/{id}, text/csv. */
  getResultCsv(id: string, options?: CallOptions): Promise<string> {
    const headers = { accept: "text/csv" };
    return this.text("GET", `/v1/results/${segment(id)}`, { headers, safe: true, ...options });
  }

  /**
   * One stream of events behind number `after`: GET /v1/jobs/{id}/events. It ends behind `done`; ConnectionLost where it
   * is cut. watchJob goes on by itself.
   */
  async *followJob(id: string, after = 0, signal?: AbortSignal): AsyncGenerator<JobEvent> {
    const abort = new AbortController();
    const stop = () => abort.abort(signal?.reason);
    signal?.addEventListener("abort", stop);
    const headers: Record<string, string> = { accept: "text/event-stream" };
    if (after > 0) headers["last-event-id"] = String(after);
    let watchdog = setTimeout(() => abort.abort(), quiet);
    try {
      const path = `/v1/jobs/${segment(id)}/events`;
      const response = await this.open("GET", path, { headers }, abort.signal);
      if (response.status !== 200) {
        const body = new Uint8Array(await response.arrayBuffer());
        throw problemOf({ status: response.status, headers: response.headers, body });
      }
      if (mediaOf(response.headers) !== "text/event-stream") {
        throw new BadReply(200, `events came as ${mediaOf(response.headers)}`);
      }
      for await (const event of events(response)) {
        clearTimeout(watchdog);
        watchdog = setTimeout(() => abort.abort(), quiet);
        if (event !== null) yield event;
        if (event?.kind === "done") return;
      }
      throw new ConnectionLost(`the events of ${id}`, true, new Error("the stream ended"));
    } finally {
      clearTimeout(watchdog);
      signal?.removeEventListener("abort", stop);
      abort.abort();
    }
  }

  /**
   * All events of a job up to `done`, whatever happens to connections in between. Where streams cannot be had it asks
   * again and again, and `row` and `result` events are left out.
   */
  async *watchJob(id: string, after = 0, signal?: AbortSignal): AsyncGenerator<JobEvent> {
    let last = after;
    let failures = 0;
    for (;;) {
      try {
        for await (const event of this.followJob(id, last, signal)) {
          failures = 0;
          last = Math.max(last, event.id);
          yield event;
          if (event.kind === "done") return;
        }
      } catch (error) {
        if (error instanceof BadReply || (error instanceof ProblemError && error.status === 503)) break;
        if (!(error instanceof ConnectionLost) || signal?.aborted || ++failures >= this.retry.attempts) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, this.wait(failures, 0)));
    }
    yield* this.poll(id, last, signal); // too many streams, or a proxy that knows none
  }

  /** Waits until a job has ended. */
  async waitJob(id: string, signal?: AbortSignal): Promise<Job> {
    for await (const event of this.watchJob(id, 0, signal)) {
      if (event.kind === "done") return event.data as Job;
    }
    throw new ConnectionLost(`the events of ${id}`, true, new Error("no end was told"));
  }

  private async *poll(id: string, last: number, signal?: AbortSignal): AsyncGenerator<JobEvent> {
    const wait = Math.min(poll, this.timeout / 2000);
    for (;;) {
      const job = await this.getJob(id, { wait, version: last }, { signal });
      const done = ended.includes(job.state);
      if (job.version === last && !done) continue;
      last = job.version;
      const { progress, what, items_done, items, state } = job;
      yield done
        ? { id: last, kind: "done", data: job }
        : { id: last, kind: "progress", data: { progress, what, items_done, items, state } };
      if (done) return;
    }
  }
}

/** Server-sent events of a body; null where bytes came, but no event. A cut one is dropped. */
async function* events(response: Response): AsyncGenerator<JobEvent | null> {
  const reader = response.body!.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let event = { id: 0, kind: "message", data: "" };
  for (;;) {
    let chunk;
    try {
      chunk = await reader.read();
    } catch (error) {
      throw new ConnectionLost("a stream of events", true, error);
    }
    if (chunk.done) return;
    const lines = (rest + decoder.decode(chunk.value as Uint8Array, { stream: true })).split("\n");
    rest = lines.pop()!;
    yield null;
    for (const line of lines) {
      const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line.replace(/\r$/, ""))!;
      if (name === "id") event.id = Number(value);
      else if (name === "event") event.kind = value!;
      else if (name === "data") event.data += value!;
      else if (line === "" && event.data !== "") {
        yield { id: event.id, kind: event.kind, data: parse(event.data) };
        event = { id: event.id, kind: "message", data: "" };
      }
    }
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new BadReply(200, `an event that is not JSON: ${text.slice(0, 80)}`);
  }
}

function randomKey(): string {
  const bytes = globalThis.crypto?.getRandomValues(new Uint8Array(16)) ?? Array.from({ length: 16 }, randomByte);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function randomByte(): number {
  return Math.floor(Math.random() * 256); // Node 18 has no global crypto; the key has to be new, not secret
}
