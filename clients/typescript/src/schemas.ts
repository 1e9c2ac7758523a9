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
  history: boolean; // Jobs and results outlive the process
  evict: "none" | "lru";
  threads: number;
  attend_kernel: string;
  kernels: Array<Kernel>;
  limits: Record<string, number>;
}

export interface Kernel {
  op: string;
  backend: string;
  name: string;
  available: boolean;
  reason?: string;
}

export interface Backends {
  attend_kernel: string;
  kernels: Array<Kernel>;
}

export interface Collected {
  freed: Array<string>;
  memory_used_bytes: number;
}

export interface Draining {
  draining: boolean;
}

/** layers x kv_heads x recipes x (lengths + 64) is at most 33554432 */
export interface PlanRequest {
  geometry: Geometry;
  max_tokens?: number;
  auto?: boolean;
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

export interface ExplainRequest {
  recipe: string | Record<string, unknown>;
  geometry?: Geometry;
  layer?: number; // With geometry; 0 unless given
  kv_head?: number; // With geometry; 0 unless given
}

export interface Explained {
  name: string;
  digest: string;
  canonical: string; // The recipe as JSON with every default: equal recipes have equal text
  head?: ExplainedHead; // With geometry: one kv head of one layer
}

/** With geometry: one kv head of one layer */
export interface ExplainedHead {
  layer: number;
  kv_head: number;
  window: ExplainedHeadWindow;
  k: Side;
  v: Side;
}

export interface ExplainedHeadWindow {
  recent: number;
  sink: number;
  step: number;
  budget: number; // Tokens the head may hold after eviction; 0: no limit
}

export interface Side {
  head_dim: number;
  keep: number; // Elements of a row; 0: the data decide
  bits: number;
  encoding: "exact" | "ragged" | "grouped" | "channel";
  method: "none" | "token_topk" | "n_m" | "channels" | "channel_topk" | "threshold" | "mask";
  group: number;
  centred: boolean;
  row_bytes: number;
  page_bytes: number;
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
  ttl_seconds: number | null;
  expires: string | null; // Where nobody uses it until then; not part of the ETag
  labels: Record<string, string>;
  pinned: boolean;
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
  ttl_seconds?: number | null;
  labels?: Record<string, string>;
  pinned?: boolean;
}

export interface Keeping {
  ttl_seconds?: number | null;
  labels?: Record<string, string | null> | null; // Merged (RFC 7396): null removes a label, or all of them
  pinned?: boolean; // Freed neither by its TTL nor by --evict=lru
}

export interface Density {
  cache: string;
  layers: Array<DensityLayer>;
  next: number | null;
}

export interface DensityLayer {
  layer: number;
  heads: Array<DensityLayerHead>;
}

export interface DensityLayerHead {
  kv_head: number;
  k: number;
  v: number;
  rows: number;
}

export interface Bitmap {
  cache: string;
  layer: number;
  side: "k" | "v";
  kv_head: number;
  from: number;
  to: number;
  head_dim: number;
  bin_tokens: number;
  bin_channels: number;
  rows: number;
  columns: number;
  density: Array<number>; // rows x columns, row by row: the share of elements kept in each cell
  window_from: number; // First row of the dense window
  sink: number; // Dense rows before the packed ones
  page_rows: number;
  positions: Array<number>; // Of the first row of each row of cells
}

export interface AppendedAll {
  cache: string;
  revision: number;
  lengths: Array<number>; // Tokens of each layer
  replayed: boolean; // The same request had been done before
}

export interface AppendedBatch {
  caches: Array<AppendedAll>;
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
  next?: number | null;
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

export interface Traces {
  traces: Array<Trace>;
}

export interface Trace {
  name: string;
  bytes: number;
  builtin: boolean;
  modified: string;
  model: string;
  kind: string;
  tokens: number;
  queries: number;
  layers: number;
  q_heads: number;
  kv_heads: number;
  head_dim: number;
  dtype: "f16" | "bf16";
  state: "good" | "corrupt"; // As far as its header tells
  reason?: string; // Where it is corrupt
}

/** Exactly one of traces and synthetic; the others mean what the options of mustafar-experiment mean */
export interface JobRequest {
  label?: string;
  traces?: Array<string>;
  synthetic?: Synthetic;
  recipes: Array<string | Record<string, unknown>>;
  lengths?: Array<number>;
  threads?: Array<number>; // One run each; 0: all there are
  tokens?: number;
  queries?: number;
  repeats?: number;
  seed?: number;
  measure?: "decode" | "window" | "none";
  sides?: "both" | "k" | "v";
  layers?: Array<number>;
  drop_mass?: number;
  timing?: boolean;
  budget_seconds?: number;
}

/** Generated data: sizes and times of a shape, errors only as an order of magnitude */
export interface Synthetic {
  geometry: Geometry;
  tokens: number;
  seed?: number;
}

export interface Job {
  id: string;
  label: string;
  state: "queued" | "running" | "done" | "failed" | "cancelled" | "interrupted";
  version: number; // Grows with each event
  progress: number;
  what: string;
  items: number; // Runs, one for each number of threads
  items_done: number;
  rows: number;
  created: string;
  started: string | null;
  finished: string | null;
  error: JobError | null;
  request: JobRequest;
  results: Array<string>;
  contended: boolean; // Other requests computed meanwhile: times are not to be trusted
}

export interface JobError {
  type: string;
  detail: string;
}

export interface Jobs {
  jobs: Array<Job>;
  next: string | null; // Value of after= for the next page
}

export interface Results {
  results: Array<ResultSummary>;
  next: string | null; // Value of after= for the next page
}

export interface ResultSummary {
  id: string;
  job: string;
  label: string;
  created: string;
  complete: boolean;
  contended: boolean;
  threads: number;
  rows: number;
  recipes: Array<string>;
  traces: Array<string>;
}

/** What mustafar-experiment --json writes, and where it comes from */
export interface ExperimentResult {
  id: string;
  job: string;
  label: string;
  created: string;
  contended: boolean;
  schema: "mustafar.experiment";
  version: number;
  complete: boolean;
  synthetic: Synthetic | null; // null: recorded data
  rows: Array<Record<string, unknown>>;
  command: unknown;
  seconds: unknown;
  seed: unknown;
  machine: unknown;
  library: unknown;
  commit: unknown;
  kernels: unknown;
  settings: unknown;
  traces: unknown;
}

export interface Activity {
  requests_total: number;
  rejected: Record<string, number>;
  queue_depth: number;
  in_flight: number;
  connections: number;
  recent_errors: Array<ActivityRecentError>; // Newest first
}

export interface ActivityRecentError {
  time: string;
  id: string;
  method: string;
  route: string;
  status: number;
  problem: string;
}
