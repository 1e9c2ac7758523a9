// SPDX-License-Identifier: Apache-2.0
// Keys, values and queries as tensors: append, attend, and what caches hold.

import { BadReply, ClientError } from "./errors.js";
import { Operations } from "./operations.js";
import { pack, safetensors, unpack } from "./safetensors.js";
import type { Appended, AppendedAll, AppendedBatch, Snapshot, Trace } from "./schemas.js";
import { bytesOf, check, type DType, type Tensor, tensorOf } from "./tensors.js";
import { type CallInit, type CallOptions, document, type Reply, segment } from "./transport.js";

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

/** k and v of one layer, [tokens, kv_heads, head_dim]. */
export type Pair = [Tensor, Tensor];

/** What appendCaches adds to one cache: a pair per layer, and the length before. */
export interface Part {
  layers: Pair[];
  expect?: number;
}

/** One head of a layer, and rows of it; head 0 and all rows unless given. */
export interface HeadQuery {
  side: "k" | "v";
  kv_head?: number;
  from?: number;
  to?: number;
}

/** What attendRows takes besides. */
export interface AttendRowsQuery extends AttendQuery {
  sinks?: number[]; // learned ones, of each query head
  weights?: number; // columns of the weights of each row, which are wanted too
  dropped?: boolean; // what drop_mass left out, at most
}

/** out [q_tokens, q_heads, head_dim]. Where asked for, f32: lse and dropped [q_tokens, q_heads], weights with N more. */
export interface Attended {
  out: Tensor;
  lse?: Tensor;
  weights?: Tensor;
  dropped?: Tensor;
}

/** Part of Client. */
export abstract class Rows extends Operations {
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
    query: AttendRowsQuery = {},
    options?: CallOptions,
  ): Promise<Attended> {
    check(q, "q", 3);
    const sinks = new Float32Array(query.sinks ?? []);
    const body = new Uint8Array(q.data.byteLength + sinks.byteLength);
    body.set(bytesOf(q));
    body.set(new Uint8Array(sinks.buffer), q.data.byteLength);
    const reply = await this.request("POST", `/v1/caches/${segment(id)}/layers/${segment(layer)}/attend`, {
      query: { dtype: q.dtype, q_tokens: q.shape[0], ...query, sinks: query.sinks && true },
      body,
      headers: octets,
      safe: true,
      ...options,
    });
    return attended(reply, query);
  }

  /** Appends to every layer of a cache, or to none: POST /v1/caches/{id}/append. */
  async appendLayers(
    id: string,
    layers: Pair[],
    query: AppendRowsQuery = {},
    options?: CallOptions,
  ): Promise<AppendedAll> {
    const body = pack(named("", layers));
    const init = { query: { ...query }, body, safe: query.expect !== undefined, ...options };
    return document(await this.tensors(`/v1/caches/${segment(id)}/append`, init)) as AppendedAll;
  }

  /** Appends to several caches, all or none of it: POST /v1/append. */
  async appendCaches(
    parts: Record<string, Part>,
    query: { tentative?: boolean } = {},
    options?: CallOptions,
  ): Promise<AppendedBatch> {
    const tensors: Record<string, Tensor> = {};
    const expects: Record<string, string> = {};
    for (const [id, part] of Object.entries(parts)) {
      Object.assign(tensors, named(`${id}.`, part.layers));
      if (part.expect !== undefined) expects[`expect.${id}`] = String(part.expect);
    }
    const safe = Object.keys(expects).length === Object.keys(parts).length;
    const init = { query: { ...query }, body: pack(tensors, expects), safe, ...options };
    return document(await this.tensors("/v1/append", init)) as AppendedBatch;
  }

  /** Attends on one layer of several caches; queries of one shape and type: POST /v1/attend. */
  async attendCaches(
    layer: number,
    queries: Record<string, Tensor>,
    query: AttendQuery = {},
    options?: CallOptions,
  ): Promise<Record<string, Attended>> {
    const body = pack(Object.fromEntries(Object.entries(queries).map(([id, q]) => [`${id}.q`, q])));
    const reply = await this.tensors("/v1/attend", { query: { layer, ...query }, body, safe: true, ...options });
    const found = unpack(reply.body);
    const attended: Record<string, Attended> = {};
    for (const id of Object.keys(queries)) {
      const out = found[`${id}.out`];
      const lse = found[`${id}.lse`];
      if (out === undefined) throw new BadReply(reply.status, `the reply lacks the tensor ${id}.out`);
      attended[id] = lse === undefined ? { out } : { out, lse };
    }
    return attended;
  }

  /** Joins what was attended on two disjoint sets of rows: POST /v1/merge. */
  async mergeParts(
    out_a: Tensor,
    lse_a: Tensor,
    out_b: Tensor,
    lse_b: Tensor,
    options?: CallOptions,
  ): Promise<Attended & { lse: Tensor }> {
    const body = pack({ out_a, lse_a, out_b, lse_b });
    const reply = await this.tensors("/v1/merge", { body, safe: true, ...options });
    const { out, lse } = unpack(reply.body);
    if (out === undefined || lse === undefined) throw new BadReply(reply.status, "the reply lacks out or lse");
    return { out, lse };
  }

  /** Rows [to - from, head_dim] of one head as attend sees them: GET /v1/caches/{id}/layers/{layer}/tensor. */
  async getTensor(
    id: string,
    layer: number,
    query: HeadQuery & { out_dtype?: DType },
    options?: CallOptions,
  ): Promise<Tensor> {
    const path = `/v1/caches/${segment(id)}/layers/${segment(layer)}/tensor`;
    const reply = await this.request("GET", path, { query: { ...query }, safe: true, ...options });
    return tensorOf(reply.body, reply.headers.get("mustafar-dtype") ?? "", shapeOf(reply, 2));
  }

  /**
   * Survivors of one head, head_dim / 8 bytes a row, lowest channel in the lowest bit:
   * GET /v1/caches/{id}/layers/{layer}/bitmap as octets.
   */
  async getBitmapRows(id: string, layer: number, query: HeadQuery, options?: CallOptions): Promise<Uint8Array> {
    const path = `/v1/caches/${segment(id)}/layers/${segment(layer)}/bitmap`;
    const headers = { accept: "application/octet-stream" };
    return (await this.request("GET", path, { query: { ...query }, headers, safe: true, ...options })).body;
  }

  /** The file of a snapshot: GET /v1/snapshots/{name}/content. */
  async getSnapshotContent(name: string, options?: CallOptions): Promise<Uint8Array> {
    return (await this.request("GET", `/v1/snapshots/${segment(name)}/content`, { safe: true, ...options })).body;
  }

  /** Uploads a snapshot; the server loads it aside before it keeps it: PUT /v1/snapshots/{name}/content. */
  async putSnapshotContent(
    name: string,
    body: Uint8Array,
    query: { overwrite?: boolean } = {},
    options?: CallOptions,
  ): Promise<Snapshot> {
    const init = { query: { ...query }, body, headers: octets, safe: true, ...options };
    return document(await this.request("PUT", `/v1/snapshots/${segment(name)}/content`, init)) as Snapshot;
  }

  /** Keeps a trace, a safetensors file of recorded keys, values and queries: PUT /v1/traces/{name}. */
  async putTrace(name: string, body: Uint8Array, options?: CallOptions): Promise<Trace> {
    const init = { body, headers: octets, safe: true, ...options };
    return document(await this.request("PUT", `/v1/traces/${segment(name)}`, init)) as Trace;
  }

  private tensors(path: string, init: CallInit): Promise<Reply> {
    return this.request("POST", path, { ...init, headers: { "content-type": safetensors } });
  }
}

