# SPDX-License-Identifier: Apache-2.0
"""A method per operation of /openapi.json that is JSON in, JSON out. Written by clients/generate.py; do not edit."""

from __future__ import annotations

from typing import Any, Literal, cast

from ._schemas import (
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
)
from .transport import Transport, segment


class Operations(Transport):
    """Part of Client."""

    def get_healthz(self) -> Status:
        """The process is alive: GET /healthz."""
        answer = self._json("GET", "/healthz", safe=True)
        return cast("Status", answer)

    def get_readyz(self) -> Ready:
        """Work is accepted: GET /readyz."""
        answer = self._json("GET", "/readyz", safe=True)
        return cast("Ready", answer)

    def get_metrics(self) -> str:
        """Counters for Prometheus: GET /metrics."""
        return self._text("GET", "/metrics", safe=True)

    def get_version(self) -> Version:
        """Versions, kernels and limits: GET /version."""
        answer = self._json("GET", "/version", safe=True)
        return cast("Version", answer)

    def get_openapi(self) -> dict[str, Any]:
        """This document: GET /openapi.json."""
        answer = self._json("GET", "/openapi.json", safe=True)
        return cast("dict[str, Any]", answer)

    def get_backends(self) -> Backends:
        """Kernels, and what keeps them from running: GET /v1/backends."""
        answer = self._json("GET", "/v1/backends", safe=True)
        return cast("Backends", answer)

    def post_gc(self) -> Collected:
        """Free what has expired, now: POST /v1/admin/gc."""
        answer = self._json("POST", "/v1/admin/gc", body={})
        return cast("Collected", answer)

    def post_drain(self) -> Draining:
        """Stop as SIGTERM does: answer what was begun, then end: POST /v1/admin/drain."""
        answer = self._json("POST", "/v1/admin/drain", body={})
        return cast("Draining", answer)

    def post_plans(self, body: PlanRequest) -> Plans:
        """Predict bytes without data: POST /v1/plans."""
        answer = self._json("POST", "/v1/plans", body=body, safe=True)
        return cast("Plans", answer)

    def explain_recipe(self, body: ExplainRequest) -> Explained:
        """What a recipe says, and what it means for one kv head of a geometry: POST /v1/explain."""
        answer = self._json("POST", "/v1/explain", body=body, safe=True)
        return cast("Explained", answer)

    def list_recipes(self) -> Recipes:
        """Recipes by name: GET /v1/recipes."""
        answer = self._json("GET", "/v1/recipes", safe=True)
        return cast("Recipes", answer)

    def get_recipe(self, name: str) -> Recipe:
        """One recipe, canonical: GET /v1/recipes/{name}."""
        answer = self._json("GET", f"/v1/recipes/{segment(name)}", safe=True)
        return cast("Recipe", answer)

    def put_recipe(self, name: str, body: dict[str, Any]) -> Recipe:
        """Keep a recipe: PUT /v1/recipes/{name}."""
        answer = self._json("PUT", f"/v1/recipes/{segment(name)}", body=body, safe=True)
        return cast("Recipe", answer)

    def delete_recipe(self, name: str) -> None:
        """Forget a recipe: DELETE /v1/recipes/{name}."""
        self._json("DELETE", f"/v1/recipes/{segment(name)}")

    def list_caches(self, *, limit: int | None = None, after: str | None = None) -> Caches:
        """Caches, a page at a time: GET /v1/caches.

        limit: 1 to 256
        after: Continue behind this id
        """
        answer = self._json("GET", "/v1/caches", query={"limit": limit, "after": after}, safe=True)
        return cast("Caches", answer)

    def get_cache(self, id: str) -> Cache:
        """One cache: GET /v1/caches/{id}."""
        answer = self._json("GET", f"/v1/caches/{segment(id)}", safe=True)
        return cast("Cache", answer)

    def put_cache(self, id: str, body: CacheRequest) -> Cache:
        """Create a cache: PUT /v1/caches/{id}."""
        answer = self._json("PUT", f"/v1/caches/{segment(id)}", body=body, safe=True)
        return cast("Cache", answer)

    def delete_cache(self, id: str) -> None:
        """Drop a cache: DELETE /v1/caches/{id}."""
        self._json("DELETE", f"/v1/caches/{segment(id)}")

    def patch_cache(self, id: str, body: Keeping) -> Cache:
        """TTL, labels, pinned: a merge patch: PATCH /v1/caches/{id}."""
        answer = self._json("PATCH", f"/v1/caches/{segment(id)}", body=body)
        return cast("Cache", answer)

    def get_density(self, id: str, *, from_: int | None = None) -> Density:
        """Share of elements kept, by layer and head: GET /v1/caches/{id}/density.

        from_: First layer: next of the reply before; 0 unless given
        """
        answer = self._json("GET", f"/v1/caches/{segment(id)}/density", query={"from": from_}, safe=True)
        return cast("Density", answer)

    def get_bitmap(
        self,
        id: str,
        layer: int,
        *,
        side: Literal["k", "v"],
        kv_head: int | None = None,
        from_: int | None = None,
        to: int | None = None,
        bin_tokens: int | None = None,
        bin_channels: int | None = None,
    ) -> Bitmap:
        """Survivors of one head: counted in cells, or as they are (Accept: application/octet-stream, head_dim / 8 bytes a row): GET /v1/caches/{id}/layers/{layer}/bitmap.

        side: k or v
        kv_head: 0 unless given
        from_: First row; 0 unless given
        to: Row behind the last; all of them unless given
        bin_tokens: Rows of a cell; chosen unless given
        bin_channels: Channels of a cell; chosen unless given
        """
        answer = self._json(
            "GET",
            f"/v1/caches/{segment(id)}/layers/{segment(layer)}/bitmap",
            query={
                "side": side,
                "kv_head": kv_head,
                "from": from_,
                "to": to,
                "bin_tokens": bin_tokens,
                "bin_channels": bin_channels,
            },
            safe=True,
        )
        return cast("Bitmap", answer)

    def get_stats(
        self,
        id: str,
        *,
        per: Literal["cache", "layer", "head"] | None = None,
        from_: int | None = None,
    ) -> Stats:
        """Rows, bytes by part, operations: GET /v1/caches/{id}/stats.

        per: cache, layer or head
        from_: First layer listed: next of the reply before; 0 unless given
        """
        answer = self._json("GET", f"/v1/caches/{segment(id)}/stats", query={"per": per, "from": from_}, safe=True)
        return cast("Stats", answer)

    def commit_cache(self, id: str, body: LayerRequest) -> Cache:
        """Tentative tokens become committed: POST /v1/caches/{id}/commit."""
        answer = self._json("POST", f"/v1/caches/{segment(id)}/commit", body=body)
        return cast("Cache", answer)

    def prune_cache(self, id: str, body: PruneRequest) -> Cache:
        """Mark survivors in dense rows: POST /v1/caches/{id}/prune."""
        answer = self._json("POST", f"/v1/caches/{segment(id)}/prune", body=body)
        return cast("Cache", answer)

    def compress_cache(self, id: str, body: LayerRequest) -> Cache:
        """Pack what is outside the window: POST /v1/caches/{id}/compress."""
        answer = self._json("POST", f"/v1/caches/{segment(id)}/compress", body=body)
        return cast("Cache", answer)

    def evict_cache(self, id: str, body: EvictRequest) -> Cache:
        """Remove rows of one head: POST /v1/caches/{id}/evict."""
        answer = self._json("POST", f"/v1/caches/{segment(id)}/evict", body=body)
        return cast("Cache", answer)

    def truncate_cache(self, id: str, body: TruncateRequest) -> Cache:
        """Roll back to a length: POST /v1/caches/{id}/truncate."""
        answer = self._json("POST", f"/v1/caches/{segment(id)}/truncate", body=body)
        return cast("Cache", answer)

    def reset_cache(self, id: str) -> Cache:
        """Empty a cache: POST /v1/caches/{id}/reset."""
        answer = self._json("POST", f"/v1/caches/{segment(id)}/reset", body={})
        return cast("Cache", answer)

    def fork_cache(self, id: str, body: ToRequest) -> Cache:
        """A second cache that shares pages: POST /v1/caches/{id}/fork."""
        answer = self._json("POST", f"/v1/caches/{segment(id)}/fork", body=body)
        return cast("Cache", answer)

    def list_snapshots(self) -> Snapshots:
        """Snapshots on disk: GET /v1/snapshots."""
        answer = self._json("GET", "/v1/snapshots", safe=True)
        return cast("Snapshots", answer)

    def get_snapshot(self, name: str, *, verify: bool | None = None) -> Snapshot:
        """One snapshot: GET /v1/snapshots/{name}.

        verify: Load it aside first; the state then is good or corrupt
        """
        answer = self._json("GET", f"/v1/snapshots/{segment(name)}", query={"verify": verify}, safe=True)
        return cast("Snapshot", answer)

    def put_snapshot(self, name: str, body: SnapshotRequest) -> Snapshot:
        """Save a cache: PUT /v1/snapshots/{name}."""
        answer = self._json("PUT", f"/v1/snapshots/{segment(name)}", body=body, safe=True)
        return cast("Snapshot", answer)

    def delete_snapshot(self, name: str) -> None:
        """Delete a snapshot: DELETE /v1/snapshots/{name}."""
        self._json("DELETE", f"/v1/snapshots/{segment(name)}")

    def restore_snapshot(self, name: str, body: RestoreRequest) -> Cache:
        """Load a snapshot as a new cache: POST /v1/snapshots/{name}/restore."""
        answer = self._json("POST", f"/v1/snapshots/{segment(name)}/restore", body=body)
        return cast("Cache", answer)

    def list_traces(self) -> Traces:
        """Recorded keys, values and queries that jobs may name: GET /v1/traces."""
        answer = self._json("GET", "/v1/traces", safe=True)
        return cast("Traces", answer)

    def get_trace(self, name: str) -> Trace:
        """One trace: GET /v1/traces/{name}."""
        answer = self._json("GET", f"/v1/traces/{segment(name)}", safe=True)
        return cast("Trace", answer)

    def delete_trace(self, name: str) -> None:
        """Forget a trace: DELETE /v1/traces/{name}."""
        self._json("DELETE", f"/v1/traces/{segment(name)}")

    def list_jobs(self, *, limit: int | None = None, after: str | None = None, state: str | None = None) -> Jobs:
        """Jobs, newest first: GET /v1/jobs.

        limit: 1 to 256
        after: Continue behind this id
        state: Only those in this state
        """
        answer = self._json("GET", "/v1/jobs", query={"limit": limit, "after": after, "state": state}, safe=True)
        return cast("Jobs", answer)

    def get_job(self, id: str, *, wait: float | None = None, version: int | None = None) -> Job:
        """One job; with wait= when it has changed: GET /v1/jobs/{id}.

        wait: Seconds, up to 60, to wait for a change
        version: What the client knows; the present one unless given
        """
        answer = self._json("GET", f"/v1/jobs/{segment(id)}", query={"wait": wait, "version": version}, safe=True)
        return cast("Job", answer)

    def delete_job(self, id: str) -> None:
        """Forget a job and its results: DELETE /v1/jobs/{id}."""
        self._json("DELETE", f"/v1/jobs/{segment(id)}")

    def cancel_job(self, id: str) -> Job:
        """End a job; what it has found stays: POST /v1/jobs/{id}/cancel."""
        answer = self._json("POST", f"/v1/jobs/{segment(id)}/cancel", body={})
        return cast("Job", answer)

    def list_results(self, *, job: str | None = None, limit: int | None = None, after: str | None = None) -> Results:
        """Results, newest first: GET /v1/results.

        job: Only those of this job
        limit: 1 to 256
        after: Continue behind this id
        """
        answer = self._json("GET", "/v1/results", query={"job": job, "limit": limit, "after": after}, safe=True)
        return cast("Results", answer)

    def get_result(self, id: str) -> ExperimentResult:
        """One result, as JSON or text/csv: GET /v1/results/{id}."""
        answer = self._json("GET", f"/v1/results/{segment(id)}", safe=True)
        return cast("ExperimentResult", answer)

    def delete_result(self, id: str) -> None:
        """Forget a result: DELETE /v1/results/{id}."""
        self._json("DELETE", f"/v1/results/{segment(id)}")

    def get_activity(self) -> Activity:
        """What goes on, and what was refused of late: GET /v1/activity."""
        answer = self._json("GET", "/v1/activity", safe=True)
        return cast("Activity", answer)
