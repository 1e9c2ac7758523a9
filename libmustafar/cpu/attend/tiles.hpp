// SPDX-License-Identifier: Apache-2.0
// The tiles of a kv head: where their rows lie, and what is to be fetched ahead.
#pragma once

#include <algorithm>
#include <bit>

#include "core/attend_parts.hpp"
#include "cpu/attend/tile.hpp"

namespace mustafar::cpu {

constexpr std::uint32_t bytes_ahead = 8192; // of one side, when small pages follow each other

// The arrays of a side relative to its page's data; the same in all pages unless a side is ragged.
struct SideAt {
    std::size_t bitmaps = 0, codes = 0, meta = 0, bytes = 0;
    bool has_bitmaps = false;
};

inline Rows::Form form_of(Encoding encoding) {
    switch (encoding) {
    case Encoding::ragged:
        return Rows::Form::ragged;
    case Encoding::grouped:
        return Rows::Form::grouped;
    case Encoding::channel:
        return Rows::Form::channel;
    default:
        return Rows::Form::exact;
    }
}

class Tiles {
  public:
    explicit Tiles(const HeadView& head) : head_(head), tiles_(head) {
        for (const Side side : {Side::k, Side::v}) {
            const SideSpec& spec = head.spec->side(side);
            Rows& rows = page_rows_[static_cast<int>(side)];
            rows.form = form_of(spec.encoding);
            rows.bf16 = head.store == Dtype::bf16;
            rows.bits = spec.bits;
            rows.group = spec.group;
            rows.d = spec.d;
            rows.keep = spec.keep;
            Rows& window = window_rows_[static_cast<int>(side)];
            window.bf16 = rows.bf16;
            window.d = window.keep = spec.d;
            if (side == Side::k) { window.centre = head.centre; }
        }
        fixed_ = !is_ragged(*head.spec);
        if (fixed_ && head.page_count > 0) { place_sides(*head.pages[0].page); }
        if (!fixed_ && head.page_count > 0) {
            const Page& first = *head.pages[0].page;
            v_at_ = at_[0].bytes = first.v_at;
            at_[1].bytes = first.data_bytes - first.v_at;
        }
    }

    // Row index of a tile's first row.
    std::uint32_t first_row(std::uint32_t tile) const {
        if (tile < tiles_.sink) { return tile * page_rows; }
        std::uint32_t row = head_.dense.sink;
        const std::uint32_t page = std::min(tile - tiles_.sink, tiles_.pages);
        if (page > 0 && keeps_holes(*head_.spec)) {
            for (std::uint32_t p = 0; p < page; ++p) { row += valid_rows(p); }
        } else {
            row += page == tiles_.pages ? head_.body_rows : page * page_rows;
        }
        if (tile < tiles_.sink + tiles_.pages) { return row; }
        row += (tile - tiles_.sink - tiles_.pages) * page_rows;
        return std::min(row, head_.rows()); // the end of the last tile
    }

    bool is_page(std::uint32_t tile) const {
        return tile >= tiles_.sink && tile < tiles_.sink + tiles_.pages;
    }

    std::uint32_t slots(std::uint32_t tile) const {
        if (is_page(tile)) { return head_.pages[tile - tiles_.sink].valid; }
        return first_slots(dense_end(tile) - dense_first(tile));
    }

    Rows rows(std::uint32_t tile, Side side) const {
        return is_page(tile) ? page(head_.pages[tile - tiles_.sink], side) : window(tile, side);
    }

    // The bytes of a side of a tile that is a page; else nothing to fetch ahead. Ragged pages are taken
    // to be as long as the first: to look would be to wait for what is to be fetched.
    Ahead ahead(std::uint32_t tile, Side side) const {
        if (!is_page(tile)) { return {}; }
        const Page* page = head_.pages[tile - tiles_.sink].page;
        const SideAt& at = at_[static_cast<int>(side)];
        if (side == Side::v) {
            return {page->data() + v_at_, static_cast<std::uint32_t>(at.bytes)};
        }
        return {reinterpret_cast<const std::byte*>(page),
                static_cast<std::uint32_t>(at.bytes + sizeof(Page))};
    }
    std::uint32_t tiles_ahead() const {
        const std::size_t bytes = std::max<std::size_t>(1, at_[0].bytes);
        return static_cast<std::uint32_t>(std::clamp<std::size_t>(bytes_ahead / bytes, 1, 4));
    }

