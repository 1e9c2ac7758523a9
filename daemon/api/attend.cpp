// SPDX-License-Identifier: Apache-2.0
// Attention over one cache (raw arrays), over several at once (safetensors), and the merge of partial results.
#include <deque>
#include <map>

#include "api/handlers.hpp"
#include "api/parameters.hpp"
#include "api/shapes.hpp"
#include "api/tensors.hpp"
#include "routes.hpp"

namespace mustafar::daemon {

namespace {

constexpr std::uint64_t tokens_max = 1u << 24; // of one request; sizes then fit into 64 bits
constexpr const mustafar_tensor* none = nullptr;

mustafar_attend_options read_options(const Parameters& parameters) {
    mustafar_attend_options options = MUSTAFAR_ATTEND_OPTIONS_INIT;
    options.scale = static_cast<float>(parameters.number("scale", -1e6, 1e6).value_or(0));
    options.softcap = static_cast<float>(parameters.number("softcap", 0, 1e6).value_or(0));
    options.drop_mass = static_cast<float>(parameters.number("drop_mass", 0, 1).value_or(0));
    options.sliding_window =
        static_cast<std::uint32_t>(parameters.integer("sliding_window", 1, INT32_MAX).value_or(0));
    if (const auto position = parameters.integer("q_position", 0, std::uint64_t{1} << 40)) {
        options.flags = MUSTAFAR_ATTEND_AT;
        options.q_position = static_cast<std::int64_t>(*position);
    }
    return options;
}

// What a call is asked for beside its output, and given beside its queries.
struct Extras {
    bool lse = false;
    bool dropped = false;
    bool sinks = false;        // f32 [q_heads] behind the queries
    std::uint32_t weights = 0; // columns; 0 = not asked for

