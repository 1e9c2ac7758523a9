// SPDX-License-Identifier: Apache-2.0
// A method per operation of /openapi.json that is JSON in, JSON out. Written by clients/generate.py; do not edit.

import type {
  Activity,
  Backends,
  Bitmap,
  Cache,
  CacheRequest,
  Caches,
  Collected,
  Density,
  Draining,
  EvictRequest,
  ExperimentResult,
  ExplainRequest,
  Explained,
  Job,
  Jobs,
  Keeping,
  LayerRequest,
  PlanRequest,
  Plans,
  PruneRequest,
  Ready,
  Recipe,
  Recipes,
  RestoreRequest,
  Results,
  Snapshot,
  SnapshotRequest,
  Snapshots,
  Stats,
  Status,
  ToRequest,
  Trace,
  Traces,
  TruncateRequest,
  Version,
} from "./schemas.js";
import { type CallOptions, segment, Transport } from "./transport.js";

export interface ListCachesQuery {
  limit?: number; // 1 to 256
  after?: string; // Continue behind this id
}

export interface GetDensityQuery {
  from?: number; // First layer: next of the reply before; 0 unless given
}

export interface GetBitmapQuery {
  side: "k" | "v"; // k or v
  kv_head?: number; // 0 unless given
  from?: number; // First row; 0 unless given
  to?: number; // Row behind the last; all of them unless given
  bin_tokens?: number; // Rows of a cell; chosen unless given
  bin_channels?: number; // Channels of a cell; chosen unless given
}

export interface GetStatsQuery {
  per?: "cache" | "layer" | "head"; // cache, layer or head
  from?: number; // First layer listed: next of the reply before; 0 unless given
}

export interface GetSnapshotQuery {
  verify?: boolean; // Load it aside first; the state then is good or corrupt
}

export interface ListJobsQuery {
  limit?: number; // 1 to 256
  after?: string; // Continue behind this id
  state?: string; // Only those in this state
}

export interface GetJobQuery {
  wait?: number; // Seconds, up to 60, to wait for a change
  version?: number; // What the client knows; the present one unless given
}

export interface ListResultsQuery {
  job?: string; // Only those of this job
  limit?: number; // 1 to 256
  after?: string; // Continue behind this id
}

export abstract class Operations extends Transport {
  /** The process is alive: GET /healthz. */
  getHealthz(options?: CallOptions): Promise<Status> {
    return this.json("GET", "/healthz", { safe: true, ...options });
  }
  /** Work is accepted: GET /readyz. */
  getReadyz(options?: CallOptions): Promise<Ready> {
    return this.json("GET", "/readyz", { safe: true, ...options });
  }

  /** Counters for Prometheus: GET /metrics. */
  getMetrics(options?: CallOptions): Promise<string> {
    return this.text("GET", "/metrics", { safe: true, ...options });
  }

  /** Versions, kernels and limits: GET /version. */
  getVersion(options?: CallOptions): Promise<Version> {
    return this.json("GET", "/version", { safe: true, ...options });
  }

  /** This document: GET /openapi.json. */
  getOpenapi(options?: CallOptions): Promise<Record<string, unknown>> {
    return this.json("GET", "/openapi.json", { safe: true, ...options });
  }

  /** Kernels, and what keeps them from running: GET /v1/backends. */
  getBackends(options?: CallOptions): Promise<Backends> {
    return this.json("GET", "/v1/backends", { safe: true, ...options });
  }

  /** Free what has expired, now: POST /v1/admin/gc. */
  postGc(options?: CallOptions): Promise<Collected> {
    return this.json("POST", "/v1/admin/gc", { body: {}, ...options });
  }

  /** Stop as SIGTERM does: answer what was begun, then end: POST /v1/admin/drain. */
  postDrain(options?: CallOptions): Promise<Draining> {
    return this.json("POST", "/v1/admin/drain", { body: {}, ...options });
  }

  /** Predict bytes without data: POST /v1/plans. */
  postPlans(body: PlanRequest, options?: CallOptions): Promise<Plans> {
    return this.json("POST", "/v1/plans", { body, safe: true, ...options });
  }

  /** What a recipe says, and what it means for one kv head of a geometry: POST /v1/explain. */
  explainRecipe(body: ExplainRequest, options?: CallOptions): Promise<Explained> {
    return this.json("POST", "/v1/explain", { body, safe: true, ...options });
  }

  /** Recipes by name: GET /v1/recipes. */
  listRecipes(options?: CallOptions): Promise<Recipes> {
    return this.json("GET", "/v1/recipes", { safe: true, ...options });
  }

