// SPDX-License-Identifier: Apache-2.0
#include "experiment/synthetic.hpp"

#include <bit>
#include <cmath>

#include "mustafar/info.h"

namespace mustafar::experiment {

namespace {

constexpr std::size_t rank = 8;
constexpr double drift = 0.95;
constexpr double peak = 8.0;

enum Stream : std::uint64_t {
    mean = 1,
    basis,
    latent,
    key_noise,
    size,
    value,
    target,
    query_noise
};

// A number for each place: nothing depends on the order in which they are asked for.
class Noise {
  public:
    Noise(std::uint64_t seed, std::uint64_t layer, std::uint64_t head)
        : base_(mix(mix(mix(seed) ^ layer) ^ (head << 32))) {}

    std::uint64_t bits(std::uint64_t stream, std::uint64_t index) const {
        return mix(base_ ^ mix(stream << 56 ^ index));
    }

    // The sum of four even numbers: of variance 1, without a function that libraries round differently.
    double normal(std::uint64_t stream, std::uint64_t index) const {
        const std::uint64_t a = bits(stream, index);
        const std::uint64_t sum =
            (a & 0xffff) + (a >> 16 & 0xffff) + (a >> 32 & 0xffff) + (a >> 48);
        return (static_cast<double>(sum) / 65536.0 - 2.0) * 1.7320508075688772;
    }

  private:
    static std::uint64_t mix(std::uint64_t x) { // splitmix64
        x += 0x9e3779b97f4a7c15;
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
        x = (x ^ x >> 27) * 0x94d049bb133111eb;
        return x ^ x >> 31;
    }
    std::uint64_t base_;
};

// To nearest, ties to even; what is too large becomes the largest number, so that all are finite.
std::uint16_t to_half(double value, mustafar_dtype dtype) {
    const auto narrow = static_cast<float>(value);
    const auto bits = std::bit_cast<std::uint32_t>(narrow);
    if (dtype == MUSTAFAR_BF16) {
        return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
    const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000);
    const double magnitude = std::fabs(static_cast<double>(narrow));
    if (magnitude >= 65504.0) { return sign | 0x7bff; }
    if (magnitude < 0x1p-14) {
        return sign | static_cast<std::uint16_t>(std::nearbyint(magnitude * 0x1p24));
    }
    const std::uint32_t rounded = (bits & 0x7fffffff) + 0xfff + (bits >> 13 & 1);
    return static_cast<std::uint16_t>(sign | ((rounded - (112u << 23)) >> 13));
}

// One kv head of a layer, before rounding.
struct Head {
    std::vector<double> mean;
    std::vector<double> keys; // [tokens][d]
};

Head make_keys(const Synthetic& shape, const Noise& noise) {
    const std::size_t d = shape.head_dim;
    Head head;
    std::vector<double> scale(d);
    std::vector<double> directions(rank * d);
    for (std::size_t c = 0; c < d; ++c) {
        scale[c] = noise.bits(mean, d + c) % 16 == 0 ? 4.0 : 1.0;
        head.mean.push_back(1.5 * noise.normal(mean, c));
        for (std::size_t r = 0; r < rank; ++r) {
            directions[r * d + c] = 0.5 * scale[c] * noise.normal(basis, r * d + c);
        }
    }
    std::vector<double> z(rank, 0.0);
    const double fresh = std::sqrt(1.0 - drift * drift);
    head.keys.resize(shape.tokens * d);
    for (std::size_t t = 0; t < shape.tokens; ++t) {
        double* row = &head.keys[t * d];
        for (std::size_t c = 0; c < d; ++c) {
            row[c] = head.mean[c] + 0.6 * scale[c] * noise.normal(key_noise, t * d + c);
        }
        for (std::size_t r = 0; r < rank; ++r) {
            const double step = noise.normal(latent, t * rank + r);
            z[r] = t == 0 ? step : drift * z[r] + fresh * step;
            for (std::size_t c = 0; c < d; ++c) { row[c] += z[r] * directions[r * d + c]; }
        }
    }
    return head;
}

void add_values(const Synthetic& shape, const Noise& noise, std::vector<std::uint16_t>& out) {
    for (std::size_t t = 0; t < shape.tokens; ++t) {
        const double gain = std::exp2(noise.normal(size, t) / 2.0);
        for (std::size_t c = 0; c < shape.head_dim; ++c) {
            out.push_back(to_half(gain * noise.normal(value, t * shape.head_dim + c), shape.dtype));
        }
    }
}

void add_queries(const Synthetic& shape, const Noise& noise, const Head& head, std::size_t q_head,
                 std::vector<std::uint16_t>& out) {
    const std::size_t d = shape.head_dim;
    for (std::size_t j = 0; j < shape.queries; ++j) {
        const std::size_t place = q_head * shape.queries + j;
        const std::size_t seen = shape.tokens - shape.queries + j + 1;
        const double* key = &head.keys[noise.bits(target, place) % seen * d];
        double norm = 1e-9;
        for (std::size_t c = 0; c < d; ++c) {
            norm += (key[c] - head.mean[c]) * (key[c] - head.mean[c]);
        }
        const double gain = peak * std::sqrt(static_cast<double>(d)) / norm;
        for (std::size_t c = 0; c < d; ++c) {
            const double towards = gain * (key[c] - head.mean[c]);
            out.push_back(
                to_half(towards + 0.3 * noise.normal(query_noise, place * d + c), shape.dtype));
        }
    }
}

} // namespace

nlohmann::ordered_json write_synthetic(const Synthetic& shape) {
    return {{"geometry",
             {{"layers", shape.layers},
              {"q_heads", shape.q_heads},
              {"kv_heads", shape.kv_heads},
              {"head_dim", shape.head_dim},
              {"dtype", mustafar_dtype_name(shape.dtype)}}},
            {"tokens", shape.tokens},
            {"seed", shape.seed}};
}

Trace describe_synthetic(const Synthetic& shape) {
    Trace trace;
    trace.name = "synthetic";
    trace.model = "none";
    trace.kind = "synthetic";
    trace.dtype = shape.dtype;
    trace.tokens = shape.tokens;
    trace.queries = shape.queries;
    trace.q_heads = shape.q_heads;
    trace.kv_heads = shape.kv_heads;
    trace.head_dim = shape.head_dim;
    trace.scale = 1.0 / std::sqrt(static_cast<double>(shape.head_dim));
    trace.layers.resize(shape.layers);
    return trace;
}

Trace make_trace(const Synthetic& shape, Watcher& watcher) {
    Trace trace = describe_synthetic(shape);
    const std::uint32_t group = shape.q_heads / shape.kv_heads;
    for (std::uint32_t index = 0; index < shape.layers; ++index) {
        TraceLayer& layer = trace.layers[index];
        for (std::uint32_t kv_head = 0; kv_head < shape.kv_heads; ++kv_head) {
            watcher.check();
            const Noise noise(shape.seed, index, kv_head);
            const Head head = make_keys(shape, noise);
            for (const double key : head.keys) { layer.k.push_back(to_half(key, shape.dtype)); }
            add_values(shape, noise, layer.v);
            for (std::uint32_t i = 0; i < group; ++i) {
                add_queries(shape, noise, head, i, layer.q);
            }
        }
    }
    return trace;
}

} // namespace mustafar::experiment
