// SPDX-License-Identifier: Apache-2.0
// Every request of the page: the token goes with each, a missing one is asked for once, and whether the service
// answers is told to whoever listens.
import { quoted } from './format.ts';

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance?: string;
  errors?: { pointer: string; code: string; message: string }[];
}

// The service answered, but not with what was asked for.
export class Refused extends Error {
  constructor(readonly status: number, readonly problem: Problem | null, readonly retryAfter: number) {
    super(problem ? problem.detail || problem.title : `status ${status}`);
  }
  get slug(): string {
    return this.problem?.type.split(':').pop() ?? '';
  }
}

export interface Call {
  method?: string;
  path: string;
  body?: unknown;
  accept?: string;
}

const key = 'mustafard.token';
export type Link = 'live' | 'lost' | 'busy';
type Listener = (link: Link) => void;
let link: Link = 'live';
const listeners: Listener[] = [];
let askToken: () => Promise<string> = () => Promise.reject(new Error('a token is required'));
let asking: Promise<string> | null = null;

export function onLink(listener: Listener): void {
  listeners.push(listener);
}
export function tell(now: Link): void {
  if (now === link) return;
  link = now;
  for (const listener of listeners) listener(now);
}
export function onTokenNeeded(ask: () => Promise<string>): void {
  askToken = ask;
}
export function token(): string | null {
  return sessionStorage.getItem(key);
}
export function setToken(text: string | null): void {
  if (text) sessionStorage.setItem(key, text);
  else sessionStorage.removeItem(key);
}

async function refusal(reply: Response): Promise<Refused> {
  let problem: Problem | null = null;
  try {
    problem = (await reply.json()) as Problem;
  } catch {
    // not ours: a proxy's page
  }
  return new Refused(reply.status, problem, Number(reply.headers.get('Retry-After')) || 0);
}

// Resolves with a reply of 2xx. Throws Refused for another, TypeError where nobody answers, AbortError.
export async function ask(call: Call, signal?: AbortSignal, extra: Record<string, string> = {}): Promise<Response> {
  for (;;) {
    const sent = token();
    const headers: Record<string, string> = { Accept: call.accept ?? 'application/json', ...extra };
    if (sent) headers['Authorization'] = `Bearer ${sent}`;
    if (call.body !== undefined) headers['Content-Type'] = 'application/json';
    let reply: Response;
    try {
      reply = await fetch(call.path, {
        method: call.method ?? 'GET',
        headers,
        body: call.body === undefined ? null : JSON.stringify(call.body),
        signal: signal ?? null,
        cache: 'no-store',
        credentials: 'omit',
        redirect: 'error',
      });
    } catch (error) {
      if (error instanceof TypeError) tell('lost');
      throw error;
    }
    if (reply.status === 401) {
      // Several requests may meet this at once; the reader is asked once.
      if (sent === token()) {
        asking ??= askToken().finally(() => (asking = null));
        setToken(await asking);
      }
      continue;
    }
    tell(reply.status === 503 ? 'busy' : 'live');
    if (!reply.ok) throw await refusal(reply);
    return reply;
  }
}

export async function json<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await (await ask({ path }, signal)).json()) as T;
}

// Null where the service has no such resource: an older one, or one that is gone.
export async function maybe<T>(path: string, signal?: AbortSignal): Promise<T | null> {
  try {
    return await json<T>(path, signal);
  } catch (error) {
    if (error instanceof Refused && error.status === 404) return null;
    throw error;
  }
}

export function curl(call: Call): string {
  const words = ['curl'];
  if (call.method && call.method !== 'GET') words.push('-X', call.method);
  words.push(quoted(location.origin + call.path));
  if (token()) words.push('-H', '"Authorization: Bearer $MUSTAFARD_TOKEN"');
  if (call.accept && call.accept !== 'application/json') words.push('-H', quoted(`Accept: ${call.accept}`));
  if (call.body !== undefined) {
    words.push('-H', quoted('Content-Type: application/json'), '-d', quoted(JSON.stringify(call.body)));
  }
  return words.join(' ');
}

export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, ms);
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
  });
}

// Runs `once` again and again until `signal`; slower while nobody answers, not at all while nobody looks.
export async function poll(ms: number, signal: AbortSignal, once: () => Promise<void>, failed?: (error: unknown) => void): Promise<void> {
  let wait = ms;
  while (!signal.aborted) {
    try {
      if (!document.hidden) await once();
      wait = ms;
    } catch (error) {
      if (signal.aborted) return;
      failed?.(error);
      const asked = error instanceof Refused ? error.retryAfter * 1000 : 0;
      wait = Math.max(asked, Math.min(10_000, Math.max(1000, wait * 1.6)));
    }
    try {
      await sleep(wait, signal);
    } catch {
      return;
    }
  }
}
