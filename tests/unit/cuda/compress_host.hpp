// SPDX-License-Identifier: Apache-2.0
// The compress kernels as the host runs them: every block of a grid, warp after warp.
#pragma once

#include "cuda/compress.hpp"
#include "cuda/host_warp.hpp"

namespace mustafar::test {

template <cuda::CompressStep step>
void compress_on_host(const cuda::CompressJob* jobs, std::uint32_t count,
                      const cuda::CompressGrid& grid) {
    std::uint32_t scratch[cuda::compress_scratch_words];
    for (std::uint32_t y = 0; y < grid.y; ++y) {
        for (std::uint32_t x = 0; x < grid.x; ++x) {
            for (unsigned warp = 0; warp < cuda::compress_warps; ++warp) {
                const auto run = [&]<unsigned stripes>() {
                    cuda::compress_block<cuda::HostWarp, stripes, step>(jobs, count, grid, x, y,
                                                                        warp, scratch);
                };
                if (jobs->d <= 64) {
                    run.template operator()<2>();
                } else if (jobs->d <= 128) {
                    run.template operator()<4>();
                } else {
                    run.template operator()<8>();
                }
            }
        }
    }
}
template <cuda::CompressStep step>
void compress_on_host(const cuda::CompressJob& job) {
    compress_on_host<step>(&job, 1, cuda::compress_grid(1, cuda::compress_units(step, job)));
}

} // namespace mustafar::test
