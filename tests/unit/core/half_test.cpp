// SPDX-License-Identifier: Apache-2.0
// binary16 and bfloat16 against their definitions: values by ldexp, rounding by looking at both neighbours.
#include <algorithm>
#include <bit>
#include <limits>

#include "core/half.hpp"
#include "unit_support.hpp"

namespace mustafar::test {
namespace {

// Both types are sign, exponent, fraction; they differ in the widths alone.
struct Format {
    const char* name;
    int exponent_bits, fraction_bits;
    float (*load)(std::uint16_t);
    std::uint16_t (*store)(float);

    int bias() const { return (1 << (exponent_bits - 1)) - 1; }
    std::uint16_t infinity() const {
        return static_cast<std::uint16_t>(((1U << exponent_bits) - 1U) << fraction_bits);
    }
    bool is_nan(std::uint16_t half) const { return (half & 0x7FFFU) > infinity(); }

    double value(std::uint16_t half) const { // finite ones
        const double sign = (half & 0x8000U) != 0 ? -1.0 : 1.0;
        const int exponent = (half & 0x7FFF) >> fraction_bits;
        const int fraction = half & ((1 << fraction_bits) - 1);
        const int whole = exponent == 0 ? fraction : fraction + (1 << fraction_bits);
        return sign * std::ldexp(whole, std::max(exponent, 1) - bias() - fraction_bits);
    }
    // What comes after the largest finite value, where rounding is concerned.
    double beyond() const { return std::ldexp(1.0, bias() + 1); }

