// SPDX-License-Identifier: Apache-2.0
// pack_ref: quantize the kept values of each row and write bitmap, codes, scale and zero.
// Rule (docs/format.md, 2.3), over the kept values x of a group, in float32:
//   lo = min x, hi = max x, zero = f16(lo), scale = f16((hi - lo) / (2^b - 1))
//   code = clamp(rint((x - zero) / scale), 0, 2^b - 1), ties to even; 0 where scale is 0
// A group is a row, 32 or 64 channels of it, or one channel over 32 rows (KIVI, arXiv
// 2402.02750, 3.1).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/half.hpp"
#include "core/kernels.hpp"

namespace mustafar {
namespace {

struct Affine {
    std::uint16_t scale = 0; // f16
    std::uint16_t zero = 0;
};

Affine fit(const std::vector<float>& values, std::uint32_t bits) {
    if (values.empty()) { return {}; }
    const auto [lo, hi] = std::minmax_element(values.begin(), values.end());
    const auto levels = static_cast<float>((1U << bits) - 1U);
    // No -0: the bytes must not depend on the order in which a minimum or maximum is found.
    const std::uint16_t zero = f32_to_f16(*lo);
    const std::uint16_t scale = f32_to_f16(std::fabs(*hi - *lo) / levels);
    return {scale, zero == 0x8000U ? std::uint16_t{0} : zero};
}

std::uint32_t encode(float value, const Affine& affine, std::uint32_t bits) {
    const float scale = f16_to_f32(affine.scale);
    if (scale == 0.0F) { return 0; }
    const float level = std::nearbyint((value - f16_to_f32(affine.zero)) / scale);
    return static_cast<std::uint32_t>(
        std::clamp(level, 0.0F, static_cast<float>((1U << bits) - 1U)));
}

// Code i of a row: lowest bits first, never across a byte, since bits divides 8.
void put_code(std::uint8_t* codes, std::size_t index, std::uint32_t code, std::uint32_t bits) {
    const std::size_t at = index * bits;
    codes[at / 8] = static_cast<std::uint8_t>(codes[at / 8] | (code << (at % 8)));
}

void put_affine(std::uint8_t* meta, std::size_t index, const Affine& affine) {
    std::memcpy(meta + index * 4, &affine.scale, 2);
    std::memcpy(meta + index * 4 + 2, &affine.zero, 2);
}

float value(const PackArgs& args, std::size_t row, std::size_t channel) {
    if (args.halves.first == nullptr) { return args.values[row * args.side->d + channel]; }
    const float x = load_half(args.halves.row(row)[channel], args.halves.store);
    return args.halves.centre == nullptr ? x : x - args.halves.centre[channel];
}

std::vector<float> kept_values(const PackArgs& args, std::size_t row) {
    std::vector<float> kept;
    for (std::size_t c = 0; c < args.side->d; ++c) {
        const std::uint8_t byte = args.bitmaps[row * (args.side->d / 8U) + c / 8];
        if (((byte >> (c % 8)) & 1U) != 0) { kept.push_back(value(args, row, c)); }
    }
    return kept;
}

void pack_halves(const PackArgs& args, const std::vector<float>& kept, std::uint8_t* codes) {
    for (std::size_t i = 0; i < kept.size(); ++i) {
        const std::uint16_t half = store_half(kept[i], args.store);
        std::memcpy(codes + i * 2, &half, 2);
    }
}

// One scale and zero per `group` neighbouring kept values.
void pack_codes(const PackArgs& args, const std::vector<float>& kept, std::uint8_t* codes,
                std::uint8_t* meta) {
    const std::uint32_t bits = args.side->bits;
    const std::size_t group =
        args.side->group != 0 ? args.side->group : std::max<std::size_t>(1, kept.size());
    std::memset(codes, 0, code_bytes(static_cast<std::uint32_t>(kept.size()), bits));
    put_affine(meta, 0, {}); // of a row that keeps nothing
    for (std::size_t first = 0, index = 0; first < kept.size(); first += group, ++index) {
        const std::size_t end = std::min(first + group, kept.size());
        const Affine affine = fit({kept.begin() + static_cast<std::ptrdiff_t>(first),
                                   kept.begin() + static_cast<std::ptrdiff_t>(end)},
                                  bits);
        put_affine(meta, index, affine);
        for (std::size_t i = first; i < end; ++i) {
            put_code(codes, i, encode(kept[i], affine, bits), bits);
        }
    }
}

// One scale and zero per channel over all rows of the block.
void pack_channels(const PackArgs& args) {
    const std::size_t d = args.side->d;
    const std::size_t rows = args.out.rows;
    const std::uint32_t bits = args.side->bits;
    const auto codes_of = [&](std::size_t row) {
        return args.out.codes + row * args.out.codes_stride;
    };
    for (std::size_t row = 0; row < rows; ++row) {
        std::memset(codes_of(row), 0, code_bytes(static_cast<std::uint32_t>(d), bits));
    }
    std::vector<float> column(rows);
    for (std::size_t c = 0; c < d; ++c) {
        for (std::size_t row = 0; row < rows; ++row) { column[row] = value(args, row, c); }
        const Affine affine = fit(column, bits);
        put_affine(args.block_meta, c, affine);
        for (std::size_t row = 0; row < rows; ++row) {
            put_code(codes_of(row), c, encode(column[row], affine, bits), bits);
        }
    }
}

} // namespace

void pack_ref(const PackArgs& args) {
    const std::size_t bitmap_bytes = args.side->d / 8U;
    for (std::size_t row = 0; row < args.out.rows; ++row) {
        const PackedRows& out = args.out;
        if (out.bitmap != nullptr) {
            std::memcpy(out.bitmap + row * out.bitmap_stride,
                        args.bitmaps.data() + row * bitmap_bytes, bitmap_bytes);
        }
        const std::vector<float> kept = kept_values(args, row);
        const auto count = static_cast<std::uint32_t>(kept.size());
        if (out.count != nullptr) { std::memcpy(out.count + row * out.count_stride, &count, 4); }
        if (args.side->encoding == Encoding::channel) { continue; }
        std::uint8_t* codes = out.codes + row * out.codes_stride;
        if (args.side->bits == 16) {
            pack_halves(args, kept, codes);
        } else {
            pack_codes(args, kept, codes, out.meta + row * out.meta_stride);
        }
    }
    if (args.side->encoding == Encoding::channel) { pack_channels(args); }
}

} // namespace mustafar
