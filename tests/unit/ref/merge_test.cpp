// SPDX-License-Identifier: Apache-2.0
// Merging partial attentions against softmax over all rows at once.
#include <limits>
#include <numeric>

#include "core/half.hpp"
#include "core/kernels.hpp"
#include "core/unit_support.hpp"

namespace mustafar::test {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

struct Part {
    Array out, lse;
    explicit Part(std::vector<std::int64_t> shape) // of out
        : out(shape, NAN), lse({shape.begin(), shape.end() - 1}, NAN) {}
};

void merge(const Part& a, const Part& b, const Part& to) {
    const mustafar_tensor views[] = {a.out.view(), a.lse.view(),  b.out.view(),
                                     b.lse.view(), to.out.view(), to.lse.view()};
    merge_ref({&views[0], &views[1], &views[2], &views[3], &views[4], &views[5]});
}
Part merged(const Part& a, const Part& b) {
    Part to(a.out.shape);
    merge(a, b, to);
    return to;
}

// Attention of one query over rows [begin, end) of scores and values, in double.
void attend(const std::vector<double>& scores, const Array& values, std::size_t begin,
            std::size_t end, float* out, float& lse) {
    const std::size_t d = static_cast<std::size_t>(values.shape[1]);
    const double most = *std::max_element(scores.begin(), scores.end());
    double sum = 0.0;
    for (std::size_t r = begin; r < end; ++r) { sum += std::exp(scores[r] - most); }
    lse = static_cast<float>(most + std::log(sum));
    for (std::size_t c = 0; c < d; ++c) {
        double x = 0.0;
        for (std::size_t r = begin; r < end; ++r) {
            x += std::exp(scores[r] - most) / sum * values.values[r * d + c];
        }
        out[c] = static_cast<float>(x);
    }
}

TEST(Merge, TwoPartsOfTheRows_GiveTheAttentionOverAll) {
    Random random(1);
    for (const double spread : {1.0, 40.0, 1e4}) { // the last: exp overflows without the maximum
        Part a({2, 3, 32}), b({2, 3, 32}), all({2, 3, 32});
        for (std::size_t q = 0; q < 6; ++q) {
            Array values({50, 32});
            values.values = random.values(50 * 32);
            std::vector<double> scores;
            for (int r = 0; r < 50; ++r) { scores.push_back(spread * random.uniform(-1, 1)); }
            const std::size_t cut = 1 + random.below(49);
            attend(scores, values, 0, cut, &a.out.values[q * 32], a.lse.values[q]);
            attend(scores, values, cut, 50, &b.out.values[q * 32], b.lse.values[q]);
            attend(scores, values, 0, 50, &all.out.values[q * 32], all.lse.values[q]);
        }
        const Part got = merged(a, b);
        const float rounding = static_cast<float>(spread) * 0x1p-23F; // of the lse that came in
        for (std::size_t i = 0; i < got.out.values.size(); ++i) {
            ASSERT_NEAR(got.out.values[i], all.out.values[i], 8 * rounding + 2e-6F) << i;
        }
        for (std::size_t i = 0; i < 6; ++i) {
            ASSERT_NEAR(got.lse.values[i], all.lse.values[i], 2 * rounding + 1e-6F) << i;
        }
        const Part other = merged(b, a);
        EXPECT_EQ(got.out.values, other.out.values) << "the order of the parts is no matter";
        EXPECT_EQ(got.lse.values, other.lse.values);
    }
}

TEST(Merge, EqualParts_WeighTheSameAndAddLnTwo) {
    Part a({1, 8}), b({1, 8});
    a.out.values.assign(8, 1.0F);
    b.out.values.assign(8, 4.0F);
    a.lse.values = b.lse.values = {-3.0F};
    const Part got = merged(a, b);
    EXPECT_FLOAT_EQ(got.out.values[7], 2.5F);
    EXPECT_FLOAT_EQ(got.lse.values[0], -3.0F + std::log(2.0F));
}

TEST(Merge, AnEmptyPart_LeavesTheOtherAsItIsWhateverItHolds) {
    Part a({2, 8}), empty({2, 8}); // its out is NaN
    a.out.values = Random(2).values(16);
    a.lse.values = {1.25F, -700.0F};
    empty.lse.values = {-infinity, -infinity};
    for (const Part& got : {merged(a, empty), merged(empty, a)}) {
        EXPECT_EQ(got.out.values, a.out.values);
        EXPECT_EQ(got.lse.values, a.lse.values);
    }
}

TEST(Merge, TwoEmptyParts_GiveZerosAndMinusInfinity) {
    Part empty({1, 8});
    empty.lse.values = {-infinity};
    const Part got = merged(empty, empty);
    EXPECT_EQ(got.out.values, std::vector<float>(8, 0.0F));
    EXPECT_EQ(got.lse.values[0], -infinity);
}

TEST(Merge, IntoAPartItself_GivesTheSame) {
    Random random(3);
    Part a({3, 4, 8}), b({3, 4, 8});
    for (Part* part : {&a, &b}) {
        part->out.values = random.values(96);
        part->lse.values = random.values(12);
    }
    const Part expected = merged(a, b);
    merge(a, b, b);
    EXPECT_EQ(b.out.values, expected.out.values);
    EXPECT_EQ(b.lse.values, expected.lse.values);
}

TEST(Merge, HalvesAndAnyStrides_AreReadAndWrittenWhereTheyLie) {
    Random random(4);
    Part a({3, 2, 8}), b({3, 2, 8});
    for (Part* part : {&a, &b}) {
        part->out.values = random.values(48);
        part->lse.values = random.values(6);
    }
    for (float& x : a.out.values) { x = f16_to_f32(f32_to_f16(x)); }
    const Part expected = merged(a, b);
    // a as f16, channels outermost; the result as bf16 in every second place.
    std::vector<std::uint16_t> halves(48), out(96, 0xFFFF);
    for (std::size_t q = 0; q < 6; ++q) {
        for (std::size_t c = 0; c < 8; ++c) {
            halves[c * 6 + q] = f32_to_f16(a.out.values[q * 8 + c]);
        }
    }
    mustafar_tensor a_out = a.out.view();
    a_out.data = halves.data();
    a_out.dtype = MUSTAFAR_F16;
    a_out.strides[0] = 2;
    a_out.strides[1] = 1;
    a_out.strides[2] = 6;
    mustafar_tensor to = a.out.view();
    to.data = out.data();
    to.dtype = MUSTAFAR_BF16;
    for (int i = 0; i < 3; ++i) { to.strides[i] *= 2; }
    const mustafar_tensor a_lse = a.lse.view(), b_out = b.out.view(), b_lse = b.lse.view();
    Array lse({3, 2});
    const mustafar_tensor to_lse = lse.view();
    merge_ref({&a_out, &a_lse, &b_out, &b_lse, &to, &to_lse});
    for (std::size_t i = 0; i < 48; ++i) {
        ASSERT_NEAR(bf16_to_f32(out[2 * i]), expected.out.values[i], 0x1p-6F) << i;
        ASSERT_EQ(out[2 * i + 1], 0xFFFF) << "between the elements";
    }
    EXPECT_EQ(lse.values, expected.lse.values);
}

TEST(Merge, ShapesWithoutElements_TouchNothing) {
    Part a({2, 0, 8}); // the outer dimension alone has elements
    EXPECT_TRUE(merged(a, a).out.values.empty());
}

} // namespace
} // namespace mustafar::test