    // The nearest value, ties to the even code.
    std::uint16_t nearest(float x) const {
        const auto sign = static_cast<std::uint16_t>(std::signbit(x) ? 0x8000U : 0U);
        const double magnitude = std::fabs(static_cast<double>(x));
        std::uint16_t low = 0;
        std::uint16_t high = infinity(); // value(low) <= magnitude < value(high)
        if (magnitude >= beyond()) { return sign | infinity(); }
        while (high - low > 1) {
            const auto middle = static_cast<std::uint16_t>((low + high) / 2);
            (value(middle) <= magnitude ? low : high) = middle;
        }
        const double below = magnitude - value(low);
        const double above = (high == infinity() ? beyond() : value(high)) - magnitude;
        const bool up = below > above || (below == above && (low & 1U) != 0);
        return static_cast<std::uint16_t>(sign | (up ? high : low));
    }
};

class Half : public testing::TestWithParam<Format> {};
INSTANTIATE_TEST_SUITE_P(Types, Half,
                         testing::Values(Format{"f16", 5, 10, f16_to_f32, f32_to_f16},
                                         Format{"bf16", 8, 7, bf16_to_f32, f32_to_bf16}),
                         [](const auto& type) { return std::string(type.param.name); });

TEST_P(Half, EveryOfThe65536Codes_ReadsAsItsValue) {
    const Format& format = GetParam();
    for (std::uint32_t code = 0; code < 0x10000U; ++code) {
        const auto half = static_cast<std::uint16_t>(code);
        const float read = format.load(half);
        ASSERT_EQ(std::signbit(read), (code & 0x8000U) != 0) << code;
        if (format.is_nan(half)) {
            ASSERT_TRUE(std::isnan(read)) << code;
        } else if ((half & 0x7FFFU) == format.infinity()) {
            ASSERT_TRUE(std::isinf(read)) << code;
        } else {
            ASSERT_EQ(static_cast<double>(read), format.value(half)) << code;
        }
    }
}

TEST_P(Half, EveryOfThe65536Codes_SurvivesTheWayThroughF32) {
    const Format& format = GetParam();
    for (std::uint32_t code = 0; code < 0x10000U; ++code) {
        const auto half = static_cast<std::uint16_t>(code);
        const std::uint16_t back = format.store(format.load(half));
        if (format.is_nan(half)) {
            ASSERT_TRUE(format.is_nan(back)) << code;
            ASSERT_EQ(back & 0x8000U, half & 0x8000U) << code;
        } else {
            ASSERT_EQ(back, half);
        }
    }
}

TEST_P(Half, BetweenNeighbours_TiesGoToTheEvenCodeAndOthersToTheNearer) {
    const Format& format = GetParam();
    for (std::uint32_t code = 0; code < format.infinity(); ++code) {
        const auto low = static_cast<std::uint16_t>(code);
        const auto high = static_cast<std::uint16_t>(code + 1);
        const double after = high == format.infinity() ? format.beyond() : format.value(high);
        const auto middle = static_cast<float>((format.value(low) + after) / 2);
        ASSERT_EQ(static_cast<double>(middle), (format.value(low) + after) / 2) << "exact in f32";
        const float above = std::nextafter(middle, std::numeric_limits<float>::infinity());
        const float below = std::nextafter(middle, 0.0F);
        const std::uint16_t even = (low & 1U) == 0 ? low : high;
        ASSERT_EQ(format.store(middle), even) << code;
        ASSERT_EQ(format.store(above), high) << code;
        ASSERT_EQ(format.store(below), low) << code;
        ASSERT_EQ(format.store(-middle), even | 0x8000U) << code;
        ASSERT_EQ(format.store(-above), high | 0x8000U) << code;
        ASSERT_EQ(format.store(-below), low | 0x8000U) << code;
    }
}

TEST_P(Half, AnyF32_RoundsAsTheSearchForItsNearestValueDoes) {
    const Format& format = GetParam();
    Random random(16);
    for (int i = 0; i < 300000; ++i) {
        auto bits = static_cast<std::uint32_t>(random.next());
        if (i % 2 == 0) { // half of them where f16 has its values
            bits = (bits & 0x807FFFFFU) | (std::uint32_t{100} + random.below(46)) << 23;
        }
        const auto x = std::bit_cast<float>(bits);
        if (std::isnan(x)) {
            ASSERT_TRUE(format.is_nan(format.store(x))) << std::hex << bits;
        } else {
            ASSERT_EQ(format.store(x), format.nearest(x)) << std::hex << bits;
        }
    }
}

TEST_P(Half, EveryNaN_StaysANaN) {
    const Format& format = GetParam();
    for (std::uint32_t fraction = 1; fraction < 0x800000U; fraction += 0x1FF) {
        for (const std::uint32_t sign : {0U, 0x80000000U}) {
            const auto nan = std::bit_cast<float>(sign | 0x7F800000U | fraction);
            ASSERT_TRUE(format.is_nan(format.store(nan))) << std::hex << fraction;
        }
    }
    EXPECT_TRUE(format.is_nan(format.store(std::bit_cast<float>(0x7F800001U)))) << "least payload";
}

TEST(HalfF16, From65520On_IsInfinity) {
    EXPECT_EQ(f32_to_f16(65504.0F), 0x7BFF);
    EXPECT_EQ(f32_to_f16(std::nextafter(65520.0F, 0.0F)), 0x7BFF);
    EXPECT_EQ(f32_to_f16(65520.0F), 0x7C00);
    EXPECT_EQ(f32_to_f16(-65520.0F), 0xFC00);
    EXPECT_EQ(f32_to_f16(std::numeric_limits<float>::max()), 0x7C00);
    EXPECT_EQ(f32_to_f16(std::numeric_limits<float>::infinity()), 0x7C00);
}

TEST(HalfF16, TheLeastSubnormal_IsReachedFromJustAboveItsHalf) {
    EXPECT_EQ(f32_to_f16(0x1p-25F), 0) << "a tie goes to the even zero";
    EXPECT_EQ(f32_to_f16(-0x1p-25F), 0x8000);
    EXPECT_EQ(f32_to_f16(std::nextafter(0x1p-25F, 1.0F)), 1);
    EXPECT_EQ(f32_to_f16(0x1.8p-24F), 2) << "a tie between 1 and 2";
    EXPECT_EQ(f32_to_f16(std::numeric_limits<float>::denorm_min()), 0);
    EXPECT_EQ(f16_to_f32(1), 0x1p-24F);
}

TEST(HalfBf16, BeyondTheLargestFinite_RoundsToInfinity) {
    EXPECT_EQ(f32_to_bf16(bf16_to_f32(0x7F7F)), 0x7F7F);
    EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x7F7F7FFFU)), 0x7F7F);
    EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x7F7F8000U)), 0x7F80);
    EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::denorm_min()), 0);
}

TEST(HalfStore, TheGeometrysType_PicksTheConversion) {
    EXPECT_EQ(store_half(1.0F, Dtype::f16), 0x3C00);
    EXPECT_EQ(store_half(1.0F, Dtype::bf16), 0x3F80);
    EXPECT_EQ(load_half(0x3C00, Dtype::f16), 1.0F);
    EXPECT_EQ(load_half(0x3F80, Dtype::bf16), 1.0F);
}

