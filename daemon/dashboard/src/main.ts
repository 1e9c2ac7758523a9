// SPDX-License-Identifier: Apache-2.0
// The frame around the views: navigation, the state of the link, colours, and the question for a token.
import { json, onLink, onTokenNeeded, poll, Refused, setToken, token } from './api.ts';
import { fill, h } from './dom.ts';
import { readPlace } from './place.ts';
import { Scene } from './scene.ts';
import { themeSwitch } from './theme.ts';
import { activity } from './views/activity.ts';
import { cache } from './views/cache.ts';
import { compare } from './views/compare.ts';
import { experiments } from './views/experiments.ts';
import { job } from './views/job.ts';
import { memory } from './views/memory.ts';
import { result } from './views/result.ts';
import { results } from './views/results.ts';

type View = (scene: Scene) => void | Promise<void>;
const names: [string, string][] = [['memory', 'Memory'], ['experiments', 'Experiments'], ['results', 'Results'], ['activity', 'Activity']];
const find = (id: string) => document.getElementById(id)!;
const nav = find('nav');
const main = find('main');
const link = find('link');
const tools = find('tools');
let scene: Scene | null = null;
let unopened: Scene | null = null; // a view that waits for the service to come back

function viewOf(path: string[]): [View, string] {
  const [first, second] = path;
  switch (first) {
    case 'caches': return second ? [cache, 'memory'] : [memory, 'memory'];
    case 'experiments': return [experiments, 'experiments'];
    case 'jobs': return second ? [job, 'experiments'] : [experiments, 'experiments'];
    case 'results': return second ? [result, 'results'] : [results, 'results'];
    case 'compare': return [compare, 'results'];
    case 'activity': return [activity, 'activity'];
    default: return [memory, 'memory'];
  }
}

async function show(): Promise<void> {
  const place = readPlace(location.hash);
  const [view, part] = viewOf(place.path);
  const first = scene === null;
  scene?.close();
  const mine = (scene = new Scene(main, place));
  fill(nav, names.map(([id, name]) => h('a', { href: `#/${id}`, 'aria-current': id === part ? 'page' : null }, name)));
  fill(main);
  try {
    await view(mine);
    if (!first && scene === mine) {
      scrollTo(0, 0);
      main.querySelector<HTMLElement>('h1')?.focus({ preventScroll: true });
    }
  } catch (error) {
    if (mine.signal.aborted) return;
    if (!(error instanceof Refused) || error.status === 503) unopened = mine;
    mine.fault(error);
  }
}

function askForToken(): Promise<string> {
  const door = find('door') as HTMLDialogElement;
  const input = find('door-token') as HTMLInputElement;
  find('door-why').textContent = token()
    ? 'The service did not take the token of this tab.'
    : 'This service answers only those who have a token.';
  door.addEventListener('cancel', (event) => event.preventDefault());
  input.value = '';
  door.showModal();
  return new Promise((resolve) => {
    door.querySelector('form')!.onsubmit = (event) => {
      event.preventDefault();
      const text = input.value.trim();
      // What a header cannot carry is no token; the service refuses short ones too.
      if (!/^[\x21-\x7e]+$/.test(text)) {
        find('door-why').textContent = 'A token is 16 to 256 visible ASCII characters.';
        return;
      }
      input.value = '';
      door.close();
      tell();
      resolve(text);
    };
  });
}

function tell(): void {
  setTimeout(() => {
    fill(tools, themeButton, ' ', token() ? h('button', { type: 'button', class: 'tool theme', onclick: () => {
      setToken(null);
      location.reload();
    } }, 'Forget token') : null);
  });
}

const themeButton = themeSwitch(() => scene?.redraw());
const words = { live: 'Live', lost: 'No answer, trying again', busy: 'Busy' };
link.textContent = words.live;
onLink((state) => {
  link.textContent = words[state];
  link.className = state;
  if (state === 'live' && unopened && unopened === scene) {
    unopened = null;
    void show();
  }
});
onTokenNeeded(askForToken);
tell();
find('skip').addEventListener('click', (event) => {
  event.preventDefault(); // the hash is the place
  main.focus();
});
addEventListener('hashchange', () => void show());
// A view without a request of its own notices, too, that the service is gone.
void poll(5000, new AbortController().signal, async () => {
  await json('/healthz');
});
void show();
