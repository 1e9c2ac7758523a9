// SPDX-License-Identifier: Apache-2.0
// The arithmetic of the figures against numbers worked out by hand.
#include "experiment/metrics.hpp"

#include <cmath>

#include <gtest/gtest.h>

#include "experiment/half.hpp"

namespace mustafar::experiment {
namespace {

TEST(Metrics, RelativeErrors) {
    ErrorSum sum;
    EXPECT_EQ(sum.relative(), 0.0);
    sum.add(3.0, 3.0);
    EXPECT_EQ(sum.relative(), 0.0);
    sum.add(0.0, -4.0);
    EXPECT_DOUBLE_EQ(sum.relative(), 4.0 / 5.0);
    EXPECT_DOUBLE_EQ(sum.relative_max(), 1.0);
}

TEST(Metrics, Divergence) {
    const std::vector<double> p{0.5, 0.5, 0.0};
    EXPECT_EQ(kl_divergence(p, std::vector<float>{0.5F, 0.5F, 0.0F}), 0.0);
    EXPECT_NEAR(kl_divergence(p, std::vector<float>{0.25F, 0.75F, 0.0F}),
                0.5 * std::log(2.0) - 0.5 * std::log(1.5), 1e-12);
    const double lost = kl_divergence(p, std::vector<float>{0.0F, 1.0F, 0.0F}); // finite, and large
    EXPECT_NEAR(lost, std::log(0.5) - 0.5 * std::log(0x1p-126), 1e-9);
}

TEST(Metrics, Quantiles) {
    EXPECT_TRUE(std::isnan(quantile({}, 0.5)));
    EXPECT_EQ(quantile({7}, 0.9), 7.0);
    EXPECT_EQ(quantile({4, 1, 3, 2}, 0.5), 2.5);
    EXPECT_DOUBLE_EQ(quantile({0, 10}, 0.1), 1.0);
}

TEST(Metrics, Lines) {
    using Points = std::vector<std::pair<double, double>>;
    EXPECT_FALSE(fit_line(Points{}));
    EXPECT_FALSE(fit_line(Points{{1, 1}}));
    EXPECT_FALSE(fit_line(Points{{1, 1}, {1, 2}}));
    const auto line = fit_line(Points{{0, 1}, {1, 3}, {2, 5}});
    ASSERT_TRUE(line);
    EXPECT_DOUBLE_EQ(line->a, 1.0);
    EXPECT_DOUBLE_EQ(line->b, 2.0);
}

TEST(Metrics, BreakEven) {
    const Line baseline{10, 2};
    EXPECT_EQ(break_even({20, 1}, baseline, 1000), 11u); // equal at 10
    EXPECT_EQ(break_even({5, 1}, baseline, 1000), 1u);
    EXPECT_EQ(break_even({5, 2}, baseline, 1000), 1u);
    EXPECT_FALSE(break_even({10, 2}, baseline, 1000));   // the same
    EXPECT_FALSE(break_even({5, 3}, baseline, 1000));    // faster at first, slower for good
    EXPECT_FALSE(break_even({5000, 1}, baseline, 1000)); // too far to believe
}

TEST(Metrics, Halves) {
    EXPECT_EQ(f16_to_float(0x3c00), 1.0F);
    EXPECT_EQ(f16_to_float(0xc000), -2.0F);
    EXPECT_EQ(f16_to_float(0x7bff), 65504.0F);
    EXPECT_EQ(f16_to_float(0x0001), 0x1p-24F);
    EXPECT_EQ(f16_to_float(0x83ff), -1023 * 0x1p-24F);
    EXPECT_TRUE(std::signbit(f16_to_float(0x8000)));
    EXPECT_TRUE(std::isinf(f16_to_float(0xfc00)));
    EXPECT_TRUE(std::isnan(f16_to_float(0x7e00)));
    EXPECT_EQ(bf16_to_float(0x3f80), 1.0F);
}

} // namespace
} // namespace mustafar::experiment
