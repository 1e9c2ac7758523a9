// SPDX-License-Identifier: Apache-2.0
// Tensors in and out, as raw little-endian arrays: append and attend.
#include <bit>

#include <xxhash.h>

#include "api/handlers.hpp"
#include "api/parameters.hpp"
#include "api/shapes.hpp"

static_assert(std::endian::native == std::endian::little, "bodies are little-endian");

namespace mustafar::daemon {

namespace {

constexpr std::uint64_t tokens_max = 1u << 24; // of one request; sizes then fit into 64 bits

// [tokens, heads, d], contiguous.
mustafar_tensor rows_view(const char* data, mustafar_dtype dtype, std::uint64_t tokens,
                          std::uint32_t heads, std::uint32_t d) {
    const auto h = static_cast<std::int64_t>(heads);
    const auto n = static_cast<std::int64_t>(d);
    return experiment::tensor(data, dtype, {static_cast<std::int64_t>(tokens), h, n},
                              {h * n, n, 1});
}

// [1, tokens, heads, d], contiguous.
mustafar_tensor queries_view(const char* data, mustafar_dtype dtype, std::uint64_t tokens,
                             std::uint32_t heads, std::uint32_t d) {
    const auto t = static_cast<std::int64_t>(tokens);
    const auto h = static_cast<std::int64_t>(heads);
    const auto n = static_cast<std::int64_t>(d);
    return experiment::tensor(data, dtype, {1, t, h, n}, {t * h * n, h * n, n, 1});
}

void check_size(const Request& request, std::uint64_t expected) {
    if (request.body.size() != expected) {
        throw Problem(ProblemType::body_size, "the body has another size than the parameters say",
                      {{"expected_bytes", expected}, {"actual_bytes", request.body.size()}});
    }
}

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
    const XXH128_hash_t hash = XXH3_128bits(data, request.body.size());

    const WriteLock lock(*entry, lock_deadline(service, request));
    check_if_match(request, entry->etag());
    const std::uint32_t length = entry->length(layer);
    LastAppend mine{length, query.tokens, query.dtype, query.tentative, {hash.low64, hash.high64}};
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

namespace {

struct AttendQuery {
    mustafar_dtype dtype;
    mustafar_dtype out_dtype;
    std::uint32_t tokens;
    bool lse;
    mustafar_attend_options options = MUSTAFAR_ATTEND_OPTIONS_INIT;
};

AttendQuery read_attend(const Request& request) {
    const Parameters parameters(request);
    AttendQuery query{};
    query.dtype = parameters.dtype("dtype");
    query.out_dtype = parameters.dtype("out_dtype", query.dtype);
    query.tokens =
        static_cast<std::uint32_t>(parameters.required_integer("q_tokens", 1, tokens_max));
    query.lse = parameters.boolean("lse");
    query.options = MUSTAFAR_ATTEND_OPTIONS_INIT;
    query.options.scale = static_cast<float>(parameters.number("scale", 0, 1e6).value_or(0));
    query.options.softcap = static_cast<float>(parameters.number("softcap", 0, 1e6).value_or(0));
    query.options.drop_mass = static_cast<float>(parameters.number("drop_mass", 0, 1).value_or(0));
    query.options.sliding_window =
        static_cast<std::uint32_t>(parameters.integer("sliding_window", 1, INT32_MAX).value_or(0));
    if (const auto position = parameters.integer("q_position", 0, std::uint64_t{1} << 40)) {
        query.options.flags = MUSTAFAR_ATTEND_AT;
        query.options.q_position = static_cast<std::int64_t>(*position);
    }
    return query;
}

} // namespace

Response attend_rows(Service& service, Request& request) {
    const AttendQuery query = read_attend(request);
    const CachePointer entry = service.caches.get(request.path[0]);
    const mustafar_geometry& g = entry->shape.geometry;
    const std::uint32_t layer = path_index(request, 1, g.layers);
    const std::uint64_t vectors = std::uint64_t{query.tokens} * g.q_heads;
    check_size(request, vectors * g.head_dim_k * dtype_bytes(query.dtype));
    const std::uint64_t out_bytes = vectors * g.head_dim_v * dtype_bytes(query.out_dtype);
    const std::uint64_t lse_bytes = query.lse ? vectors * sizeof(float) : 0;
    Staging reply = reserve_reply(service, out_bytes + lse_bytes);

    const auto q =
        queries_view(request.body.data(), query.dtype, query.tokens, g.q_heads, g.head_dim_k);
    const auto out =
        queries_view(reply.data(), query.out_dtype, query.tokens, g.q_heads, g.head_dim_v);
    auto lse = queries_view(reply.data() + out_bytes, MUSTAFAR_F32, query.tokens, g.q_heads, 1);
    lse.ndim = 3;
    const mustafar_tensor* none = nullptr;

    Response response;
    Clock::duration waited{};
    Clock::duration computed{};
    {
        const auto asked = Clock::now();
        const ReadLock lock(*entry, lock_deadline(service, request));
        const auto start = Clock::now();
        if (entry->length(layer) == 0) {
            throw Problem(ProblemType::bad_state, "layer " + std::to_string(layer) + " is empty",
                          {{"cache", request.path[0]}, {"layer", layer}});
        }
        const mustafar_cache* cache = entry->cache();
        call(mustafar_attend, &cache, std::size_t{1}, layer, &q, none, &query.options, &out,
             query.lse ? &lse : none, none, none);
        waited = start - asked;
        computed = Clock::now() - start;
        response.fields.push_back({"ETag", entry->etag()});
    }
    service.metrics.op(Op::attend, computed, request.body.size() + reply.size());
    const auto ms = [](Clock::duration time) {
        return std::to_string(std::chrono::duration<double, std::milli>(time).count());
    };
    response.fields.push_back(
        {"Server-Timing", "lock;dur=" + ms(waited) + ", compute;dur=" + ms(computed)});
    response.fields.push_back({"Mustafar-Dtype", mustafar_dtype_name(query.out_dtype)});
    response.fields.push_back({"Mustafar-Shape", std::to_string(query.tokens) + "," +
                                                     std::to_string(g.q_heads) + "," +
                                                     std::to_string(g.head_dim_v)});
    response.type = "application/octet-stream";
    response.data = std::move(reply);
    return response;
}

} // namespace mustafar::daemon
