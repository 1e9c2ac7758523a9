# SPDX-License-Identifier: Apache-2.0
"""Where each C function is in this package. A test compares this with capi/abi/api.json."""

from __future__ import annotations

WRAPPED = {
    "mustafar_version": "version",
    "mustafar_abi_version": "abi_version",
    "mustafar_build_text": "build_text",
    "mustafar_status_name": "status_name",
    "mustafar_dtype_name": "dtype_name",
    "mustafar_kernel_count": "kernels",
    "mustafar_kernel_at": "kernels",
    "mustafar_context_create": "Context",
    "mustafar_context_destroy": "Context.close",
    "mustafar_context_kernel": "Context.kernel",
    "mustafar_context_get_stats": "Context.stats",
    "mustafar_recipe_parse": "Recipe",
    "mustafar_recipe_destroy": "Recipe.close",
    "mustafar_recipe_json": "Recipe.json",
    "mustafar_recipe_digest": "Recipe.digest",
    "mustafar_recipe_count": "named_recipes",
    "mustafar_recipe_name": "named_recipes",
    "mustafar_recipe_sentence": "named_recipes",
    "mustafar_recipe_side": "Recipe.side",
    "mustafar_recipe_window": "Recipe.window",
    "mustafar_cache_create": "Cache",
    "mustafar_cache_destroy": "Cache.close",
    "mustafar_cache_fork": "Cache.fork",
    "mustafar_cache_append": "Cache.append",
    "mustafar_cache_commit": "Cache.commit",
    "mustafar_cache_prune": "Cache.prune",
    "mustafar_cache_compress": "Cache.compress",
    "mustafar_cache_evict": "Cache.evict",
    "mustafar_cache_evict_scores": "Cache.evict_scores",
    "mustafar_cache_truncate": "Cache.truncate",
    "mustafar_cache_reset": "Cache.reset",
    "mustafar_cache_length": "Cache.length",
    "mustafar_cache_rows": "Cache.rows",
    "mustafar_cache_positions": "Cache.positions",
    "mustafar_cache_export": "Cache.export",
    "mustafar_cache_describe": "Cache.geometry",
    "mustafar_cache_bytes": "Cache.bytes",
    "mustafar_cache_get_stats": "Cache.stats",
    "mustafar_plan": "plan",
    "mustafar_attend": "attend",
    "mustafar_merge": "merge",
    "mustafar_cache_save": "Cache.save",
    "mustafar_cache_save_file": "Cache.save",
    "mustafar_cache_load": "Cache.load",
    "mustafar_cache_load_file": "Cache.load",
}

NOT_WRAPPED = {
    "mustafar_tensor_from_dlpack": "inline; the extension calls it for tensors without a buffer",
    "mustafar_dl_refuse": "inline, a part of mustafar_tensor_from_dlpack",
}

# The extension makes no attributes of these three, since Handle.close() also forgets the pointer.
NOT_RAW = {"mustafar_context_destroy", "mustafar_recipe_destroy", "mustafar_cache_destroy"}