  /** One recipe, canonical: GET /v1/recipes/{name}. */
  getRecipe(name: string, options?: CallOptions): Promise<Recipe> {
    return this.json("GET", `/v1/recipes/${segment(name)}`, { safe: true, ...options });
  }

  /** Keep a recipe: PUT /v1/recipes/{name}. */
  putRecipe(name: string, body: Record<string, unknown>, options?: CallOptions): Promise<Recipe> {
    return this.json("PUT", `/v1/recipes/${segment(name)}`, { body, safe: true, ...options });
  }

  /** Forget a recipe: DELETE /v1/recipes/{name}. */
  deleteRecipe(name: string, options?: CallOptions): Promise<void> {
    return this.nothing("DELETE", `/v1/recipes/${segment(name)}`, { ...options });
  }

  /** Caches, a page at a time: GET /v1/caches. */
  listCaches(query: ListCachesQuery = {}, options?: CallOptions): Promise<Caches> {
    return this.json("GET", "/v1/caches", { query: { ...query }, safe: true, ...options });
  }

  /** One cache: GET /v1/caches/{id}. */
  getCache(id: string, options?: CallOptions): Promise<Cache> {
    return this.json("GET", `/v1/caches/${segment(id)}`, { safe: true, ...options });
  }

  /** Create a cache: PUT /v1/caches/{id}. */
  putCache(id: string, body: CacheRequest, options?: CallOptions): Promise<Cache> {
    return this.json("PUT", `/v1/caches/${segment(id)}`, { body, safe: true, ...options });
  }

  /** Drop a cache: DELETE /v1/caches/{id}. */
  deleteCache(id: string, options?: CallOptions): Promise<void> {
    return this.nothing("DELETE", `/v1/caches/${segment(id)}`, { ...options });
  }

  /** TTL, labels, pinned: a merge patch: PATCH /v1/caches/{id}. */
  patchCache(id: string, body: Keeping, options?: CallOptions): Promise<Cache> {
    return this.json("PATCH", `/v1/caches/${segment(id)}`, { body, ...options });
  }

  /** Share of elements kept, by layer and head: GET /v1/caches/{id}/density. */
  getDensity(id: string, query: GetDensityQuery = {}, options?: CallOptions): Promise<Density> {
    return this.json("GET", `/v1/caches/${segment(id)}/density`, { query: { ...query }, safe: true, ...options });
  }

  /** Survivors of one head: counted in cells, or as they are (Accept: application/octet-stream, head_dim / 8 bytes a row): GET /v1/caches/{id}/layers/{layer}/bitmap. */
  getBitmap(id: string, layer: number, query: GetBitmapQuery, options?: CallOptions): Promise<Bitmap> {
    return this.json("GET", `/v1/caches/${segment(id)}/layers/${segment(layer)}/bitmap`, { query: { ...query }, safe: true, ...options });
  }

  /** Rows, bytes by part, operations: GET /v1/caches/{id}/stats. */
  getStats(id: string, query: GetStatsQuery = {}, options?: CallOptions): Promise<Stats> {
    return this.json("GET", `/v1/caches/${segment(id)}/stats`, { query: { ...query }, safe: true, ...options });
  }

  /** Tentative tokens become committed: POST /v1/caches/{id}/commit. */
  commitCache(id: string, body: LayerRequest, options?: CallOptions): Promise<Cache> {
    return this.json("POST", `/v1/caches/${segment(id)}/commit`, { body, ...options });
  }

  /** Mark survivors in dense rows: POST /v1/caches/{id}/prune. */
  pruneCache(id: string, body: PruneRequest, options?: CallOptions): Promise<Cache> {
    return this.json("POST", `/v1/caches/${segment(id)}/prune`, { body, ...options });
  }

  /** Pack what is outside the window: POST /v1/caches/{id}/compress. */
  compressCache(id: string, body: LayerRequest, options?: CallOptions): Promise<Cache> {
    return this.json("POST", `/v1/caches/${segment(id)}/compress`, { body, ...options });
  }

  /** Remove rows of one head: POST /v1/caches/{id}/evict. */
  evictCache(id: string, body: EvictRequest, options?: CallOptions): Promise<Cache> {
    return this.json("POST", `/v1/caches/${segment(id)}/evict`, { body, ...options });
  }

  /** Roll back to a length: POST /v1/caches/{id}/truncate. */
  truncateCache(id: string, body: TruncateRequest, options?: CallOptions): Promise<Cache> {
    return this.json("POST", `/v1/caches/${segment(id)}/truncate`, { body, ...options });
  }

