// SPDX-License-Identifier: Apache-2.0
// A job as it happens: events by a streamed fetch (EventSource cannot send a token), by long poll where that does not
// work, and again after a break from the last event on.
import { ask, json, Refused, sleep } from './api.ts';
import { EventParser } from './sse.ts';
import type { Job, Row } from './types.ts';

export interface Watcher {
  job: (job: Partial<Job>) => void; // what is new of it
  row: (result: string, row: Row) => void;
  result: (id: string) => void;
  way: (text: string, live: boolean) => void; // how the page follows, in words
}

const ended = (job: Partial<Job>) => ['done', 'failed', 'cancelled', 'interrupted'].includes(job.state ?? '');
const quiet = 40_000; // the service pings every 15 s: a link silent for so long is dead

export async function follow(id: string, watcher: Watcher, signal: AbortSignal): Promise<void> {
  const path = `/v1/jobs/${encodeURIComponent(id)}`;
  let last = '';
  let wait = 500;
  for (;;) {
    try {
      const over = await stream(path, last, watcher, signal, (event) => {
        last = event;
        wait = 500;
      }).catch((error: unknown) => {
        // No room for another stream, or no streams at all: ask in turns instead.
        if (error instanceof Refused) return turns(path, watcher, signal);
        throw error;
      });
      if (over) return watcher.way('', false);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.status === 404) throw error; // the job itself is gone
    }
    watcher.way(`The link broke; trying again in ${Math.round(wait / 100) / 10} s`, false);
    try {
      await sleep(wait, signal);
    } catch {
      return;
    }
    wait = Math.min(8000, wait * 2);
  }
}

// True where the job has ended.
async function stream(path: string, last: string, watcher: Watcher, signal: AbortSignal, seen: (id: string) => void): Promise<boolean> {
  const link = new AbortController();
  const stop = () => link.abort(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  let timer = setTimeout(() => link.abort(), quiet);
  try {
    const reply = await ask({ path: `${path}/events`, accept: 'text/event-stream' }, link.signal, { 'Last-Event-ID': last || '0' });
    watcher.way('Live', true);
    const reader = reply.body!.getReader();
    const text = new TextDecoder();
    const parser = new EventParser();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return false;
      clearTimeout(timer);
      timer = setTimeout(() => link.abort(), quiet);
      for (const event of parser.push(text.decode(value, { stream: true }))) {
        if (event.id) seen(event.id);
        if (take(event.type, event.data, watcher)) return true;
      }
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
    link.abort();
  }
}

function take(type: string, data: string, watcher: Watcher): boolean {
  const body = JSON.parse(data);
  if (type === 'progress') watcher.job(body as Partial<Job>);
  else if (type === 'row') watcher.row((body as { result: string }).result, (body as { row: Row }).row);
  else if (type === 'result') watcher.result((body as { result: string }).result);
  else if (type === 'reset' || type === 'done') watcher.job(body as Job);
  return type === 'done' || (type === 'reset' && ended(body as Job));
}

async function turns(path: string, watcher: Watcher, signal: AbortSignal): Promise<boolean> {
  watcher.way('Live, by long poll', true);
  let version = -1;
  let rows = 0;
  for (;;) {
    const job: Job = await json(`${path}?wait=25&version=${Math.max(0, version)}`, signal);
    if (job.version !== version) watcher.job(job);
    version = job.version;
    // Of events there would be rows one by one; here the result has them.
    const newest = job.results[job.results.length - 1];
    if (job.rows !== rows && newest) watcher.result(newest);
    rows = job.rows;
    if (ended(job)) return true;
    if (signal.aborted) return true;
  }
}
