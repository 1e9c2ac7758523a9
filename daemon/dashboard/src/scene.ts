// SPDX-License-Identifier: Apache-2.0
// What a view gets: where it stands, when it ends, and what must be drawn anew when the colours change.
import { Refused } from './api.ts';
import { fill, h, type Child } from './dom.ts';
import { writePlace, type Place } from './place.ts';

export class Scene {
  private readonly end = new AbortController();
  private drawn: { redraw: () => void; destroy: () => void }[] = [];
  readonly body = h('div');
  private readonly trouble = h('div', { role: 'alert' });

  constructor(readonly root: HTMLElement, readonly place: Place) {}

  get signal(): AbortSignal {
    return this.end.signal;
  }

  // The head of the view; everything else goes to `body`.
  open(title: Child, lead?: Child, actions?: Child): void {
    const heading = h('h1', { tabindex: -1 }, title);
    fill(this.root, h('div', { class: 'head' }, h('div', null, heading, lead ? h('p', { class: 'soft' }, lead) : null),
      actions ? h('div', { class: 'actions' }, actions) : null), this.trouble, this.body);
    document.title = `${heading.textContent} \u2013 mustafard`;
  }

  keep<T extends { redraw: () => void; destroy: () => void }>(figure: T): T {
    this.drawn.push(figure);
    return figure;
  }
  drop(): void {
    for (const figure of this.drawn) figure.destroy();
    this.drawn = [];
  }
  redraw(): void {
    for (const figure of this.drawn) figure.redraw();
  }

  // Keeps a choice in the address without a new step in the history.
  note(query: Record<string, string | number | null>): void {
    for (const [name, value] of Object.entries(query)) {
      if (value === null || value === '') delete this.place.query[name];
      else this.place.query[name] = String(value);
    }
    history.replaceState(null, '', writePlace(this.place.path, this.place.query));
  }

  fault(error: unknown): void {
    if (this.signal.aborted) return;
    if (error === null) return fill(this.trouble);
    if (error instanceof TypeError && !navigatorFault(error)) throw error;
    if (!this.trouble.isConnected) this.open(error instanceof Refused && error.status === 404 ? 'There is no such thing' : 'No answer yet');
    fill(this.trouble, complaint(error));
  }

  close(): void {
    this.end.abort();
    this.drop();
  }
}

// fetch() and programming mistakes throw the same type; the latter belong to the console.
function navigatorFault(error: TypeError): boolean {
  return /fetch|network|load/i.test(error.message);
}

export function complaint(error: unknown): HTMLElement {
  if (error instanceof Refused) {
    const id = error.problem?.instance?.split(':').pop();
    return h('div', { class: 'note bad' }, h('strong', null, error.problem?.title ?? `Status ${error.status}`), `: ${error.message}`,
      error.problem?.errors?.length ? h('ul', null, error.problem.errors.map((one) => h('li', null, h('code', null, one.pointer || '/'), ` ${one.message}`))) : null,
      id ? h('div', { class: 'soft' }, `request ${id}`) : null);
  }
  return h('div', { class: 'note bad' }, h('strong', null, 'The service does not answer. '), 'The page goes on by itself when it is back.');
}
