// SPDX-License-Identifier: Apache-2.0
// Rows of one layer as raw little-endian arrays: append, and what attend sees of them.
#include "api/handlers.hpp"
#include "api/parameters.hpp"
#include "api/shapes.hpp"
#include "api/tensors.hpp"
#include "routes.hpp"

namespace mustafar::daemon {

namespace {

constexpr std::uint64_t tokens_max = 1u << 24; // of one request; sizes then fit into 64 bits

struct AppendQuery {
    mustafar_dtype dtype;
    std::uint32_t tokens;
    std::optional<std::uint64_t> expect;
    bool tentative;
};

AppendQuery read_append(const Service& service, const Request& request) {
    const Parameters parameters(request);
    AppendQuery query{
        parameters.dtype("dtype"),
        static_cast<std::uint32_t>(parameters.required_integer("tokens", 1, tokens_max)),
        parameters.integer("expect", 0, INT32_MAX), parameters.boolean("tentative")};
    if (!query.expect && !service.config.allow_blind_append) {
        throw Problem(
            ProblemType::precondition_required,
            "expect=LENGTH makes an append safe to repeat; --allow-blind-append permits others");
    }
    return query;
}

Response appended(const CacheEntry& entry, const Request& request, std::uint32_t layer,
                  bool replayed) {
    Response response = json_response({{"cache", request.path[0]},
                                       {"layer", layer},
                                       {"length", entry.length(layer)},
                                       {"revision", entry.revision()},
                                       {"replayed", replayed}});
    response.fields.push_back({"ETag", entry.etag()});
    return response;
}

} // namespace

Response append_rows(Service& service, Request& request) {
    const AppendQuery query = read_append(service, request);
    const CachePointer entry = service.caches.get(request.path[0]);
    const mustafar_geometry& g = entry->shape.geometry;
    const std::uint32_t layer = path_index(request, 1, g.layers);
    const std::uint64_t k_bytes =
        std::uint64_t{query.tokens} * g.kv_heads * g.head_dim_k * dtype_bytes(query.dtype);
    const std::uint64_t v_bytes =
        std::uint64_t{query.tokens} * g.kv_heads * g.head_dim_v * dtype_bytes(query.dtype);
    check_size(request, k_bytes + v_bytes);

    const char* data = request.body.data();
    const auto k = rows_view(data, query.dtype, query.tokens, g.kv_heads, g.head_dim_k);
    const auto v = rows_view(data + k_bytes, query.dtype, query.tokens, g.kv_heads, g.head_dim_v);
    const BodyDigest digest = request.digest();

    const WriteLock lock(*entry, lock_deadline(service, request));
    check_if_match(request, entry->etag());
    const std::uint32_t length = entry->length(layer);
    LastAppend mine{length, query.tokens, query.dtype, query.tentative, digest};
    if (query.expect && *query.expect != length) {
        mine.offset = static_cast<std::uint32_t>(*query.expect);
        if (length == *query.expect + query.tokens && entry->last[layer] == mine) {
            return appended(*entry, request, layer, true);
        }
        throw Problem(ProblemType::length_mismatch,
                      "layer " + std::to_string(layer) + " holds " + std::to_string(length) +
                          " tokens, expect was " + std::to_string(*query.expect),
                      {{"cache", request.path[0]},
                       {"layer", layer},
                       {"expected", *query.expect},
                       {"actual", length}});
    }
    const auto start = Clock::now();
    call(mustafar_cache_append, entry->cache(), layer, &k, &v,
         query.tentative ? MUSTAFAR_APPEND_TENTATIVE : 0u);
    service.metrics.op(Op::append, Clock::now() - start, request.body.size());
    service.metrics.tokens_appended.fetch_add(query.tokens, std::memory_order_relaxed);
    entry->last[layer] = mine;
    entry->changed();
    return appended(*entry, request, layer, false);
}

} // namespace mustafar::daemon