  private:
    std::uint32_t valid_rows(std::uint32_t page) const {
        return static_cast<std::uint32_t>(std::popcount(head_.pages[page].valid));
    }
    std::uint32_t dense_first(std::uint32_t tile) const {
        return tile < tiles_.sink
                   ? tile * page_rows
                   : head_.dense.sink + (tile - tiles_.sink - tiles_.pages) * page_rows;
    }
    std::uint32_t dense_end(std::uint32_t tile) const {
        const std::uint32_t end = tile < tiles_.sink ? head_.dense.sink : head_.dense.count;
        return std::min(end, dense_first(tile) + page_rows);
    }

    void place_sides(const Page& page) {
        v_at_ = page.v_at;
        for (const Side side : {Side::k, Side::v}) {
            const PageSide arrays = page_side(*head_.spec, side, page);
            const std::byte* start = page.data() + (side == Side::k ? 0 : page.v_at);
            SideAt& at = at_[static_cast<int>(side)];
            at.has_bitmaps = arrays.bitmaps != nullptr;
            at.bitmaps = at.has_bitmaps ? static_cast<std::size_t>(arrays.bitmaps - start) : 0;
            at.codes = static_cast<std::size_t>(arrays.codes - start);
            at.meta = static_cast<std::size_t>(arrays.meta - start);
            at.bytes = side_bytes(head_.spec->side(side), 0);
            page_rows_[static_cast<int>(side)].code_stride = arrays.strides.codes;
            page_rows_[static_cast<int>(side)].meta_stride = arrays.strides.meta;
        }
    }

    Rows page(const PageRef& ref, Side side) const {
        Rows rows = page_rows_[static_cast<int>(side)];
        rows.slots = ref.valid;
        if (fixed_) {
            const SideAt& at = at_[static_cast<int>(side)];
            const std::byte* start = ref.page->data() + (side == Side::k ? 0 : v_at_);
            rows.bitmaps = at.has_bitmaps ? start + at.bitmaps : nullptr;
            rows.codes = start + at.codes;
            rows.meta = start + at.meta;
        } else {
            const PageSide arrays = page_side(*head_.spec, side, *ref.page);
            rows.bitmaps = arrays.bitmaps;
            rows.codes = arrays.codes;
            rows.meta = arrays.meta;
            rows.offsets = arrays.offsets;
            rows.code_stride = arrays.strides.codes;
            rows.meta_stride = arrays.strides.meta;
        }
        if (side == Side::k && ref.page->key_columns != 0) { rows.form = Rows::Form::columns; }
        return rows;
    }

    Rows window(std::uint32_t tile, Side side) const {
        Rows rows = window_rows_[static_cast<int>(side)];
        const std::uint32_t first = dense_first(tile);
        const DenseRows& dense = head_.dense;
        rows.slots = slots(tile);
        rows.codes = reinterpret_cast<const std::byte*>((side == Side::k ? dense.k : dense.v) +
                                                        std::size_t{first} * rows.d);
        rows.code_stride = rows.d * 2U;
        if (dense.marks == nullptr) { return rows; }
        const auto which = static_cast<std::uint32_t>(side);
        const auto marked = [&](std::uint8_t flags) { return ((flags >> which) & 1U) != 0; };
        if (std::none_of(dense.marks + first, dense.marks + dense_end(tile), marked)) {
            return rows;
        }
        rows.marks = dense.marks + first;
        rows.mark_bit = which;
        rows.mark_bits = dense.mark_bits[which] + std::size_t{first} * (rows.d / 8U);
        return rows;
    }

    const HeadView& head_;
    HeadTiles tiles_;
    Rows page_rows_[2], window_rows_[2];
    SideAt at_[2];
    std::size_t v_at_ = 0;
    bool fixed_ = true;
};

} // namespace mustafar::cpu
