# SPDX-License-Identifier: Apache-2.0
# The raw extension, as swig/mustafar.i makes it: C names, C order, outputs returned.
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

MUSTAFAR_OK: int
MUSTAFAR_INVALID_ARGUMENT: int
MUSTAFAR_UNSUPPORTED: int
MUSTAFAR_OUT_OF_MEMORY: int
MUSTAFAR_CAPACITY: int
MUSTAFAR_BAD_STATE: int
MUSTAFAR_NON_FINITE: int
MUSTAFAR_NOT_EXACT: int
MUSTAFAR_CORRUPT: int
MUSTAFAR_MISMATCH: int
MUSTAFAR_IO: int
MUSTAFAR_DEVICE: int
MUSTAFAR_INTERNAL: int
MUSTAFAR_F32: int
MUSTAFAR_F16: int
MUSTAFAR_BF16: int
MUSTAFAR_U8: int
MUSTAFAR_I32: int
MUSTAFAR_MAX_DIMS: int
MUSTAFAR_SIDE_K: int
MUSTAFAR_SIDE_V: int
MUSTAFAR_ALL: int
MUSTAFAR_VERSION_MAJOR: int
MUSTAFAR_VERSION_MINOR: int
MUSTAFAR_VERSION_PATCH: int
MUSTAFAR_VERSION: str
MUSTAFAR_LOG_ERROR: int
MUSTAFAR_LOG_WARNING: int
MUSTAFAR_LOG_INFO: int
MUSTAFAR_LOG_TRACE: int
MUSTAFAR_CONTEXT_REFUSE_REF: int
MUSTAFAR_ENCODING_EXACT: int
MUSTAFAR_ENCODING_RAGGED: int
MUSTAFAR_ENCODING_GROUPED: int
MUSTAFAR_ENCODING_CHANNEL: int
MUSTAFAR_PRUNE_RECIPE: int
MUSTAFAR_PRUNE_NONE: int
MUSTAFAR_PRUNE_TOKEN_TOPK: int
MUSTAFAR_PRUNE_N_M: int
MUSTAFAR_PRUNE_CHANNELS: int
MUSTAFAR_PRUNE_CHANNEL_TOPK: int
MUSTAFAR_PRUNE_THRESHOLD: int
MUSTAFAR_PRUNE_MASK: int
MUSTAFAR_CACHE_AUTO: int
MUSTAFAR_APPEND_TENTATIVE: int
MUSTAFAR_EVICT_KEEP: int
MUSTAFAR_TRUNCATE_KEEP_PACKED: int
MUSTAFAR_ATTEND_AT: int
MUSTAFAR_MODEL_ID_MAX: int

_Struct = dict[str, Any]
_Tensor = Any
_Text = str | bytes

class Handle:
    @property
    def closed(self) -> bool: ...
    def close(self) -> None: ...
    def __reduce__(self) -> NoReturn: ...

class Allocator:
    def __init__(self) -> None: ...
    @property
    def live_bytes(self) -> int: ...
    @property
    def live_blocks(self) -> int: ...
    @property
    def allocations(self) -> int: ...
    fail_after: int

