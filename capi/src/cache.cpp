// SPDX-License-Identifier: Apache-2.0
// Cache calls that change something.
#include "mustafar/cache.h"

#include <algorithm>
#include <initializer_list>

#include "call_log.hpp"
#include "convert.hpp"
#include "core/tensor.hpp"
#include "guard.hpp"
#include "handles.hpp"

using namespace mustafar;
using namespace mustafar::capi;

namespace {

void check_weights(const mustafar_tensor* weights, const char* name, std::int64_t heads,
                   std::int64_t size) {
    if (weights == nullptr) { return; }
    check_tensor(weights, {name, {heads, size}, {MUSTAFAR_F32}});
    for (std::int64_t h = 0; h < heads; ++h) {
        for (std::int64_t i = 0; i < size; ++i) {
            const float value =
                load_element(*weights, h * weights->strides[0] + i * weights->strides[1]);
            if (value >= 0.0F && value <= 65504.0F) { continue; }
            throw Error(MUSTAFAR_NON_FINITE,
                        std::string(name) + "[" + std::to_string(h) + ", " + std::to_string(i) +
                            "] = " + shown(value) + "; weights are 0..65504",
                        {0, i, h, 0});
        }
    }
}

// A number the method does not read is a misunderstanding, not a default.
void check_unused(const mustafar_prune_options& given) {
    const auto check = [&](bool set, const std::string& field,
                           std::initializer_list<uint32_t> users) {
        if (!set || std::find(users.begin(), users.end(), given.method) != users.end()) { return; }
        refuse("options." + field +
               " is not used by options.method = " + std::to_string(given.method) +
               (given.method == MUSTAFAR_PRUNE_RECIPE ? " (MUSTAFAR_PRUNE_RECIPE)" : "") +
               "; set it to 0, or give the method that uses it");
    };
    check(given.keep != 0, "keep = " + std::to_string(given.keep),
          {MUSTAFAR_PRUNE_TOKEN_TOPK, MUSTAFAR_PRUNE_N_M, MUSTAFAR_PRUNE_CHANNELS,
           MUSTAFAR_PRUNE_CHANNEL_TOPK});
    check(given.of != 0, "of = " + std::to_string(given.of), {MUSTAFAR_PRUNE_N_M});
    check(given.threshold != 0.0F, "threshold = " + shown(given.threshold),
          {MUSTAFAR_PRUNE_THRESHOLD});
}

PruneRequest read_prune(const Cache& cache, uint32_t layer, uint32_t kv_head, uint32_t side,
                        uint32_t begin, uint32_t end, const mustafar_prune_options* options) {
    check_layer(cache.geometry(), layer, true);
    check_kv_head(cache.geometry(), kv_head, true);
    PruneRequest request;
    request.layer = layer;
    request.kv_head = kv_head;
    request.side = read_side(side);
    request.begin = begin;
    request.end = end;
    if (begin > end) {
        refuse("begin = " + std::to_string(begin) + " lies behind end = " + std::to_string(end));
    }
    if (options == nullptr) { return request; }
    const auto given = read_struct(options, "options");
    require_zero(given.reserved, "options.reserved");
    if (given.method > MUSTAFAR_PRUNE_MASK) {
        refuse("options.method = " + std::to_string(given.method) +
               " does not exist; give MUSTAFAR_PRUNE_RECIPE .. MASK (0..7)");
    }
    check_unused(given);
    if (given.keep > max_head_dim || given.of > max_head_dim) {
        refuse("options.keep = " + std::to_string(given.keep) +
               ", options.of = " + std::to_string(given.of) + "; neither can exceed head_dim");
    }
    request.as_recipe = given.method == MUSTAFAR_PRUNE_RECIPE;
    request.rule.method = static_cast<Method>(given.method);
    request.rule.keep = static_cast<std::uint16_t>(given.keep);
    request.rule.of = static_cast<std::uint16_t>(given.of);
    request.rule.threshold = given.threshold;
    return request;
}

} // namespace

