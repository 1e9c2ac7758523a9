// SPDX-License-Identifier: Apache-2.0
// From partial results to results: of the warps of a block, then of the blocks that share the
// tiles of a head. The last block to finish joins those; which one it is makes no difference, as
// the order is that of the splits.
#pragma once

#include "cuda/attend_warp.hpp"

namespace mustafar::cuda {

// Floats of a partial result of one query row: maximum (of scores in log2), sum, weight left out,
// unused, output.
MUSTAFAR_SIZE std::size_t partial_floats(std::size_t d) { return partial_head + d; }

struct PartialRow {
    float max, sum, dropped;
    const float* out; // [d]
};

// Joins `count` of them, part(p) giving each, and hands {max, sum, dropped} and the output by
// channel on.
template <class W, unsigned D, class Part, class Head, class Out>
MUSTAFAR_WARP void join_parts(unsigned count, std::uint32_t d, const Part& part, const Head& head,
                              const Out& store) {
    constexpr float infinity = __builtin_huge_valf();
    float max = -infinity;
    for (unsigned p = 0; p < count; ++p) {
        const float m = part(p).max;
        max = m > max ? m : max;
    }
    const float base = max == -infinity ? 0.0F : max;
    float sum = 0.0F, dropped = 0.0F;
    Lanes<W, float> out[D / 32];
    MUSTAFAR_UNROLL
    for (unsigned j = 0; j < D / 32; ++j) {
        W::each([&](unsigned i) { out[j][i] = 0.0F; });
    }
    for (unsigned p = 0; p < count; ++p) {
        const PartialRow row = part(p);
        const float factor = W::exp2(row.max - base);
        sum += factor * row.sum;
        dropped += factor * row.dropped;
        MUSTAFAR_UNROLL
        for (unsigned j = 0; j < D / 32; ++j) {
            W::each([&](unsigned i) {
                const unsigned c = 32 * j + W::lane(i);
                if (c < d) { out[j][i] += factor * row.out[c]; }
            });
        }
    }
    W::each([&](unsigned i) {
        if (W::lane(i) == 0) { head(max, sum, dropped); }
    });
    MUSTAFAR_UNROLL
    for (unsigned j = 0; j < D / 32; ++j) {
        W::each([&](unsigned i) {
            const unsigned c = 32 * j + W::lane(i);
            if (c < d) { store(c, out[j][i], sum); }
        });
    }
}

// Results of one query row: out, lse, what was left out.
template <class W, unsigned D, class Part>
MUSTAFAR_WARP void finish_query(const AttendJob& job, std::uint32_t query, unsigned count,
                                const Part& part) {
    const std::int64_t out_at = row_at(job.out, job, query);
    join_parts<W, D>(
        count, job.side[1].d, part,
        [&](float max, float sum, float dropped) {
            if (job.lse.data != nullptr) {
                const float lse = sum == 0.0F ? max : ln_2 * (max + W::log2(sum)); // -inf: no rows
                store_element<W>(job.lse, row_at(job.lse, job, query), lse);
            }
            if (job.dropped.data != nullptr) { // an upper bound, rounding included
                const float share = sum > 0.0F ? dropped / sum * 1.00001F : 0.0F;
                store_element<W>(job.dropped, row_at(job.dropped, job, query), share);
            }
        },
        [&](unsigned c, float value, float sum) {
            const float x = sum == 0.0F ? 0.0F : value / sum;
            store_element<W>(job.out, out_at + c * job.out.element, x);
        });
}

// The warps of a block: its result, or its partial result where the head has several blocks.
template <class W, unsigned D, class A>
MUSTAFAR_WARP void join_warps(const AttendJob& job, const AttendItem& item, unsigned warp,
                              unsigned warps, const std::byte* first_warp, std::size_t warp_bytes,
                              float* partials) {
    const std::uint32_t d = job.side[1].d;
    for (unsigned n = warp; n < item.queries; n += warps) {
        const auto part = [&](unsigned p) -> PartialRow {
            const auto& from =
                *reinterpret_cast<const WarpShared<D, A>*>(first_warp + p * warp_bytes);
            return {from.max[n], from.sum[n], from.dropped[n],
                    reinterpret_cast<const float*>(from.tile) + n * D};
        };
        if (item.splits == 1) {
            finish_query<W, D>(job, item.first_query + n, warps, part);
            continue;
        }
        float* to = partials + (std::size_t{item.partial} * block_queries + n) * partial_floats(d);
        join_parts<W, D>(
            warps, d, part,
            [&](float max, float sum, float dropped) {
                to[0] = max;
                to[1] = sum;
                to[2] = dropped;
            },
            [&](unsigned c, float value, float) { to[partial_head + c] = value; });
    }
}

// The splits of a head, whose partial results lie one behind the other.
template <class W, unsigned D>
MUSTAFAR_WARP void join_splits(const AttendJob& job, const AttendItem& item, unsigned warp,
                               unsigned warps, const float* partials) {
    const std::uint32_t d = job.side[1].d;
    const std::uint32_t first = item.partial - item.split;
    for (unsigned n = warp; n < item.queries; n += warps) {
        finish_query<W, D>(job, item.first_query + n, item.splits, [&](unsigned p) -> PartialRow {
            const float* from =
                partials + (std::size_t{first + p} * block_queries + n) * partial_floats(d);
            return {from[0], from[1], from[2], from + partial_head};
        });
    }
}

} // namespace mustafar::cuda
