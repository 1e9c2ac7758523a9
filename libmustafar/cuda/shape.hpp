// SPDX-License-Identifier: Apache-2.0
// The block of an attend launch: how many warps, how much shared memory. Computed from sizes alone.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mustafar::cuda {

constexpr unsigned most_block_warps = 8;

// The head size that kernels are compiled for: 64, 128 or 256.
constexpr unsigned attend_head_size(unsigned d) { return d <= 64 ? 64 : (d <= 128 ? 128 : 256); }

// Shared memory of a block; `d` is one of those.
std::size_t attend_shared_bytes(unsigned d, bool precise, unsigned warps, std::size_t page_bytes);

struct Processor {                // of a device, as the driver says
    std::size_t block_shared = 0; // most a block may ask for
    std::size_t shared = 0;       // of all blocks on it
    std::size_t reserved = 0;     // of each block, taken by the system
};

struct BlockShape {
    unsigned warps = 0;  // 0: not even one fits
    unsigned blocks = 0; // on one processor at once, as far as shared memory goes
};

// As many warps on a processor as fit; of equal ones the smallest block, so that ends are short.
BlockShape attend_shape(unsigned d, bool precise, std::size_t page_bytes,
                        const Processor& processor);

} // namespace mustafar::cuda
