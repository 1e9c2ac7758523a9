// SPDX-License-Identifier: Apache-2.0
// The launches of compress.hpp: a block is 8 warps, a row of the grid is a job.
#include "cuda/compress.hpp"

#include "cuda/compress_launch.hpp"
#include "cuda/device_warp.cuh"

namespace mustafar::cuda {

template <CompressStep step, unsigned stripes>
__global__ void __launch_bounds__(compress_warps* warp_lanes)
    compress_kernel(const CompressJob* jobs, std::uint32_t count) {
    __shared__ std::uint32_t scratch[compress_warps][compress_scratch_words];
    const unsigned warp = threadIdx.x / warp_lanes;
    compress_block<DeviceWarp, stripes, step>(jobs, count, {gridDim.x, gridDim.y}, blockIdx.x,
                                              blockIdx.y, warp, scratch[warp]);
}

template <CompressStep step, unsigned stripes>
static cudaError_t launch(const CompressJob* jobs, std::uint32_t count, std::uint32_t units,
                          cudaStream_t stream) {
    const CompressGrid grid = compress_grid(count, units);
    const dim3 block(compress_warps * warp_lanes);
    compress_kernel<step, stripes><<<dim3(grid.x, grid.y), block, 0, stream>>>(jobs, count);
    return cudaGetLastError();
}

template <CompressStep step>
static cudaError_t launch_sized(const CompressJob* jobs, std::uint32_t count, std::uint32_t units,
                                std::uint32_t d, cudaStream_t stream) {
    if (d <= 64) { return launch<step, 2>(jobs, count, units, stream); }
    if (d <= 128) { return launch<step, 4>(jobs, count, units, stream); }
    return launch<step, 8>(jobs, count, units, stream);
}

cudaError_t launch_compress(CompressStep step, const CompressJob* jobs, std::uint32_t count,
                            std::uint32_t units, std::uint32_t d, cudaStream_t stream) {
    if (count == 0 || units == 0) { return cudaSuccess; }
    switch (step) {
    case CompressStep::rows:
        return launch_sized<CompressStep::rows>(jobs, count, units, d, stream);
    case CompressStep::ragged:
        return launch_sized<CompressStep::ragged>(jobs, count, units, d, stream);
    case CompressStep::columns:
        return launch<CompressStep::columns, 1>(jobs, count, units, stream);
    case CompressStep::channels:
        return launch<CompressStep::channels, 1>(jobs, count, units, stream);
    }
    return cudaErrorInvalidValue;
}

} // namespace mustafar::cuda