  /** Empty a cache: POST /v1/caches/{id}/reset. */
  resetCache(id: string, options?: CallOptions): Promise<Cache> {
    return this.json("POST", `/v1/caches/${segment(id)}/reset`, { body: {}, ...options });
  }

  /** A second cache that shares pages: POST /v1/caches/{id}/fork. */
  forkCache(id: string, body: ToRequest, options?: CallOptions): Promise<Cache> {
    return this.json("POST", `/v1/caches/${segment(id)}/fork`, { body, ...options });
  }

  /** Snapshots on disk: GET /v1/snapshots. */
  listSnapshots(options?: CallOptions): Promise<Snapshots> {
    return this.json("GET", "/v1/snapshots", { safe: true, ...options });
  }

  /** One snapshot: GET /v1/snapshots/{name}. */
  getSnapshot(name: string, query: GetSnapshotQuery = {}, options?: CallOptions): Promise<Snapshot> {
    return this.json("GET", `/v1/snapshots/${segment(name)}`, { query: { ...query }, safe: true, ...options });
  }

  /** Save a cache: PUT /v1/snapshots/{name}. */
  putSnapshot(name: string, body: SnapshotRequest, options?: CallOptions): Promise<Snapshot> {
    return this.json("PUT", `/v1/snapshots/${segment(name)}`, { body, safe: true, ...options });
  }

  /** Delete a snapshot: DELETE /v1/snapshots/{name}. */
  deleteSnapshot(name: string, options?: CallOptions): Promise<void> {
    return this.nothing("DELETE", `/v1/snapshots/${segment(name)}`, { ...options });
  }

  /** Load a snapshot as a new cache: POST /v1/snapshots/{name}/restore. */
  restoreSnapshot(name: string, body: RestoreRequest, options?: CallOptions): Promise<Cache> {
    return this.json("POST", `/v1/snapshots/${segment(name)}/restore`, { body, ...options });
  }

  /** Recorded keys, values and queries that jobs may name: GET /v1/traces. */
  listTraces(options?: CallOptions): Promise<Traces> {
    return this.json("GET", "/v1/traces", { safe: true, ...options });
  }

  /** One trace: GET /v1/traces/{name}. */
  getTrace(name: string, options?: CallOptions): Promise<Trace> {
    return this.json("GET", `/v1/traces/${segment(name)}`, { safe: true, ...options });
  }

  /** Forget a trace: DELETE /v1/traces/{name}. */
  deleteTrace(name: string, options?: CallOptions): Promise<void> {
    return this.nothing("DELETE", `/v1/traces/${segment(name)}`, { ...options });
  }

  /** Jobs, newest first: GET /v1/jobs. */
  listJobs(query: ListJobsQuery = {}, options?: CallOptions): Promise<Jobs> {
    return this.json("GET", "/v1/jobs", { query: { ...query }, safe: true, ...options });
  }

  /** One job; with wait= when it has changed: GET /v1/jobs/{id}. */
  getJob(id: string, query: GetJobQuery = {}, options?: CallOptions): Promise<Job> {
    return this.json("GET", `/v1/jobs/${segment(id)}`, { query: { ...query }, safe: true, ...options });
  }

  /** Forget a job and its results: DELETE /v1/jobs/{id}. */
  deleteJob(id: string, options?: CallOptions): Promise<void> {
    return this.nothing("DELETE", `/v1/jobs/${segment(id)}`, { ...options });
  }

  /** End a job; what it has found stays: POST /v1/jobs/{id}/cancel. */
  cancelJob(id: string, options?: CallOptions): Promise<Job> {
    return this.json("POST", `/v1/jobs/${segment(id)}/cancel`, { body: {}, ...options });
  }

  /** Results, newest first: GET /v1/results. */
  listResults(query: ListResultsQuery = {}, options?: CallOptions): Promise<Results> {
    return this.json("GET", "/v1/results", { query: { ...query }, safe: true, ...options });
  }

  /** One result, as JSON or text/csv: GET /v1/results/{id}. */
  getResult(id: string, options?: CallOptions): Promise<ExperimentResult> {
    return this.json("GET", `/v1/results/${segment(id)}`, { safe: true, ...options });
  }

  /** Forget a result: DELETE /v1/results/{id}. */
  deleteResult(id: string, options?: CallOptions): Promise<void> {
    return this.nothing("DELETE", `/v1/results/${segment(id)}`, { ...options });
  }

  /** What goes on, and what was refused of late: GET /v1/activity. */
  getActivity(options?: CallOptions): Promise<Activity> {
    return this.json("GET", "/v1/activity", { safe: true, ...options });
  }
}
