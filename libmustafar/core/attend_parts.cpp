// SPDX-License-Identifier: Apache-2.0
#include "core/attend_parts.hpp"

#include <cmath>
#include <limits>

#include "core/tensor.hpp"

namespace mustafar {
namespace {

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

struct Place { // of a query row in the tensors
    std::int64_t cache, token, head;
    std::int64_t in(const mustafar_tensor& tensor) const {
        return cache * tensor.strides[0] + token * tensor.strides[1] + head * tensor.strides[2];
    }
};

struct Merged {
    double max = minus_infinity;
    double sum = 0.0;
    double dropped = 0.0;
};

Merged merge_heads(const float* partials, std::uint32_t count, std::size_t stride) {
    Merged all;
    for (std::uint32_t p = 0; p < count; ++p) {
        all.max = std::max(all.max, double{partials[p * stride]});
    }
    if (all.max == minus_infinity) { return all; }
    for (std::uint32_t p = 0; p < count; ++p) {
        const float* part = partials + p * stride;
        const double factor = std::exp(part[0] - all.max);
        all.sum += factor * part[1];
        all.dropped += factor * part[2];
    }
    return all;
}

void store_out(const AttendArgs& args, const Place& place, const Merged& all, const float* partials,
               std::uint32_t count, std::size_t stride) {
    const std::size_t d = args.head.spec->v.d;
    const mustafar_tensor& out = *args.out;
    const std::int64_t at = place.in(out);
    double share[max_splits] = {}; // of each part's unnormalized output
    for (std::uint32_t p = 0; p < count; ++p) {
        const float* part = partials + p * stride;
        if (part[1] > 0.0F) { share[p] = std::exp(part[0] - all.max) / all.sum; }
    }
    double values[max_head_dim] = {};
    for (std::uint32_t p = 0; p < count; ++p) {
        const float* part = partials + p * stride + part_head;
        for (std::size_t c = 0; c < d; ++c) { values[c] += share[p] * part[c]; }
    }
    store_row(out, at, d, values);
}

// The parts left scaled scores in the weights; -inf where a query does not look.
void store_weights(const AttendArgs& args, const Place& place, double lse) {
    const mustafar_tensor& weights = *args.weights;
    auto* data = static_cast<float*>(weights.data);
    const std::int64_t at = place.in(weights);
    for (std::int64_t row = 0; row < weights.shape[3]; ++row) {
        float& weight = data[at + row * weights.strides[3]];
        const bool seen = row < args.head.rows() && !(std::isinf(weight) && weight < 0.0F);
        weight = seen ? static_cast<float>(std::exp(weight - lse)) : 0.0F;
    }
}

float upper_bound(double value) { // of a sum of weights, as float, rounding and summation included
    const auto rounded = static_cast<float>(value * (1.0 + 1e-5));
    return value > 0.0 ? std::nextafter(rounded, 1.0F) : 0.0F;
}

} // namespace

void finish_attend(const AttendArgs& args, const float* partials, std::uint32_t count,
                   std::size_t stride) {
    const std::size_t row_floats = part_floats(args.head.spec->v.d);
    for (std::uint32_t i = 0; i < args.part.queries; ++i) {
        const std::uint32_t query = args.part.first_query + i;
        const Place place{args.cache, query / args.group,
                          std::int64_t{args.kv_head} * args.group + query % args.group};
        const float* mine = partials + i * row_floats;
        const Merged all = merge_heads(mine, count, stride);
        const double lse = all.sum > 0.0 ? all.max + std::log(all.sum) : minus_infinity;
        store_out(args, place, all, mine, count, stride);
        if (args.lse != nullptr) { store_element(*args.lse, place.in(*args.lse), lse); }
        if (args.dropped != nullptr) {
            const double share = all.sum > 0.0 ? all.dropped / all.sum : 0.0;
            store_element(*args.dropped, place.in(*args.dropped), upper_bound(share));
        }
        if (args.weights != nullptr) { store_weights(args, place, lse); }
    }
}

} // namespace mustafar
