// SPDX-License-Identifier: Apache-2.0
// Where the bytes of a row lie in a page. docs/format.md, section 3, is the specification.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/pool.hpp"
#include "recipe/spec.hpp"

namespace mustafar {

constexpr std::size_t page_array_alignment = 64;
constexpr std::size_t page_tail_bytes = 64; // readable bytes behind the last array of a page
constexpr std::size_t max_head_dim = 256;
constexpr std::size_t max_bitmap_bytes = max_head_dim / 8;
constexpr std::size_t max_code_bytes = max_head_dim * 2;
constexpr std::size_t max_meta_bytes =
    max_head_dim / 32 * 4; // grouped rows; channel blocks are apart
constexpr std::size_t max_block_meta_bytes = max_head_dim * 4;

// Bytes of one row by part. Strides are 0 for parts an encoding does not have.
struct RowStrides {
    std::uint32_t bitmap = 0;
    std::uint32_t codes = 0;      // 0 for ragged rows: they differ
    std::uint32_t meta = 0;       // per row
    std::uint32_t block_meta = 0; // per page: channel encoding
    std::uint32_t offset = 0;     // 2 for ragged rows
};
RowStrides row_strides(const SideSpec& side);

// Bytes that `count` codes take.
constexpr std::uint32_t code_bytes(std::uint32_t count, std::uint32_t bits) {
    return (count * bits + 7) / 8;
}

// Data bytes of one side of a page; `ragged_codes` is the sum over its rows for ragged sides.
std::size_t side_bytes(const SideSpec& side, std::size_t ragged_codes);
// Data bytes of a page, readable tail included.
std::size_t page_bytes(const HeadSpec& head, std::size_t ragged_codes_k,
                       std::size_t ragged_codes_v);

inline bool is_ragged(const HeadSpec& head) {
    return head.k.encoding == Encoding::ragged || head.v.encoding == Encoding::ragged;
}
// Evicted rows of such a head leave holes; others are closed up.
inline bool keeps_holes(const HeadSpec& head) {
    return head.k.encoding == Encoding::channel || head.v.encoding == Encoding::channel;
}

// One row, taken out of its page: what pack makes, what snapshots carry.
struct RowImage {
    std::uint32_t count = 0; // elements kept
    std::uint8_t bitmap[max_bitmap_bytes] = {};
    std::uint8_t codes[max_code_bytes] = {};
    std::uint8_t meta[max_meta_bytes] = {};
};

// The arrays of one side of a page.
struct PageSide {
    std::byte* bitmaps = nullptr; // [32][d / 8], null when every row keeps all
    std::byte* codes = nullptr;   // [32][stride], or ragged
    std::byte* meta = nullptr;    // [32][stride], or the block of a channel encoding
    std::byte* offsets = nullptr; // ragged: u16 [32], bytes from `codes`
    bool columns = false;         // a K side in the order of format/columns.hpp
    RowStrides strides;

    const std::byte* row_codes(std::uint32_t slot) const;
    std::uint32_t row_count(const SideSpec& side, std::uint32_t slot) const; // elements kept
};
PageSide page_side(const HeadSpec& head, Side side, Page& page);
inline PageSide page_side(const HeadSpec& head, Side side, const Page& page) {
    return page_side(head, side, const_cast<Page&>(page)); // read only: the arrays come back const
}

// Copies one row between a page and its image. Storing into ragged sides needs `build_ragged_page`.
void load_row(const SideSpec& side, const PageSide& arrays, std::uint32_t slot, RowImage& image);
void store_row(const SideSpec& side, PageSide& arrays, std::uint32_t slot, const RowImage& image);

// A new page with these rows in slots 0 .. rows-1; for heads with a ragged side.
Page* build_ragged_page(Pool& pool, const HeadSpec& head, std::span<const RowImage> k,
                        std::span<const RowImage> v);

// A new, empty page of a head without ragged sides.
Page* create_page(Pool& pool, const HeadSpec& head);

constexpr std::uint32_t first_slots(std::uint32_t rows) { // the mask of slots 0 .. rows-1
    return rows >= page_rows ? ~0U : (1U << rows) - 1U;
}

// Bytes in use of the rows a page holds.
struct PageUse {
    std::uint64_t values = 0, bitmaps = 0, meta = 0;
};
PageUse page_use(const HeadSpec& head, const PageRef& ref);
PageUse rows_use(const SideSpec& side, std::uint64_t rows,
                 std::uint64_t pages); // fixed-stride sides

} // namespace mustafar
