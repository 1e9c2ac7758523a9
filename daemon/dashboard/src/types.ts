// SPDX-License-Identifier: Apache-2.0
// What the service answers, as far as the page reads it; /openapi.json is the whole.

export interface Bytes {
  total: number;
  values: number;
  bitmaps: number;
  meta: number;
  slack: number;
  window: number;
  tables: number;
  positions: number;
}
export interface Geometry {
  layers: number;
  q_heads: number;
  kv_heads: number;
  head_dim_k: number;
  head_dim_v: number;
  dtype: string;
}
export interface Cache {
  id: string;
  geometry: Geometry;
  recipe: { name: string; digest: string };
  max_tokens: number;
  created: string;
  revision: number;
  lengths: number[];
  bytes: number;
  dense_bytes: number;
  labels?: Record<string, string> | null;
  pinned?: boolean;
  ttl_seconds?: number | null;
  expires?: string | null;
}
export interface Stats {
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
}
export interface Density {
  layers: { layer: number; heads: { kv_head: number; k: number | null; v: number | null; rows: number }[] }[];
  next?: number | null; // the first layer of the next page
}
export interface Bitmap {
  from: number;
  to: number;
  head_dim: number;
  bin_tokens: number;
  bin_channels: number;
  rows: number;
  columns: number;
  density: number[];
  window_from: number;
  sink: number;
  page_rows: number;
  positions: number[];
}
export interface Version {
  daemon: string;
  library: string;
  abi: number;
  build: string;
  threads: number;
  attend_kernel: string;
  history?: boolean;
  limits: Record<string, number>;
}
export interface Trace {
  name: string;
  bytes: number;
  builtin: boolean;
  tokens: number;
  layers: number;
  q_heads: number;
  kv_heads: number;
  head_dim: number;
  state: string;
}
export interface Job {
  id: string;
  label: string;
  state: 'queued' | 'running' | 'done' | 'failed' | 'cancelled' | 'interrupted';
  version: number;
  progress: number;
  what: string;
  items: number;
  items_done: number;
  rows: number;
  created: string;
  started: string | null;
  finished: string | null;
  error: { type: string; detail: string } | null;
  request: Record<string, unknown>;
  results: string[];
  contended: boolean;
}
export interface Sample {
  tokens: number;
  p10: number | null;
  p50: number | null;
  p90: number | null;
}
export interface Row {
  recipe: string;
  trace: string;
  tokens: number;
  threads?: number;
  bytes_per_token: number | null;
  row_bytes_k: number | null;
  row_bytes_v: number | null;
  ratio_to_dense_f16: number | null;
  body_ratio_to_dense_f16: number | null;
  k_error: number | null;
  v_error: number | null;
  out_error: number | null;
  out_error_max: number | null;
  out_error_worst_layer: number | null;
  worst_layer: number;
  kl: number | null;
  pack_ns_per_token: number | null;
  attend_ns_per_token: number | null;
  p10: number | null;
  p90: number | null;
  attend_tokens: number | null;
  gigabytes_per_second: number | null;
  break_even_f16: number | null;
  break_even_int8: number | null;
  break_even_int4: number | null;
  cache_bytes: number;
  digest: string;
  layers?: { layer: number; k_error: number | null; v_error: number | null; out_error: number | null; out_error_max: number | null; kl: number | null }[];
  samples?: Sample[];
}
export interface ResultItem {
  id: string;
  job: string;
  label: string;
  created: string;
  complete: boolean;
  contended: boolean;
  threads: number;
  rows: number;
  recipes: string[];
  traces: string[];
}
export interface Result {
  id: string;
  job: string;
  label: string;
  created: string;
  contended: boolean;
  command: string;
  seconds: number;
  seed: number;
  machine: { cpu: string; cores: number; threads: number; os: string };
  library: { version: string; abi: number; build: string };
  commit: string;
  kernels: Record<string, string>;
  settings: Record<string, unknown>;
  traces: { name: string; tokens: number; queries: number; layers: number; q_heads: number; kv_heads: number; head_dim: number; dtype: string; timed_on: string }[];
  rows: Row[];
}
export interface Activity {
  requests_total: number;
  rejected: Record<string, number>;
  queue_depth: number;
  in_flight: number;
  connections: number;
  recent_errors: { time: string; id: string; method: string; route: string; status: number; problem: string }[];
}
