// SPDX-License-Identifier: Apache-2.0
// The launch of compress.hpp: a block is 8 warps, a grid row is a job.
#include "cuda/compress.hpp"

#include "cuda/device_warp.cuh"
#include "cuda/launch.hpp"

namespace mustafar::cuda {

constexpr unsigned compress_warps = 8;

template <unsigned stripes>
__global__ void __launch_bounds__(compress_warps* warp_lanes)
    compress_kernel(const CompressJob* jobs) {
    __shared__ std::uint8_t scratch[compress_warps][compress_scratch_bytes];
    const unsigned warp = threadIdx.x / warp_lanes;
    const CompressJob& job = jobs[blockIdx.y];
    compress_rows<DeviceWarp, stripes>(job, blockIdx.x * compress_warps + warp,
                                       gridDim.x * compress_warps, scratch[warp]);
}

cudaError_t launch_compress(const CompressJob* jobs, unsigned count, std::uint32_t rows,
                            std::uint32_t d, cudaStream_t stream) {
    if (count == 0 || rows == 0) { return cudaSuccess; }
    constexpr unsigned most_blocks = 65535;
    const unsigned blocks = (rows + compress_warps - 1) / compress_warps;
    const dim3 grid(blocks < most_blocks ? blocks : most_blocks, count);
    const dim3 block(compress_warps * warp_lanes);
    if (d <= 64) {
        compress_kernel<2><<<grid, block, 0, stream>>>(jobs);
    } else if (d <= 128) {
        compress_kernel<4><<<grid, block, 0, stream>>>(jobs);
    } else {
        compress_kernel<8><<<grid, block, 0, stream>>>(jobs);
    }
    return cudaGetLastError();
}

} // namespace mustafar::cuda
