// SPDX-License-Identifier: Apache-2.0
// Inputs that every language makes alike, and replies as one text.

import { createHash } from "node:crypto";
import { bf16, f16, f32, type DType, type Tensor } from "../src/index.js";

export interface TensorSpec {
  dtype: DType;
  shape: number[];
  seed: number;
  patch?: Record<string, string>;
}

const word = (1n << 64n) - 1n;

/** The generator of tests/conformance/README.md. */
function bits(dtype: DType, seed: bigint, index: bigint): number {
  let z = (((seed << 32n) + index + 1n) * 0x9e3779b97f4a7c15n) & word;
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & word;
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & word;
  z ^= z >> 31n;
  const exponent = (z >> 32n) & 7n;
  if (dtype === "f16") return Number((z & 0x83ffn) | ((8n + exponent) << 10n));
  if (dtype === "bf16") return Number((z & 0x807fn) | ((120n + exponent) << 7n));
  return Number((z & 0x807fffffn) | ((120n + exponent) << 23n));
}

export function makeTensor(spec: TensorSpec): Tensor {
  const count = spec.shape.reduce((product, size) => product * size, 1);
  const words = spec.dtype === "f32" ? new Uint32Array(count) : new Uint16Array(count);
  for (let i = 0; i < count; i++) words[i] = bits(spec.dtype, BigInt(spec.seed), BigInt(i));
  for (const [at, value] of Object.entries(spec.patch ?? {})) words[Number(at)] = parseInt(value, 16);
  if (words instanceof Uint32Array) return f32(new Float32Array(words.buffer), ...spec.shape);
  return spec.dtype === "f16" ? f16(words, ...spec.shape) : bf16(words, ...spec.shape);
}

/** One text per value, the same in every language. */
export function canonical(value: unknown): string {
  if (value === null || value === undefined) return "n";
  if (typeof value === "boolean") return value ? "t" : "f";
  if (typeof value === "number") {
    if (Number.isInteger(value) && Math.abs(value) < 2 ** 53) return `i${value === 0 ? 0 : value};`;
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, value);
    return `d${view.getBigUint64(0).toString(16).padStart(16, "0")}`;
  }
  if (typeof value === "string") return `s${new TextEncoder().encode(value).length}:${value}`;
  if (Array.isArray(value)) return `[${value.map(canonical).join("")}]`;
  const members = value as Record<string, unknown>;
  const names = Object.keys(members).sort();
  return `{${names.map((name) => canonical(name) + canonical(members[name])).join("")}}`;
}

export function sha256(data: Uint8Array | string): string {
  return createHash("sha256").update(data).digest("hex");
}