extern "C" {

mustafar_status mustafar_cache_create(mustafar_context* context, const mustafar_geometry* geometry,
                                      const mustafar_recipe* recipe,
                                      const mustafar_cache_options* options, mustafar_cache** out,
                                      mustafar_error* error) {
    return guard("mustafar_cache_create", error, [&] {
        require(context, "context");
        require(recipe, "recipe");
        require(out, "out");
        auto cache = Cache::create(context->context, read_geometry(geometry), recipe->recipe,
                                   read_cache_options(options));
        *out = new mustafar_cache{std::move(cache)};
    });
}

void mustafar_cache_destroy(mustafar_cache* cache) { delete cache; }

mustafar_status mustafar_cache_fork(const mustafar_cache* cache, mustafar_cache** out,
                                    mustafar_error* error) {
    return guard("mustafar_cache_fork", error, [&] {
        require(cache, "cache");
        require(out, "out");
        const CallLog log(*cache->cache, "fork", MUSTAFAR_ALL);
        auto child = cache->cache->fork();
        *out = new mustafar_cache{std::move(child)};
    });
}

mustafar_status mustafar_cache_append(mustafar_cache* cache, uint32_t layer,
                                      const mustafar_tensor* k, const mustafar_tensor* v,
                                      uint32_t flags, mustafar_error* error) {
    return guard("mustafar_cache_append", error, [&] {
        require(cache, "cache");
        const Geometry& geometry = cache->cache->geometry();
        check_layer(geometry, layer, false);
        check_flags(flags, MUSTAFAR_APPEND_TENTATIVE, "flags");
        check_tensor(k, {"k", {-1, geometry.kv_heads, geometry.head_dim_k}, float_types()});
        check_tensor(v,
                     {"v", {k->shape[0], geometry.kv_heads, geometry.head_dim_v}, float_types()});
        if (k->shape[0] < 1) { refuse("k.shape[0] = 0 tokens; give at least 1"); }
        if (k->shape[0] > 0x7FFFFFFF) {
            refuse("k.shape[0] = " + std::to_string(k->shape[0]) + " tokens exceed 2^31-1");
        }
        const CallLog log(*cache->cache, "append", layer, k->shape[0]);
        cache->cache->append(layer, *k, *v, (flags & MUSTAFAR_APPEND_TENTATIVE) != 0);
    });
}

mustafar_status mustafar_cache_commit(mustafar_cache* cache, uint32_t layer,
                                      mustafar_error* error) {
    return guard("mustafar_cache_commit", error, [&] {
        require(cache, "cache");
        check_layer(cache->cache->geometry(), layer, true);
        const CallLog log(*cache->cache, "commit", layer);
        cache->cache->commit(layer);
    });
}

mustafar_status mustafar_cache_prune(mustafar_cache* cache, uint32_t layer, uint32_t kv_head,
                                     uint32_t side, uint32_t begin, uint32_t end,
                                     const mustafar_prune_options* options,
                                     const mustafar_tensor* channel_weights,
                                     const mustafar_tensor* token_weights,
                                     const mustafar_tensor* mask, mustafar_error* error) {
    return guard("mustafar_cache_prune", error, [&] {
        require(cache, "cache");
        PruneRequest request = read_prune(*cache->cache, layer, kv_head, side, begin, end, options);
        const Geometry& geometry = cache->cache->geometry();
        const std::int64_t heads = kv_head == MUSTAFAR_ALL ? geometry.kv_heads : 1;
        const std::int64_t d = geometry.head_dim(request.side);
        check_weights(channel_weights, "channel_weights", heads, d);
        check_weights(token_weights, "token_weights", heads, std::int64_t{end} - begin);
        if (mask != nullptr) {
            check_tensor(mask, {"mask", {heads, std::int64_t{end} - begin, d / 8}, {MUSTAFAR_U8}});
        }
        request.channel_weights = channel_weights;
        request.token_weights = token_weights;
        request.mask = mask;
        const CallLog log(*cache->cache, "prune", layer, std::int64_t{end} - begin);
        cache->cache->prune(request);
    });
}

mustafar_status mustafar_cache_compress(mustafar_cache* cache, uint32_t layer,
                                        mustafar_error* error) {
    return guard("mustafar_cache_compress", error, [&] {
        require(cache, "cache");
        check_layer(cache->cache->geometry(), layer, true);
        const CallLog log(*cache->cache, "compress", layer);
        cache->cache->compress(layer);
    });
}

mustafar_status mustafar_cache_evict(mustafar_cache* cache, uint32_t layer, uint32_t kv_head,
                                     const int32_t* positions, size_t count, uint32_t flags,
                                     mustafar_error* error) {
    return guard("mustafar_cache_evict", error, [&] {
        require(cache, "cache");
        check_layer(cache->cache->geometry(), layer, false);
        check_kv_head(cache->cache->geometry(), kv_head, false);
        check_flags(flags, MUSTAFAR_EVICT_KEEP, "flags");
        if (count > 0) { require(positions, "positions"); }
        const CallLog log(*cache->cache, "evict", layer, static_cast<std::int64_t>(count));
        cache->cache->evict(layer, kv_head, {positions, count}, (flags & MUSTAFAR_EVICT_KEEP) != 0);
    });
}

mustafar_status mustafar_cache_evict_scores(mustafar_cache* cache, uint32_t layer, uint32_t kv_head,
                                            const float* scores, size_t count, uint32_t budget,
                                            mustafar_error* error) {
    return guard("mustafar_cache_evict_scores", error, [&] {
        require(cache, "cache");
        check_layer(cache->cache->geometry(), layer, false);
        check_kv_head(cache->cache->geometry(), kv_head, false);
        if (count > 0) { require(scores, "scores"); }
        const CallLog log(*cache->cache, "evict_scores", layer, static_cast<std::int64_t>(count));
        cache->cache->evict_scores(layer, kv_head, {scores, count}, budget);
    });
}

mustafar_status mustafar_cache_truncate(mustafar_cache* cache, uint32_t length, uint32_t flags,
                                        mustafar_error* error) {
    return guard("mustafar_cache_truncate", error, [&] {
        require(cache, "cache");
        check_flags(flags, MUSTAFAR_TRUNCATE_KEEP_PACKED, "flags");
        const CallLog log(*cache->cache, "truncate", MUSTAFAR_ALL, length);
        cache->cache->truncate(length, (flags & MUSTAFAR_TRUNCATE_KEEP_PACKED) != 0);
    });
}

mustafar_status mustafar_cache_reset(mustafar_cache* cache, mustafar_error* error) {
    return guard("mustafar_cache_reset", error, [&] {
        require(cache, "cache");
        const CallLog log(*cache->cache, "reset", MUSTAFAR_ALL);
        cache->cache->reset();
    });
}

} // extern "C"
