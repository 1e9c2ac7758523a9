// SPDX-License-Identifier: Apache-2.0
// The layout of every public struct, pinned per release of the ABI. This file emits no code.
//
// A released line is never edited. A struct grows at its end only: the grown size and the new
// offsets get a block of their own below the old one (and the old size stays a size that callers
// may state). The numbers are those of the LP64 platforms served here, x86-64 and aarch64.

#include <cstddef>     // offsetof, size_t
#include <type_traits> // is_standard_layout, is_trivially_copyable

#include "mustafar/mustafar.h"

static_assert(sizeof(void*) == 8 && sizeof(long) == 8, "layouts below are those of LP64");
static_assert(sizeof(mustafar_status) == 4 && sizeof(mustafar_dtype) == 4,
              "enums have a fixed width");

#define MUSTAFAR_SIZE(type, bytes)                                                                 \
    static_assert(sizeof(type) == (bytes), "size of " #type);                                      \
    static_assert(std::is_standard_layout_v<type> && std::is_trivially_copyable_v<type>, #type)
#define MUSTAFAR_AT(type, field, bytes)                                                            \
    static_assert(offsetof(type, field) == (bytes), "offset of " #type "::" #field)

// ---- types.h

// mustafar_error, released in ABI 0
MUSTAFAR_SIZE(mustafar_error, 552);
MUSTAFAR_AT(mustafar_error, struct_size, 0);
MUSTAFAR_AT(mustafar_error, code, 4);
MUSTAFAR_AT(mustafar_error, values, 8);
MUSTAFAR_AT(mustafar_error, message, 40);

// mustafar_tensor, released in ABI 0
MUSTAFAR_SIZE(mustafar_tensor, 88);
MUSTAFAR_AT(mustafar_tensor, data, 0);
MUSTAFAR_AT(mustafar_tensor, dtype, 8);
MUSTAFAR_AT(mustafar_tensor, device, 12);
MUSTAFAR_AT(mustafar_tensor, ndim, 16);
MUSTAFAR_AT(mustafar_tensor, reserved, 20);
MUSTAFAR_AT(mustafar_tensor, shape, 24);
MUSTAFAR_AT(mustafar_tensor, strides, 56);

// mustafar_geometry, released in ABI 0
MUSTAFAR_SIZE(mustafar_geometry, 32);
MUSTAFAR_AT(mustafar_geometry, struct_size, 0);
MUSTAFAR_AT(mustafar_geometry, layers, 4);
MUSTAFAR_AT(mustafar_geometry, q_heads, 8);
MUSTAFAR_AT(mustafar_geometry, kv_heads, 12);
MUSTAFAR_AT(mustafar_geometry, head_dim_k, 16);
MUSTAFAR_AT(mustafar_geometry, head_dim_v, 20);
MUSTAFAR_AT(mustafar_geometry, dtype, 24);
MUSTAFAR_AT(mustafar_geometry, reserved, 28);

// mustafar_bytes, released in ABI 0
MUSTAFAR_SIZE(mustafar_bytes, 72);
MUSTAFAR_AT(mustafar_bytes, struct_size, 0);
MUSTAFAR_AT(mustafar_bytes, exact, 4);
MUSTAFAR_AT(mustafar_bytes, total, 8);
MUSTAFAR_AT(mustafar_bytes, values, 16);
MUSTAFAR_AT(mustafar_bytes, bitmaps, 24);
MUSTAFAR_AT(mustafar_bytes, meta, 32);
MUSTAFAR_AT(mustafar_bytes, slack, 40);
MUSTAFAR_AT(mustafar_bytes, window, 48);
MUSTAFAR_AT(mustafar_bytes, positions, 56);
MUSTAFAR_AT(mustafar_bytes, tables, 64);

// ---- info.h

// mustafar_kernel_info, released in ABI 0
MUSTAFAR_SIZE(mustafar_kernel_info, 264);
MUSTAFAR_AT(mustafar_kernel_info, struct_size, 0);
MUSTAFAR_AT(mustafar_kernel_info, available, 4);
MUSTAFAR_AT(mustafar_kernel_info, op, 8);
MUSTAFAR_AT(mustafar_kernel_info, backend, 40);
MUSTAFAR_AT(mustafar_kernel_info, name, 72);
MUSTAFAR_AT(mustafar_kernel_info, reason, 136);

// ---- context.h

// mustafar_allocator, released in ABI 0
MUSTAFAR_SIZE(mustafar_allocator, 32);
MUSTAFAR_AT(mustafar_allocator, struct_size, 0);
MUSTAFAR_AT(mustafar_allocator, reserved, 4);
MUSTAFAR_AT(mustafar_allocator, user, 8);
MUSTAFAR_AT(mustafar_allocator, allocate, 16);
MUSTAFAR_AT(mustafar_allocator, release, 24);

// mustafar_log_hook, released in ABI 0
MUSTAFAR_SIZE(mustafar_log_hook, 24);
MUSTAFAR_AT(mustafar_log_hook, struct_size, 0);
MUSTAFAR_AT(mustafar_log_hook, level, 4);
MUSTAFAR_AT(mustafar_log_hook, user, 8);
MUSTAFAR_AT(mustafar_log_hook, write, 16);

// mustafar_context_options, released in ABI 0
MUSTAFAR_SIZE(mustafar_context_options, 56);
MUSTAFAR_AT(mustafar_context_options, struct_size, 0);
MUSTAFAR_AT(mustafar_context_options, threads, 4);
MUSTAFAR_AT(mustafar_context_options, quota_bytes, 8);
MUSTAFAR_AT(mustafar_context_options, flags, 16);
MUSTAFAR_AT(mustafar_context_options, reserved, 20);
MUSTAFAR_AT(mustafar_context_options, backend, 24);

// mustafar_context_stats, released in ABI 0
MUSTAFAR_SIZE(mustafar_context_stats, 88);
MUSTAFAR_AT(mustafar_context_stats, struct_size, 0);
MUSTAFAR_AT(mustafar_context_stats, threads, 4);
MUSTAFAR_AT(mustafar_context_stats, live_bytes, 8);
MUSTAFAR_AT(mustafar_context_stats, peak_bytes, 16);
MUSTAFAR_AT(mustafar_context_stats, quota_bytes, 24);
MUSTAFAR_AT(mustafar_context_stats, allocations, 32);
MUSTAFAR_AT(mustafar_context_stats, page_bytes, 40);
MUSTAFAR_AT(mustafar_context_stats, cache_bytes, 48);
MUSTAFAR_AT(mustafar_context_stats, work_bytes, 56);
MUSTAFAR_AT(mustafar_context_stats, pages, 64);
MUSTAFAR_AT(mustafar_context_stats, shared_pages, 72);
MUSTAFAR_AT(mustafar_context_stats, caches, 80);

// ---- recipe.h

// mustafar_side_info, released in ABI 0
MUSTAFAR_SIZE(mustafar_side_info, 48);
MUSTAFAR_AT(mustafar_side_info, struct_size, 0);
MUSTAFAR_AT(mustafar_side_info, head_dim, 4);
MUSTAFAR_AT(mustafar_side_info, keep, 8);
MUSTAFAR_AT(mustafar_side_info, bits, 12);
MUSTAFAR_AT(mustafar_side_info, encoding, 16);
MUSTAFAR_AT(mustafar_side_info, method, 20);
MUSTAFAR_AT(mustafar_side_info, group, 24);
MUSTAFAR_AT(mustafar_side_info, centred, 28);
MUSTAFAR_AT(mustafar_side_info, row_bytes, 32);
MUSTAFAR_AT(mustafar_side_info, page_bytes, 40);

// ---- cache.h

// mustafar_cache_options, released in ABI 0
MUSTAFAR_SIZE(mustafar_cache_options, 16);
MUSTAFAR_AT(mustafar_cache_options, struct_size, 0);
MUSTAFAR_AT(mustafar_cache_options, max_tokens, 4);
MUSTAFAR_AT(mustafar_cache_options, reserve_tokens, 8);
MUSTAFAR_AT(mustafar_cache_options, flags, 12);

// mustafar_prune_options, released in ABI 0
MUSTAFAR_SIZE(mustafar_prune_options, 24);
MUSTAFAR_AT(mustafar_prune_options, struct_size, 0);
MUSTAFAR_AT(mustafar_prune_options, method, 4);
MUSTAFAR_AT(mustafar_prune_options, keep, 8);
MUSTAFAR_AT(mustafar_prune_options, of, 12);
MUSTAFAR_AT(mustafar_prune_options, threshold, 16);
MUSTAFAR_AT(mustafar_prune_options, reserved, 20);

// mustafar_cache_stats, released in ABI 0
MUSTAFAR_SIZE(mustafar_cache_stats, 232);
MUSTAFAR_AT(mustafar_cache_stats, struct_size, 0);
MUSTAFAR_AT(mustafar_cache_stats, longest, 4);
MUSTAFAR_AT(mustafar_cache_stats, rows, 8);
MUSTAFAR_AT(mustafar_cache_stats, body_rows, 16);
MUSTAFAR_AT(mustafar_cache_stats, evicted_rows, 24);
MUSTAFAR_AT(mustafar_cache_stats, pages, 32);
MUSTAFAR_AT(mustafar_cache_stats, shared_pages, 40);
MUSTAFAR_AT(mustafar_cache_stats, dense_bytes, 48);
MUSTAFAR_AT(mustafar_cache_stats, appended_tokens, 56);
MUSTAFAR_AT(mustafar_cache_stats, packed_rows, 64);
MUSTAFAR_AT(mustafar_cache_stats, attend_calls, 72);
MUSTAFAR_AT(mustafar_cache_stats, append_ns, 80);
MUSTAFAR_AT(mustafar_cache_stats, pack_ns, 88);
MUSTAFAR_AT(mustafar_cache_stats, attend_ns, 96);
MUSTAFAR_AT(mustafar_cache_stats, attend_kernel, 104);
MUSTAFAR_AT(mustafar_cache_stats, pack_kernel, 168);

// ---- attend.h

// mustafar_attend_options, released in ABI 0
MUSTAFAR_SIZE(mustafar_attend_options, 40);
MUSTAFAR_AT(mustafar_attend_options, struct_size, 0);
MUSTAFAR_AT(mustafar_attend_options, flags, 4);
MUSTAFAR_AT(mustafar_attend_options, q_position, 8);
MUSTAFAR_AT(mustafar_attend_options, scale, 16);
MUSTAFAR_AT(mustafar_attend_options, softcap, 20);
MUSTAFAR_AT(mustafar_attend_options, sliding_window, 24);
MUSTAFAR_AT(mustafar_attend_options, drop_mass, 28);
MUSTAFAR_AT(mustafar_attend_options, reserved, 32);

#undef MUSTAFAR_AT
#undef MUSTAFAR_SIZE