    // Bytes of the blocks of f32 behind the output.
    std::uint64_t bytes(std::uint64_t vectors) const {
        return vectors * ((lse ? 1U : 0U) + std::uint64_t{weights} + (dropped ? 1U : 0U)) *
               sizeof(float);
    }
};

Extras read_extras(const Parameters& parameters) {
    Extras extras;
    extras.lse = parameters.boolean("lse");
    extras.dropped = parameters.boolean("dropped");
    extras.sinks = parameters.boolean("sinks");
    extras.weights =
        static_cast<std::uint32_t>(parameters.integer("weights", 1, tokens_max).value_or(0));
    return extras;
}

// Arrays of one call, one after the other for `count` caches: queries and sinks; output, LSE, weights, dropped.
struct Call {
    mustafar_tensor q;
    mustafar_tensor sinks;
    mustafar_tensor out;
    mustafar_tensor lse;
    mustafar_tensor weights;
    mustafar_tensor dropped;
    Extras extras;
    std::uint64_t bytes = 0; // in and out
};

Call make_call(const mustafar_geometry& g, std::uint64_t count, std::uint64_t tokens,
               std::pair<const char*, mustafar_dtype> q, std::pair<char*, mustafar_dtype> out,
               const Extras& extras) {
    Call call;
    const std::uint64_t vectors = count * tokens * g.q_heads;
    const std::uint64_t q_bytes = vectors * g.head_dim_k * dtype_bytes(q.second);
    const std::uint64_t out_bytes = vectors * g.head_dim_v * dtype_bytes(out.second);
    call.q = queries_view(q.first, q.second, count, tokens, g.q_heads, g.head_dim_k);
    call.sinks = experiment::tensor(q.first + q_bytes, MUSTAFAR_F32, {g.q_heads}, {1});
    call.out = queries_view(out.first, out.second, count, tokens, g.q_heads, g.head_dim_v);
    // Offsets of f32 are multiples of 4: head_dim_v is one of 8.
    const char* behind = out.first + out_bytes;
    const auto next = [&](std::uint64_t columns, std::uint32_t ndim) {
        mustafar_tensor view =
            queries_view(behind, MUSTAFAR_F32, count, tokens, g.q_heads, columns);
        view.ndim = ndim;
        behind += vectors * columns * sizeof(float);
        return view;
    };
    call.lse = next(extras.lse ? 1 : 0, 3);
    call.weights = next(extras.weights, 4);
    call.dropped = next(extras.dropped ? 1 : 0, 3);
    call.extras = extras;
    call.bytes = q_bytes + out_bytes + extras.bytes(vectors);
    return call;
}

void check_not_empty(const std::string& id, const CacheEntry& entry, std::uint32_t layer) {
    if (entry.length(layer) > 0) { return; }
    throw Problem(ProblemType::bad_state,
                  "cache " + id + ", layer " + std::to_string(layer) + " is empty",
                  {{"cache", id}, {"layer", layer}});
}

// Computes, and tells the time that took and the wait for the locks before it.
void compute(Service& service, const std::vector<const mustafar_cache*>& caches,
             std::uint32_t layer, const mustafar_attend_options& options, const Call& one,
             Clock::time_point asked, Response& response) {
    const auto start = Clock::now();
    const Extras& extras = one.extras;
    call(mustafar_attend, caches.data(), caches.size(), layer, &one.q,
         extras.sinks ? &one.sinks : none, &options, &one.out, extras.lse ? &one.lse : none,
         extras.weights > 0 ? &one.weights : none, extras.dropped ? &one.dropped : none);
    const auto computed = Clock::now() - start;
    service.metrics.op(Op::attend, computed, one.bytes);
    const auto ms = [](Clock::duration time) {
        return std::to_string(std::chrono::duration<double, std::milli>(time).count());
    };
    response.fields.push_back(
        {"Server-Timing", "lock;dur=" + ms(start - asked) + ", compute;dur=" + ms(computed)});
}

} // namespace

Response attend_rows(Service& service, Request& request) {
    const Parameters parameters(request);
    const mustafar_dtype dtype = parameters.dtype("dtype");
    const mustafar_dtype out_dtype = parameters.dtype("out_dtype", dtype);
    const std::uint64_t tokens = parameters.required_integer("q_tokens", 1, tokens_max);
    const Extras extras = read_extras(parameters);
    const mustafar_attend_options options = read_options(parameters);
    const CachePointer entry = service.caches.get(request.path[0]);
    const mustafar_geometry& g = entry->shape.geometry;
    const std::uint32_t layer = path_index(request, 1, g.layers);
    const std::uint64_t vectors = tokens * g.q_heads;
    check_size(request, vectors * g.head_dim_k * dtype_bytes(dtype) +
                            (extras.sinks ? g.q_heads * sizeof(float) : 0));

    Response response;
    response.type = media_type(BodyKind::octets);
    response.data = reserve_reply(service, vectors * g.head_dim_v * dtype_bytes(out_dtype) +
                                               extras.bytes(vectors));
    const Call one = make_call(g, 1, tokens, {request.body.data(), dtype},
                               {response.data.data(), out_dtype}, extras);
    {
        const auto asked = Clock::now();
        const ReadLock lock(*entry, lock_deadline(service, request));
        entry->touch();
        check_not_empty(request.path[0], *entry, layer);
        compute(service, {entry->cache()}, layer, options, one, asked, response);
        response.fields.push_back({"ETag", entry->etag()});
    }
    response.fields.push_back({"Mustafar-Dtype", mustafar_dtype_name(out_dtype)});
    response.fields.push_back({"Mustafar-Shape", std::to_string(tokens) + "," +
                                                     std::to_string(g.q_heads) + "," +
                                                     std::to_string(g.head_dim_v)});
    return response;
}

namespace {

struct CacheQuery {
    std::string id;
    CachePointer entry;
};

// "<cache>.q" of each tensor; all of one shape and dtype, as one call of the library takes them.
std::vector<CacheQuery> read_queries(const Service& service, const BodyTensors& tensors) {
    std::vector<CacheQuery> queries;
    if (tensors.list().empty()) { throw bad_body("", "required", "there is no tensor"); }
    const BodyTensor& first = tensors.list().front();
    for (const BodyTensor& tensor : tensors.list()) {
        const std::string id = tensor.name.substr(0, tensor.name.find('.'));
        if (tensor.name != id + ".q" || !is_id(id)) {
            throw bad_tensor(tensor.name, "name", "<cache>.q is expected");
        }
        if (tensor.dtype != first.dtype) {
            throw bad_tensor(tensor.name, "dtype", "all queries have one dtype");
        }
        queries.push_back({id, service.caches.get(id)});
        const mustafar_geometry& g = queries.back().entry->shape.geometry;
        tensor.expect_shape({first.shape.empty() ? 0 : first.shape[0], g.q_heads, g.head_dim_k});
    }
    if (first.shape[0] < 1 || first.shape[0] > tokens_max) {
        throw bad_tensor(first.name, "shape", "1 to 16777216 queries are expected");
    }
    return queries;
}

// In the order of the ids, as everyone who locks several does.
std::deque<ReadLock> lock_all(const Service& service, const Request& request,
                              const std::vector<CacheQuery>& queries) {
    std::map<std::string, CacheEntry*> ordered;
    for (const CacheQuery& one : queries) { ordered[one.id] = one.entry.get(); }
    std::deque<ReadLock> locks;
    for (const auto& [id, entry] : ordered) {
        locks.emplace_back(*entry, lock_deadline(service, request));
        entry->touch();
    }
    return locks;
}

} // namespace

Response attend_caches(Service& service, Request& request) {
    const Parameters parameters(request);
    const mustafar_attend_options options = read_options(parameters);
    const bool has_lse = parameters.boolean("lse");
    const auto layer =
        static_cast<std::uint32_t>(parameters.required_integer("layer", 0, UINT32_MAX - 1));
    const BodyTensors tensors(service, request);
    const std::vector<CacheQuery> queries = read_queries(service, tensors);
    const BodyTensor& first = tensors.list().front();
    const mustafar_geometry& g = queries.front().entry->shape.geometry;
    const std::uint64_t tokens = first.shape[0];
    const mustafar_dtype out_dtype = parameters.dtype("out_dtype", first.dtype);

    ReplyTensors reply;
    for (const CacheQuery& one : queries) {
        reply.add(one.id + ".out", out_dtype, {tokens, g.q_heads, g.head_dim_v});
    }
    for (const CacheQuery& one : queries) {
        if (has_lse) { reply.add(one.id + ".lse", MUSTAFAR_F32, {tokens, g.q_heads}); }
    }
    char* data = nullptr;
    Response response = reply.make(service, &data);
    Extras extras;
    extras.lse = has_lse;
    const Call one =
        make_call(g, queries.size(), tokens, {first.data, first.dtype}, {data, out_dtype}, extras);

    const auto asked = Clock::now();
    const std::deque<ReadLock> locks = lock_all(service, request, queries);
    std::vector<const mustafar_cache*> caches;
    for (const CacheQuery& query : queries) {
        if (layer < query.entry->shape.geometry.layers) {
            check_not_empty(query.id, *query.entry, layer);
        }
        caches.push_back(query.entry->cache());
    }
    compute(service, caches, layer, options, one, asked, response);
    return response;
}

Response merge_parts(Service& service, Request& request) {
    const BodyTensors tensors(service, request);
    const BodyTensor& out_a = tensors.get("out_a");
    const BodyTensor& lse_a = tensors.get("lse_a");
    const BodyTensor& out_b = tensors.get("out_b");
    const BodyTensor& lse_b = tensors.get("lse_b");
    for (const BodyTensor& tensor : tensors.list()) {
        const bool known =
            &tensor == &out_a || &tensor == &lse_a || &tensor == &out_b || &tensor == &lse_b;
        if (!known) {
            throw bad_tensor(tensor.name, "name", "out_a, lse_a, out_b and lse_b are expected");
        }
    }
    ReplyTensors reply;
    reply.add("out", out_a.dtype, out_a.shape);
    reply.add("lse", MUSTAFAR_F32, lse_a.shape);
    char* data = nullptr;
    Response response = reply.make(service, &data);
    const BodyTensor out{"out", out_a.dtype, out_a.shape, data};
    const BodyTensor lse{"lse", MUSTAFAR_F32, lse_a.shape, data + out.bytes()};
    const mustafar_tensor views[] = {out_a.view(), lse_a.view(), out_b.view(),
                                     lse_b.view(), out.view(),   lse.view()};
    const auto start = Clock::now();
    call(mustafar_merge, service.context.get(), &views[0], &views[1], &views[2], &views[3],
         &views[4], &views[5]);
    service.metrics.op(Op::merge, Clock::now() - start, request.body.size() + response.data.size());
    return response;
}

} // namespace mustafar::daemon
