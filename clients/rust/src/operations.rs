// SPDX-License-Identifier: Apache-2.0
//! A method per operation of /openapi.json that is JSON in, JSON out. Written by clients/generate.py; do not edit.
use crate::call::{segment, Call};
use crate::client::Client;
use crate::error::Result;
use crate::json::Json;
use crate::schemas::*;

/// Parameters of [`Client::list_caches`]; `None` leaves one out.
#[derive(Debug, Clone, Default)]
pub struct ListCachesQuery {
    /// 1 to 256.
    pub limit: Option<i64>,
    /// Continue behind this id.
    pub after: Option<String>,
}

/// Parameters of [`Client::get_density`]; `None` leaves one out.
#[derive(Debug, Clone, Default)]
pub struct GetDensityQuery {
    /// First layer: next of the reply before; 0 unless given.
    pub from: Option<i64>,
}

/// Parameters of [`Client::get_bitmap`]; `None` leaves one out.
#[derive(Debug, Clone, Default)]
pub struct GetBitmapQuery {
    /// k or v.
    pub side: String,
    /// 0 unless given.
    pub kv_head: Option<i64>,
    /// First row; 0 unless given.
    pub from: Option<i64>,
    /// Row behind the last; all of them unless given.
    pub to: Option<i64>,
    /// Rows of a cell; chosen unless given.
    pub bin_tokens: Option<i64>,
    /// Channels of a cell; chosen unless given.
    pub bin_channels: Option<i64>,
}

/// Parameters of [`Client::get_stats`]; `None` leaves one out.
#[derive(Debug, Clone, Default)]
pub struct GetStatsQuery {
    /// cache, layer or head.
    pub per: Option<String>,
    /// First layer listed: next of the reply before; 0 unless given.
    pub from: Option<i64>,
}

/// Parameters of [`Client::get_snapshot`]; `None` leaves one out.
#[derive(Debug, Clone, Default)]
pub struct GetSnapshotQuery {
    /// Load it aside first; the state then is good or corrupt.
    pub verify: Option<bool>,
}

/// Parameters of [`Client::list_jobs`]; `None` leaves one out.
#[derive(Debug, Clone, Default)]
pub struct ListJobsQuery {
    /// 1 to 256.
    pub limit: Option<i64>,
    /// Continue behind this id.
    pub after: Option<String>,
    /// Only those in this state.
    pub state: Option<String>,
}

/// Parameters of [`Client::get_job`]; `None` leaves one out.
#[derive(Debug, Clone, Default)]
pub struct GetJobQuery {
    /// Seconds, up to 60, to wait for a change.
    pub wait: Option<f64>,
    /// What the client knows; the present one unless given.
    pub version: Option<i64>,
}

/// Parameters of [`Client::list_results`]; `None` leaves one out.
#[derive(Debug, Clone, Default)]
pub struct ListResultsQuery {
    /// Only those of this job.
    pub job: Option<String>,
    /// 1 to 256.
    pub limit: Option<i64>,
    /// Continue behind this id.
    pub after: Option<String>,
}

impl Client {
    /// The process is alive: `GET /healthz`.
    pub fn get_healthz(&self) -> Result<Status> {
        self.data(Call::new("GET", "/healthz").safe())
    }

    /// Work is accepted: `GET /readyz`.
    pub fn get_readyz(&self) -> Result<Ready> {
        self.data(Call::new("GET", "/readyz").safe())
    }

    /// Counters for Prometheus: `GET /metrics`.
    pub fn get_metrics(&self) -> Result<String> {
        self.text(Call::new("GET", "/metrics").safe())
    }

    /// Versions, kernels and limits: `GET /version`.
    pub fn get_version(&self) -> Result<Version> {
        self.data(Call::new("GET", "/version").safe())
    }

    /// This document: `GET /openapi.json`.
    pub fn get_openapi(&self) -> Result<Json> {
        self.data(Call::new("GET", "/openapi.json").safe())
    }

    /// Kernels, and what keeps them from running: `GET /v1/backends`.
    pub fn get_backends(&self) -> Result<Backends> {
        self.data(Call::new("GET", "/v1/backends").safe())
    }

    /// Free what has expired, now: `POST /v1/admin/gc`.
    pub fn post_gc(&self) -> Result<Collected> {
        self.data(Call::new("POST", "/v1/admin/gc").json(&Json::Object(Vec::new())))
    }

    /// Stop as SIGTERM does: answer what was begun, then end: `POST /v1/admin/drain`.
    pub fn post_drain(&self) -> Result<Draining> {
        self.data(Call::new("POST", "/v1/admin/drain").json(&Json::Object(Vec::new())))
    }

    /// Predict bytes without data: `POST /v1/plans`.
    pub fn post_plans(&self, body: &PlanRequest) -> Result<Plans> {
        self.data(Call::new("POST", "/v1/plans").json(body).safe())
    }

    /// What a recipe says, and what it means for one kv head of a geometry: `POST /v1/explain`.
    pub fn explain_recipe(&self, body: &ExplainRequest) -> Result<Explained> {
        self.data(Call::new("POST", "/v1/explain").json(body).safe())
    }

