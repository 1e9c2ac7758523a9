// SPDX-License-Identifier: Apache-2.0
#include "mustafar/attend.h"

#include <cmath>

#include "convert.hpp"
#include "core/tensor.hpp"
#include "guard.hpp"
#include "handles.hpp"

using namespace mustafar;
using namespace mustafar::capi;

namespace {

constexpr std::int64_t most_queries = std::int64_t{1} << 24;

void read_options(const mustafar_attend_options* options, AttendRequest& request,
                  std::uint32_t d_k) {
    mustafar_attend_options given{};
    if (options != nullptr) { given = read_struct(options, "options"); }
    check_flags(given.flags, MUSTAFAR_ATTEND_AT, "options.flags");
    require_zero(given.reserved[0] | given.reserved[1], "options.reserved");
    const auto check = [](const char* name, float value, float most) {
        if (value >= 0.0F && value <= most) { return; }
        refuse(std::string("options.") + name + " = " + shown(value) +
               " is out of range; give 0.." + shown(most));
    };
    check("softcap", given.softcap, 1e30F);
    check("drop_mass", given.drop_mass, 1.0F);
    if (!std::isfinite(given.scale)) {
        refuse("options.scale = " + shown(given.scale) +
               " is not finite; give a number, or 0 for 1/sqrt(head_dim)");
    }
    request.at = (given.flags & MUSTAFAR_ATTEND_AT) != 0;
    if (!request.at && given.q_position != 0) {
        refuse("options.q_position = " + std::to_string(given.q_position) +
               " without MUSTAFAR_ATTEND_AT; set the flag or leave it 0");
    }
    if (given.q_position < 0 || given.q_position > (std::int64_t{1} << 40)) {
        refuse("options.q_position = " + std::to_string(given.q_position) +
               " is out of range; give 0..2^40");
    }
    request.q_position = given.q_position;
    request.args.scale = given.scale != 0.0F ? static_cast<double>(given.scale)
                                             : 1.0 / std::sqrt(static_cast<double>(d_k));
    request.args.softcap = given.softcap;
    request.args.sliding_window = given.sliding_window;
    request.args.drop_mass = given.drop_mass;
}

void check_finite(const mustafar_tensor& q) {
    std::int64_t index[4] = {};
    for (index[0] = 0; index[0] < q.shape[0]; ++index[0]) {
        for (index[1] = 0; index[1] < q.shape[1]; ++index[1]) {
            for (index[2] = 0; index[2] < q.shape[2]; ++index[2]) {
                const std::int64_t at =
                    index[0] * q.strides[0] + index[1] * q.strides[1] + index[2] * q.strides[2];
                float values[max_head_dim];
                load_row(q, at, static_cast<std::size_t>(q.shape[3]), values);
                if (all_finite(values, static_cast<std::size_t>(q.shape[3]))) { continue; }
                for (std::int64_t c = 0; c < q.shape[3]; ++c) {
                    const float value = values[c];
                    if (std::isfinite(value)) { continue; }
                    throw Error(MUSTAFAR_NON_FINITE,
                                "q[cache " + std::to_string(index[0]) + ", query " +
                                    std::to_string(index[1]) + ", head " +
                                    std::to_string(index[2]) + ", channel " + std::to_string(c) +
                                    "] = " + shown(value) + " is not finite",
                                {index[0], index[1], index[2], c});
                }
            }
        }
    }
}

void check_sinks(const mustafar_tensor* sinks, std::uint32_t q_heads) {
    if (sinks == nullptr) { return; }
    check_tensor(sinks, {"sinks", {q_heads}, {MUSTAFAR_F32}});
    for (std::int64_t h = 0; h < q_heads; ++h) {
        const float value = load_element(*sinks, h * sinks->strides[0]);
        if (std::isfinite(value)) { continue; }
        throw Error(MUSTAFAR_NON_FINITE,
                    "sinks[" + std::to_string(h) + "] = " + shown(value) + " is not finite",
                    {0, 0, h, -1});
    }
}

std::vector<const Cache*> check_caches(const mustafar_cache* const* caches, size_t count,
                                       std::uint32_t layer) {
    std::vector<const Cache*> list;
    for (size_t i = 0; i < count; ++i) {
        const std::string name = "caches[" + std::to_string(i) + "]";
        require(caches[i], name.c_str());
        const Cache* cache = list.emplace_back(caches[i]->cache.get());
        check_layer(cache->geometry(), layer, false);
        if (cache->context() != list[0]->context()) {
            refuse(name + " belongs to another context than caches[0]");
        }
        if (!(cache->geometry() == list[0]->geometry())) {
            refuse(name + " has another geometry than caches[0]");
        }
    }
    return list;
}

void check_lengths(const std::vector<const Cache*>& caches, const AttendRequest& request) {
    if (request.at) { return; }
    for (std::size_t i = 0; i < caches.size(); ++i) {
        const std::uint32_t length = caches[i]->layer(request.layer).length();
        if (request.args.q_len <= length) { continue; }
        refuse(
            "q.shape[1] = " + std::to_string(request.args.q_len) + " queries, but caches[" +
            std::to_string(i) + "] holds " + std::to_string(length) + " tokens in layer " +
            std::to_string(request.layer) +
            "; append the queries' own tokens first, or give q_position with MUSTAFAR_ATTEND_AT");
    }
}

void check_weights_width(const std::vector<const Cache*>& caches, std::uint32_t layer,
                         std::int64_t width) {
    for (const Cache* cache : caches) {
        for (std::uint32_t h = 0; h < cache->geometry().kv_heads; ++h) {
            const std::uint32_t rows = cache->head(layer, h).rows();
            if (width >= rows) { continue; }
            refuse("weights.shape[3] = " + std::to_string(width) + " is less than the " +
                   std::to_string(rows) + " rows of kv_head " + std::to_string(h));
        }
    }
}

// NaN and +inf are no log-sum-exp of anything.
void check_lse(const mustafar_tensor& lse, const char* name) {
    std::int64_t index[MUSTAFAR_MAX_DIMS] = {};
    for (std::uint32_t i = 0; i < lse.ndim; ++i) {
        if (lse.shape[i] == 0) { return; }
    }
    for (;;) {
        std::int64_t at = 0;
        for (std::uint32_t i = 0; i < lse.ndim; ++i) { at += index[i] * lse.strides[i]; }
        const float value = load_element(lse, at);
        if (std::isnan(value) || value == HUGE_VALF) {
            throw Error(MUSTAFAR_NON_FINITE,
                        std::string(name) + " holds " + shown(value) +
                            "; give finite values or -inf",
                        {index[0], index[1], index[2], index[3]});
        }
        std::uint32_t dim = lse.ndim;
        while (dim > 0 && ++index[dim - 1] == lse.shape[dim - 1]) { index[--dim] = 0; }
        if (dim == 0) { return; }
    }
}

} // namespace

