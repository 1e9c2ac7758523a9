// SPDX-License-Identifier: Apache-2.0
#include "experiment/oracle.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <new>
#include <span>
#include <thread>

#include "experiment/half.hpp"

namespace mustafar::experiment {

namespace {

std::vector<double> widened(const std::vector<std::uint16_t>& halves, mustafar_dtype dtype) {
    std::vector<double> out(halves.size());
    std::ranges::transform(halves, out.begin(),
                           [&](std::uint16_t bits) { return half_to_float(bits, dtype); });
    return out;
}

// Four partial sums: the order is fixed, and the compiler may use its vector unit without being told to
// reassociate.
double dot(const double* a, const double* b, std::size_t count) {
    double sums[4] = {0.0, 0.0, 0.0, 0.0};
    std::size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        for (std::size_t j = 0; j < 4; ++j) { sums[j] += a[i + j] * b[i + j]; }
    }
    for (; i < count; ++i) { sums[0] += a[i] * b[i]; }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// One query over the rows [0, seen) of its kv head.
void attend_query(const Trace& trace, const double* q, const double* k, const double* v,
                  std::size_t seen, double* weights, double* out, double& lse) {
    const std::size_t d = trace.head_dim;
    for (std::size_t t = 0; t < seen; ++t) { weights[t] = trace.scale * dot(q, k + t * d, d); }
    const double largest = *std::max_element(weights, weights + seen);
    double sum = 0.0;
    for (std::size_t t = 0; t < seen; ++t) {
        weights[t] = std::exp(weights[t] - largest);
        sum += weights[t];
    }
    lse = largest + std::log(sum);
    for (std::size_t t = 0; t < seen; ++t) {
        weights[t] /= sum;
        for (std::size_t c = 0; c < d; ++c) { out[c] += weights[t] * v[t * d + c]; }
    }
}

OracleLayer attend_layer(const Trace& trace, const TraceLayer& layer, Watcher& watcher,
                         const std::atomic<bool>& abandoned) {
    const auto k = widened(layer.k, trace.dtype);
    const auto v = widened(layer.v, trace.dtype);
    const auto q = widened(layer.q, trace.dtype);
    OracleLayer result;
    result.out.resize(q.size());
    result.lse.resize(std::size_t{trace.q_heads} * trace.queries);
    result.weights.resize(result.lse.size() * trace.tokens);
    for (std::uint32_t head = 0; head < trace.q_heads; ++head) {
        const std::size_t rows = trace.row(head / trace.group(), 0);
        for (std::uint32_t j = 0; j < trace.queries; ++j) {
            if (abandoned || watcher.stop()) { return result; }
            const std::size_t at = std::size_t{head} * trace.queries + j;
            attend_query(trace, &q[trace.query(head, j)], &k[rows], &v[rows],
                         trace.tokens - trace.queries + j + 1, &result.weights[at * trace.tokens],
                         &result.out[trace.query(head, j)], result.lse[at]);
        }
    }
    return result;
}

} // namespace

std::vector<OracleLayer> attend_dense(const Trace& trace, const std::vector<std::uint32_t>& layers,
                                      std::uint32_t threads, Watcher& watcher) {
    std::vector<OracleLayer> results(trace.layers.size());
    std::atomic<std::size_t> next{0};
    std::atomic<bool> abandoned{false};
    const auto work = [&] {
        for (std::size_t i = next++; i < layers.size() && !abandoned; i = next++) {
            results[layers[i]] = attend_layer(trace, trace.layers[layers[i]], watcher, abandoned);
        }
    };
    const std::size_t count = threads != 0 ? threads : std::thread::hardware_concurrency();
    {
        std::vector<std::jthread> helpers;
        for (std::size_t i = 1; i < std::min(count, layers.size()); ++i) {
            helpers.emplace_back([&] {
                try {
                    work();
                } catch (...) { // no memory; said below
                    abandoned = true;
                }
            });
        }
        try {
            work();
        } catch (...) {
            abandoned = true;
            throw;
        }
    }
    watcher.check();
    if (abandoned) { throw std::bad_alloc(); }
    return results;
}

} // namespace mustafar::experiment
