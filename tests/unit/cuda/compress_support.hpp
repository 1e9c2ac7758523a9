// SPDX-License-Identifier: Apache-2.0
// Jobs of the CUDA kernel `compress` and the pages they must give, whoever runs them.
#pragma once

#include "cpu/rows_support.hpp"
#include "cuda/compress_job.hpp"
#include "format/page.hpp"

namespace mustafar::test {

using cuda::CompressJob;

constexpr std::uint32_t first_slot = 7; // rows start in a page that is not empty

inline SideSpec side_of(std::uint32_t d, std::uint32_t keep, std::uint32_t bits,
                        std::uint32_t group) {
    SideSpec side;
    side.encoding = group == 0 ? Encoding::exact : Encoding::grouped;
    side.d = static_cast<std::uint16_t>(d);
    side.keep = static_cast<std::uint16_t>(keep);
    side.bits = static_cast<std::uint8_t>(bits);
    side.group = static_cast<std::uint8_t>(group);
    if (keep < d) {
        side.prune.method = Method::token_topk;
        side.prune.keep = side.keep;
    }
    return side;
}

// n of every m neighbouring channels.
inline SideSpec n_m_side(std::uint32_t d, std::uint32_t n, std::uint32_t m, std::uint32_t bits) {
    SideSpec side = side_of(d, n * d / m, bits, 0);
    side.prune = {Method::n_m, false, static_cast<std::uint16_t>(n), static_cast<std::uint16_t>(m),
                  0.0F};
    return side;
}

inline std::vector<SideSpec> sides_of(std::uint32_t d) {
    std::vector<SideSpec> sides;
    for (const std::uint32_t bits : {16U, 8U, 4U, 2U}) {
        for (const std::uint32_t keep : {1U, d * 5 / 16, d * 5 / 16 + 1, d / 2, d - 1, d}) {
            sides.push_back(side_of(d, keep, bits, 0));
        }
        for (const std::uint32_t group : {32U, 64U}) {
            if (bits < 16 && d % group == 0) { sides.push_back(side_of(d, d, bits, group)); }
        }
        sides.push_back(n_m_side(d, 2, 4, bits));
        sides.push_back(n_m_side(d, 3, 8, bits));
        sides.push_back(n_m_side(d, d / 3, d, bits));
        if (d % 5 == 0) { sides.push_back(n_m_side(d, 1, 5, bits)); }
    }
    return sides;
}

// Pages of one side, filled with a pattern that only rows may change.
struct Pages {
    std::vector<std::vector<std::byte>> bytes;
    std::vector<std::byte*> data;
    Pages(const SideSpec& side, std::uint32_t rows) {
        bytes.resize((first_slot + rows + page_rows - 1) / page_rows);
        for (auto& page : bytes) {
            page.assign(side_bytes(side, 0), std::byte{0xA5});
            data.push_back(page.data());
        }
    }
};

// Where a side's arrays start: PageSide computes addresses, so from those of a page at a known one.
inline PageSide arrays_of(const SideSpec& side, std::byte* start) {
    HeadSpec head;
    head.k = head.v = side;
    Page record;
    PageSide arrays = page_side(head, Side::k, record);
    const auto move = [&](std::byte*& array) {
        if (array != nullptr) { array = start + (array - record.data()); }
    };
    move(arrays.bitmaps);
    move(arrays.codes);
    move(arrays.meta);
    return arrays;
}

inline void pack_with_ref(const SideSpec& side, const HardRows& rows, int form,
                          std::span<const float> weights, Pages& pages) {
    std::vector<std::uint8_t> bitmaps(rows.rows * rows.d / 8U);
    const PruneRule rule = side.prune;
    prune_ref({rule, rows.d, {}, weights, {}, bitmaps, rows.as_halves(form)});
    for (std::uint32_t row = 0; row < rows.rows; ++row) {
        const std::uint32_t slot = first_slot + row;
        const PageSide arrays = arrays_of(side, pages.data[slot / page_rows]);
        pack_ref({&side,
                  rows.store,
                  {},
                  std::span(bitmaps).subspan(row * rows.d / 8U, rows.d / 8U),
                  PackedRows(arrays, slot % page_rows, 1),
                  nullptr,
                  rows.as_halves(form).from(row)});
    }
}

inline CompressJob job_of(const SideSpec& side, const HardRows& rows, int form,
                          std::span<const float> weights, Pages& pages) {
    const HalfRows halves = rows.as_halves(form);
    const RowStrides strides = row_strides(side);
    const PageSide arrays = arrays_of(side, pages.data[0]);
    const auto offset = [&](const std::byte* array) {
        return array == nullptr ? 0U : static_cast<std::uint32_t>(array - pages.data[0]);
    };
    CompressJob job;
    job.d = side.d;
    job.keep = side.keep;
    job.bits = side.bits;
    job.group = side.group;
    if (side.prune.method == Method::n_m) {
        job.rule = cuda::Survivors::n_m;
        job.of = side.prune.of;
    }
    job.bf16 = rows.store == Dtype::bf16 ? 1 : 0;
    job.rows = rows.rows;
    job.first = halves.first;
    job.stride = halves.stride;
    job.centre = halves.centre;
    job.channel_weights = weights.empty() ? nullptr : weights.data();
    job.pages = pages.data.data();
    job.first_slot = first_slot;
    job.bitmaps_at = offset(arrays.bitmaps);
    job.codes_at = offset(arrays.codes);
    job.meta_at = offset(arrays.meta);
    job.bitmap_stride = strides.bitmap;
    job.codes_stride = strides.codes;
    job.meta_stride = strides.meta;
    return job;
}

} // namespace mustafar::test
