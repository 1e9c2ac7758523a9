// SPDX-License-Identifier: Apache-2.0
// unpack_ref: the values of rows as attention sees them: centre + (zero + code * scale), exact in
// double.
#include <cstring>

#include "core/half.hpp"
#include "core/kernels.hpp"

namespace mustafar {
namespace {

bool bit(const std::uint8_t* bitmap, std::size_t channel) {
    return ((bitmap[channel / 8] >> (channel % 8)) & 1U) != 0;
}

double half_at(const std::byte* bytes, std::size_t index) {
    std::uint16_t half = 0;
    std::memcpy(&half, bytes + index * 2, 2);
    return f16_to_f32(half);
}

// Value of code `index` of a row, the centre not yet added.
double code_value(const SideSpec& side, Dtype store, const std::byte* codes, const std::byte* meta,
                  std::size_t index) {
    if (side.bits == 16) {
        std::uint16_t half = 0;
        std::memcpy(&half, codes + index * 2, 2);
        return load_half(half, store);
    }
    const std::size_t at = index * side.bits;
    const std::uint32_t code =
        (static_cast<std::uint32_t>(codes[at / 8]) >> (at % 8)) & ((1U << side.bits) - 1U);
    std::size_t pair = 0; // which scale and zero
    if (side.encoding == Encoding::grouped) { pair = index / side.group; }
    if (side.encoding == Encoding::channel) { pair = index; }
    return half_at(meta, pair * 2 + 1) + code * half_at(meta, pair * 2);
}

void unpack_body(const UnpackArgs& args, const SideSpec& side, const float* centre) {
    const PageSide arrays = page_side(*args.head->spec, args.side, *args.page->page);
    std::uint32_t row = 0;
    for (std::uint32_t slot = 0; slot < page_rows; ++slot) {
        if (((args.page->valid >> slot) & 1U) == 0) { continue; }
        RowImage image;
        load_row(side, arrays, slot, image);
        const std::byte* meta = arrays.meta + std::size_t{slot} * arrays.strides.meta;
        const auto* codes = reinterpret_cast<const std::byte*>(image.codes);
        double* out = args.values + std::size_t{row} * side.d;
        std::size_t index = 0;
        for (std::size_t c = 0; c < side.d; ++c) {
            const double mu = centre != nullptr ? centre[c] : 0.0;
            out[c] = mu;
            if (!bit(image.bitmap, c)) { continue; }
            out[c] = mu + code_value(side, args.head->store, codes, meta, index);
            ++index;
        }
        if (args.bitmaps != nullptr) {
            std::memcpy(args.bitmaps + std::size_t{row} * (side.d / 8U), image.bitmap, side.d / 8U);
        }
        ++row;
    }
}

void unpack_dense(const UnpackArgs& args, const SideSpec& side, const float* centre) {
    const DenseRows& dense = args.head->dense;
    const std::uint16_t* rows = args.side == Side::k ? dense.k : dense.v;
    const auto which = static_cast<std::uint32_t>(args.side);
    for (std::uint32_t i = 0; i < args.count; ++i) {
        const std::size_t slot = args.first + i;
        const bool marked = dense.marks != nullptr && ((dense.marks[slot] >> which) & 1U) != 0;
        const std::uint8_t* mark = marked ? dense.mark_bits[which] + slot * (side.d / 8U) : nullptr;
        for (std::size_t c = 0; c < side.d; ++c) {
            const bool dropped = mark != nullptr && !bit(mark, c);
            const double mu = centre != nullptr ? centre[c] : 0.0;
            args.values[std::size_t{i} * side.d + c] =
                dropped ? mu
                        : static_cast<double>(load_half(rows[slot * side.d + c], args.head->store));
        }
        if (args.bitmaps == nullptr) { continue; }
        std::uint8_t* out = args.bitmaps + std::size_t{i} * (side.d / 8U);
        if (mark != nullptr) {
            std::memcpy(out, mark, side.d / 8U);
        } else {
            std::memset(out, 0xFF, side.d / 8U);
        }
    }
}

} // namespace

void unpack_ref(const UnpackArgs& args) {
    const SideSpec& side = args.head->spec->side(args.side);
    const float* centre = args.side == Side::k ? args.head->centre : nullptr;
    if (args.page != nullptr) {
        unpack_body(args, side, centre);
    } else {
        unpack_dense(args, side, centre);
    }
}

} // namespace mustafar
