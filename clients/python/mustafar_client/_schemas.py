# SPDX-License-Identifier: Apache-2.0
"""What requests and replies hold: the schemas of /openapi.json. Written by clients/generate.py; do not edit."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


class Status(TypedDict):
    status: Literal["ok"]


class Ready(TypedDict):
    ready: bool
    reasons: list[Literal["draining", "quota"]]


class Version(TypedDict):
    daemon: str
    library: str
    abi: int
    build: str
    transport: str
    snapshots: bool
    history: bool
    evict: Literal["none", "lru"]
    threads: int
    attend_kernel: str
    kernels: list[Kernel]
    limits: dict[str, float]


class Kernel(TypedDict):
    op: str
    backend: str
    name: str
    available: bool
    reason: NotRequired[str]


class Backends(TypedDict):
    attend_kernel: str
    kernels: list[Kernel]


class Collected(TypedDict):
    freed: list[str]
    memory_used_bytes: int


class Draining(TypedDict):
    draining: bool


class PlanRequest(TypedDict):
    """layers x kv_heads x recipes x (lengths + 64) is at most 33554432"""

    geometry: Geometry
    max_tokens: NotRequired[int]
    auto: NotRequired[bool]
    recipes: list[str | dict[str, Any]]
    lengths: list[int]


class Geometry(TypedDict):
    layers: int
    kv_heads: int
    q_heads: NotRequired[int]
    head_dim: NotRequired[int]
    head_dim_k: NotRequired[int]
    head_dim_v: NotRequired[int]
    dtype: NotRequired[Literal["f16", "bf16"]]


class Plans(TypedDict):
    geometry: GeometryOut
    plans: list[PlansPlan]


class GeometryOut(TypedDict):
    layers: int
    q_heads: int
    kv_heads: int
    head_dim_k: int
    head_dim_v: int
    dtype: Literal["f16", "bf16"]


class PlansPlan(TypedDict):
    recipe: str | None
    digest: str
    break_even_tokens: int | None
    rows: list[PlansPlanRow]


class PlansPlanRow(TypedDict):
    tokens: int
    bytes: Bytes
    dense_bytes: int


class Bytes(TypedDict):
    total: int
    values: int
    bitmaps: int
    meta: int
    slack: int
    window: int
    tables: int
    positions: int
    exact: bool


class ExplainRequest(TypedDict):
    recipe: str | dict[str, Any]
    geometry: NotRequired[Geometry]
    layer: NotRequired[int]
    kv_head: NotRequired[int]


class Explained(TypedDict):
    name: str
    digest: str
    canonical: str
    head: NotRequired[ExplainedHead]


class ExplainedHead(TypedDict):
    """With geometry: one kv head of one layer"""

    layer: int
    kv_head: int
    window: ExplainedHeadWindow
    k: Side
    v: Side


class ExplainedHeadWindow(TypedDict):
    recent: int
    sink: int
    step: int
    budget: int


class Side(TypedDict):
    head_dim: int
    keep: int
    bits: int
    encoding: Literal["exact", "ragged", "grouped", "channel"]
    method: Literal["none", "token_topk", "n_m", "channels", "channel_topk", "threshold", "mask"]
    group: int
    centred: bool
    row_bytes: int
    page_bytes: int


class Recipes(TypedDict):
    recipes: list[RecipesRecipe]


class RecipesRecipe(TypedDict):
    name: str
    builtin: bool
    digest: str
    sentence: NotRequired[str]


class Recipe(TypedDict):
    name: str
    builtin: bool
    digest: str
    recipe: dict[str, Any]


class Caches(TypedDict):
    caches: list[Cache]
    next: str | None


class Cache(TypedDict):
    id: str
    geometry: GeometryOut
    recipe: CacheRecipe
    max_tokens: int
    reserve_tokens: int
    auto: bool
    created: str
    revision: int
    lengths: list[int]
    bytes: int
    dense_bytes: int
    ttl_seconds: float | None
    expires: str | None
    labels: dict[str, str]
    pinned: bool


class CacheRecipe(TypedDict):
    name: str
    digest: str


class CacheRequest(TypedDict):
    geometry: Geometry
    recipe: str | dict[str, Any]
    max_tokens: int
    reserve_tokens: NotRequired[int]
    auto: NotRequired[bool]
    ttl_seconds: NotRequired[float | None]
    labels: NotRequired[dict[str, str]]
    pinned: NotRequired[bool]


class Keeping(TypedDict):
    ttl_seconds: NotRequired[float | None]
    labels: NotRequired[dict[str, str | None] | None]
    pinned: NotRequired[bool]


class Density(TypedDict):
    cache: str
    layers: list[DensityLayer]
    next: int | None


class DensityLayer(TypedDict):
    layer: int
    heads: list[DensityLayerHead]


class DensityLayerHead(TypedDict):
    kv_head: int
    k: float
    v: float
    rows: int


Bitmap = TypedDict(
    "Bitmap",
    {
        "cache": str,
        "layer": int,
        "side": Literal["k", "v"],
        "kv_head": int,
        "from": int,
        "to": int,
        "head_dim": int,
        "bin_tokens": int,
        "bin_channels": int,
        "rows": int,
        "columns": int,
        "density": list[float],
        "window_from": int,
        "sink": int,
        "page_rows": int,
        "positions": list[int],
    },
)


class AppendedAll(TypedDict):
    cache: str
    revision: int
    lengths: list[int]
    replayed: bool


class AppendedBatch(TypedDict):
    caches: list[AppendedAll]


class Stats(TypedDict):
    id: str
    revision: int
    longest: int
    rows: int
    body_rows: int
    evicted_rows: int
    pages: int
    shared_pages: int
    bytes: Bytes
    dense_bytes: int
    appended_tokens: int
    packed_rows: int
    attend_calls: int
    append_seconds: float
    pack_seconds: float
    attend_seconds: float
    attend_kernel: str
    pack_kernel: str
    layers: NotRequired[list[StatsLayer]]
    next: NotRequired[int | None]


class StatsLayer(TypedDict):
    layer: int
    committed: int
    tentative: int
    bytes: Bytes
    heads: NotRequired[list[StatsLayerHead]]


class StatsLayerHead(TypedDict):
    kv_head: int
    rows: int
    body_rows: int
    bytes: Bytes


class Appended(TypedDict):
    cache: str
    layer: int
    length: int
    revision: int
    replayed: bool


class LayerRequest(TypedDict):
    layer: NotRequired[int]


class PruneRequest(TypedDict):
    layer: NotRequired[int]
    kv_head: NotRequired[int]
    side: Literal["k", "v"]
    begin: int
    end: int
    method: NotRequired[Literal["recipe", "none", "token_topk", "n_m", "channels", "channel_topk", "threshold"]]
    keep: NotRequired[int]
    of: NotRequired[int]
    threshold: NotRequired[float]


class EvictRequest(TypedDict):
    layer: int
    kv_head: int
    positions: NotRequired[list[int]]
    keep: NotRequired[bool]
    scores: NotRequired[list[float]]
    budget: NotRequired[int]


class TruncateRequest(TypedDict):
    length: int
    keep_packed: NotRequired[bool]


class ToRequest(TypedDict):
    to: str


class Snapshots(TypedDict):
    snapshots: list[Snapshot]


class Snapshot(TypedDict):
    name: str
    bytes: int
    modified: str
    state: Literal["unchecked", "good", "corrupt"]


class SnapshotRequest(TypedDict):
    cache: str
    model_id: NotRequired[str]
    overwrite: NotRequired[bool]


class RestoreRequest(TypedDict):
    to: str
    model_id: NotRequired[str]


class Traces(TypedDict):
    traces: list[Trace]


class Trace(TypedDict):
    name: str
    bytes: int
    builtin: bool
    modified: str
    model: str
    kind: str
    tokens: int
    queries: int
    layers: int
    q_heads: int
    kv_heads: int
    head_dim: int
    dtype: Literal["f16", "bf16"]
    state: Literal["good", "corrupt"]
    reason: NotRequired[str]


class JobRequest(TypedDict):
    """Exactly one of traces and synthetic; the others mean what the options of mustafar-experiment mean"""

    label: NotRequired[str]
    traces: NotRequired[list[str]]
    synthetic: NotRequired[Synthetic]
    recipes: list[str | dict[str, Any]]
    lengths: NotRequired[list[int]]
    threads: NotRequired[list[int]]
    tokens: NotRequired[int]
    queries: NotRequired[int]
    repeats: NotRequired[int]
    seed: NotRequired[int]
    measure: NotRequired[Literal["decode", "window", "none"]]
    sides: NotRequired[Literal["both", "k", "v"]]
    layers: NotRequired[list[int]]
    drop_mass: NotRequired[float]
    timing: NotRequired[bool]
    budget_seconds: NotRequired[float]


class Synthetic(TypedDict):
    """Generated data: sizes and times of a shape, errors only as an order of magnitude"""

    geometry: Geometry
    tokens: int
    seed: NotRequired[int]


class Job(TypedDict):
    id: str
    label: str
    state: Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
    version: int
    progress: float
    what: str
    items: int
    items_done: int
    rows: int
    created: str
    started: str | None
    finished: str | None
    error: JobError | None
    request: JobRequest
    results: list[str]
    contended: bool


class JobError(TypedDict):
    type: str
    detail: str


class Jobs(TypedDict):
    jobs: list[Job]
    next: str | None


class Results(TypedDict):
    results: list[ResultSummary]
    next: str | None


class ResultSummary(TypedDict):
    id: str
    job: str
    label: str
    created: str
    complete: bool
    contended: bool
    threads: int
    rows: int
    recipes: list[str]
    traces: list[str]


class ExperimentResult(TypedDict):
    """What mustafar-experiment --json writes, and where it comes from"""

    id: str
    job: str
    label: str
    created: str
    contended: bool
    schema: Literal["mustafar.experiment"]
    version: int
    complete: bool
    synthetic: Synthetic | None
    rows: list[dict[str, Any]]
    command: Any
    seconds: Any
    seed: Any
    machine: Any
    library: Any
    commit: Any
    kernels: Any
    settings: Any
    traces: Any


class Activity(TypedDict):
    requests_total: int
    rejected: dict[str, int]
    queue_depth: int
    in_flight: int
    connections: int
    recent_errors: list[ActivityRecentError]


class ActivityRecentError(TypedDict):
    time: str
    id: str
    method: str
    route: str
    status: int
    problem: str
