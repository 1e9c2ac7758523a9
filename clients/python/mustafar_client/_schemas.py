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
    threads: int
    attend_kernel: str
    kernels: list[VersionKernel]
    limits: dict[str, float]


class VersionKernel(TypedDict):
    op: str
    backend: str
    name: str
    available: bool
    reason: NotRequired[str]


class PlanRequest(TypedDict):
    """layers x kv_heads x recipes x (lengths + 64) is at most 33554432"""

    geometry: Geometry
    max_tokens: NotRequired[int]
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


class CacheRecipe(TypedDict):
    name: str
    digest: str


class CacheRequest(TypedDict):
    geometry: Geometry
    recipe: str | dict[str, Any]
    max_tokens: int
    reserve_tokens: NotRequired[int]
    auto: NotRequired[bool]


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
