// SPDX-License-Identifier: Apache-2.0
// What requests and replies hold: the schemas of /openapi.json. Written by clients/generate.py; do not edit.

export interface Status {
  status: "ok";
}

export interface Ready {
  ready: boolean;
  reasons: Array<"draining" | "quota">;
}

export interface Version {
  daemon: string;
  library: string;
  abi: number;
  build: string;
  transport: string;
  snapshots: boolean;
  threads: number;
  attend_kernel: string;
  kernels: Array<VersionKernel>;
  limits: Record<string, number>;
}

export interface VersionKernel {
  op: string;
  backend: string;
  name: string;
  available: boolean;
  reason?: string;
}

/** layers x kv_heads x recipes x (lengths + 64) is at most 33554432 */
export interface PlanRequest {
  geometry: Geometry;
  max_tokens?: number;
  recipes: Array<string | Record<string, unknown>>;
  lengths: Array<number>;
}

export interface Geometry {
  layers: number;
  kv_heads: number;
  q_heads?: number;
  head_dim?: number;
  head_dim_k?: number;
  head_dim_v?: number;
  dtype?: "f16" | "bf16";
}

export interface Plans {
  geometry: GeometryOut;
  plans: Array<PlansPlan>;
}

export interface GeometryOut {
  layers: number;
  q_heads: number;
  kv_heads: number;
  head_dim_k: number;
  head_dim_v: number;
  dtype: "f16" | "bf16";
}

export interface PlansPlan {
  recipe: string | null;
  digest: string;
  break_even_tokens: number | null; // Tokens from which the cache takes less than the recipe dense; null: never
  rows: Array<PlansPlanRow>;
}

export interface PlansPlanRow {
  tokens: number;
  bytes: Bytes;
  dense_bytes: number; // The rows alone, as 16-bit values
}

export interface Bytes {
  total: number;
  values: number;
  bitmaps: number;
  meta: number;
  slack: number;
  window: number;
  tables: number;
  positions: number;
  exact: boolean;
}

export interface Recipes {
  recipes: Array<RecipesRecipe>;
}

export interface RecipesRecipe {
  name: string;
  builtin: boolean;
  digest: string;
  sentence?: string;
}

export interface Recipe {
  name: string;
  builtin: boolean;
  digest: string;
  recipe: Record<string, unknown>;
}

export interface Caches {
  caches: Array<Cache>;
  next: string | null; // Value of after= for the next page
}

export interface Cache {
  id: string;
  geometry: GeometryOut;
  recipe: CacheRecipe;
  max_tokens: number;
  reserve_tokens: number;
  auto: boolean;
  created: string;
  revision: number;
  lengths: Array<number>; // Tokens of each layer, tentative ones included
  bytes: number;
  dense_bytes: number;
}

export interface CacheRecipe {
  name: string;
  digest: string;
}

export interface CacheRequest {
  geometry: Geometry;
  recipe: string | Record<string, unknown>;
  max_tokens: number;
  reserve_tokens?: number;
  auto?: boolean;
}

export interface Stats {
  id: string;
  revision: number;
  longest: number;
  rows: number;
  body_rows: number;
  evicted_rows: number;
  pages: number;
  shared_pages: number;
  bytes: Bytes;
  dense_bytes: number;
  appended_tokens: number;
  packed_rows: number;
  attend_calls: number;
  append_seconds: number;
  pack_seconds: number;
  attend_seconds: number;
  attend_kernel: string;
  pack_kernel: string;
  layers?: Array<StatsLayer>;
}

export interface StatsLayer {
  layer: number;
  committed: number;
  tentative: number;
  bytes: Bytes;
  heads?: Array<StatsLayerHead>;
}

export interface StatsLayerHead {
  kv_head: number;
  rows: number;
  body_rows: number;
  bytes: Bytes;
}

export interface Appended {
  cache: string;
  layer: number;
  length: number;
  revision: number;
  replayed: boolean; // The same append had been done before
}

export interface LayerRequest {
  layer?: number; // All of them without it
}

export interface PruneRequest {
  layer?: number;
  kv_head?: number;
  side: "k" | "v";
  begin: number;
  end: number;
  method?: "recipe" | "none" | "token_topk" | "n_m" | "channels" | "channel_topk" | "threshold";
  keep?: number;
  of?: number;
  threshold?: number;
}

export interface EvictRequest {
  layer: number;
  kv_head: number;
  positions?: Array<number>;
  keep?: boolean;
  scores?: Array<number>;
  budget?: number;
}

export interface TruncateRequest {
  length: number;
  keep_packed?: boolean;
}

export interface ToRequest {
  to: string;
}

export interface Snapshots {
  snapshots: Array<Snapshot>;
}

export interface Snapshot {
  name: string;
  bytes: number;
  modified: string;
  state: "unchecked" | "good" | "corrupt"; // As far as this process has looked
}

export interface SnapshotRequest {
  cache: string;
  model_id?: string;
  overwrite?: boolean;
}

export interface RestoreRequest {
  to: string;
  model_id?: string;
}
