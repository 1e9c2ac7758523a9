// SPDX-License-Identifier: Apache-2.0
// The source of the CUDA kernel `compress` as the host runs it (cuda/host_warp.hpp): pages must
// hold the bytes that prune_ref and pack_ref give, and nothing may be written elsewhere.
#include "cuda/compress_host.hpp"
#include "cuda/compress_support.hpp"

namespace mustafar::test {
namespace {

using cuda::CompressGrid;
using cuda::CompressJob;
using cuda::CompressStep;

void run(const CompressJob& job) { compress_on_host<CompressStep::rows>(job); }

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

TEST(CudaCompressGrid, Any_StaysWithinWhatDevicesTakeAndIsNoLargerThanTheWork) {
    for (const std::uint32_t count : {1U, 7U, 65535U, 65536U, 1U << 20, ~0U}) {
        for (const std::uint32_t units : {1U, 8U, 9U, 1U << 20, ~0U}) {
            const CompressGrid grid = cuda::compress_grid(count, units);
            EXPECT_GE(grid.x, 1U);
            EXPECT_LE(grid.x, 0x7FFFFFFFU);
            EXPECT_LE(std::uint64_t{grid.x} * 8, std::uint64_t{units} + 7);
            EXPECT_GE(grid.y, 1U);
            EXPECT_LE(grid.y, std::min(count, 65535U));
        }
    }
}

// More heads than a grid has rows, of other lengths each: every row of every job is packed, once, and
// by a grid that is too narrow for them as well.
TEST(CudaCompressGrid, MoreJobsThanItHasRows_AreAllDone) {
    constexpr std::uint32_t count = 70001, d = 32;
    const HardRows rows("random", d, 3, Dtype::f16, 1);
    const SideSpec side = side_of(d, 10, 16, 0);
    Pages want(side, 3);
    pack_with_ref(side, rows, 0, {}, want);
    std::vector<Pages> pages(count, Pages(side, 3));
    std::vector<CompressJob> jobs;
    for (std::uint32_t j = 0; j < count; ++j) {
        for (std::size_t p = 0; p < pages[j].bytes.size(); ++p) {
            pages[j].data[p] = pages[j].bytes[p].data();
        }
        jobs.push_back(job_of(side, rows, 0, {}, pages[j]));
        if (j % 3 == 1) { jobs.back().rows = 0; }
    }
    const CompressGrid grid = cuda::compress_grid(count, 3);
    ASSERT_EQ(grid.y, 65535U);
    compress_on_host<CompressStep::rows>(jobs.data(), count, grid);
    const Pages untouched(side, 3);
    for (std::uint32_t j = 0; j < count; ++j) {
        ASSERT_EQ(pages[j].bytes, j % 3 == 1 ? untouched.bytes : want.bytes) << "job " << j;
    }
    // 40 rows on one block of 8 warps.
    const HardRows more("random", d, 40, Dtype::f16, 2);
    Pages all(side, 40), got(side, 40);
    pack_with_ref(side, more, 0, {}, all);
    const CompressJob job = job_of(side, more, 0, {}, got);
    compress_on_host<CompressStep::rows>(&job, 1, {1, 1});
    EXPECT_EQ(got.bytes, all.bytes);
}

} // namespace
} // namespace mustafar::test
