// SPDX-License-Identifier: Apache-2.0
// What changes a cache besides append. Each holds the cache alone, checks If-Match, and answers with the cache.
#include <cfloat>
#include <cmath>
#include <vector>

#include "api/handlers.hpp"
#include "api/shapes.hpp"

namespace mustafar::daemon {

namespace {

// Calls `change(cache)` with the cache alone; no retried append is recognized across it.
template <class Change>
Response change_cache(Service& service, Request& request, Op op, const Change& change) {
    const CachePointer entry = service.caches.get(request.path[0]);
    const WriteLock lock(*entry, lock_deadline(service, request));
    check_if_match(request, entry->etag());
    const auto start = Clock::now();
    change(*entry);
    service.metrics.op(op, Clock::now() - start, 0);
    for (LastAppend& last : entry->last) { last = {}; }
    entry->changed();
    Response response = json_response(write_cache(request.path[0], *entry));
    response.fields.push_back({"ETag", entry->etag()});
    return response;
}

std::uint32_t index_or_all(JsonFields& fields, const char* name) {
    return static_cast<std::uint32_t>(fields.integer(name, 0, UINT32_MAX - 1, MUSTAFAR_ALL));
}

std::uint32_t u32(JsonFields& fields, const char* name, std::uint64_t low) {
    return static_cast<std::uint32_t>(fields.integer(name, low, INT32_MAX));
}

} // namespace

Response commit_cache(Service& service, Request& request) {
    const Json body = parse_body(request);
    JsonFields fields(body);
    const std::uint32_t layer = index_or_all(fields, "layer");
    fields.finish();
    return change_cache(service, request, Op::commit, [&](CacheEntry& entry) {
        call(mustafar_cache_commit, entry.cache(), layer);
    });
}

Response prune_cache(Service& service, Request& request) {
    const Json body = parse_body(request);
    JsonFields fields(body);
    const std::uint32_t layer = index_or_all(fields, "layer");
    const std::uint32_t kv_head = index_or_all(fields, "kv_head");
    const std::size_t side = fields.word("side", {"k", "v"});
    const std::uint32_t begin = u32(fields, "begin", 0);
    const std::uint32_t end = u32(fields, "end", 0);
    mustafar_prune_options options = MUSTAFAR_PRUNE_OPTIONS_INIT;
    // In the order of MUSTAFAR_PRUNE_..., without the mask, which has no place in JSON.
    options.method = static_cast<std::uint32_t>(fields.word(
        "method", {"recipe", "none", "token_topk", "n_m", "channels", "channel_topk", "threshold"},
        0));
    options.keep = static_cast<std::uint32_t>(fields.integer("keep", 0, INT32_MAX, 0));
    options.of = static_cast<std::uint32_t>(fields.integer("of", 0, INT32_MAX, 0));
    options.threshold = static_cast<float>(fields.number("threshold", 0, 65504, 0));
    fields.finish();
    const mustafar_tensor* none = nullptr;
    return change_cache(service, request, Op::prune, [&](CacheEntry& entry) {
        call(mustafar_cache_prune, entry.cache(), layer, kv_head,
             static_cast<std::uint32_t>(side == 0 ? MUSTAFAR_SIDE_K : MUSTAFAR_SIDE_V), begin, end,
             &options, none, none, none);
    });
}

Response compress_cache(Service& service, Request& request) {
    const Json body = parse_body(request);
    JsonFields fields(body);
    const std::uint32_t layer = index_or_all(fields, "layer");
    fields.finish();
    return change_cache(service, request, Op::compress, [&](CacheEntry& entry) {
        call(mustafar_cache_compress, entry.cache(), layer);
    });
}

Response evict_cache(Service& service, Request& request) {
    constexpr std::size_t positions_max = 65536;
    const Json body = parse_body(request);
    JsonFields fields(body);
    const std::uint32_t layer = u32(fields, "layer", 0);
    const std::uint32_t kv_head = u32(fields, "kv_head", 0);
    if (fields.has("scores")) {
        std::vector<float> scores;
        for (const Json& value : fields.array("scores", positions_max)) {
            const std::string at = fields.pointer("scores") + "/" + std::to_string(scores.size());
            if (!value.is_number()) { throw bad_body(at, "type", "a number is expected"); }
            const double score = value.get<double>();
            if (std::abs(score) > double{FLT_MAX}) { throw bad_body(at, "range", "beyond f32"); }
            scores.push_back(static_cast<float>(score));
        }
        const auto budget = static_cast<std::uint32_t>(fields.integer("budget", 0, INT32_MAX, 0));
        fields.finish();
        return change_cache(service, request, Op::evict, [&](CacheEntry& entry) {
            call(mustafar_cache_evict_scores, entry.cache(), layer, kv_head, scores.data(),
                 scores.size(), budget);
        });
    }
    std::vector<std::int32_t> positions;
    for (const Json& value : fields.array("positions", positions_max, 0)) {
        const std::string at = fields.pointer("positions") + "/" + std::to_string(positions.size());
        positions.push_back(static_cast<std::int32_t>(integer_of(value, at, 0, INT32_MAX)));
    }
    const std::uint32_t flags = fields.boolean("keep", false) ? MUSTAFAR_EVICT_KEEP : 0u;
    fields.finish();
    return change_cache(service, request, Op::evict, [&](CacheEntry& entry) {
        call(mustafar_cache_evict, entry.cache(), layer, kv_head, positions.data(),
             positions.size(), flags);
    });
}

Response truncate_cache(Service& service, Request& request) {
    const Json body = parse_body(request);
    JsonFields fields(body);
    const std::uint32_t length = u32(fields, "length", 0);
    const std::uint32_t flags =
        fields.boolean("keep_packed", false) ? MUSTAFAR_TRUNCATE_KEEP_PACKED : 0u;
    fields.finish();
    return change_cache(service, request, Op::truncate, [&](CacheEntry& entry) {
        call(mustafar_cache_truncate, entry.cache(), length, flags);
    });
}

Response reset_cache(Service& service, Request& request) {
    const Json body = parse_body(request);
    JsonFields(body).finish();
    return change_cache(service, request, Op::reset,
                        [&](CacheEntry& entry) { call(mustafar_cache_reset, entry.cache()); });
}

Response fork_cache(Service& service, Request& request) {
    const Json body = parse_body(request);
    JsonFields fields(body);
    const std::string to = fields.id("to");
    fields.finish();
    const CachePointer entry = service.caches.get(request.path[0]);
    Cache child;
    {
        const ReadLock lock(*entry, lock_deadline(service, request));
        entry->touch();
        check_if_match(request, entry->etag());
        const auto start = Clock::now();
        child = make<mustafar_cache>(mustafar_cache_fork, std::as_const(*entry).cache());
        service.metrics.op(Op::fork, Clock::now() - start, 0);
    }
    return publish_cache(service, to, std::make_shared<CacheEntry>(std::move(child), entry->shape));
}

} // namespace mustafar::daemon
