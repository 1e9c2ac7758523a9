// SPDX-License-Identifier: Apache-2.0
// Where the reader is, as the hash of the address: #/results/r1?y=kl

export interface Place {
  path: string[];
  query: Record<string, string>;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replace(/\+/g, ' '));
  } catch {
    return text; // not ours; shown as it is
  }
}

export function readPlace(hash: string): Place {
  const text = hash.replace(/^#?\/?/, '');
  const mark = text.indexOf('?');
  const path = (mark < 0 ? text : text.slice(0, mark)).split('/').filter((part) => part !== '').map(decoded);
  const query: Record<string, string> = Object.create(null);
  if (mark >= 0) {
    for (const pair of text.slice(mark + 1).split('&')) {
      if (pair === '') continue;
      const equal = pair.indexOf('=');
      query[decoded(equal < 0 ? pair : pair.slice(0, equal))] = equal < 0 ? '' : decoded(pair.slice(equal + 1));
    }
  }
  return { path, query };
}

export function writePlace(path: readonly string[], query: Record<string, string | number | null | undefined> = {}): string {
  const pairs = Object.entries(query)
    .filter(([, value]) => value !== null && value !== undefined && value !== '')
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`);
  return `#/${path.map(encodeURIComponent).join('/')}${pairs.length ? `?${pairs.join('&')}` : ''}`;
}
