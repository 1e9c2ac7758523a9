// SPDX-License-Identifier: Apache-2.0
// What the warps of an attend block share: its memory, elements of tensors, and the query rows,
// which it loads once.
#pragma once

#include "cuda/attend_tile.hpp"

namespace mustafar::cuda {

constexpr float log2_e = 1.4426950408889634F;
constexpr float ln_2 = 0.6931471805599453F;
constexpr float weight_unit = 32768.0F; // of p in f16

// Shared memory of a block: this, and for each warp a WarpShared and two pages that come in.
template <unsigned D, class A>
struct BlockShared {
    std::uint16_t q[block_queries * tile_stride(D)];
    std::uint16_t q_low[A::precise ? block_queries * tile_stride(D) : 8];
    float q_unit[block_queries];   // what q was divided by, times the scale
    float q_centre[block_queries]; // q . centre, times the scale
    std::int64_t position[block_queries];
    std::uint32_t last; // 1: this block merges the splits
};

template <unsigned D, class A>
struct WarpShared {
    std::uint16_t tile[tile_rows * tile_stride(D)]; // in the end: its output, as floats
    std::uint16_t tile_low[A::precise ? tile_rows * tile_stride(D) : 8];
    RowMasks<D> masks;
    float max[block_queries], sum[block_queries], dropped[block_queries];
};
template <unsigned D, class A>
MUSTAFAR_SIZE std::size_t block_shared_bytes() {
    return (sizeof(BlockShared<D, A>) + 15) / 16 * 16;
}
template <unsigned D, class A>
MUSTAFAR_SIZE std::size_t warp_shared_bytes(std::size_t page_bytes = 0) {
    return (sizeof(WarpShared<D, A>) + 15) / 16 * 16 + 2 * page_bytes;
}

template <class W>
MUSTAFAR_WARP float load_element(const QueryRows& rows, std::int64_t at) {
    if (rows.type == ElementType::f32) { return static_cast<const float*>(rows.data)[at]; }
    const std::uint16_t half = static_cast<const std::uint16_t*>(rows.data)[at];
    return rows.type == ElementType::f16 ? W::f16_to_f32(half) : W::bf16_to_f32(half);
}
// As core/half.hpp has it: no finite number becomes infinity.
MUSTAFAR_WARP float saturated(float value, float most) {
    constexpr float infinity = __builtin_huge_valf();
    if (value > most && value != infinity) { return most; }
    if (value < -most && value != -infinity) { return -most; }
    return value;
}
template <class W>
MUSTAFAR_WARP void store_element(const QueryRows& rows, std::int64_t at, float value) {
    if (rows.type == ElementType::f32) {
        static_cast<float*>(rows.data)[at] = value;
    } else if (rows.type == ElementType::f16) {
        static_cast<std::uint16_t*>(rows.data)[at] = W::f32_to_f16(saturated(value, 65504.0F));
    } else {
        static_cast<std::uint16_t*>(rows.data)[at] = W::f32_to_bf16(saturated(value, 0x1.FEp127F));
    }
}
MUSTAFAR_WARP std::int64_t row_at(const QueryRows& rows, const AttendJob& job,
                                  std::uint32_t query) {
    return query / job.group * rows.token + query % job.group * rows.head;
}

template <class W, class A>
MUSTAFAR_WARP std::uint16_t half_of(float x) {
    return A::bf16 ? W::f32_to_bf16(x) : W::f32_to_f16(x);
}
// What that leaves of it.
template <class W, class A>
MUSTAFAR_WARP float rest_of(float x) {
    return x - (A::bf16 ? W::bf16_to_f32(W::f32_to_bf16(x)) : W::f16_to_f32(W::f32_to_f16(x)));
}

template <class W, class A>
MUSTAFAR_WARP std::uint32_t pair_of(float a, float b) {
    return std::uint32_t{half_of<W, A>(a)} | std::uint32_t{half_of<W, A>(b)} << 16;
}

// Over the four lanes that share a query row in the fragments of an MMA.
template <class W, class F>
MUSTAFAR_WARP Lanes<W, float> over_row(Lanes<W, float> x, const F& join) {
    MUSTAFAR_UNROLL
    for (unsigned mask = 1; mask <= 2; mask *= 2) {
        const Lanes<W, float> other = W::shuffle_xor(x, mask);
        W::each([&](unsigned i) { x[i] = join(x[i], other[i]); });
    }
    return x;
}

// Four 8 x 8 matrices at (row, column); the second is below the first, or beside it.
template <class W, unsigned D, bool transposed>
MUSTAFAR_WARP void load_fragment(const std::uint16_t* from, unsigned row, unsigned column,
                                 bool beside, Lanes<W, std::uint32_t> (&out)[4]) {
    Lanes<W, const std::byte*> rows;
    W::each([&](unsigned i) {
        const unsigned matrix = W::lane(i) / 8;
        const unsigned second = matrix % 2 * 8, third = matrix / 2 * 8;
        const unsigned r = row + W::lane(i) % 8 + (beside ? third : second);
        const unsigned c = column + (beside ? second : third);
        rows[i] = reinterpret_cast<const std::byte*>(from + r * tile_stride(D) + c);
    });
    W::template load_matrices<transposed>(rows, out);
}

template <class W, class F>
MUSTAFAR_WARP float reduce(Lanes<W, float> x, unsigned lanes, const F& join) {
    for (unsigned mask = lanes / 2; mask > 0; mask /= 2) {
        const Lanes<W, float> other = W::shuffle_xor(x, mask);
        W::each([&](unsigned i) { x[i] = join(x[i], other[i]); });
    }
    return W::broadcast(x, 0);
}

// Halves of at most 1, so that no f32 query is beyond f16; rows that do not exist are zero.
template <class W, unsigned D, class A>
MUSTAFAR_WARP void load_queries(const AttendJob& job, const AttendItem& item, unsigned warp,
                                unsigned warps, BlockShared<D, A>& shared) {
    for (unsigned n = warp; n < block_queries; n += warps) {
        const bool real = n < item.queries;
        const std::uint32_t query = item.first_query + n;
        const std::int64_t from = real ? row_at(job.q, job, query) : 0;
        Lanes<W, float> x[D / 32], most, centre;
        W::each([&](unsigned i) { most[i] = centre[i] = 0.0F; });
        MUSTAFAR_UNROLL
        for (unsigned j = 0; j < D / 32; ++j) {
            W::each([&](unsigned i) {
                const unsigned c = 32 * j + W::lane(i);
                x[j][i] = 0.0F;
                if (!real || c >= job.side[0].d) { return; }
                x[j][i] = load_element<W>(job.q, from + c * job.q.element);
                const float size = x[j][i] < 0.0F ? -x[j][i] : x[j][i];
                most[i] = size > most[i] ? size : most[i];
                if (job.centre != nullptr) { centre[i] += x[j][i] * job.centre[c]; }
            });
        }
        const float largest = reduce<W>(most, 32, [](float a, float b) { return a > b ? a : b; });
        const float dot = reduce<W>(centre, 32, [](float a, float b) { return a + b; });
        const int power = W::exponent(largest);
        MUSTAFAR_UNROLL
        for (unsigned j = 0; j < D / 32; ++j) {
            W::each([&](unsigned i) {
                const float scaled = W::scale_by_power(x[j][i], -power);
                const unsigned at = n * tile_stride(D) + 32 * j + W::lane(i);
                shared.q[at] = half_of<W, A>(scaled);
                if (A::precise) { shared.q_low[at] = half_of<W, A>(rest_of<W, A>(scaled)); }
            });
        }
        W::each([&](unsigned i) {
            if (W::lane(i) != 0) { return; }
            shared.q_unit[n] = W::scale_by_power(1.0F, power) * job.scale;
            shared.q_centre[n] = dot * job.scale;
            // Rows that do not exist see nothing that real ones do not.
            shared.position[n] = job.lengths->q_position +
                                 (real ? query : item.first_query + item.queries - 1) / job.group;
        });
    }
}

} // namespace mustafar::cuda
