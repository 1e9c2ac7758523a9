// SPDX-License-Identifier: Apache-2.0
#include "format/columns.hpp"

#include <array>
#include <bit>
#include <cstring>

#include "core/assert.hpp"
#include "core/kernels.hpp"

namespace mustafar {
namespace {

// Code `index` of a packed stream.
std::uint32_t get_code(const std::byte* codes, std::size_t index, std::uint32_t bits) {
    if (bits == 16) {
        std::uint16_t half = 0;
        std::memcpy(&half, codes + index * 2, 2);
        return half;
    }
    const std::size_t at = index * bits;
    return (static_cast<std::uint32_t>(codes[at / 8]) >> (at % 8)) & ((1U << bits) - 1U);
}

void put_code(std::byte* codes, std::size_t index, std::uint32_t bits, std::uint32_t code) {
    if (bits == 16) {
        const auto half = static_cast<std::uint16_t>(code);
        std::memcpy(codes + index * 2, &half, 2);
        return;
    }
    const std::size_t at = index * bits;
    codes[at / 8] |= static_cast<std::byte>(code << (at % 8)); // the stream starts as zeros
}

struct Copy { // of one side's bitmaps and codes, while they are rewritten
    std::array<std::byte, page_rows * max_bitmap_bytes> bitmaps;
    std::array<std::byte, page_rows * max_code_bytes> codes;
};

void take(const SideSpec& side, const Page& page, const PageSide& arrays, Copy& copy) {
    const std::size_t codes = arrays.offsets != nullptr
                                  ? page.code_bytes[0]
                                  : std::size_t{page_rows} * arrays.strides.codes;
    std::memcpy(copy.codes.data(), arrays.codes, codes);
    std::memset(arrays.codes, 0, codes);
    if (arrays.bitmaps == nullptr) { return; }
    const std::size_t bitmaps = std::size_t{page_rows} * side.d / 8;
    std::memcpy(copy.bitmaps.data(), arrays.bitmaps, bitmaps);
    std::memset(arrays.bitmaps, 0, bitmaps);
}

bool row_bit(const std::byte* bitmaps, std::size_t d, std::size_t row, std::size_t channel) {
    return ((static_cast<unsigned>(bitmaps[row * (d / 8) + channel / 8]) >> (channel % 8)) & 1U) !=
           0;
}

// cursors[c] = codes of the channels before c.
using Cursors = std::array<std::uint16_t, max_head_dim>;

std::uint32_t column_mask(const std::byte* bitmaps, std::size_t channel) {
    if (bitmaps == nullptr) { return ~0U; }
    std::uint32_t mask = 0;
    std::memcpy(&mask, bitmaps + channel * 4, 4);
    return mask;
}

Cursors column_starts(std::size_t d, const std::byte* bitmaps) {
    Cursors starts{};
    std::uint32_t total = 0;
    for (std::size_t c = 0; c < d; ++c) {
        starts[c] = static_cast<std::uint16_t>(total);
        total += static_cast<std::uint32_t>(std::popcount(column_mask(bitmaps, c)));
    }
    return starts;
}

void masks_to_columns(std::size_t d, const std::byte* rows, std::byte* columns) {
    for (std::size_t c = 0; c < d; ++c) {
        std::uint32_t mask = 0;
        for (std::size_t row = 0; row < page_rows; ++row) {
            mask |= static_cast<std::uint32_t>(row_bit(rows, d, row, c)) << row;
        }
        std::memcpy(columns + c * 4, &mask, 4);
    }
}

void masks_to_rows(std::size_t d, const std::byte* columns, std::byte* rows) {
    for (std::size_t c = 0; c < d; ++c) {
        const std::uint32_t mask = column_mask(columns, c);
        for (std::size_t row = 0; row < page_rows; ++row) {
            if (((mask >> row) & 1U) == 0) { continue; }
            rows[row * (d / 8) + c / 8] |= static_cast<std::byte>(1U << (c % 8));
        }
    }
}

// Visits the codes row by row: move(index in row order of the row's stream, row, cursor of column).
template <typename Move>
void for_each_code(const SideSpec& side, const std::byte* columns, const Move& move) {
    Cursors cursors = column_starts(side.d, columns);
    for (std::uint32_t row = 0; row < page_rows; ++row) {
        std::size_t index = 0;
        for (std::size_t c = 0; c < side.d; ++c) {
            if (((column_mask(columns, c) >> row) & 1U) == 0) { continue; }
            move(row, index++, cursors[c]++);
        }
    }
}

} // namespace

void order_ref(const HeadSpec& head, Page& page) {
    if (page.key_columns != 0) { return; }
    MUSTAFAR_ASSERT(can_have_columns(head));
    const SideSpec& side = head.k;
    PageSide arrays = page_side(head, Side::k, page);
    Copy copy;
    take(side, page, arrays, copy);
    if (arrays.bitmaps != nullptr) {
        masks_to_columns(side.d, copy.bitmaps.data(), arrays.bitmaps);
    }
    for_each_code(side, arrays.bitmaps, [&](std::uint32_t row, std::size_t index, std::size_t to) {
        const std::byte* codes = copy.codes.data() + (arrays.row_codes(row) - arrays.codes);
        put_code(arrays.codes, to, side.bits, get_code(codes, index, side.bits));
    });
    page.key_columns = 1;
}

void keys_to_rows(const HeadSpec& head, Page& page) {
    if (page.key_columns == 0) { return; }
    const SideSpec& side = head.k;
    PageSide arrays = page_side(head, Side::k, page);
    Copy copy;
    take(side, page, arrays, copy);
    const std::byte* columns = arrays.bitmaps != nullptr ? copy.bitmaps.data() : nullptr;
    if (columns != nullptr) { masks_to_rows(side.d, columns, arrays.bitmaps); }
    for_each_code(side, columns, [&](std::uint32_t row, std::size_t index, std::size_t from) {
        std::byte* codes = arrays.codes + (arrays.row_codes(row) - arrays.codes);
        put_code(codes, index, side.bits, get_code(copy.codes.data(), from, side.bits));
    });
    page.key_columns = 0;
}

void load_column_row(const SideSpec& side, const PageSide& arrays, std::uint32_t slot,
                     RowImage& image) {
    image = RowImage{};
    const std::uint32_t before = (1U << slot) - 1U;
    std::size_t index = 0;
    std::size_t start = 0; // of the channel's codes
    for (std::size_t c = 0; c < side.d; ++c) {
        const std::uint32_t mask = column_mask(arrays.bitmaps, c);
        if (((mask >> slot) & 1U) != 0) {
            image.bitmap[c / 8] = static_cast<std::uint8_t>(image.bitmap[c / 8] | (1U << (c % 8)));
            const std::size_t at = start + static_cast<std::size_t>(std::popcount(mask & before));
            put_code(reinterpret_cast<std::byte*>(image.codes), index++, side.bits,
                     get_code(arrays.codes, at, side.bits));
        }
        start += static_cast<std::size_t>(std::popcount(mask));
    }
    image.count = static_cast<std::uint32_t>(index);
    std::memcpy(image.meta, arrays.meta + std::size_t{slot} * arrays.strides.meta,
                arrays.strides.meta);
}

std::uint32_t kept_in_columns(const SideSpec& side, const PageSide& arrays, std::uint32_t valid) {
    std::uint32_t kept = 0;
    for (std::size_t c = 0; c < side.d; ++c) {
        kept += static_cast<std::uint32_t>(std::popcount(column_mask(arrays.bitmaps, c) & valid));
    }
    return kept;
}

} // namespace mustafar
