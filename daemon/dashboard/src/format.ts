// SPDX-License-Identifier: Apache-2.0
// Numbers as people read them: three significant digits, units, and one width where they stand in columns.

const thin = '\u202f';
export const none = '\u2013';

// 1234567 -> "1 234 567"
export function count(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return none;
  return Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, thin);
}

// Three significant digits, without an exponent from 0.001 to 99999.
export function short(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return none;
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size < 0.001 || size >= 1e15) return value.toExponential(1);
  if (size >= 999.5) return count(value);
  return value.toPrecision(3);
}

// A number beside an axis: no more digits than it has.
export function tick(value: number): string {
  const size = Math.abs(value);
  if (size >= 10_000 && size < 1e9) return count(value);
  return String(Number(value.toPrecision(3)));
}

// The same without zeros that say nothing: "2.00 ms" beside an axis is "2 ms".
export function plain(text: string): string {
  return text.replace(/(\.\d*?)0+(?= )/, '$1').replace(/\.(?= )/, '');
}

function scaled(value: number, step: number, units: readonly string[]): string {
  let index = 0;
  let size = Math.abs(value);
  while (size >= step * 0.9995 && index < units.length - 1) {
    size /= step;
    index += 1;
  }
  const sign = value < 0 ? '-' : '';
  const whole = index === 0 && Number.isInteger(size);
  const text = whole ? size.toString() : size >= 99.95 ? size.toFixed(0) : size >= 9.995 ? size.toFixed(1) : size.toFixed(2);
  return `${sign}${text} ${units[index]}`;
}

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return none;
  return scaled(value, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']);
}

export function nanoseconds(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return none;
  return scaled(value, 1000, ['ns', '\u00b5s', 'ms', 's']);
}

export function seconds(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return none;
  if (value < 60) return nanoseconds(value * 1e9);
  const whole = Math.round(value);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return parts[0] ? `${parts[0]} h ${parts[1]} min` : `${parts[1]} min ${parts[2]} s`;
}

export function percent(ratio: number | null | undefined): string {
  if (ratio === null || ratio === undefined || !Number.isFinite(ratio)) return none;
  const value = ratio * 100;
  const size = Math.abs(value);
  return `${size >= 99.95 ? value.toFixed(0) : size >= 0.05 || size === 0 ? value.toFixed(1) : value.toExponential(0)} %`;
}

// Local time of an RFC 3339 text; the text itself where it is none.
export function clock(text: string | null | undefined, now = new Date()): string {
  if (!text) return none;
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) return text;
  const two = (value: number) => value.toString().padStart(2, '0');
  const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  const hour = `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
  return time.toDateString() === now.toDateString() ? hour : `${day} ${hour}`;
}

// "256, 1024 2048" -> [256, 1024, 2048]; null where something else than whole numbers stands there.
export function integers(text: string): number[] | null {
  const words = text.split(/[\s,]+/).filter((word) => word !== '');
  return words.every((word) => /^\d{1,10}$/.test(word)) ? words.map(Number) : null;
}

// One argument for a POSIX shell.
export function quoted(text: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(text) ? text : `'${text.replace(/'/g, `'\\''`)}'`;
}

export type Cell = string | number | boolean | null | undefined;

// RFC 4180. Spreadsheets run cells that begin like a formula, so such texts get an apostrophe.
export function csv(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const field = (value: Cell): string => {
    if (value === null || value === undefined) return '';
    let text = String(value);
    if (typeof value === 'string' && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };
  return [head, ...rows].map((row) => `${row.map(field).join(',')}\r\n`).join('');
}
