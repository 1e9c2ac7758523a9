// SPDX-License-Identifier: Apache-2.0
// What the service answers: types that clients/generate.py writes from /openapi.json, and what that leaves open, the
// documents of mustafar-experiment (docs/experiments.md, section 6), as far as the page reads them.
import type { Bytes, ExperimentResult } from '../../../clients/typescript/src/schemas.ts';

export type {
  Activity, Bitmap, Cache, Density, Job, ResultSummary, Stats, Trace, Version,
} from '../../../clients/typescript/src/schemas.ts';

export type ByteParts = Omit<Bytes, 'exact'>; // numbers alone
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
export type Result = Omit<ExperimentResult, 'rows'> & {
  rows: Row[];
  command: string;
  seconds: number;
  seed: number;
  machine: { cpu: string; cores: number; threads: number; os: string };
  library: { version: string; abi: number; build: string };
  commit: string;
  kernels: Record<string, string>;
  settings: Record<string, unknown>;
  traces: { name: string; tokens: number; queries: number; layers: number; q_heads: number; kv_heads: number; head_dim: number; dtype: string; timed_on: string }[];
};
