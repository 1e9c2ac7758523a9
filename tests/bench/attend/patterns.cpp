// SPDX-License-Identifier: Apache-2.0
#include "patterns.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "experiment/half.hpp"

namespace mustafar::bench {
namespace {

using experiment::Trace;
using experiment::TraceLayer;

// The magnitude that `share` of the side's values reach.
float threshold(const Trace& trace, std::vector<std::uint16_t> TraceLayer::*side, double share) {
    std::vector<float> values;
    for (const TraceLayer& layer : trace.layers) {
        for (const std::uint16_t value : layer.*side) {
            values.push_back(std::fabs(experiment::half_to_float(value, trace.dtype)));
        }
    }
    const auto gone = static_cast<std::size_t>((1.0 - share) * static_cast<double>(values.size()));
    const auto at = values.begin() + static_cast<std::ptrdiff_t>(std::min(gone, values.size() - 1));
    std::nth_element(values.begin(), at, values.end());
    return *at;
}

// Lengths before rounding: the longest is heads * mean / sum of rank^-power.
double longest(std::uint32_t heads, double mean, double power) {
    double sum = 0.0;
    for (std::uint32_t h = 1; h <= heads; ++h) { sum += std::pow(h, -power); }
    return heads * mean / sum;
}

} // namespace

std::string ragged_recipe(const Trace& trace, double share) {
    return fmt::format(R"({{"schema": "mustafar.recipe", "version": 1,
        "k": {{"method": "threshold", "threshold": {}}}, "v": {{"method": "threshold", "threshold": {}}}}})",
                       threshold(trace, &TraceLayer::k, share),
                       threshold(trace, &TraceLayer::v, share));
}

std::vector<std::uint32_t> unequal_lengths(std::uint32_t heads, std::uint32_t mean, double factor,
                                           std::uint32_t least) {
    double low = 0.0;
    double high = 64.0; // one head holds all
    for (int step = 0; step < 64; ++step) {
        const double middle = (low + high) / 2;
        (longest(heads, mean, middle) < factor * mean ? low : high) = middle;
    }
    std::vector<std::uint32_t> lengths;
    for (std::uint32_t h = 1; h <= heads; ++h) {
        const double length = longest(heads, mean, low) * std::pow(h, -low);
        lengths.push_back(std::max(least, static_cast<std::uint32_t>(std::lround(length))));
    }
    return lengths;
}

} // namespace mustafar::bench
