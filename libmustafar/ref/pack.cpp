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

std::vector<float> kept_values(const PackArgs& args, std::size_t row) {
    std::vector<float> kept;
    for (std::size_t c = 0; c < args.side->d; ++c) {
        const std::uint8_t byte = args.bitmaps[row * (args.side->d / 8U) + c / 8];
        if (((byte >> (c % 8)) & 1U) != 0) { kept.push_back(args.values[row * args.side->d + c]); }
    }
    return kept;
}

void pack_halves(const PackArgs& args, const std::vector<float>& kept, RowImage& image) {
    for (std::size_t i = 0; i < kept.size(); ++i) {
        const std::uint16_t half = store_half(kept[i], args.store);
        std::memcpy(image.codes + i * 2, &half, 2);
    }
}

// One scale and zero per `group` neighbouring kept values.
void pack_codes(const PackArgs& args, const std::vector<float>& kept, RowImage& image) {
    const std::uint32_t bits = args.side->bits;
    const std::size_t group =
        args.side->group != 0 ? args.side->group : std::max<std::size_t>(1, kept.size());
    for (std::size_t first = 0, index = 0; first < kept.size(); first += group, ++index) {
        const std::size_t end = std::min(first + group, kept.size());
        const Affine affine = fit({kept.begin() + static_cast<std::ptrdiff_t>(first),
                                   kept.begin() + static_cast<std::ptrdiff_t>(end)},
                                  bits);
        put_affine(image.meta, index, affine);
        for (std::size_t i = first; i < end; ++i) {
            put_code(image.codes, i, encode(kept[i], affine, bits), bits);
        }
    }
}

// One scale and zero per channel over all rows of the block.
void pack_channels(const PackArgs& args) {
    const std::size_t d = args.side->d;
    const std::size_t rows = args.images.size();
    std::vector<float> column(rows);
    for (std::size_t c = 0; c < d; ++c) {
        for (std::size_t row = 0; row < rows; ++row) { column[row] = args.values[row * d + c]; }
        const Affine affine = fit(column, args.side->bits);
        put_affine(args.block_meta, c, affine);
        for (std::size_t row = 0; row < rows; ++row) {
            put_code(args.images[row].codes, c, encode(column[row], affine, args.side->bits),
                     args.side->bits);
        }
    }
}

} // namespace

void pack_ref(const PackArgs& args) {
    const std::size_t bitmap_bytes = args.side->d / 8U;
    for (std::size_t row = 0; row < args.images.size(); ++row) {
        RowImage& image = args.images[row];
        image = RowImage{};
        std::memcpy(image.bitmap, args.bitmaps.data() + row * bitmap_bytes, bitmap_bytes);
        const std::vector<float> kept = kept_values(args, row);
        image.count = static_cast<std::uint32_t>(kept.size());
        if (args.side->encoding == Encoding::channel) { continue; }
        if (args.side->bits == 16) {
            pack_halves(args, kept, image);
        } else {
            pack_codes(args, kept, image);
        }
    }
    if (args.side->encoding == Encoding::channel) { pack_channels(args); }
}

} // namespace mustafar
