// SPDX-License-Identifier: Apache-2.0
// The steps of the CUDA kernel `compress` beside rows of a fixed stride, as the host runs them.
#include "cuda/compress_forms.hpp"
#include "cuda/compress_host.hpp"

namespace mustafar::test {
namespace {

void run(CompressStep step, const CompressJob& job, std::size_t,
         std::vector<std::vector<std::byte>>&) {
    switch (step) {
    case CompressStep::rows:
        return compress_on_host<CompressStep::rows>(job);
    case CompressStep::columns:
        return compress_on_host<CompressStep::columns>(job);
    case CompressStep::ragged:
        return compress_on_host<CompressStep::ragged>(job);
    case CompressStep::channels:
        return compress_on_host<CompressStep::channels>(job);
    }
}

TEST(CudaCompressRagged, EveryRulePatternAndWidth_HasTheSurvivorsAndBytesOfRef) {
    std::printf("%zu jobs of ragged rows have the survivors and bytes of ref\n",
                compare_every_ragged(run, {1, 7, 32, 70}));
}

TEST(CudaCompressChannels, EveryShapePatternAndWidth_HasTheBytesOfRef) {
    std::printf("%zu jobs of channel scales have the bytes of ref\n",
                compare_every_channels(run, {1, 5, 32, 64, 70}));
}

// One mask for all rows, as `channels` freezes it; and bits of the caller's, a row each.
TEST(CudaCompressGiven, BitmapsFromElsewhere_ArePackedAsTheyAre) {
    for (const std::uint32_t d : head_sizes) {
        const HardRows rows("random", d, 40, Dtype::f16, 3);
        std::vector<std::uint8_t> mask(d / 8);
        for (std::uint32_t c = 0; c < d; c += 3) { set_bit(mask.data(), c); }
        SideSpec side = side_of(d, (d + 2) / 3, 4, 0);
        Pages want(side, rows.rows), got(side, rows.rows);
        for (std::uint32_t row = 0; row < rows.rows; ++row) {
            const std::uint32_t slot = first_slot + row;
            const PageSide arrays = arrays_of(side, want.data[slot / page_rows]);
            pack_ref({&side,
                      rows.store,
                      {},
                      mask,
                      PackedRows(arrays, slot % page_rows, 1),
                      nullptr,
                      rows.as_halves(1).from(row)});
        }
        CompressJob job = job_of(side, rows, 1, {}, got);
        job.rule = Survivors::given;
        job.survivors = mask.data();
        job.survivors_stride = 0;
        compress_on_host<CompressStep::rows>(job);
        ASSERT_EQ(got.bytes, want.bytes) << "d " << d;
    }
}

TEST(CudaCompressChannels, RowsThatAreNotFinite_AreReported) {
    HardRows rows("random", 80, 64, Dtype::f16, 0);
    SideSpec side = side_of(80, 80, 4, 0);
    side.encoding = Encoding::channel;
    Pages pages(side, 64);
    CompressJob job = job_of(side, rows, 0, {}, pages);
    std::uint32_t non_finite = 0;
    job.non_finite = &non_finite;
    compress_on_host<CompressStep::channels>(job);
    EXPECT_EQ(non_finite, 0U);
    rows.halves[50 * static_cast<std::size_t>(rows.stride) + 79] = 0x7C00;
    compress_on_host<CompressStep::channels>(job);
    EXPECT_EQ(non_finite, 1U);
}

} // namespace
} // namespace mustafar::test
