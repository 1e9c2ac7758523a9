// SPDX-License-Identifier: Apache-2.0
// The quantization rule against an oracle that picks code after code out of the bits, and reading
// back against the same arithmetic in double.
#include <algorithm>
#include <limits>

#include "core/half.hpp"
#include "core/kernels.hpp"
#include "core/unit_support.hpp"

namespace mustafar::test {
namespace {

SideSpec side_of(Encoding encoding, std::uint16_t d, std::uint16_t keep, std::uint8_t bits,
                 std::uint8_t group = 0) {
    SideSpec side;
    side.encoding = encoding;
    side.d = d;
    side.keep = keep;
    side.bits = bits;
    side.group = group;
    return side;
}
const std::vector<SideSpec> quantized = {
    side_of(Encoding::exact, 128, 40, 4),        side_of(Encoding::exact, 80, 25, 2),
    side_of(Encoding::exact, 40, 39, 8),         side_of(Encoding::exact, 256, 256, 4),
    side_of(Encoding::exact, 32, 1, 8),          side_of(Encoding::grouped, 128, 128, 4, 32),
    side_of(Encoding::grouped, 256, 256, 2, 64), side_of(Encoding::grouped, 64, 64, 8, 32),
    side_of(Encoding::channel, 64, 64, 4),       side_of(Encoding::channel, 40, 40, 2),
    side_of(Encoding::ragged, 64, 0, 4),         side_of(Encoding::ragged, 40, 0, 2),
};

struct Packed {
    SideSpec side;
    std::vector<float> values;
    std::vector<std::uint8_t> bitmaps;
    std::vector<RowImage> images;
    std::uint8_t block[max_block_meta_bytes];

