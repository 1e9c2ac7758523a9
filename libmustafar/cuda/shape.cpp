// SPDX-License-Identifier: Apache-2.0
#include "cuda/shape.hpp"

#include "cuda/attend_block.hpp"

namespace mustafar::cuda {

namespace {

template <class A>
std::size_t shared_bytes(unsigned d, unsigned warps, std::size_t page_bytes) {
    const auto total = [&](std::size_t block, std::size_t warp) { return block + warps * warp; };
    if (d == 64) {
        return total(block_shared_bytes<64, A>(), warp_shared_bytes<64, A>(page_bytes));
    }
    if (d == 128) {
        return total(block_shared_bytes<128, A>(), warp_shared_bytes<128, A>(page_bytes));
    }
    return total(block_shared_bytes<256, A>(), warp_shared_bytes<256, A>(page_bytes));
}

} // namespace

std::size_t attend_shared_bytes(unsigned d, bool precise, unsigned warps, std::size_t page_bytes) {
    return precise ? shared_bytes<Arithmetic<false, true>>(d, warps, page_bytes)
                   : shared_bytes<Arithmetic<false, false>>(d, warps, page_bytes);
}

BlockShape attend_shape(unsigned d, bool precise, std::size_t page_bytes,
                        const Processor& processor) {
    // As many as registers allow: 128, 168 or 255 a thread (docs/experiments.md, section 11).
    const unsigned size = attend_head_size(d);
    const unsigned most_warps = size == 64 ? 16 : size == 128 ? 12 : 8;
    BlockShape best;
    for (unsigned warps = 2; warps <= most_block_warps; warps *= 2) {
        const std::size_t bytes = attend_shared_bytes(size, precise, warps, page_bytes);
        if (bytes > processor.block_shared) { break; }
        unsigned blocks = static_cast<unsigned>(processor.shared / (bytes + processor.reserved));
        while (blocks > 1 && blocks * warps > most_warps) { --blocks; }
        if (blocks * warps > best.blocks * best.warps) { best = {warps, blocks}; }
    }
    if (best.warps != 0) { return best; }
    const std::size_t bytes = attend_shared_bytes(size, precise, 1, page_bytes);
    if (bytes > processor.block_shared) { return {}; }
    return {1, static_cast<unsigned>(processor.shared / (bytes + processor.reserved))};
}

} // namespace mustafar::cuda
