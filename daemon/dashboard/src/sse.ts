// SPDX-License-Identifier: Apache-2.0
// The parser of text/event-stream (WHATWG HTML, section 9.2.6), for pieces that end anywhere.

export interface StreamEvent {
  id: string;
  type: string;
  data: string;
}

export class EventParser {
  lastId = '';
  private rest = '';
  private data: string[] = [];
  private type = '';
  private first = true;

  // The events that `text` completes.
  push(text: string): StreamEvent[] {
    this.rest += text;
    if (this.first && this.rest !== '') {
      if (this.rest.startsWith('\ufeff')) this.rest = this.rest.slice(1);
      this.first = false;
    }
    const events: StreamEvent[] = [];
    for (;;) {
      const at = this.rest.search(/[\r\n]/);
      // A CR at the end may be half of a CR LF.
      if (at < 0 || (this.rest[at] === '\r' && at + 1 === this.rest.length)) break;
      const line = this.rest.slice(0, at);
      this.rest = this.rest.slice(at + (this.rest.startsWith('\r\n', at) ? 2 : 1));
      const event = this.line(line);
      if (event) events.push(event);
    }
    return events;
  }

  private line(line: string): StreamEvent | null {
    if (line === '') return this.dispatch();
    const colon = line.indexOf(':');
    if (colon === 0) return null; // a comment: the ping
    const name = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    if (name === 'data') this.data.push(value);
    else if (name === 'event') this.type = value;
    else if (name === 'id' && !value.includes('\0')) this.lastId = value;
    return null;
  }

  private dispatch(): StreamEvent | null {
    const event = { id: this.lastId, type: this.type || 'message', data: this.data.join('\n') };
    const empty = this.data.length === 0;
    this.data = [];
    this.type = '';
    return empty ? null : event;
  }
}
