// SPDX-License-Identifier: Apache-2.0
// The source of the CUDA kernel `compress` as the host runs it (cuda/host_warp.hpp): pages must hold the bytes
// that prune_ref and pack_ref give, and nothing may be written elsewhere.
#include "cpu/rows_support.hpp"
#include "cuda/compress.hpp"
#include "cuda/host_warp.hpp"
#include "format/page.hpp"

namespace mustafar::test {
namespace {

using cuda::CompressJob;
using cuda::HostWarp;

constexpr std::uint32_t first_slot = 7; // rows start in a page that is not empty

SideSpec side_of(std::uint32_t d, std::uint32_t keep, std::uint32_t bits, std::uint32_t group) {
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

std::vector<SideSpec> sides_of(std::uint32_t d) {
    std::vector<SideSpec> sides;
    for (const std::uint32_t bits : {16U, 8U, 4U, 2U}) {
        for (const std::uint32_t keep : {1U, d * 5 / 16, d * 5 / 16 + 1, d / 2, d - 1, d}) {
            sides.push_back(side_of(d, keep, bits, 0));
        }
        for (const std::uint32_t group : {32U, 64U}) {
            if (bits < 16 && d % group == 0) { sides.push_back(side_of(d, d, bits, group)); }
        }
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
PageSide arrays_of(const SideSpec& side, std::byte* start) {
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

void pack_with_ref(const SideSpec& side, const HardRows& rows, int form,
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

CompressJob job_of(const SideSpec& side, const HardRows& rows, int form,
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

void run(const CompressJob& job) {
    std::uint8_t scratch[cuda::compress_scratch_bytes];
    constexpr std::uint32_t warps = 3; // rows are dealt out as to the warps of a grid
    for (std::uint32_t warp = 0; warp < warps; ++warp) {
        if (job.d <= 64) {
            cuda::compress_rows<HostWarp, 2>(job, warp, warps, scratch);
        } else if (job.d <= 128) {
            cuda::compress_rows<HostWarp, 4>(job, warp, warps, scratch);
        } else {
            cuda::compress_rows<HostWarp, 8>(job, warp, warps, scratch);
        }
    }
}

void compare(const SideSpec& side, const HardRows& rows, int form, bool weighted) {
    std::vector<float> weights;
    if (weighted) {
        weights = Random(rows.d).values(rows.d, 0.0F, 2.0F);
        weights[0] = -0.0F;
    }
    Pages want(side, rows.rows), got(side, rows.rows);
    pack_with_ref(side, rows, form, weights, want);
    run(job_of(side, rows, form, weights, got));
    for (std::size_t page = 0; page < want.bytes.size(); ++page) {
        for (std::size_t at = 0; at < want.bytes[page].size(); ++at) {
            ASSERT_EQ(got.bytes[page][at], want.bytes[page][at])
                << "page " << page << ", byte " << at << " of " << want.bytes[page].size();
        }
    }
}

TEST(CudaCompress, EveryShapePatternAndEncoding_HasTheBytesOfRef) {
    std::size_t compared = 0;
    for (const std::uint32_t d : head_sizes) {
        for (const std::uint32_t count : {1U, 5U, 40U}) {
            for (std::size_t p = 0; p < patterns.size(); ++p) {
                const Dtype store = (p + d / 8 + count) % 2 == 0 ? Dtype::f16 : Dtype::bf16;
                const HardRows rows(patterns[p], d, count, store, p);
                for (const SideSpec& side : sides_of(d)) {
                    for (const int form : {0, 1}) {
                        const bool weighted = (p + side.keep) % 3 == 0;
                        SCOPED_TRACE(std::string(patterns[p]) + ", d " + std::to_string(d) +
                                     ", rows " + std::to_string(count) + ", keep " +
                                     std::to_string(side.keep) + ", bits " +
                                     std::to_string(side.bits) + ", group " +
                                     std::to_string(side.group) + (form == 1 ? ", centred" : "") +
                                     (weighted ? ", weighted" : ""));
                        compare(side, rows, form, weighted);
                        if (HasFatalFailure()) { return; }
                        ++compared;
                    }
                }
            }
        }
    }
    std::printf("%zu jobs of up to 40 rows have the bytes of ref\n", compared);
}

TEST(CudaCompress, RowsThatAreNotFinite_AreReported) {
    for (const Dtype store : {Dtype::f16, Dtype::bf16}) {
        HardRows rows("random", 80, 40, store, 0);
        const SideSpec side = side_of(80, 25, 16, 0);
        Pages pages(side, rows.rows);
        CompressJob job = job_of(side, rows, 0, {}, pages);
        std::uint32_t non_finite = 0;
        job.non_finite = &non_finite;
        run(job);
        EXPECT_EQ(non_finite, 0U);
        rows.halves[33 * static_cast<std::size_t>(rows.stride) + 79] =
            store == Dtype::f16 ? 0xFC00 : 0x7F81;
        run(job);
        EXPECT_EQ(non_finite, 1U);
    }
}

} // namespace
} // namespace mustafar::test
