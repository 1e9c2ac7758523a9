// SPDX-License-Identifier: Apache-2.0
// Several tensors in one body: 8 bytes of length, a JSON header, the bytes.

import { BadReply } from "./errors.js";
import { bytesOf, check, type Tensor, tensorOf } from "./tensors.js";

export const safetensors = "application/vnd.safetensors";

/** A body with these tensors, in this order. */
export function pack(tensors: Record<string, Tensor>, metadata: Record<string, string> = {}): Uint8Array {
  const header: Record<string, unknown> = Object.keys(metadata).length > 0 ? { __metadata__: metadata } : {};
  let end = 0;
  for (const [name, tensor] of Object.entries(tensors)) {
    check(tensor, name, tensor.shape.length);
    const begin = end;
    end += tensor.data.byteLength;
    header[name] = { dtype: tensor.dtype.toUpperCase(), shape: tensor.shape, data_offsets: [begin, end] };
  }
  let text = JSON.stringify(header);
  const length = new TextEncoder().encode(text).length;
  text += " ".repeat((8 - (length % 8)) % 8);
  const head = new TextEncoder().encode(text);
  const body = new Uint8Array(8 + head.length + end);
  new DataView(body.buffer).setBigUint64(0, BigInt(head.length), true);
  body.set(head, 8);
  let at = 8 + head.length;
  for (const tensor of Object.values(tensors)) {
    body.set(bytesOf(tensor), at);
    at += tensor.data.byteLength;
  }
  return body;
}

interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

/** The tensors of a body, each with bytes of its own. */
export function unpack(body: Uint8Array): Record<string, Tensor> {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const size = body.length < 8 ? Infinity : Number(view.getBigUint64(0, true));
  if (size > body.length - 8) throw new BadReply(200, "a safetensors reply that is cut short");
  const data = body.subarray(8 + size);
  const tensors: Record<string, Tensor> = {};
  try {
    const header = JSON.parse(new TextDecoder().decode(body.subarray(8, 8 + size))) as Record<string, Entry>;
    for (const [name, one] of Object.entries(header)) {
      if (name === "__metadata__") continue;
      const [begin, end] = one.data_offsets;
      if (!(begin >= 0 && begin <= end && end <= data.length)) throw new Error(`${name} lies outside of the reply`);
      tensors[name] = tensorOf(data.subarray(begin, end), one.dtype.toLowerCase(), one.shape);
    }
  } catch (error) {
    throw error instanceof BadReply ? error : new BadReply(200, `no safetensors: ${String(error)}`);
  }
  return tensors;
}
