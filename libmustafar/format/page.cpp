// SPDX-License-Identifier: Apache-2.0
#include "format/page.hpp"

#include <bit>
#include <cstring>

#include "core/assert.hpp"
#include "format/columns.hpp"

namespace mustafar {
namespace {

constexpr std::size_t align_up(std::size_t bytes) {
    return (bytes + page_array_alignment - 1) / page_array_alignment * page_array_alignment;
}

// Offsets of a side's arrays from its start.
struct SideOffsets {
    std::size_t bitmaps, offsets, codes, meta, end;
};

SideOffsets side_offsets(const SideSpec& side, std::size_t ragged_codes) {
    const RowStrides strides = row_strides(side);
    SideOffsets at{};
    at.offsets = align_up(std::size_t{page_rows} * strides.bitmap);
    at.codes = at.offsets + align_up(std::size_t{page_rows} * strides.offset);
    const std::size_t codes =
        side.encoding == Encoding::ragged ? ragged_codes : std::size_t{page_rows} * strides.codes;
    at.meta = at.codes + align_up(codes);
    at.end = at.meta + align_up(std::size_t{page_rows} * strides.meta + strides.block_meta);
    return at;
}

std::uint32_t popcount_bytes(const std::byte* bytes, std::size_t count) {
    std::uint32_t total = 0;
    for (std::size_t i = 0; i < count; ++i) {
        total += static_cast<std::uint32_t>(std::popcount(static_cast<unsigned char>(bytes[i])));
    }
    return total;
}

} // namespace

RowStrides row_strides(const SideSpec& side) {
    RowStrides strides;
    const std::uint32_t scale_zero = side.bits < 16 ? 4 : 0;
    switch (side.encoding) {
    case Encoding::exact:
        strides.bitmap = side.keep < side.d ? side.d / 8U : 0;
        strides.codes = code_bytes(side.keep, side.bits);
        strides.meta = scale_zero;
        break;
    case Encoding::ragged:
        strides.bitmap = side.d / 8U;
        strides.meta = scale_zero;
        strides.offset = 2;
        break;
    case Encoding::grouped:
        strides.codes = code_bytes(side.d, side.bits);
        strides.meta = static_cast<std::uint32_t>(side.d / side.group) * 4;
        break;
    case Encoding::channel:
        strides.codes = code_bytes(side.d, side.bits);
        strides.block_meta = side.d * 4U;
        break;
    }
    return strides;
}

std::size_t side_bytes(const SideSpec& side, std::size_t ragged_codes) {
    return side_offsets(side, ragged_codes).end;
}

std::size_t page_bytes(const HeadSpec& head, std::size_t ragged_codes_k,
                       std::size_t ragged_codes_v) {
    return side_bytes(head.k, ragged_codes_k) + side_bytes(head.v, ragged_codes_v) +
           page_tail_bytes;
}

PageSide page_side(const HeadSpec& head, Side side, Page& page) {
    const SideSpec& spec = head.side(side);
    const SideOffsets at = side_offsets(spec, page.code_bytes[static_cast<int>(side)]);
    std::byte* start = page.data() + (side == Side::k ? 0 : page.v_at);
    PageSide arrays;
    arrays.strides = row_strides(spec);
    arrays.bitmaps = arrays.strides.bitmap != 0 ? start + at.bitmaps : nullptr;
    arrays.offsets = arrays.strides.offset != 0 ? start + at.offsets : nullptr;
    arrays.meta = start + at.meta;
    arrays.codes = start + at.codes;
    arrays.columns = side == Side::k && page.key_columns != 0;
    return arrays;
}

const std::byte* PageSide::row_codes(std::uint32_t slot) const {
    if (offsets == nullptr) { return codes + std::size_t{slot} * strides.codes; }
    std::uint16_t offset = 0;
    std::memcpy(&offset, offsets + std::size_t{slot} * 2, 2);
    return codes + offset;
}

std::uint32_t PageSide::row_count(const SideSpec& side, std::uint32_t slot) const {
    MUSTAFAR_ASSERT(!columns);
    if (side.encoding != Encoding::ragged) { return side.keep; }
    return popcount_bytes(bitmaps + std::size_t{slot} * strides.bitmap, strides.bitmap);
}

void load_row(const SideSpec& side, const PageSide& arrays, std::uint32_t slot, RowImage& image) {
    if (arrays.columns) {
        load_column_row(side, arrays, slot, image);
        return;
    }
    image.count = arrays.row_count(side, slot);
    if (arrays.bitmaps != nullptr) {
        std::memcpy(image.bitmap, arrays.bitmaps + std::size_t{slot} * arrays.strides.bitmap,
                    arrays.strides.bitmap);
    } else {
        std::memset(image.bitmap, 0xFF, side.d / 8U);
    }
    std::memcpy(image.codes, arrays.row_codes(slot), code_bytes(image.count, side.bits));
    std::memcpy(image.meta, arrays.meta + std::size_t{slot} * arrays.strides.meta,
                arrays.strides.meta);
}

void store_row([[maybe_unused]] const SideSpec& side, PageSide& arrays, std::uint32_t slot,
               const RowImage& image) {
    MUSTAFAR_ASSERT(!arrays.columns && side.encoding != Encoding::ragged &&
                    image.count == side.keep);
    if (arrays.bitmaps != nullptr) {
        std::memcpy(arrays.bitmaps + std::size_t{slot} * arrays.strides.bitmap, image.bitmap,
                    arrays.strides.bitmap);
    }
    std::memcpy(arrays.codes + std::size_t{slot} * arrays.strides.codes, image.codes,
                arrays.strides.codes);
    std::memcpy(arrays.meta + std::size_t{slot} * arrays.strides.meta, image.meta,
                arrays.strides.meta);
}

Page* create_page(Pool& pool, const HeadSpec& head) {
    MUSTAFAR_ASSERT(!is_ragged(head));
    Page* page = pool.create(page_bytes(head, 0, 0));
    page->v_at = static_cast<std::uint32_t>(side_bytes(head.k, 0));
    return page;
}

namespace {

std::size_t ragged_total(const SideSpec& side, std::span<const RowImage> rows) {
    if (side.encoding != Encoding::ragged) { return 0; }
    std::size_t total = 0;
    for (const RowImage& row : rows) { total += code_bytes(row.count, side.bits); }
    return total;
}

void store_ragged_side(const SideSpec& side, PageSide& arrays, std::span<const RowImage> rows) {
    std::uint16_t offset = 0; // 32 rows of 512 B at most
    for (std::uint32_t slot = 0; slot < rows.size(); ++slot) {
        const RowImage& row = rows[slot];
        std::memcpy(arrays.bitmaps + std::size_t{slot} * arrays.strides.bitmap, row.bitmap,
                    arrays.strides.bitmap);
        std::memcpy(arrays.offsets + std::size_t{slot} * 2, &offset, 2);
        std::memcpy(arrays.meta + std::size_t{slot} * arrays.strides.meta, row.meta,
                    arrays.strides.meta);
        const std::uint32_t bytes = code_bytes(row.count, side.bits);
        std::memcpy(arrays.codes + offset, row.codes, bytes);
        offset = static_cast<std::uint16_t>(offset + bytes);
    }
}

} // namespace

Page* build_ragged_page(Pool& pool, const HeadSpec& head, std::span<const RowImage> k,
                        std::span<const RowImage> v) {
    MUSTAFAR_ASSERT(k.size() == v.size() && !k.empty() && k.size() <= page_rows);
    const std::size_t codes[2] = {ragged_total(head.k, k), ragged_total(head.v, v)};
    Page* page = pool.create(page_bytes(head, codes[0], codes[1]));
    page->v_at = static_cast<std::uint32_t>(side_bytes(head.k, codes[0]));
    for (const Side side : {Side::k, Side::v}) {
        const auto rows = side == Side::k ? k : v;
        page->code_bytes[static_cast<int>(side)] =
            static_cast<std::uint32_t>(codes[static_cast<int>(side)]);
        PageSide arrays = page_side(head, side, *page);
        if (head.side(side).encoding == Encoding::ragged) {
            store_ragged_side(head.side(side), arrays, rows);
            continue;
        }
        for (std::uint32_t slot = 0; slot < rows.size(); ++slot) {
            if (rows[slot].count == 0) { continue; } // a hole that an eviction left
            store_row(head.side(side), arrays, slot, rows[slot]);
        }
    }
    return page;
}

PageUse rows_use(const SideSpec& side, std::uint64_t rows, std::uint64_t pages) {
    const RowStrides strides = row_strides(side);
    return {rows * strides.codes, rows * strides.bitmap,
            rows * strides.meta + pages * strides.block_meta};
}

PageUse page_use(const HeadSpec& head, const PageRef& ref) {
    const auto rows = static_cast<std::uint64_t>(std::popcount(ref.valid));
    PageUse total;
    for (const Side side : {Side::k, Side::v}) {
        const SideSpec& spec = head.side(side);
        PageUse use = rows_use(spec, rows, 1);
        if (spec.encoding == Encoding::ragged) {
            const PageSide arrays = page_side(head, side, *ref.page);
            if (arrays.columns) { use.values += kept_in_columns(spec, arrays, ref.valid) * 2; }
            for (std::uint32_t slot = 0; slot < page_rows && !arrays.columns; ++slot) {
                if (((ref.valid >> slot) & 1U) == 0) { continue; }
                use.values += code_bytes(arrays.row_count(spec, slot), spec.bits);
            }
            use.bitmaps += rows * 2; // its offsets
        }
        total.values += use.values;
        total.bitmaps += use.bitmaps;
        total.meta += use.meta;
    }
    return total;
}

} // namespace mustafar
