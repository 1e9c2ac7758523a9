// SPDX-License-Identifier: Apache-2.0
// Survivors by counting who beats whom: an element stays if fewer than k come before it, where larger
// scores come first, and of equal ones the lower channel (or older row).
#include <algorithm>
#include <functional>
#include <limits>

#include "core/kernels.hpp"
#include "core/unit_support.hpp"
#include "recipe/resolve.hpp"

namespace mustafar::test {
namespace {

struct Rows {
    std::size_t d = 0;
    std::vector<float> values;
    std::vector<float> channel_weights, token_weights;

    std::size_t count() const { return values.size() / d; }
    float score(std::size_t row, std::size_t channel) const {
        float s = values[row * d + channel];
        s = s < 0.0F ? -s : s + 0.0F;
        if (!channel_weights.empty()) { s *= channel_weights[channel]; }
        if (!token_weights.empty()) { s *= token_weights[row]; }
        return s;
    }
};

using Mask = std::vector<bool>; // [rows * d]

Mask prune(const PruneRule& rule, const Rows& rows) {
    std::vector<std::uint8_t> bitmaps(rows.values.size() / 8, 0xA5); // nobody may count on zeros
    prune_ref({rule, static_cast<std::uint32_t>(rows.d), rows.values, rows.channel_weights,
               rows.token_weights, bitmaps});
    Mask mask;
    for (std::size_t i = 0; i < rows.values.size(); ++i) {
        mask.push_back(bit_at(bitmaps.data(), i));
    }
    return mask;
}

// Of the scores, how many come before number i.
std::size_t ahead_of(std::size_t i, std::size_t count,
                     const std::function<double(std::size_t)>& score) {
    std::size_t ahead = 0;
    for (std::size_t j = 0; j < count; ++j) {
        ahead += score(j) > score(i) || (score(j) == score(i) && j < i) ? 1 : 0;
    }
    return ahead;
}

Mask token_topk_oracle(const Rows& rows, std::size_t keep, bool paper) {
    Mask mask;
    for (std::size_t row = 0; row < rows.count(); ++row) {
        const auto score = [&](std::size_t c) { return double{rows.score(row, c)}; };
        for (std::size_t c = 0; c < rows.d; ++c) {
            std::size_t larger = 0;
            for (std::size_t j = 0; j < rows.d; ++j) { larger += score(j) > score(c) ? 1 : 0; }
            mask.push_back((paper ? larger : ahead_of(c, rows.d, score)) < keep);
        }
    }
    return mask;
}

PruneRule rule(Method method, std::uint16_t keep = 0, std::uint16_t of = 0,
               float threshold = 0.0F) {
    return {method, false, keep, of, threshold};
}
PruneRule paper_rule(std::uint16_t keep) { return {Method::token_topk, true, keep, 0, 0.0F}; }

std::size_t kept(const Mask& mask) {
    return static_cast<std::size_t>(std::count(mask.begin(), mask.end(), true));
}

// Rows of every kind that ranks badly: ties, zeros of both signs, denormals, constants, outliers.
std::vector<Rows> hard_rows(std::size_t d, std::size_t count) {
    Random random(d * 100 + count);
    std::vector<Rows> all(6);
    for (std::size_t kind = 0; kind < all.size(); ++kind) {
        Rows& rows = all[kind];
        rows.d = d;
        for (std::size_t i = 0; i < d * count; ++i) {
            const float levels = static_cast<float>(random.below(7)) - 3.0F;
            const float sign = random.chance(50) ? 1.0F : -1.0F;
            const float kinds[] = {random.uniform(-4.0F, 4.0F),
                                   levels,
                                   sign * 0.0F,
                                   sign * 2.5F,
                                   sign * 1e-42F * static_cast<float>(random.below(5)),
                                   random.chance(90) ? random.uniform(-1.0F, 1.0F) : sign * 6e4F};
            rows.values.push_back(kinds[kind]);
        }
    }
    return all;
}

TEST(PruneTokenTopk, AnyRowAndCount_KeepsTheLargestAndOfTiesTheLowerChannels) {
    for (const std::size_t d : {32U, 80U, 128U}) {
        for (const Rows& rows : hard_rows(d, 3)) {
            for (const std::size_t keep : {std::size_t{1}, d / 4, d / 2 + 1, d - 1, d}) {
                const Mask mask =
                    prune(rule(Method::token_topk, static_cast<std::uint16_t>(keep)), rows);
                ASSERT_EQ(mask, token_topk_oracle(rows, keep, false)) << d << " keep " << keep;
                ASSERT_EQ(kept(mask), 3 * keep) << "exactly k in each row";
            }
        }
    }
}

TEST(PruneTokenTopk, ZerosOfBothSigns_AreEqual) {
    Rows rows{32, std::vector<float>(32, 0.0F), {}, {}};
    for (std::size_t c = 0; c < 16; ++c) { rows.values[c] = -0.0F; }
    const Mask mask = prune(rule(Method::token_topk, 20), rows);
    for (std::size_t c = 0; c < 32; ++c) { EXPECT_EQ(mask[c], c < 20) << c; }
}

TEST(PruneTokenTopk, AnElementAndItsNegative_Tie) {
    Rows rows{32, std::vector<float>(32, 0.0F), {}, {}};
    rows.values[9] = -3.0F;
    rows.values[4] = 3.0F;
    rows.values[20] = 3.0F;
    Mask expected(32, false);
    expected[4] = expected[9] = true;
    EXPECT_EQ(prune(rule(Method::token_topk, 2), rows), expected);
}

TEST(PruneTokenTopk, ChannelWeights_MultiplyTheMagnitudesFirst) {
    Random random(5);
    Rows rows{64, random.values(64 * 4), random.values(64, 0.0F, 3.0F), {}};
    EXPECT_EQ(prune(rule(Method::token_topk, 20), rows), token_topk_oracle(rows, 20, false));
    const Mask weighted = prune(rule(Method::token_topk, 20), rows);
    rows.channel_weights.clear();
    EXPECT_NE(prune(rule(Method::token_topk, 20), rows), weighted) << "the weights matter";
}

TEST(PruneTokenTopk, TokenWeights_DoNotChangeTheOrderWithinARow) {
    Random random(6);
    Rows rows{64, random.values(64 * 4), {}, {}};
    const Mask plain = prune(rule(Method::token_topk, 20), rows);
    rows.token_weights = {2.0F, 0.5F, 4.0F, 1.0F};
    EXPECT_EQ(prune(rule(Method::token_topk, 20), rows), plain);
}

TEST(PrunePaper, CountsOfHeadDim128_AreThoseOfTheReferenceImplementation) {
    const std::pair<double, std::size_t> counts[] = {{0.3, 91}, {0.5, 65}, {0.6, 53},
                                                     {0.7, 40}, {0.8, 27}, {0.9, 14}};
    Random random(7);
    for (const auto& [sparsity, count] : counts) {
        const std::uint32_t keep = recipes::paper_count_of_sparsity(sparsity, 128);
        EXPECT_EQ(keep, count) << sparsity;
        const Rows rows{128, random.values(128 * 8), {}, {}}; // random floats: no ties
        const Mask mask = prune(paper_rule(static_cast<std::uint16_t>(keep)), rows);
        EXPECT_EQ(kept(mask), 8 * count) << sparsity;
    }
}

TEST(PrunePaper, EverythingAsLargeAsTheKth_Stays) {
    for (const Rows& rows : hard_rows(64, 4)) {
        for (const std::uint16_t keep : {1, 20, 63}) {
            ASSERT_EQ(prune(paper_rule(keep), rows), token_topk_oracle(rows, keep, true));
        }
    }
    const Rows constant{32, std::vector<float>(32, -1.5F), {}, {}};
    EXPECT_EQ(kept(prune(paper_rule(1), constant)), 32U) << "a constant row keeps all its ties";
}

TEST(PruneNM, OfEveryMNeighbours_TheNLargestStay) {
    for (const Rows& rows : hard_rows(96, 3)) {
        for (const auto& [n, m] : {std::pair{2, 4}, {1, 8}, {3, 4}, {5, 12}, {95, 96}}) {
            const Mask mask = prune(
                rule(Method::n_m, static_cast<std::uint16_t>(n), static_cast<std::uint16_t>(m)),
                rows);
            for (std::size_t i = 0; i < mask.size(); ++i) {
                const std::size_t row = i / 96;
                const std::size_t first = i % 96 / m * m;
                const std::size_t ahead = ahead_of(i % 96 - first, m, [&](std::size_t j) {
                    return double{rows.score(row, first + j)};
                });
                ASSERT_EQ(mask[i], ahead < static_cast<std::size_t>(n))
                    << n << ":" << m << " at " << i;
            }
        }
    }
}

TEST(PruneChannels, AllRows_KeepTheSameChannelsOfLargestEnergy) {
    for (Rows rows : hard_rows(40, 7)) {
        for (const bool weighted : {false, true}) {
            if (weighted) { rows.token_weights = {1, 0.5F, 2, 1, 0, 4, 1}; }
            const Mask mask = prune(rule(Method::channels, 13), rows);
            const auto energy = [&](std::size_t c) {
                double sum = 0.0;
                for (std::size_t row = 0; row < 7; ++row) {
                    sum += double{rows.score(row, c)} * rows.score(row, c);
                }
                return sum;
            };
            for (std::size_t i = 0; i < mask.size(); ++i) {
                ASSERT_EQ(mask[i], ahead_of(i % 40, 40, energy) < 13) << i;
            }
        }
    }
}

TEST(PruneChannelTopk, EachChannel_KeepsItsLargestRowsAndOfTiesTheOlder) {
    for (const Rows& rows : hard_rows(40, 32)) {
        for (const std::uint16_t keep : {1, 10, 31, 32}) {
            const Mask mask = prune(rule(Method::channel_topk, keep), rows);
            for (std::size_t i = 0; i < mask.size(); ++i) {
                const std::size_t c = i % 40;
                const std::size_t ahead = ahead_of(
                    i / 40, 32, [&](std::size_t row) { return double{rows.score(row, c)}; });
                ASSERT_EQ(mask[i], ahead < keep) << i;
            }
        }
    }
}

TEST(PruneChannelTopk, FewerRowsThanABlock_KeepInProportionRoundedUp) {
    Random random(8);
    const std::tuple<std::size_t, std::uint16_t, std::size_t> cases[] = {
        {16, 16, 8}, {8, 10, 3}, {1, 1, 1}, {1, 31, 1}, {31, 31, 31}, {5, 16, 3}, {64, 8, 16}};
    for (const auto& [count, keep, expected] : cases) {
        const Rows rows{32, random.values(32 * count), {}, {}};
        EXPECT_EQ(kept(prune(rule(Method::channel_topk, keep), rows)), 32 * expected)
            << count << " rows, " << keep << " of 32";
    }
}

TEST(PruneThreshold, MagnitudesOfAtLeastT_Stay) {
    Rows rows{32, std::vector<float>(32, 0.25F), {}, {}};
    rows.values[3] = 0.5F;
    rows.values[5] = -0.5F;
    rows.values[7] = std::nextafter(0.5F, 0.0F);
    rows.values[9] = 70.0F;
    Mask expected(32, false);
    expected[3] = expected[5] = expected[9] = true;
    EXPECT_EQ(prune(rule(Method::threshold, 0, 0, 0.5F), rows), expected);
    EXPECT_EQ(kept(prune(rule(Method::threshold, 0, 0, 0.0F), rows)), 32U);
    EXPECT_EQ(kept(prune(rule(Method::threshold, 0, 0, 100.0F), rows)), 0U) << "a row may be empty";
}

TEST(PruneThreshold, Weights_OfBothKindsMultiply) {
    Random random(9);
    const Rows rows{40, random.values(40 * 6), random.values(40, 0.0F, 2.0F),
                    random.values(6, 0.0F, 2.0F)};
    const Mask mask = prune(rule(Method::threshold, 0, 0, 1.0F), rows);
    for (std::size_t i = 0; i < mask.size(); ++i) {
        ASSERT_EQ(mask[i], rows.score(i / 40, i % 40) >= 1.0F) << i;
    }
    EXPECT_GT(kept(mask), 0U);
    EXPECT_LT(kept(mask), mask.size());
}

TEST(PruneNone, KeepsAll) {
    const Rows rows{32, std::vector<float>(64, 0.0F), {}, {}};
    EXPECT_EQ(kept(prune(rule(Method::none), rows)), 64U);
}

} // namespace
} // namespace mustafar::test
