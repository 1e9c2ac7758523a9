// SPDX-License-Identifier: Apache-2.0
// The source of the CUDA kernel `compress` as the host runs it (cuda/host_warp.hpp): pages must
// hold the bytes that prune_ref and pack_ref give, and nothing may be written elsewhere.
#include "cuda/compress_support.hpp"
#include "cuda/host_warp.hpp"

namespace mustafar::test {
namespace {

using cuda::CompressJob;
using cuda::HostWarp;

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