    Packed(const SideSpec& spec, std::vector<float> of, std::vector<std::uint8_t> kept = {},
           Dtype store = Dtype::f16)
        : side(spec), values(std::move(of)), bitmaps(std::move(kept)),
          images(values.size() / spec.d) {
        if (bitmaps.empty()) { bitmaps.assign(values.size() / 8, 0xFF); }
        for (RowImage& image : images) {
            std::memset(static_cast<void*>(&image), 0xA5, sizeof image);
        }
        std::memset(block, 0xA5, sizeof block);
        pack_ref({&side, store, values, bitmaps, images, block});
    }
    std::vector<std::size_t> kept(std::size_t row) const { // its channels, ascending
        std::vector<std::size_t> channels;
        for (std::size_t c = 0; c < side.d; ++c) {
            if (bit_at(bitmaps.data(), row * side.d + c)) { channels.push_back(c); }
        }
        return channels;
    }
    std::uint32_t code(std::size_t row, std::size_t index) const {
        std::uint32_t value = 0;
        for (std::size_t b = 0; b < side.bits; ++b) {
            value |= bit_at(images[row].codes, index * side.bits + b) ? 1U << b : 0U;
        }
        return value;
    }
    std::uint16_t half(const std::uint8_t* at) const {
        return static_cast<std::uint16_t>(at[0] | at[1] << 8U);
    }
    std::uint16_t scale(const std::uint8_t* meta, std::size_t i) const {
        return half(meta + 4 * i);
    }
    std::uint16_t zero(const std::uint8_t* meta, std::size_t i) const {
        return half(meta + 4 * i + 2);
    }
};

// One row that keeps all it has, at 4 bits: 32 values, the last one repeated.
Packed pack_row(std::vector<float> values, std::uint8_t bits = 4) {
    values.resize(32, values.back());
    return {side_of(Encoding::exact, 32, 32, bits), std::move(values)};
}

struct Rule { // what the rule makes of some values
    std::uint16_t scale = 0, zero = 0;
    std::vector<std::uint32_t> codes;
    Rule(const std::vector<float>& x, std::uint32_t bits) {
        const float lo = *std::min_element(x.begin(), x.end());
        const float hi = *std::max_element(x.begin(), x.end());
        const int most = (1 << bits) - 1;
        zero = f32_to_f16(lo) == 0x8000 ? 0 : f32_to_f16(lo);
        scale = f32_to_f16((hi - lo) / static_cast<float>(most));
        for (const float value : x) {
            const float s = f16_to_f32(scale);
            const float level = s == 0 ? 0 : (value - f16_to_f32(zero)) / s;
            int code = most; // the nearest, of two the even one
            while (code > 0) {
                const float middle = static_cast<float>(code) - 0.5F;
                if (level > middle || (level == middle && code % 2 == 0)) { break; }
                --code;
            }
            codes.push_back(static_cast<std::uint32_t>(code));
        }
    }
};

// Rows of values that quantize badly, 32 of each kind.
std::vector<std::vector<float>> hard_values(std::size_t d) {
    Random random(d);
    std::vector<std::vector<float>> all(6);
    for (std::size_t i = 0; i < 32 * d; ++i) {
        const float sign = random.chance(50) ? 1.0F : -1.0F;
        const float kind[] = {random.uniform(-4.0F, 4.0F),
                              static_cast<float>(random.below(31)) * 0.5F, // ties
                              -1.7F,
                              1000.3F + random.uniform(0.0F, 0.2F), // zero rounds by many steps
                              sign * 1e-7F * random.uniform(0.0F, 1.0F), // scales underflow
                              random.chance(95) ? random.uniform(-1.0F, 1.0F) : sign * 65504.0F};
        for (std::size_t k = 0; k < 6; ++k) { all[k].push_back(kind[k]); }
    }
    return all;
}
std::vector<std::uint8_t> bitmaps_for(const SideSpec& side, Random& random) {
    std::vector<std::uint8_t> bitmaps(32 * side.d / 8U);
    for (std::size_t row = 0; row < 32; ++row) {
        const std::size_t keep = side.keep != 0 ? side.keep : random.below(side.d + 1U);
        for (std::size_t left = keep; left > 0;) {
            const std::size_t at = row * side.d + random.below(side.d);
            if (bit_at(bitmaps.data(), at)) { continue; }
            set_bit(bitmaps.data(), at);
            --left;
        }
    }
    return bitmaps;
}

void expect_rule(const Packed& packed) {
    const SideSpec& side = packed.side;
    if (side.encoding == Encoding::channel) {
        for (std::size_t c = 0; c < side.d; ++c) {
            std::vector<float> column;
            for (std::size_t row = 0; row < 32; ++row) {
                column.push_back(packed.values[row * side.d + c]);
            }
            const Rule rule(column, side.bits);
            ASSERT_EQ(packed.scale(packed.block, c), rule.scale) << "channel " << c;
            ASSERT_EQ(packed.zero(packed.block, c), rule.zero) << "channel " << c;
            for (std::size_t row = 0; row < 32; ++row) {
                ASSERT_EQ(packed.code(row, c), rule.codes[row]) << row << ", channel " << c;
            }
        }
        return;
    }
    for (std::size_t row = 0; row < 32; ++row) {
        const auto channels = packed.kept(row);
        const RowImage& image = packed.images[row];
        ASSERT_EQ(image.count, channels.size());
        const std::size_t group = side.group != 0 ? side.group : 256;
        for (std::size_t first = 0; first < channels.size(); first += group) {
            std::vector<float> x;
            for (std::size_t i = first; i < std::min(first + group, channels.size()); ++i) {
                x.push_back(packed.values[row * side.d + channels[i]]);
            }
            const Rule rule(x, side.bits);
            ASSERT_EQ(packed.scale(image.meta, first / group), rule.scale) << "row " << row;
            ASSERT_EQ(packed.zero(image.meta, first / group), rule.zero) << "row " << row;
            for (std::size_t i = 0; i < x.size(); ++i) {
                ASSERT_EQ(packed.code(row, first + i), rule.codes[i]) << row << ", code " << i;
            }
        }
    }
}

TEST(PackRule, AnyValuesOfAnySide_AreQuantizedOverWhatIsKept) {
    Random random(1);
    for (const SideSpec& side : quantized) {
        for (const auto& values : hard_values(side.d)) {
            std::vector<float> x = values;
            const auto bitmaps = bitmaps_for(side, random);
            for (std::size_t i = 0; i < x.size(); ++i) { // what is dropped has no say
                if (!bit_at(bitmaps.data(), i)) { x[i] = 60000.0F; }
            }
            expect_rule(Packed(side, x, bitmaps));
            if (HasFatalFailure()) { FAIL() << "d " << side.d << " bits " << int{side.bits}; }
        }
    }
}

// A product with 1 / scale would miss ties that the division hits.
TEST(PackRule, LevelsHalfwayBetweenCodes_GoToTheEvenOneAtAnyScale) {
    for (std::uint16_t scale = 0x3800; scale < 0x3C00; ++scale) {
        const float s = f16_to_f32(scale);
        std::vector<float> values = {0.0F, 15.0F * s};
        for (int i = 0; i < 15; ++i) { values.push_back((static_cast<float>(i) + 0.5F) * s); }
        const Packed packed = pack_row(values);
        ASSERT_EQ(packed.scale(packed.images[0].meta, 0), scale);
        for (std::uint32_t i = 0; i < 15; ++i) {
            ASSERT_EQ(packed.code(0, i + 2), i + i % 2) << i << " and a half at scale " << s;
        }
    }
}

TEST(PackRule, Zero_IsTheSmallestValueRoundedAndItsErrorClampsCodes) {
    const Packed above = pack_row({1000.2F, 1000.3F}); // f16 has steps of 0.5 there: zero is 1000
    EXPECT_EQ(f16_to_f32(above.zero(above.images[0].meta, 0)), 1000.0F);
    EXPECT_EQ(above.code(0, 0), 15U);
    EXPECT_EQ(above.code(0, 1), 15U);
    const Packed below = pack_row({1000.3F, 1000.4F}); // 1000.5
    EXPECT_EQ(f16_to_f32(below.zero(below.images[0].meta, 0)), 1000.5F);
    EXPECT_EQ(below.code(0, 0), 0U);
    EXPECT_EQ(below.code(0, 1), 0U);
}

TEST(PackRule, AConstantGroup_IsItsZeroAndReadsBackAsTheHalf) {
    const Packed packed = pack_row({-1.7F});
    EXPECT_EQ(packed.scale(packed.images[0].meta, 0), 0U);
    EXPECT_EQ(packed.zero(packed.images[0].meta, 0), f32_to_f16(-1.7F));
    EXPECT_EQ(packed.code(0, 31), 0U);
}

TEST(PackRule, ARangeTooSmallForTheScale_GivesScaleAndCodesZero) {
    const Packed packed = pack_row({1.0F, 1.0F + 0x1p-22F}); // / 15 is below 2^-25
    EXPECT_EQ(packed.scale(packed.images[0].meta, 0), 0U);
    EXPECT_EQ(packed.zero(packed.images[0].meta, 0), 0x3C00);
    EXPECT_EQ(packed.code(0, 1), 0U);
    const Packed least = pack_row({0.0F, 15 * 0x1p-24F}); // the least that is not
    EXPECT_EQ(least.scale(least.images[0].meta, 0), 1U);
    EXPECT_EQ(least.code(0, 1), 15U);
}

TEST(PackRule, ANegativeZero_IsWrittenAsThePositiveOne) {
    for (const float lo : {-0.0F, -1e-9F}) { // the second rounds to -0
        const Packed packed = pack_row({lo, 1.0F});
        EXPECT_EQ(packed.zero(packed.images[0].meta, 0), 0U) << lo;
    }
}

TEST(PackCodes, TheFirstCode_LiesInTheLowestBits) {
    std::vector<float> values(32, 0.0F);
    values[0] = 3.0F; // 2 bits, scale 1: codes 3 2 1 0 0 ...
    values[1] = 2.0F;
    values[2] = 1.0F;
    const Packed packed = pack_row(values, 2);
    EXPECT_EQ(packed.images[0].codes[0], 0b00011011);
    EXPECT_EQ(packed.images[0].codes[1], 0);
}

TEST(PackCodes, WhatARowDoesNotUse_IsZero) {
    Random random(2);
    for (const SideSpec& side : quantized) {
        const Packed packed(side, hard_values(side.d)[0], bitmaps_for(side, random));
        for (const RowImage& image : packed.images) {
            const std::size_t used = code_bytes(image.count, side.bits);
            for (std::size_t i = used; i < max_code_bytes; ++i) { ASSERT_EQ(image.codes[i], 0xA5); }
            for (std::size_t i = image.count * side.bits; i < used * 8; ++i) {
                ASSERT_FALSE(bit_at(image.codes, i)) << "bits behind the last code";
            }
        }
    }
}

TEST(PackCodes, ARowThatKeepsNothing_HasNoCodesAndEmptyMeta) {
    const Packed packed(side_of(Encoding::ragged, 32, 0, 4), std::vector<float>(32, 7.0F),
                        std::vector<std::uint8_t>(4, 0));
    EXPECT_EQ(packed.images[0].count, 0U);
    EXPECT_EQ(packed.scale(packed.images[0].meta, 0), 0U);
    EXPECT_EQ(packed.zero(packed.images[0].meta, 0), 0U);
}

TEST(PackHalves, SixteenBits_AreTheStoredTypeInChannelOrder) {
    Random random(3);
    for (const Dtype store : {Dtype::f16, Dtype::bf16}) {
        const SideSpec side = side_of(Encoding::exact, 40, 13, 16);
        const Packed packed(side, hard_values(40)[0], bitmaps_for(side, random), store);
        for (std::size_t row = 0; row < 32; ++row) {
            const auto channels = packed.kept(row);
            ASSERT_EQ(packed.images[row].count, 13U);
            for (std::size_t i = 0; i < 13; ++i) {
                ASSERT_EQ(packed.half(packed.images[row].codes + 2 * i),
                          store_half(packed.values[row * 40 + channels[i]], store));
            }
        }
    }
}

// ---- reading back ------------------------------------------------------------------------------

class Unpack : public testing::Test {
  protected:
    Heap heap;
    Memory memory{heap.hook(), 0};
    Pool pool{memory};
};

TEST_F(Unpack, EveryElement_IsTheCentrePlusZeroPlusCodeTimesScaleExactly) {
    Random random(4);
    std::vector<SideSpec> sides = quantized;
    sides.push_back(side_of(Encoding::exact, 128, 64, 16));
    for (const SideSpec& side : sides) {
        const Packed packed(side, hard_values(side.d)[5], bitmaps_for(side, random));
        HeadSpec spec;
        spec.k = side;
        spec.v = side_of(Encoding::exact, 32, 32, 16);
        RowImage all;
        all.count = 32;
        const std::vector<RowImage> v(32, all);
        Page* page = is_ragged(spec) ? build_ragged_page(pool, spec, packed.images, v)
                                     : create_page(pool, spec);
        PageSide arrays = page_side(spec, Side::k, *page);
        for (std::uint32_t slot = 0; slot < 32 && !is_ragged(spec); ++slot) {
            store_row(side, arrays, slot, packed.images[slot]);
        }
        std::memcpy(arrays.meta, packed.block, arrays.strides.block_meta);
        for (const bool centred : {false, true}) {
            const std::vector<float> centre = random.values(side.d, -1e3F, 1e3F);
            HeadView head;
            head.spec = &spec;
            head.centre = centred ? centre.data() : nullptr;
            const PageRef ref{page, 0x80F0F00DU, 0}; // rows with holes between them
            std::vector<double> got(32 * side.d, -1.0);
            std::vector<std::uint8_t> bits(32 * side.d / 8U);
            unpack_ref({&head, Side::k, &ref, 0, 12, got.data(), bits.data()});
            std::size_t at = 0;
            for (std::size_t row = 0; row < 32; ++row) {
                if (((ref.valid >> row) & 1U) == 0) { continue; }
                std::size_t index = 0;
                for (std::size_t c = 0; c < side.d; ++c, ++at) {
                    const double mu = centred ? centre[c] : 0.0;
                    double expected = mu;
                    const bool kept = bit_at(packed.bitmaps.data(), row * side.d + c);
                    if (kept && side.bits == 16) {
                        expected +=
                            double{f16_to_f32(packed.half(packed.images[row].codes + 2 * index))};
                    } else if (kept) {
                        const bool block = side.encoding == Encoding::channel;
                        const auto* meta = block ? packed.block : packed.images[row].meta;
                        const std::size_t pair = block             ? c
                                                 : side.group != 0 ? index / side.group
                                                                   : 0;
                        expected +=
                            double{f16_to_f32(packed.zero(meta, pair))} +
                            packed.code(row, index) * double{f16_to_f32(packed.scale(meta, pair))};
                    }
                    index += kept ? 1 : 0;
                    ASSERT_EQ(got[at], expected) << "row " << row << " channel " << c;
                    ASSERT_EQ(bit_at(bits.data(), at), kept);
                }
            }
            ASSERT_EQ(at, std::size_t{12} * side.d);
            if (at < got.size()) { ASSERT_EQ(got[at], -1.0) << "nothing behind the valid rows"; }
        }
        pool.release(page);
    }
}

TEST_F(Unpack, DenseRows_AreTheirHalvesAndMarkedElementsTheCentre) {
    HeadSpec spec;
    spec.k = spec.v = side_of(Encoding::exact, 32, 32, 16);
    Random random(5);
    std::vector<std::uint16_t> halves;
    for (const float x : random.values(4 * 32)) { halves.push_back(f32_to_bf16(x)); }
    const std::vector<std::uint8_t> marks = {0, 2, 1, 3}; // V of rows 1 and 3, K of rows 2 and 3
    const std::vector<std::uint8_t> k_bits(16, 0x0F);
    const std::vector<std::uint8_t> v_bits(16, 0xF1);
    const std::vector<float> centre = random.values(32);
    HeadView head;
    head.spec = &spec;
    head.store = Dtype::bf16;
    head.centre = centre.data();
    head.dense = {halves.data(), halves.data(), marks.data(), {k_bits.data(), v_bits.data()}, 4, 0};
    for (const Side side : {Side::k, Side::v}) {
        std::vector<double> got(3 * 32);
        std::vector<std::uint8_t> bits(12, 0xA5);
        unpack_ref({&head, side, nullptr, 1, 3, got.data(), bits.data()});
        for (std::size_t i = 0; i < 96; ++i) {
            const std::size_t row = 1 + i / 32;
            const bool marked = side == Side::k ? row >= 2 : row != 2;
            const bool kept = !marked || bit_at(side == Side::k ? k_bits.data() : v_bits.data(), i);
            const double pruned = side == Side::k ? double{centre[i % 32]} : 0.0;
            ASSERT_EQ(got[i], kept ? double{bf16_to_f32(halves[32 + i])} : pruned) << i;
            ASSERT_EQ(bit_at(bits.data(), i), kept) << i;
        }
    }
}

} // namespace
} // namespace mustafar::test