// Every half, what lies between it and the next one, and both signs.
TEST(HalfRows, StoredInPieces_AreStoredAsOneByOne) {
    for (const Dtype store : {Dtype::f16, Dtype::bf16}) {
        const std::uint32_t finite = store == Dtype::f16 ? 0x7C00U : 0x7F80U;
        const int step = store == Dtype::f16 ? 13 : 16;
        for (std::uint32_t half = 0; half < finite; ++half) {
            const auto bits =
                std::bit_cast<std::uint32_t>(load_half(static_cast<std::uint16_t>(half), store));
            const std::uint32_t tie =
                half < 0x400 && store == Dtype::f16
                    ? std::bit_cast<std::uint32_t>((static_cast<float>(half) + 0.5F) * 0x1p-24F)
                    : bits + (1U << (step - 1));
            float values[8];
            const std::uint32_t near[] = {bits, bits + 1, tie - 1, tie, tie + 1, tie + 2, 0, 1};
            for (int i = 0; i < 8; ++i) {
                values[i] = std::bit_cast<float>(near[i] | (i % 2 == 0 ? 0x80000000U : 0U));
            }
            std::uint16_t got[8];
            store_halves(values, 8, store, got);
            for (int i = 0; i < 8; ++i) {
                ASSERT_EQ(got[i], store_half(values[i], store)) << half << ", value " << i;
            }
        }
    }
    const float large[8] = {65504, 65519, 65520, -65536, 1e6F, -1e30F, 3e38F, 65519.996F};
    std::uint16_t got[8];
    store_halves(large, 8, Dtype::f16, got);
    for (int i = 0; i < 8; ++i) { EXPECT_EQ(got[i], store_half(large[i], Dtype::f16)) << large[i]; }
}

TEST(HalfRows, WithinALimit_IsSeenWhereverOneIsNot) {
    for (std::uint32_t d : {32U, 40U}) {
        for (std::uint32_t at = 0; at < d; ++at) {
            std::vector<std::uint16_t> halves(d, 0xFBFF); // -65504
            EXPECT_TRUE(halves_within(halves.data(), d, 0x7BFF));
            EXPECT_FALSE(halves_within(halves.data(), d, 0x7BFE));
            std::vector<float> floats(d, -1.5F);
            const auto limit = std::bit_cast<std::uint32_t>(1.5F);
            EXPECT_TRUE(floats_within(floats.data(), d, limit));
            for (const std::uint16_t beyond : {0x7C00, 0xFC00, 0x7E00, 0xFFFF}) {
                halves[at] = beyond;
                EXPECT_FALSE(halves_within(halves.data(), d, 0x7BFF)) << at;
            }
            for (const std::uint32_t beyond : {limit + 1, 0xFF800000U, 0x7FC00000U, 0xFFFFFFFFU}) {
                floats[at] = std::bit_cast<float>(beyond);
                EXPECT_FALSE(floats_within(floats.data(), d, limit)) << at;
            }
        }
    }
}

TEST(Tensor, EachDtype_LoadsAndStoresItsOwnElement) {
    std::uint16_t halves[2] = {0x3C00, 0};
    float floats[2] = {2.5F, 0.0F};
    mustafar_tensor tensor{};
    tensor.data = halves;
    tensor.dtype = MUSTAFAR_F16;
    EXPECT_EQ(load_element(tensor, 0), 1.0F);
    store_element(tensor, 1, -2.0);
    EXPECT_EQ(halves[1], 0xC000);
    tensor.dtype = MUSTAFAR_BF16;
    store_element(tensor, 1, -2.0);
    EXPECT_EQ(halves[1], 0xC000) << "bf16 of -2 has the bits of f16 -2";
    store_element(tensor, 1, 1.0);
    EXPECT_EQ(halves[1], 0x3F80);
    tensor.data = floats;
    tensor.dtype = MUSTAFAR_F32;
    EXPECT_EQ(load_element(tensor, 0), 2.5F);
    store_element(tensor, 1, 0.1);
    EXPECT_EQ(floats[1], 0.1F);
}

} // namespace
} // namespace mustafar::test
