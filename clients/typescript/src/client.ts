// SPDX-License-Identifier: Apache-2.0
// The client: generated operations, and those with tensors or streams.

import { BadReply, ClientError } from "./errors.js";
import { Operations } from "./operations.js";
import type { Appended } from "./schemas.js";
import { bytesOf, check, type DType, type Tensor, tensorOf } from "./tensors.js";
import { type CallOptions, document, type Reply, segment } from "./transport.js";

const octets = { "content-type": "application/octet-stream" };

export interface AppendRowsQuery {
  /**
   * The length of the layer before. With it a lost answer is asked for again and tokens are stored once; without it
   * (the server may refuse that) the request is never repeated.
   */
  expect?: number;
  tentative?: boolean; // packed only after commit
}

/** What is not given is the default of the server. */
export interface AttendQuery {
  lse?: boolean; // the log-sum-exp too
  out_dtype?: DType; // that of q unless given
  scale?: number;
  softcap?: number;
  sliding_window?: number;
  drop_mass?: number;
  q_position?: number; // of query 0; without it the queries are the last tokens
}

export interface Attended {
  out: Tensor; // [q_tokens, q_heads, head_dim]
  lse?: Tensor; // f32 [q_tokens, q_heads], where it was asked for
}

/**
 * A mustafard, by its address or UNIX socket. Methods bear the operationId of /openapi.json. Errors: ProblemError and
 * its subclasses, ConnectionLost, BadReply; all are ClientError.
 */
export class Client extends Operations {
  /** Appends k and v, [tokens, kv_heads, head_dim]: POST /v1/caches/{id}/layers/{layer}/append. */
  async appendRows(
    id: string,
    layer: number,
    k: Tensor,
    v: Tensor,
    query: AppendRowsQuery = {},
    options?: CallOptions,
  ): Promise<Appended> {
    check(k, "k", 3);
    check(v, "v", 3);
    if (k.dtype !== v.dtype || k.shape[0] !== v.shape[0] || k.shape[1] !== v.shape[1]) {
      throw new ClientError(`k is ${k.dtype} [${k.shape}], v is ${v.dtype} [${v.shape}]: they do not match`);
    }
    const body = new Uint8Array(k.data.byteLength + v.data.byteLength);
    body.set(bytesOf(k));
    body.set(bytesOf(v), k.data.byteLength);
    const path = `/v1/caches/${segment(id)}/layers/${segment(layer)}/append`;
    const reply = await this.request("POST", path, {
      query: { dtype: k.dtype, tokens: k.shape[0], ...query },
      body,
      headers: octets,
      safe: query.expect !== undefined,
      ...options,
    });
    return document(reply) as Appended;
  }

  /** Attends q, [q_tokens, q_heads, head_dim], on one layer: POST /v1/caches/{id}/layers/{layer}/attend. */
  async attendRows(
    id: string,
    layer: number,
    q: Tensor,
    query: AttendQuery = {},
    options?: CallOptions,
  ): Promise<Attended> {
    check(q, "q", 3);
    const reply = await this.request("POST", `/v1/caches/${segment(id)}/layers/${segment(layer)}/attend`, {
      query: { dtype: q.dtype, q_tokens: q.shape[0], ...query },
      body: bytesOf(q),
      headers: octets,
      safe: true,
      ...options,
    });
    return attended(reply, query.lse === true);
  }
}

function attended(reply: Reply, lse: boolean): Attended {
  const shape = shapeOf(reply, 3);
  const split = reply.body.length - (lse ? 4 * shape[0]! * shape[1]! : 0);
  if (split < 0) throw new BadReply(reply.status, "shorter than its lse");
  const out = tensorOf(reply.body.subarray(0, split), reply.headers.get("mustafar-dtype") ?? "", shape);
  return lse ? { out, lse: tensorOf(reply.body.subarray(split), "f32", shape.slice(0, 2)) } : { out };
}

/** The sizes that a reply says of itself. */
function shapeOf(reply: Reply, ndim: number): number[] {
  const text = reply.headers.get("mustafar-shape") ?? "";
  const sizes = text.split(",").map((one) => (/^[0-9]{1,9}$/.test(one) ? Number(one) : NaN));
  if (sizes.length !== ndim || sizes.some(Number.isNaN)) throw new BadReply(reply.status, `Mustafar-Shape is "${text}"`);
  return sizes;
}
