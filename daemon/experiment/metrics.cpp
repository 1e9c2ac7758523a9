// SPDX-License-Identifier: Apache-2.0
#include "experiment/metrics.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace mustafar::experiment {

void ErrorSum::add(double is, double should) {
    const double difference = is - should;
    difference_ += difference * difference;
    reference_ += should * should;
    max_difference_ = std::max(max_difference_, std::abs(difference));
    max_reference_ = std::max(max_reference_, std::abs(should));
}

double ErrorSum::relative() const {
    return difference_ == 0.0 ? 0.0 : std::sqrt(difference_ / reference_);
}

double ErrorSum::relative_max() const {
    return max_difference_ == 0.0 ? 0.0 : max_difference_ / max_reference_;
}

double kl_divergence(std::span<const double> p, std::span<const float> r) {
    constexpr double floor = std::numeric_limits<float>::min();
    double sum = 0.0;
    for (std::size_t i = 0; i < p.size(); ++i) {
        if (p[i] > 0.0) {
            sum += p[i] * std::log(p[i] / std::max(static_cast<double>(r[i]), floor));
        }
    }
    return std::max(sum, 0.0);
}

double quantile(std::vector<double> samples, double at) {
    if (samples.empty()) { return std::numeric_limits<double>::quiet_NaN(); }
    std::ranges::sort(samples);
    const double place = at * static_cast<double>(samples.size() - 1);
    const auto low = static_cast<std::size_t>(place);
    const std::size_t high = std::min(low + 1, samples.size() - 1);
    return std::lerp(samples[low], samples[high], place - static_cast<double>(low));
}

double mean(std::span<const double> values) {
    return values.empty() ? std::numeric_limits<double>::quiet_NaN()
                          : std::accumulate(values.begin(), values.end(), 0.0) /
                                static_cast<double>(values.size());
}

std::optional<Line> fit_line(std::span<const std::pair<double, double>> points) {
    double mean_x = 0.0;
    double mean_y = 0.0;
    for (const auto& [x, y] : points) {
        mean_x += x / static_cast<double>(points.size());
        mean_y += y / static_cast<double>(points.size());
    }
    double xx = 0.0;
    double xy = 0.0;
    for (const auto& [x, y] : points) {
        xx += (x - mean_x) * (x - mean_x);
        xy += (x - mean_x) * (y - mean_y);
    }
    if (points.size() < 2 || xx == 0.0) { return std::nullopt; }
    const double b = xy / xx;
    return Line{mean_y - b * mean_x, b};
}

std::optional<std::uint64_t> break_even(const Line& line, const Line& baseline,
                                        std::uint64_t limit) {
    if (line.b > baseline.b || (line.b == baseline.b && line.a >= baseline.a)) {
        return std::nullopt;
    }
    if (line.a <= baseline.a) {
        return 1; // less from the first token on
    }
    const double length = (line.a - baseline.a) / (baseline.b - line.b);
    if (!(length < static_cast<double>(limit))) { return std::nullopt; }
    return static_cast<std::uint64_t>(length) + 1;
}

} // namespace mustafar::experiment