def set_error_factory(
    factory: Callable[[int, str, tuple[int, int, int, int]], Exception], /
) -> None: ...
def layouts() -> dict[str, tuple[int, dict[str, tuple[int, int]]]]: ...
def mustafar_version() -> str: ...
def mustafar_abi_version() -> int: ...
def mustafar_build_text() -> str: ...
def mustafar_status_name(status: int, /) -> str: ...
def mustafar_dtype_name(dtype: int, /) -> str: ...
def mustafar_kernel_count() -> int: ...
def mustafar_kernel_at(index: int, /) -> _Struct: ...
def mustafar_context_create(
    options: _Struct | None,
    allocator: Allocator | None,
    log: tuple[int, Callable[[int, str], object]] | None,
    /,
) -> Handle: ...
def mustafar_context_kernel(context: Handle, op: str, /) -> _Struct: ...
def mustafar_context_get_stats(context: Handle, /) -> _Struct: ...
def mustafar_recipe_parse(text: _Text, /) -> Handle: ...
def mustafar_recipe_json(recipe: Handle, /) -> str: ...
def mustafar_recipe_digest(recipe: Handle, /) -> str: ...
def mustafar_recipe_count() -> int: ...
def mustafar_recipe_name(index: int, /) -> str: ...
def mustafar_recipe_sentence(index: int, /) -> str: ...
def mustafar_recipe_side(
    recipe: Handle, geometry: _Struct, layer: int, kv_head: int, side: int, /
) -> _Struct: ...
def mustafar_recipe_window(
    recipe: Handle, geometry: _Struct, layer: int, kv_head: int, /
) -> list[int]: ...
def mustafar_cache_create(
    context: Handle, geometry: _Struct, recipe: Handle, options: _Struct | None, /
) -> Handle: ...
def mustafar_cache_fork(cache: Handle, /) -> Handle: ...
def mustafar_cache_append(
    cache: Handle, layer: int, k: _Tensor, v: _Tensor, flags: int, /
) -> None: ...
def mustafar_cache_commit(cache: Handle, layer: int, /) -> None: ...
def mustafar_cache_prune(
    cache: Handle,
    layer: int,
    kv_head: int,
    side: int,
    begin: int,
    end: int,
    options: _Struct | None,
    channel_weights: _Tensor | None,
    token_weights: _Tensor | None,
    mask: _Tensor | None,
    /,
) -> None: ...
def mustafar_cache_compress(cache: Handle, layer: int, /) -> None: ...
def mustafar_cache_evict(
    cache: Handle, layer: int, kv_head: int, positions: _Tensor, flags: int, /
) -> None: ...
def mustafar_cache_evict_scores(
    cache: Handle, layer: int, kv_head: int, scores: _Tensor, budget: int, /
) -> None: ...
def mustafar_cache_truncate(cache: Handle, length: int, flags: int, /) -> None: ...
def mustafar_cache_reset(cache: Handle, /) -> None: ...
def mustafar_cache_length(cache: Handle, layer: int, /) -> list[int]: ...
def mustafar_cache_rows(cache: Handle, layer: int, kv_head: int, /) -> list[int]: ...
def mustafar_cache_positions(
    cache: Handle, layer: int, kv_head: int, out_positions: _Tensor, /
) -> None: ...
def mustafar_cache_export(
    cache: Handle,
    layer: int,
    kv_head: int,
    side: int,
    begin: int,
    end: int,
    outputs: tuple[_Tensor, _Tensor | None],
    /,
) -> None: ...
def mustafar_cache_describe(cache: Handle, /) -> tuple[_Struct, _Struct, str]: ...
def mustafar_cache_bytes(cache: Handle, layer: int, kv_head: int, /) -> _Struct: ...
def mustafar_cache_get_stats(cache: Handle, /) -> _Struct: ...
def mustafar_plan(
    recipe: Handle, geometry: _Struct, options: _Struct, tokens: int, layer: int, /
) -> _Struct: ...
def mustafar_attend(
    caches: Sequence[Handle],
    layer: int,
    q: _Tensor,
    sinks: _Tensor | None,
    options: _Struct | None,
    out: _Tensor,
    lse: _Tensor | None,
    weights: _Tensor | None,
    dropped: _Tensor | None,
    /,
) -> None: ...
def mustafar_merge(
    context: Handle,
    out_a: _Tensor,
    lse_a: _Tensor,
    out_b: _Tensor,
    lse_b: _Tensor,
    out: _Tensor,
    lse: _Tensor,
    /,
) -> None: ...
def mustafar_cache_save(
    cache: Handle, model_id: str | None, write: Callable[[bytes], object], /
) -> None: ...
def mustafar_cache_save_file(cache: Handle, model_id: str | None, path: _Text, /) -> None: ...
def mustafar_cache_load(
    context: Handle,
    geometry: _Struct | None,
    recipe: Handle | None,
    model_id: str | None,
    options: _Struct | None,
    read: Callable[[int], bytes],
    /,
) -> Handle: ...
def mustafar_cache_load_file(
    context: Handle,
    geometry: _Struct | None,
    recipe: Handle | None,
    model_id: str | None,
    options: _Struct | None,
    path: _Text,
    /,
) -> Handle: ...