function named(prefix: string, layers: Pair[]): Record<string, Tensor> {
  const tensors: Record<string, Tensor> = {};
  layers.forEach(([k, v], layer) => {
    tensors[`${prefix}layers.${layer}.k`] = k;
    tensors[`${prefix}layers.${layer}.v`] = v;
  });
  return tensors;
}

/** Takes the blocks of a reply apart: out, then those of f32 that were asked for. */
function attended(reply: Reply, query: AttendRowsQuery): Attended {
  const shape = shapeOf(reply, 3);
  const vectors = shape[0]! * shape[1]!;
  const columns = { lse: query.lse ? 1 : 0, weights: query.weights ?? 0, dropped: query.dropped ? 1 : 0 };
  let at = reply.body.length - 4 * vectors * (columns.lse + columns.weights + columns.dropped);
  if (at < 0) throw new BadReply(reply.status, "less than was asked for");
  const found: Attended = {
    out: tensorOf(reply.body.subarray(0, at), reply.headers.get("mustafar-dtype") ?? "", shape),
  };
  for (const name of ["lse", "weights", "dropped"] as const) {
    const end = at + 4 * vectors * columns[name];
    const more = name === "weights" ? [columns[name]] : [];
    if (end > at) found[name] = tensorOf(reply.body.subarray(at, end), "f32", [...shape.slice(0, 2), ...more]);
    at = end;
  }
  return found;
}

/** The sizes that a reply says of itself. */
function shapeOf(reply: Reply, ndim: number): number[] {
  const text = reply.headers.get("mustafar-shape") ?? "";
  const sizes = text.split(",").map((one) => (/^[0-9]{1,9}$/.test(one) ? Number(one) : NaN));
  if (sizes.length !== ndim || sizes.some(Number.isNaN)) throw new BadReply(reply.status, `Mustafar-Shape is "${text}"`);
  return sizes;
}
