// SPDX-License-Identifier: Apache-2.0
// Loading a HEAD section: every count and value is checked before use.
#include "format/snapshot_head.hpp"

#include <bit>
#include <cmath>
#include <limits>

#include "core/half.hpp"
#include "format/head_flags.hpp"

namespace mustafar {

std::uint64_t HeadReader::most_bytes(const HeadSpec& spec, std::uint64_t rows) {
    // Per row: dense or packed, marks, position, and a page of its own with its valid word and
    // channel scales.
    const std::uint64_t row = 2ULL * (spec.k.d + spec.v.d) + (spec.k.d + spec.v.d) / 8U +
                              max_meta_bytes * 2 + 1 + 4 + 4 + row_strides(spec.k).block_meta;
    return 24 + spec.k.d * 4ULL + (spec.k.d + spec.v.d) / 8U + rows * row;
}

void HeadReader::read() {
    const Counts counts = read_counts();
    read_positions(counts);
    read_centre(counts);
    read_channel_masks(counts);
    read_pages(counts);
    read_dense(counts);
    if (counts.has(head_has_marks)) { read_marks(); }
}

HeadReader::Counts HeadReader::read_counts() {
    Counts counts{};
    counts.body = in_.get<std::uint32_t>("body_rows");
    counts.dense = in_.get<std::uint32_t>("dense_rows");
    counts.flags = in_.get<std::uint32_t>("flags");
    counts.pages = in_.get<std::uint32_t>("page_count");
    head_.evicted = in_.get<std::uint64_t>("evicted");
    const std::uint32_t sink = cache_.window().sink;
    const std::uint64_t rows = std::uint64_t{counts.body} + counts.dense;
    const bool positions = counts.has(head_has_positions);
    if (rows > layer_.length() || (!positions && rows != layer_.length()) ||
        counts.dense < layer_.tentative ||
        (counts.body > 0 && counts.dense - std::min(counts.dense, sink) < layer_.tentative)) {
        in_.corrupt("body_rows + dense_rows = " + std::to_string(rows) +
                    " does not fit a length of " + std::to_string(layer_.length()));
    }
    if ((counts.flags & ~head_all_flags) != 0) {
        in_.corrupt("flags = " + std::to_string(counts.flags) + " are unknown");
    }
    if (counts.body > 0 && counts.dense < sink) {
        in_.corrupt("a body stands behind fewer than sink rows");
    }
    if (positions != (head_.evicted != 0)) {
        in_.corrupt(positions ? "positions, but no row was evicted"
                              : "evicted rows without positions");
    }
    return counts;
}

void HeadReader::read_positions(const Counts& counts) {
    if (!counts.has(head_has_positions)) { return; }
    const std::uint32_t rows = counts.rows();
    const std::byte* bytes = in_.take(std::uint64_t{rows} * 4, "positions");
    head_.positions = Buffer<std::int32_t>(memory(), position_slots(rows));
    std::memcpy(head_.positions.data(), bytes, std::size_t{rows} * 4);
    std::int64_t last = -1;
    for (std::uint32_t r = 0; r < rows; ++r) {
        const std::int64_t position = head_.positions[r];
        if (position <= last || position >= layer_.length()) {
            in_.corrupt("positions[" + std::to_string(r) + "] = " + std::to_string(position) +
                        " does not ascend below the length");
        }
        if (r < cache_.window().sink && position != r) { in_.corrupt("a sink token is missing"); }
        if (rows - r <= layer_.tentative &&
            position != std::int64_t{layer_.length()} - (rows - r)) {
            in_.corrupt("a tentative token is missing");
        }
        last = position;
    }
}

void HeadReader::read_centre(const Counts& counts) {
    const bool given = head_.spec.k.centre_at >= 0;
    const bool centre = counts.has(head_has_centre);
    if (centre && !head_.spec.k.centred) { in_.corrupt("a centre, but the recipe has none"); }
    if (head_.spec.k.centred && !centre && (counts.body > 0 || given)) {
        in_.corrupt("the centre is missing");
    }
    if (!centre) { return; }
    const std::byte* bytes = in_.take(head_.centre.bytes(), "centre");
    if (given && std::memcmp(bytes, head_.centre.data(), head_.centre.bytes()) != 0) {
        in_.corrupt("the centre is not the recipe's");
    }
    std::memcpy(head_.centre.data(), bytes, head_.centre.bytes());
    for (const float value : head_.centre) {
        if (!(std::fabs(value) <= 32752.0F)) {
            in_.corrupt("a value of the centre is out of range");
        }
    }
    head_.centre_frozen = true;
}

void HeadReader::read_channel_masks(const Counts& counts) {
    for (const Side side : {Side::k, Side::v}) {
        const auto which = static_cast<int>(side);
        if (!counts.has(head_has_k_mask << which)) { continue; }
        Buffer<std::uint8_t>& mask = head_.channel_mask[which];
        if (mask.empty()) { in_.corrupt("a channel mask, but the recipe prunes no channels"); }
        std::memcpy(mask.data(), in_.take(mask.bytes(), "channel mask"), mask.bytes());
        check_bitmap(mask.data(), head_.spec.side(side));
        head_.mask_frozen[which] = true;
    }
}

void HeadReader::read_pages(const Counts& counts) {
    const bool holes = keeps_holes(head_.spec);
    head_.body_rows = 0; // grows with the pages
    for (std::uint32_t p = 0; p < counts.pages; ++p) {
        const auto valid = in_.get<std::uint32_t>("valid");
        const auto rows = static_cast<std::uint32_t>(std::popcount(valid));
        if (rows == 0 || (!holes && (valid != first_slots(rows) ||
                                     (rows < page_rows && p + 1 < counts.pages)))) {
            in_.corrupt("page " + std::to_string(p) + ": valid = " + std::to_string(valid) +
                        " is not canonical");
        }
        if (p >= head_.pages.size()) { // grows with what is really there
            Buffer<PageRef> table(memory(), table_slots(p + 1));
            std::copy(head_.pages.begin(), head_.pages.begin() + head_.page_count, table.begin());
            head_.pages = std::move(table);
        }
        read_page(valid);
        head_.body_rows += rows;
    }
    if (head_.body_rows != counts.body) {
        in_.corrupt("body_rows = " + std::to_string(counts.body) + ", its pages hold " +
                    std::to_string(head_.body_rows));
    }
}

void HeadReader::read_page(std::uint32_t valid) {
    const HeadSpec& spec = head_.spec;
    const bool holes = keeps_holes(spec);
    const auto rows = static_cast<std::uint32_t>(std::popcount(valid));
    PageRows sides[2] = {read_page_side(spec.k, rows), read_page_side(spec.v, rows)};
    for (PageRows& side : sides) {
        if (!holes) { continue; }
        std::vector<RowImage> slots(page_rows); // spread over the slots, holes empty
        for (std::uint32_t slot = 0, i = 0; slot < page_rows; ++slot) {
            if (((valid >> slot) & 1U) != 0) { slots[slot] = side.rows[i++]; }
        }
        side.rows = std::move(slots);
    }
    Page* page = is_ragged(spec) ? build_ragged_page(pool(), spec, sides[0].rows, sides[1].rows)
                                 : create_page(pool(), spec);
    head_.pages[head_.page_count++] = PageRef{page, valid, 0};
    for (const Side side : {Side::k, Side::v}) {
        const PageRows& from = sides[static_cast<int>(side)];
        PageSide arrays = page_side(spec, side, *page);
        for (std::uint32_t slot = 0; slot < page_rows && !is_ragged(spec); ++slot) {
            if (((valid >> slot) & 1U) != 0) {
                store_row(spec.side(side), arrays, slot, from.rows[slot]);
            }
        }
        if (arrays.strides.block_meta != 0) {
            std::memcpy(arrays.meta, from.block_meta.data(), from.block_meta.size());
        }
    }
}

HeadReader::PageRows HeadReader::read_page_side(const SideSpec& spec, std::uint32_t rows) {
    const RowStrides strides = row_strides(spec);
    PageRows out;
    out.rows.resize(rows);
    for (RowImage& image : out.rows) {
        std::memset(image.bitmap, 0xFF, spec.d / 8U);
        if (strides.bitmap != 0) {
            std::memcpy(image.bitmap, in_.take(strides.bitmap, "bitmap"), strides.bitmap);
        }
        for (std::size_t i = 0; i < spec.d / 8U; ++i) {
            image.count += static_cast<std::uint32_t>(std::popcount(image.bitmap[i]));
        }
        if (spec.encoding != Encoding::ragged && image.count != spec.keep) {
            in_.corrupt("a row keeps " + std::to_string(image.count) +
                        " elements, its encoding keeps " + std::to_string(spec.keep));
        }
    }
    for (RowImage& image : out.rows) {
        const std::uint32_t bytes = code_bytes(image.count, spec.bits);
        std::memcpy(image.codes, in_.take(bytes, "codes"), bytes);
        check_row(spec, image);
    }
    if (strides.block_meta != 0) {
        const std::byte* pairs = in_.take(strides.block_meta, "channel scales");
        check_affine(pairs, spec.d);
        out.block_meta.assign(pairs, pairs + strides.block_meta);
    }
    if (strides.meta != 0) {
        for (RowImage& image : out.rows) {
            const std::byte* pairs = in_.take(strides.meta, "scale and zero");
            check_affine(pairs, strides.meta / 4);
            std::memcpy(image.meta, pairs, strides.meta);
        }
    }
    return out;
}

void HeadReader::read_dense(const Counts& counts) {
    head_.dense_rows = counts.dense;
    const std::uint32_t d = head_.spec.k.d + head_.spec.v.d;
    const std::uint64_t bytes = std::uint64_t{counts.dense} * d * 2;
    if (bytes > in_.left()) { // before memory is taken for them
        in_.corrupt("dense rows needs " + std::to_string(bytes) + " bytes, " +
                    std::to_string(in_.left()) + " are left");
    }
    const std::uint32_t slots =
        window_slots(first_window_slots(cache_.window(), cache_.options()), counts.dense);
    if (slots != head_.slots) {
        head_.window = Buffer<std::uint16_t>(memory(), std::size_t{slots} * d);
        head_.slots = slots;
    }
    read_dense_side(Side::k);
    read_dense_side(Side::v);
}

void HeadReader::read_dense_side(Side side) {
    const SideSpec& spec = head_.spec.side(side);
    const std::size_t count = std::size_t{head_.dense_rows} * spec.d;
    if (count == 0) { return; }
    std::uint16_t* to =
        head_.window.data() + (side == Side::k ? 0 : std::size_t{head_.slots} * head_.spec.k.d);
    std::memcpy(to, in_.take(count * 2, "dense rows"), count * 2);
    const float most = spec.centred ? 32752.0F : magnitude_limit(spec);
    for (std::size_t i = 0; i < count; ++i) {
        if (!(std::fabs(load_half(to[i], cache_.geometry().store)) <= most)) {
            in_.corrupt("a dense value is out of range");
        }
    }
}

void HeadReader::read_marks() {
    const std::size_t row_bytes[2] = {head_.spec.k.d / 8U, head_.spec.v.d / 8U};
    head_.marks = Buffer<std::uint8_t>(memory(), head_.slots * (1 + row_bytes[0] + row_bytes[1]));
    if (head_.dense_rows > 0) {
        std::memcpy(head_.marks.data(), in_.take(head_.dense_rows, "marks"), head_.dense_rows);
    }
    std::uint8_t* bits[2] = {head_.marks.data() + head_.slots,
                             head_.marks.data() + head_.slots * (1 + row_bytes[0])};
    bool any = false;
    for (int side = 0; side < 2; ++side) {
        for (std::uint32_t slot = 0; slot < head_.dense_rows; ++slot) {
            if (head_.marks[slot] > 3) { in_.corrupt("a mark has unknown bits"); }
            if (((head_.marks[slot] >> side) & 1U) == 0) { continue; }
            any = true;
            if (side == 0 && head_.spec.k.centred && !head_.centre_frozen) {
                in_.corrupt("a marked row, but its centre is missing");
            }
            std::memcpy(bits[side] + slot * row_bytes[side], in_.take(row_bytes[side], "mark"),
                        row_bytes[side]);
        }
    }
    if (!any) { in_.corrupt("marks without a marked row"); }
}

float HeadReader::magnitude_limit(const SideSpec& side) const {
    if (side.centred) { return 65504.0F; }
    return cache_.geometry().store == Dtype::f16 || side.bits < 16
               ? 65504.0F
               : std::numeric_limits<float>::max();
}

void HeadReader::check_row(const SideSpec& side, const RowImage& image) const {
    if (side.bits == 16) {
        for (std::uint32_t i = 0; i < image.count; ++i) {
            std::uint16_t half = 0;
            std::memcpy(&half, image.codes + std::size_t{i} * 2, 2);
            if (!(std::fabs(load_half(half, cache_.geometry().store)) <= magnitude_limit(side))) {
                in_.corrupt("a packed value is out of range");
            }
        }
        return;
    }
    const std::uint32_t used = image.count * side.bits % 8;
    if (used != 0 && (image.codes[image.count * side.bits / 8] >> used) != 0) {
        in_.corrupt("bits behind the last code are set");
    }
}

void HeadReader::check_affine(const std::byte* pairs, std::size_t count) const {
    for (std::size_t i = 0; i < count; ++i) {
        std::uint16_t pair[2];
        std::memcpy(pair, pairs + i * 4, 4);
        const float scale = f16_to_f32(pair[0]);
        const bool negative_zero = pair[0] == 0x8000U || pair[1] == 0x8000U; // never written
        if (!std::isfinite(scale) || scale < 0.0F || negative_zero ||
            !std::isfinite(f16_to_f32(pair[1]))) {
            in_.corrupt("a scale or zero is out of range");
        }
    }
}

void HeadReader::check_bitmap(const std::uint8_t* bitmap, const SideSpec& side) const {
    std::uint32_t count = 0;
    for (std::size_t i = 0; i < side.d / 8U; ++i) {
        count += static_cast<std::uint32_t>(std::popcount(bitmap[i]));
    }
    if (side.encoding != Encoding::ragged && count != side.keep) {
        in_.corrupt("a mask keeps " + std::to_string(count) + " elements, the recipe keeps " +
                    std::to_string(side.keep));
    }
}

} // namespace mustafar
