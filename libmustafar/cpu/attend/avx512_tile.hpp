// SPDX-License-Identifier: Apache-2.0
// Attention on one tile with AVX-512 (VBMI2 expand), in fp32 or in fp16 arithmetic. Included by one
// file per instruction set; everything has internal linkage, so that nothing compiled for these
// instructions is shared with the rest of the library.
//
// K by columns: 32 tokens are 32 lanes, a query element enters as a free broadcast, no horizontal sums.
// V by rows: 32 channels are 32 lanes, a weight enters as a broadcast. Either way a vector is expanded
// once and used for up to 4 query rows from registers; for more of them the tile is expanded once to
// L1 and read from there. Sums of a tile are added up in fp32 whatever the arithmetic.
#pragma once

#include "cpu/attend/avx512_scores.hpp"
#include "cpu/attend/avx512_softmax.hpp"
#include "cpu/attend/avx512_values.hpp"

namespace mustafar::cpu {
namespace {

template <class M>
void load_queries(const float* q, U32 n, U32 d, U32 code_bits, std::byte* native, float* factor) {
    auto* out = reinterpret_cast<typename M::Native*>(native);
    const U32 block = n < 4 ? n : 4;
    for (U32 i = 0; i < n; ++i) {
        const float* row = q + std::size_t{i} * d;
        factor[i] = M::query_factor(row, d);
        const float inverse = 1.0F / factor[i];
        auto* to = out + std::size_t{i / block * block} * d + i % block;
        for (U32 c = 0; c < d; ++c) { to[std::size_t{c} * block] = M::to_native(row[c] * inverse); }
    }
    if (M::codes && code_bits != 0) { load_code_queries(q, n, d, native, code_bits, factor); }
}

// fp32, and integers for dense rows of few bits: what the codes cannot say is not worth fp32.
struct F32Codes : F32 {
    static constexpr bool codes = true;
};

template <class M>
constexpr TileOps tile_ops = {load_queries<M>, score<M>, weigh, add_values<M>};

} // namespace
} // namespace mustafar::cpu
