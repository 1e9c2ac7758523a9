// SPDX-License-Identifier: Apache-2.0
// The arithmetic behind the figures; each formula is in docs/experiments.md, section 3.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace mustafar::experiment {

// Difference between what is and what should be, over any number of elements.
class ErrorSum {
  public:
    void add(double is, double should);
    double relative() const;     // |is - should| / |should| (Frobenius); 0 for 0 / 0
    double relative_max() const; // max |is - should| / max |should|

  private:
    double difference_ = 0.0; // sums of squares
    double reference_ = 0.0;
    double max_difference_ = 0.0;
    double max_reference_ = 0.0;
};

// KL(p || r) in nats, never below 0. A weight of r below the smallest normal f32 counts as that number:
// attend returns f32, where smaller weights are 0.
double kl_divergence(std::span<const double> p, std::span<const float> r);

// Quantile 0 .. 1 with linear interpolation; NaN of nothing.
double quantile(std::vector<double> samples, double at);
double mean(std::span<const double> values);

// y = a + b x by least squares; nothing for fewer than two different x.
struct Line {
    double a = 0.0;
    double b = 0.0;
};
std::optional<Line> fit_line(std::span<const std::pair<double, double>> points);

// The smallest length from which `line` is below `baseline` for good; nothing where it never is, or where it
// would be beyond `limit` (an extrapolation nobody should believe).
std::optional<std::uint64_t> break_even(const Line& line, const Line& baseline,
                                        std::uint64_t limit);

} // namespace mustafar::experiment