    /// Recipes by name: `GET /v1/recipes`.
    pub fn list_recipes(&self) -> Result<Recipes> {
        self.data(Call::new("GET", "/v1/recipes").safe())
    }

    /// One recipe, canonical: `GET /v1/recipes/{name}`.
    pub fn get_recipe(&self, name: &str) -> Result<Recipe> {
        self.data(Call::new("GET", format!("/v1/recipes/{}", segment(name))).safe())
    }

    /// Keep a recipe: `PUT /v1/recipes/{name}`.
    pub fn put_recipe(&self, name: &str, body: &Json) -> Result<Recipe> {
        self.data(Call::new("PUT", format!("/v1/recipes/{}", segment(name))).json(body).safe())
    }

    /// Forget a recipe: `DELETE /v1/recipes/{name}`.
    pub fn delete_recipe(&self, name: &str) -> Result<()> {
        self.nothing(Call::new("DELETE", format!("/v1/recipes/{}", segment(name))))
    }

    /// Caches, a page at a time: `GET /v1/caches`.
    pub fn list_caches(&self, query: &ListCachesQuery) -> Result<Caches> {
        self.data(Call::new("GET", "/v1/caches").query("limit", &query.limit).query("after", &query.after).safe())
    }

    /// One cache: `GET /v1/caches/{id}`.
    pub fn get_cache(&self, id: &str) -> Result<Cache> {
        self.data(Call::new("GET", format!("/v1/caches/{}", segment(id))).safe())
    }

    /// Create a cache: `PUT /v1/caches/{id}`.
    pub fn put_cache(&self, id: &str, body: &CacheRequest) -> Result<Cache> {
        self.data(Call::new("PUT", format!("/v1/caches/{}", segment(id))).json(body).safe())
    }

    /// Drop a cache: `DELETE /v1/caches/{id}`.
    pub fn delete_cache(&self, id: &str) -> Result<()> {
        self.nothing(Call::new("DELETE", format!("/v1/caches/{}", segment(id))))
    }

    /// TTL, labels, pinned: a merge patch: `PATCH /v1/caches/{id}`.
    pub fn patch_cache(&self, id: &str, body: &Keeping) -> Result<Cache> {
        self.data(Call::new("PATCH", format!("/v1/caches/{}", segment(id))).json(body))
    }

    /// Share of elements kept, by layer and head: `GET /v1/caches/{id}/density`.
    pub fn get_density(&self, id: &str, query: &GetDensityQuery) -> Result<Density> {
        self.data(Call::new("GET", format!("/v1/caches/{}/density", segment(id))).query("from", &query.from).safe())
    }

    /// Survivors of one head: counted in cells, or as they are (Accept: application/octet-stream, head_dim / 8 bytes a row): `GET /v1/caches/{id}/layers/{layer}/bitmap`.
    pub fn get_bitmap(&self, id: &str, layer: i64, query: &GetBitmapQuery) -> Result<Bitmap> {
        self.data(Call::new("GET", format!("/v1/caches/{}/layers/{}/bitmap", segment(id), segment(layer))).query("side", &query.side).query("kv_head", &query.kv_head).query("from", &query.from).query("to", &query.to).query("bin_tokens", &query.bin_tokens).query("bin_channels", &query.bin_channels).safe())
    }

    /// Rows, bytes by part, operations: `GET /v1/caches/{id}/stats`.
    pub fn get_stats(&self, id: &str, query: &GetStatsQuery) -> Result<Stats> {
        self.data(Call::new("GET", format!("/v1/caches/{}/stats", segment(id))).query("per", &query.per).query("from", &query.from).safe())
    }

    /// Tentative tokens become committed: `POST /v1/caches/{id}/commit`.
    pub fn commit_cache(&self, id: &str, body: &LayerRequest) -> Result<Cache> {
        self.data(Call::new("POST", format!("/v1/caches/{}/commit", segment(id))).json(body))
    }

    /// Mark survivors in dense rows: `POST /v1/caches/{id}/prune`.
    pub fn prune_cache(&self, id: &str, body: &PruneRequest) -> Result<Cache> {
        self.data(Call::new("POST", format!("/v1/caches/{}/prune", segment(id))).json(body))
    }

    /// Pack what is outside the window: `POST /v1/caches/{id}/compress`.
    pub fn compress_cache(&self, id: &str, body: &LayerRequest) -> Result<Cache> {
        self.data(Call::new("POST", format!("/v1/caches/{}/compress", segment(id))).json(body))
    }

    /// Remove rows of one head: `POST /v1/caches/{id}/evict`.
    pub fn evict_cache(&self, id: &str, body: &EvictRequest) -> Result<Cache> {
        self.data(Call::new("POST", format!("/v1/caches/{}/evict", segment(id))).json(body))
    }

