// SPDX-License-Identifier: Apache-2.0

import { BadReply, ClientError } from "./errors.js";

export type DType = "f16" | "bf16" | "f32";

/** An array, row-major: f16 and bf16 as their bits (bf16: the upper halves of f32). */
export interface Tensor {
  dtype: DType;
  shape: number[];
  data: Uint16Array | Float32Array;
}

export function f16(data: Uint16Array, ...shape: number[]): Tensor {
  return { dtype: "f16", shape, data };
}

export function bf16(data: Uint16Array, ...shape: number[]): Tensor {
  return { dtype: "bf16", shape, data };
}

export function f32(data: Float32Array, ...shape: number[]): Tensor {
  return { dtype: "f32", shape, data };
}

/** Its bytes, not copied. All machines that run JavaScript are little-endian, as the wire is. */
export function bytesOf(tensor: Tensor): Uint8Array {
  return new Uint8Array(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength);
}

export function check(tensor: Tensor, what: string, ndim: number): void {
  const { dtype, shape, data } = tensor;
  const wrong = (text: string) => new ClientError(`${what}: ${dtype} [${shape.join(", ")}]: ${text}`);
  const right = dtype === "f32" ? data instanceof Float32Array : data instanceof Uint16Array;
  if (!right || !["f16", "bf16", "f32"].includes(dtype)) {
    throw wrong("f32 is a Float32Array, f16 and bf16 are a Uint16Array");
  }
  if (shape.length !== ndim) throw wrong(`${ndim} axes are expected`);
  const count = shape.reduce((product, size) => product * size, 1);
  if (count !== data.length || count === 0) throw wrong(`there are ${data.length} elements`);
}

/** The tensor of a reply, with a copy of its bytes. */
export function tensorOf(bytes: Uint8Array, dtype: string, shape: number[]): Tensor {
  if (dtype !== "f16" && dtype !== "bf16" && dtype !== "f32") throw new BadReply(200, `a tensor of type "${dtype}"`);
  const copy = bytes.slice();
  const count = shape.reduce((product, size) => product * size, 1);
  if (copy.byteLength !== count * (dtype === "f32" ? 4 : 2)) {
    throw new BadReply(200, `a tensor of shape [${shape.join(", ")}] came with ${copy.byteLength} bytes`);
  }
  return { dtype, shape, data: dtype === "f32" ? new Float32Array(copy.buffer) : new Uint16Array(copy.buffer) };
}
