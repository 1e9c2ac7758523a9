// SPDX-License-Identifier: Apache-2.0
// Cache calls that only ask, and plan.
#include <algorithm>
#include <cstdio>

#include "convert.hpp"
#include "guard.hpp"
#include "handles.hpp"
#include "mustafar/cache.h"

using namespace mustafar;
using namespace mustafar::capi;

namespace {

const Cache& checked(const mustafar_cache* cache, std::uint32_t layer, std::uint32_t kv_head) {
    require(cache, "cache");
    check_layer(cache->cache->geometry(), layer, false);
    check_kv_head(cache->cache->geometry(), kv_head, false);
    return *cache->cache;
}

mustafar_cache_stats collect_stats(const Cache& cache) {
    mustafar_cache_stats stats{};
    const Geometry& geometry = cache.geometry();
    for (std::uint32_t l = 0; l < geometry.layers; ++l) {
        stats.longest = std::max(stats.longest, cache.layer(l).length());
        for (std::uint32_t h = 0; h < geometry.kv_heads; ++h) {
            const HeadState& head = cache.head(l, h);
            stats.rows += head.rows();
            stats.body_rows += head.body_rows;
            stats.evicted_rows += head.evicted;
            stats.pages += head.page_count + head.reserve_count;
            for (std::uint32_t p = 0; p < head.page_count; ++p) {
                stats.shared_pages += Pool::shared(*head.pages[p].page) ? 1 : 0;
            }
        }
    }
    stats.dense_bytes = stats.rows * (geometry.head_dim_k + geometry.head_dim_v) * 2;
    const CacheCounters& counters = cache.counters();
    stats.appended_tokens = counters.appended_tokens;
    stats.packed_rows = counters.packed_rows;
    stats.attend_calls = counters.attend_calls;
    stats.append_ns = counters.append_ns;
    stats.pack_ns = counters.pack_ns;
    stats.attend_ns = counters.attend_ns;
    const Kernels& kernels = cache.context()->kernels();
    std::snprintf(stats.attend_kernel, sizeof(stats.attend_kernel), "%s", kernels.rows[3].name);
    std::snprintf(stats.pack_kernel, sizeof(stats.pack_kernel), "%s", kernels.rows[1].name);
    return stats;
}

} // namespace

extern "C" {

mustafar_status mustafar_cache_length(const mustafar_cache* cache, uint32_t layer,
                                      uint32_t* out_committed, uint32_t* out_tentative,
                                      mustafar_error* error) {
    return guard("mustafar_cache_length", error, [&] {
        const LayerState& state = checked(cache, layer, 0).layer(layer);
        if (out_committed != nullptr) { *out_committed = state.committed; }
        if (out_tentative != nullptr) { *out_tentative = state.tentative; }
    });
}

mustafar_status mustafar_cache_rows(const mustafar_cache* cache, uint32_t layer, uint32_t kv_head,
                                    uint32_t* out_rows, uint32_t* out_body, mustafar_error* error) {
    return guard("mustafar_cache_rows", error, [&] {
        const HeadState& head = checked(cache, layer, kv_head).head(layer, kv_head);
        if (out_rows != nullptr) { *out_rows = head.rows(); }
        if (out_body != nullptr) { *out_body = head.body_rows; }
    });
}

mustafar_status mustafar_cache_positions(const mustafar_cache* cache, uint32_t layer,
                                         uint32_t kv_head, int32_t* out_positions, size_t count,
                                         mustafar_error* error) {
    return guard("mustafar_cache_positions", error, [&] {
        const Cache& c = checked(cache, layer, kv_head);
        const HeadState& head = c.head(layer, kv_head);
        if (count != head.rows()) {
            refuse("count = " + std::to_string(count) + ", but the head holds " +
                   std::to_string(head.rows()) + " rows");
        }
        if (count > 0) { require(out_positions, "out_positions"); }
        for (std::uint32_t r = 0; r < head.rows(); ++r) { out_positions[r] = c.position(head, r); }
    });
}

mustafar_status mustafar_cache_export(const mustafar_cache* cache, uint32_t layer, uint32_t kv_head,
                                      uint32_t side, uint32_t begin, uint32_t end,
                                      const mustafar_tensor* out_values, uint8_t* out_bitmaps,
                                      mustafar_error* error) {
    return guard("mustafar_cache_export", error, [&] {
        const Cache& c = checked(cache, layer, kv_head);
        const Side which = read_side(side);
        const std::uint32_t rows = c.head(layer, kv_head).rows();
        if (begin > end || end > rows) {
            refuse("begin = " + std::to_string(begin) + ", end = " + std::to_string(end) +
                   " is no range of the " + std::to_string(rows) + " rows");
        }
        check_tensor(out_values, {"out_values",
                                  {std::int64_t{end} - begin, c.geometry().head_dim(which)},
                                  {MUSTAFAR_F32, MUSTAFAR_F16, MUSTAFAR_BF16},
                                  true});
        c.export_rows(layer, kv_head, which, begin, end, *out_values, out_bitmaps);
    });
}

mustafar_status mustafar_cache_describe(const mustafar_cache* cache,
                                        mustafar_geometry* out_geometry,
                                        mustafar_cache_options* out_options,
                                        const char** out_recipe, mustafar_error* error) {
    return guard("mustafar_cache_describe", error, [&] {
        require(cache, "cache");
        const Cache& c = *cache->cache;
        if (out_geometry != nullptr) { check_output(out_geometry, "out_geometry"); }
        if (out_options != nullptr) { check_output(out_options, "out_options"); }
        const Geometry& g = c.geometry();
        if (out_geometry != nullptr) {
            write_struct(out_geometry,
                         mustafar_geometry{0, g.layers, g.q_heads, g.kv_heads, g.head_dim_k,
                                           g.head_dim_v, static_cast<mustafar_dtype>(g.store), 0});
        }
        if (out_options != nullptr) {
            write_struct(out_options, mustafar_cache_options{
                                          0, c.options().max_tokens, c.options().reserve_tokens,
                                          c.options().automatic ? MUSTAFAR_CACHE_AUTO : 0});
        }
        if (out_recipe != nullptr) { *out_recipe = c.recipe()->json().c_str(); }
    });
}

mustafar_status mustafar_cache_bytes(const mustafar_cache* cache, uint32_t layer, uint32_t kv_head,
                                     mustafar_bytes* out, mustafar_error* error) {
    return guard("mustafar_cache_bytes", error, [&] {
        require(cache, "cache");
        check_layer(cache->cache->geometry(), layer, true);
        check_kv_head(cache->cache->geometry(), kv_head, true);
        check_output(out, "out");
        write_struct(out, cache->cache->bytes(layer, kv_head));
    });
}

mustafar_status mustafar_cache_get_stats(const mustafar_cache* cache, mustafar_cache_stats* out,
                                         mustafar_error* error) {
    return guard("mustafar_cache_get_stats", error, [&] {
        require(cache, "cache");
        check_output(out, "out");
        write_struct(out, collect_stats(*cache->cache));
    });
}

mustafar_status mustafar_plan(const mustafar_recipe* recipe, const mustafar_geometry* geometry,
                              const mustafar_cache_options* options, uint32_t tokens,
                              uint32_t layer, mustafar_bytes* out, mustafar_error* error) {
    return guard("mustafar_plan", error, [&] {
        require(recipe, "recipe");
        check_output(out, "out");
        const Geometry shape = read_geometry(geometry);
        check_layer(shape, layer, true);
        write_struct(out, plan(*recipe->recipe, shape, read_cache_options(options), tokens, layer));
    });
}

} // extern "C"
