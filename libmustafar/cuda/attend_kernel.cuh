// SPDX-License-Identifier: Apache-2.0
// The kernel of attend_warp.hpp and attend_join.hpp: a block is an item of the plan. One launch
// does it all: the last block of a head joins what the others left. Each arithmetic is compiled in
// a file of its own.
#pragma once

#include "cuda/attend_join.hpp"
#include "cuda/attend_launch.hpp"
#include "cuda/device.hpp"
#include "cuda/device_warp.cuh"

namespace mustafar::cuda {

// Partial results of all warps of this block are written: is it the last of its head? All threads
// get the answer.
static __device__ bool arrive_last(const AttendItem& item, std::uint32_t* tickets,
                                   std::uint32_t* last) {
    __threadfence(); // what this thread wrote, before the ticket
    __syncthreads();
    if (threadIdx.x == 0) {
        *last = atomicAdd(tickets + item.ticket, 1U) + 1 == item.splits ? 1 : 0;
        if (*last != 0) { tickets[item.ticket] = 0; } // for the next launch
    }
    __syncthreads();
    if (*last == 0) { return false; }
    __threadfence(); // the ticket, before what others wrote
    return true;
}

// 128 registers a thread at most where heads are small: 16 warps of a processor.
template <unsigned D, class A>
__global__ void __launch_bounds__(most_block_warps* warp_lanes, D <= 64 ? 2 : 1)
    attend_kernel(const AttendJob* jobs, const AttendItem* items, float* partials,
                  std::uint32_t* tickets, std::uint32_t page_bytes) {
    extern __shared__ __align__(128) std::byte memory[];
    auto& block = *reinterpret_cast<BlockShared<D, A>*>(memory);
    std::byte* first_warp = memory + block_shared_bytes<D, A>();
    const std::size_t warp_bytes = warp_shared_bytes<D, A>(page_bytes);
    const unsigned warp = threadIdx.x / warp_lanes, warps = blockDim.x / warp_lanes;
    const AttendItem item = items[blockIdx.x];
    const AttendJob& job = jobs[item.job];

    load_queries<DeviceWarp, D, A>(job, item, warp, warps, block);
    __syncthreads();
    AttendWarp<DeviceWarp, D, A>(job, item, block, first_warp + warp * warp_bytes, page_bytes, warp,
                                 warps)
        .run();
    __syncthreads();
    join_warps<DeviceWarp, D, A>(job, item, warp, warps, first_warp, warp_bytes, partials);
    if (item.splits == 1 || !arrive_last(item, tickets, &block.last)) { return; }
    join_splits<DeviceWarp, D>(job, item, warp, warps, partials);
}

template <unsigned D, class A>
static cudaError_t launch(const AttendLaunch& what, cudaStream_t stream) {
    const std::size_t bytes = attend_shared_bytes(D, A::precise, what.shape.warps, what.page_bytes);
    const auto kernel = attend_kernel<D, A>;
    // A ceiling of the kernel for the whole process: set once, since threads launch side by side.
    static const cudaError_t status = [&] {
        cudaFuncAttributes has;
        const cudaError_t asked = cudaFuncGetAttributes(&has, kernel);
        if (asked != cudaSuccess) { return asked; }
        const std::size_t most = device_limits().processor.block_shared - has.sharedSizeBytes;
        return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(most));
    }();
    if (status != cudaSuccess) { return status; }
    kernel<<<what.item_count, what.shape.warps * warp_lanes, bytes, stream>>>(
        what.jobs, what.items, what.partials, what.tickets, what.page_bytes);
    return cudaGetLastError();
}

template <class A>
cudaError_t launch_attend_with(const AttendLaunch& what, cudaStream_t stream) {
    const unsigned d = attend_head_size(what.d);
    return d == 64    ? launch<64, A>(what, stream)
           : d == 128 ? launch<128, A>(what, stream)
                      : launch<256, A>(what, stream);
}

} // namespace mustafar::cuda
