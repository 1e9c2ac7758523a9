// SPDX-License-Identifier: Apache-2.0
// prune_ref: which elements survive. docs/format.md, section 2; Mustafar, arXiv 2505.22913, section
// 2; whole channels: ThinK, arXiv 2407.21018. Magnitudes are ranked in float32; ties go to the
// lower channel or the older row; -0 equals +0; NaN does not reach this place.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "core/half.hpp"
#include "core/kernels.hpp"

namespace mustafar {
namespace {

float value(const PruneArgs& args, std::size_t row, std::size_t channel) {
    if (args.halves.first == nullptr) { return args.values[row * args.d + channel]; }
    const float x = load_half(args.halves.row(row)[channel], args.halves.store);
    return args.halves.centre == nullptr ? x : x - args.halves.centre[channel];
}

// |x|, times the weights where there are any: the output-aware variants.
float score(const PruneArgs& args, std::size_t row, std::size_t channel) {
    float magnitude = std::fabs(value(args, row, channel));
    if (!args.channel_weights.empty()) { magnitude *= args.channel_weights[channel]; }
    if (!args.token_weights.empty()) { magnitude *= args.token_weights[row]; }
    return magnitude;
}

void keep(const PruneArgs& args, std::size_t row, std::size_t channel) {
    std::uint8_t& byte = args.bitmaps[row * (args.d / 8) + channel / 8];
    byte = static_cast<std::uint8_t>(byte | (1U << (channel % 8)));
}

// Indices 0 .. scores.size()-1, largest score first, equal ones in index order.
std::vector<std::size_t> ranked(const std::vector<float>& scores) {
    std::vector<std::size_t> order(scores.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
    return order;
}

// The k largest of each row. `paper`: the authors' code keeps everything that is at least as large
// as the k-th, ties included.
void token_topk(const PruneArgs& args, std::size_t rows) {
    std::vector<float> scores(args.d);
    for (std::size_t row = 0; row < rows; ++row) {
        for (std::size_t c = 0; c < args.d; ++c) { scores[c] = score(args, row, c); }
        const auto order = ranked(scores);
        for (std::size_t i = 0; i < args.d; ++i) {
            const bool tied =
                args.rule.paper && scores[order[i]] == scores[order[args.rule.keep - 1U]];
            if (i < args.rule.keep || tied) { keep(args, row, order[i]); }
        }
    }
}

// The n largest of every m neighbouring channels.
void n_m(const PruneArgs& args, std::size_t rows) {
    std::vector<float> scores(args.rule.of);
    for (std::size_t row = 0; row < rows; ++row) {
        for (std::size_t first = 0; first < args.d; first += args.rule.of) {
            for (std::size_t c = 0; c < args.rule.of; ++c) {
                scores[c] = score(args, row, first + c);
            }
            const auto order = ranked(scores);
            for (std::size_t i = 0; i < args.rule.keep; ++i) { keep(args, row, first + order[i]); }
        }
    }
}

// The k channels with the largest sum of squares over all rows, the same for every row.
void channels(const PruneArgs& args, std::size_t rows) {
    std::vector<double> energy(args.d, 0.0);
    for (std::size_t c = 0; c < args.d; ++c) {
        for (std::size_t row = 0; row < rows; ++row) {
            const double x = score(args, row, c);
            energy[c] += x * x;
        }
    }
    std::vector<std::size_t> order(args.d);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return energy[a] > energy[b]; });
    for (std::size_t row = 0; row < rows; ++row) {
        for (std::size_t i = 0; i < args.rule.keep; ++i) { keep(args, row, order[i]); }
    }
}

// In each channel, the largest of these rows: keep of every 32, in proportion where there are
// fewer.
void channel_topk(const PruneArgs& args, std::size_t rows) {
    const std::size_t count = rows - rows * (page_rows - args.rule.keep) / page_rows;
    std::vector<float> scores(rows);
    for (std::size_t c = 0; c < args.d; ++c) {
        for (std::size_t row = 0; row < rows; ++row) { scores[row] = score(args, row, c); }
        const auto order = ranked(scores);
        for (std::size_t i = 0; i < count; ++i) { keep(args, order[i], c); }
    }
}

void threshold(const PruneArgs& args, std::size_t rows) {
    for (std::size_t row = 0; row < rows; ++row) {
        for (std::size_t c = 0; c < args.d; ++c) {
            if (score(args, row, c) >= args.rule.threshold) { keep(args, row, c); }
        }
    }
}

} // namespace

void prune_ref(const PruneArgs& args) {
    const std::size_t rows = args.bitmaps.size() / (args.d / 8U);
    std::memset(args.bitmaps.data(), args.rule.method == Method::none ? 0xFF : 0,
                args.bitmaps.size());
    switch (args.rule.method) {
    case Method::token_topk:
        return token_topk(args, rows);
    case Method::n_m:
        return n_m(args, rows);
    case Method::channels:
        return channels(args, rows);
    case Method::channel_topk:
        return channel_topk(args, rows);
    case Method::threshold:
        return threshold(args, rows);
    case Method::none:
    case Method::mask:
    case Method::recipe:
        return;
    }
}

} // namespace mustafar