    /// Roll back to a length: `POST /v1/caches/{id}/truncate`.
    pub fn truncate_cache(&self, id: &str, body: &TruncateRequest) -> Result<Cache> {
        self.data(Call::new("POST", format!("/v1/caches/{}/truncate", segment(id))).json(body))
    }

    /// Empty a cache: `POST /v1/caches/{id}/reset`.
    pub fn reset_cache(&self, id: &str) -> Result<Cache> {
        self.data(Call::new("POST", format!("/v1/caches/{}/reset", segment(id))).json(&Json::Object(Vec::new())))
    }

    /// A second cache that shares pages: `POST /v1/caches/{id}/fork`.
    pub fn fork_cache(&self, id: &str, body: &ToRequest) -> Result<Cache> {
        self.data(Call::new("POST", format!("/v1/caches/{}/fork", segment(id))).json(body))
    }

    /// Snapshots on disk: `GET /v1/snapshots`.
    pub fn list_snapshots(&self) -> Result<Snapshots> {
        self.data(Call::new("GET", "/v1/snapshots").safe())
    }

    /// One snapshot: `GET /v1/snapshots/{name}`.
    pub fn get_snapshot(&self, name: &str, query: &GetSnapshotQuery) -> Result<Snapshot> {
        self.data(Call::new("GET", format!("/v1/snapshots/{}", segment(name))).query("verify", &query.verify).safe())
    }

    /// Save a cache: `PUT /v1/snapshots/{name}`.
    pub fn put_snapshot(&self, name: &str, body: &SnapshotRequest) -> Result<Snapshot> {
        self.data(Call::new("PUT", format!("/v1/snapshots/{}", segment(name))).json(body).safe())
    }

    /// Delete a snapshot: `DELETE /v1/snapshots/{name}`.
    pub fn delete_snapshot(&self, name: &str) -> Result<()> {
        self.nothing(Call::new("DELETE", format!("/v1/snapshots/{}", segment(name))))
    }

    /// Load a snapshot as a new cache: `POST /v1/snapshots/{name}/restore`.
    pub fn restore_snapshot(&self, name: &str, body: &RestoreRequest) -> Result<Cache> {
        self.data(Call::new("POST", format!("/v1/snapshots/{}/restore", segment(name))).json(body))
    }

    /// Recorded keys, values and queries that jobs may name: `GET /v1/traces`.
    pub fn list_traces(&self) -> Result<Traces> {
        self.data(Call::new("GET", "/v1/traces").safe())
    }

    /// One trace: `GET /v1/traces/{name}`.
    pub fn get_trace(&self, name: &str) -> Result<Trace> {
        self.data(Call::new("GET", format!("/v1/traces/{}", segment(name))).safe())
    }

    /// Forget a trace: `DELETE /v1/traces/{name}`.
    pub fn delete_trace(&self, name: &str) -> Result<()> {
        self.nothing(Call::new("DELETE", format!("/v1/traces/{}", segment(name))))
    }

    /// Jobs, newest first: `GET /v1/jobs`.
    pub fn list_jobs(&self, query: &ListJobsQuery) -> Result<Jobs> {
        self.data(Call::new("GET", "/v1/jobs").query("limit", &query.limit).query("after", &query.after).query("state", &query.state).safe())
    }

    /// One job; with wait= when it has changed: `GET /v1/jobs/{id}`.
    pub fn get_job(&self, id: &str, query: &GetJobQuery) -> Result<Job> {
        self.data(Call::new("GET", format!("/v1/jobs/{}", segment(id))).query("wait", &query.wait).query("version", &query.version).safe())
    }

    /// Forget a job and its results: `DELETE /v1/jobs/{id}`.
    pub fn delete_job(&self, id: &str) -> Result<()> {
        self.nothing(Call::new("DELETE", format!("/v1/jobs/{}", segment(id))))
    }

    /// End a job; what it has found stays: `POST /v1/jobs/{id}/cancel`.
    pub fn cancel_job(&self, id: &str) -> Result<Job> {
        self.data(Call::new("POST", format!("/v1/jobs/{}/cancel", segment(id))).json(&Json::Object(Vec::new())))
    }

    /// Results, newest first: `GET /v1/results`.
    pub fn list_results(&self, query: &ListResultsQuery) -> Result<Results> {
        self.data(Call::new("GET", "/v1/results").query("job", &query.job).query("limit", &query.limit).query("after", &query.after).safe())
    }

    /// One result, as JSON or text/csv: `GET /v1/results/{id}`.
    pub fn get_result(&self, id: &str) -> Result<ExperimentResult> {
        self.data(Call::new("GET", format!("/v1/results/{}", segment(id))).safe())
    }

    /// Forget a result: `DELETE /v1/results/{id}`.
    pub fn delete_result(&self, id: &str) -> Result<()> {
        self.nothing(Call::new("DELETE", format!("/v1/results/{}", segment(id))))
    }

    /// What goes on, and what was refused of late: `GET /v1/activity`.
    pub fn get_activity(&self) -> Result<Activity> {
        self.data(Call::new("GET", "/v1/activity").safe())
    }
}