extern "C" {

mustafar_status mustafar_attend(const mustafar_cache* const* caches, size_t count, uint32_t layer,
                                const mustafar_tensor* q, const mustafar_tensor* sinks,
                                const mustafar_attend_options* options, const mustafar_tensor* out,
                                const mustafar_tensor* lse, const mustafar_tensor* weights,
                                const mustafar_tensor* dropped, mustafar_error* error) {
    return guard("mustafar_attend", error, [&] {
        if (count == 0) { return; }
        require(caches, "caches");
        if (count > (size_t{1} << 24)) {
            refuse("count = " + std::to_string(count) + " caches; give at most 2^24");
        }
        const std::vector<const Cache*> list = check_caches(caches, count, layer);
        const Geometry& g = list[0]->geometry();
        const auto n = static_cast<std::int64_t>(count);
        check_tensor(q, {"q", {n, -1, g.q_heads, g.head_dim_k}, float_types()});
        const std::int64_t q_len = q->shape[1];
        if (q_len < 1 || q_len > most_queries) {
            refuse("q.shape[1] = " + std::to_string(q_len) + " queries; give 1.." +
                   std::to_string(most_queries));
        }
        check_tensor(out, {"out", {n, q_len, g.q_heads, g.head_dim_v}, float_types(), true});
        if (lse != nullptr) {
            check_tensor(lse, {"lse", {n, q_len, g.q_heads}, {MUSTAFAR_F32}, true});
        }
        if (dropped != nullptr) {
            check_tensor(dropped, {"dropped", {n, q_len, g.q_heads}, {MUSTAFAR_F32}, true});
        }
        if (weights != nullptr) {
            check_tensor(weights, {"weights", {n, q_len, g.q_heads, -1}, {MUSTAFAR_F32}, true});
            check_weights_width(list, layer, weights->shape[3]);
        }
        AttendRequest request;
        request.caches = list;
        request.layer = layer;
        read_options(options, request, g.head_dim_k);
        request.args.q_len = static_cast<std::uint32_t>(q_len);
        check_lengths(list, request);
        check_finite(*q);
        check_sinks(sinks, g.q_heads);
        request.args.q = q;
        request.args.sinks = sinks;
        request.args.out = out;
        request.args.lse = lse;
        request.args.weights = weights;
        request.args.dropped = dropped;
        attend(request);
    });
}

mustafar_status mustafar_merge(mustafar_context* context, const mustafar_tensor* out_a,
                               const mustafar_tensor* lse_a, const mustafar_tensor* out_b,
                               const mustafar_tensor* lse_b, const mustafar_tensor* out,
                               const mustafar_tensor* lse, mustafar_error* error) {
    return guard("mustafar_merge", error, [&] {
        require(context, "context");
        require(out, "out");
        if (out->ndim < 1 || out->ndim > MUSTAFAR_MAX_DIMS) {
            refuse("out.ndim = " + std::to_string(out->ndim) + "; give 1..4");
        }
        const std::vector<std::int64_t> shape(out->shape, out->shape + out->ndim);
        const std::vector<std::int64_t> outer(shape.begin(), shape.end() - 1);
        check_tensor(out, {"out", shape, float_types(), true});
        check_tensor(out_a, {"out_a", shape, float_types()});
        check_tensor(out_b, {"out_b", shape, float_types()});
        if (outer.empty()) { refuse("out.ndim = 1; give [..., head_dim], at least 2 dimensions"); }
        check_tensor(lse, {"lse", outer, {MUSTAFAR_F32}, true});
        check_tensor(lse_a, {"lse_a", outer, {MUSTAFAR_F32}});
        check_tensor(lse_b, {"lse_b", outer, {MUSTAFAR_F32}});
        check_lse(*lse_a, "lse_a");
        check_lse(*lse_b, "lse_b");
        context->context->kernels().merge({out_a, lse_a, out_b, lse_b, out, lse});
    });
}

} // extern "C"
