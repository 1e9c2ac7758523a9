// SPDX-License-Identifier: Apache-2.0
// Weighted values of a tile: V by rows, 32 channels in 32 lanes, up to 4 query rows from registers.
#pragma once

#include <type_traits>

#include "cpu/attend/avx512_codes.hpp"
#include "cpu/attend/avx512_rows.hpp"

namespace mustafar::cpu {
namespace {

// A source yields segment after segment of one row.

struct RowStarts {
    const std::byte* at[tile_rows]; // where the next pass over a row goes on
};

template <class M>
struct NativeRows {
    static constexpr bool sparse = false;
    static constexpr U32 lane_bytes = sizeof(typename M::Native);
    MUSTAFAR_INLINE typename M::Vec value(const std::byte* at, Mask) const {
        return M::load(reinterpret_cast<const typename M::Native*>(at));
    }
};
template <class M>
struct WordRows {
    static constexpr bool sparse = false;
    static constexpr U32 lane_bytes = 2;
    bool bf16;
    MUSTAFAR_INLINE typename M::Vec value(const std::byte* at, Mask mask) const {
        return M::from_words(_mm512_maskz_loadu_epi16(mask, at), bf16);
    }
};
template <class M>
struct SparseRows {
    static constexpr bool sparse = true;
    static constexpr U32 lane_bytes = 2;
    bool bf16;
    const std::byte* bitmaps;
    U32 bitmap_stride;
    MUSTAFAR_INLINE typename M::Vec value(const std::byte* at, Mask mask) const {
        return M::from_words(_mm512_maskz_expand_epi16(mask, load_words(at)), bf16);
    }
};

// One pass over the needed rows: S segments from `segment` on, for NQ query rows.
template <class M, int NQ, int S, class Source>
inline void value_pass(const Source& source, U32 d, U32 segment, RowStarts& starts, U32 needed,
                       const typename M::Weight* weights, const TileWeights<NQ>& tile,
                       const Softmax* states, float* out, U32 out_stride, Fetch& fetch) {
    const U32 last = lanes(d, segment + S - 1);
    typename M::Vec sums[NQ][S];
    for (int q = 0; q < NQ; ++q) {
        for (int s = 0; s < S; ++s) { sums[q][s] = M::zero(); }
    }
    for (U32 rest = needed; rest != 0; rest &= rest - 1) {
        const U32 slot = lowest(rest);
        const std::byte* at = starts.at[slot];
        typename M::Vec weight[NQ];
        for (int q = 0; q < NQ; ++q) { weight[q] = M::weight(weights + q * 32 + slot); }
        for (int s = 0; s < S; ++s) {
            typename M::Vec v;
            if constexpr (Source::sparse) {
                const U32 here = segment + static_cast<U32>(s);
                U32 mask =
                    bits_at(source.bitmaps + std::size_t{slot} * source.bitmap_stride + here * 4);
                if (s == S - 1) { mask &= last; }
                v = source.value(at, mask);
                at += std::size_t{count_bits(mask)} * 2;
            } else {
                v = source.value(at, s == S - 1 ? last : ~0U);
                at += std::size_t{32} * Source::lane_bytes;
            }
            for (int q = 0; q < NQ; ++q) { sums[q][s] = M::fma(v, weight[q], sums[q][s]); }
            if ((s & 1) == 0) { fetch.step(); }
        }
        starts.at[slot] = at;
    }
    for (int q = 0; q < NQ; ++q) {
        const __m512 correction = _mm512_set1_ps(states[q].correction);
        const __m512 inverse = _mm512_set1_ps(tile.inverse[q]);
        for (int s = 0; s < S; ++s) {
            float* at =
                out + static_cast<U32>(q) * out_stride + (segment + static_cast<U32>(s)) * 32;
            const Pair sum = M::to_f32(sums[q][s]);
            _mm512_storeu_ps(at, _mm512_fmadd_ps(_mm512_loadu_ps(at), correction,
                                                 _mm512_mul_ps(sum.lo, inverse)));
            _mm512_storeu_ps(at + 16, _mm512_fmadd_ps(_mm512_loadu_ps(at + 16), correction,
                                                      _mm512_mul_ps(sum.hi, inverse)));
        }
    }
}

template <class M, int NQ, class Source>
inline void value_block(const Source& source, U32 d, RowStarts starts, U32 needed,
                        const float* weights, const Softmax* states, float* out, U32 out_stride,
                        const Ahead& ahead) {
    alignas(64) typename M::Weight native[tile_rows * NQ];
    TileWeights<NQ> tile;
    M::template load_weights<NQ>(weights, native, tile);
    const U32 total = segments(d);
    Fetch fetch(ahead, (total + 1) / 2 * tile_rows); // every other segment
    for (U32 segment = 0; segment < total;) {
        const U32 left = total - segment;
        const U32 step = left < M::value_segments ? left : M::value_segments;
        const auto pass = [&](auto count) {
            value_pass<M, NQ, decltype(count)::value>(source, d, segment, starts, needed, native,
                                                      tile, states, out, out_stride, fetch);
        };
        if (step == 1) {
            pass(Constant<1>{});
        } else if (step == 2) {
            pass(Constant<2>{});
        } else if constexpr (M::value_segments > 2) {
            if (step == 3) {
                pass(Constant<3>{});
            } else {
                pass(Constant<4>{});
            }
        }
        segment += step;
    }
}

template <class M, class Source>
inline void value_queries(const Source& source, U32 d, const RowStarts& starts, U32 needed,
                          const float* weights, U32 n, const Softmax* states, float* out,
                          U32 out_stride, const Ahead& ahead) {
    if (n == 1) {
        value_block<M, 1>(source, d, starts, needed, weights, states, out, out_stride, ahead);
    } else if (n == 2) {
        value_block<M, 2>(source, d, starts, needed, weights, states, out, out_stride, ahead);
    } else {
        for (U32 q = 0; q < n; q += 4) {
            value_block<M, 4>(source, d, starts, needed, weights + q * 32, states + q,
                              out + std::size_t{q} * out_stride, out_stride,
                              q == 0 ? ahead : Ahead{});
        }
    }
}

// Rows of 8, 4 or 2 bits and one scale and zero: kept values in half precision, one row after the
// other, as SparseRows or NativeRows read them.
template <class M, int Bits>
inline void dequantize_rows(const Rows& v, U32 needed, std::byte* to) {
    const U32 steps = segments(v.keep);
    alignas(64) typename M::Weight scale[tile_rows];
    alignas(64) typename M::Weight zero[tile_rows];
    const PairWords words = split_pairs(v.meta);
    M::store_weights(scale, words.scale);
    M::store_weights(zero, words.zero);
    for (U32 rest = needed; rest != 0; rest &= rest - 1) {
        const U32 slot = lowest(rest);
        const std::byte* codes = v.codes + std::size_t{slot} * v.code_stride;
        const auto values =
            M::template code_values<Bits>(M::weight(scale + slot), M::weight(zero + slot));
        for (U32 i = 0; i < steps; ++i) {
            M::store(
                reinterpret_cast<typename M::Native*>(to + (std::size_t{slot} * steps + i) * 64),
                values.at(codes, i));
        }
    }
}

template <class M>
void add_values(const Rows& v, const float* weights, U32 n, U32 needed, const Softmax* states,
                float* out, U32 out_stride, const Scratch& scratch, const Ahead& ahead) {
    if (M::codes && has_code_rows(v)) {
        if (v.bits == 4) {
            add_codes_of<4>(v, weights, n, needed, states, out, out_stride, ahead);
        } else {
            add_codes_of<2>(v, weights, n, needed, states, out, out_stride, ahead);
        }
        return;
    }
    RowStarts starts;
    const auto start_rows = [&](const std::byte* first, std::size_t stride) {
        for (U32 slot = 0; slot < tile_rows; ++slot) { starts.at[slot] = first + slot * stride; }
    };
    const auto add = [&](const auto& source) {
        if (n > 4 && std::remove_reference_t<decltype(source)>::sparse) { // expand once for all
            const U32 stride = expand_tile<M>(v, needed, false, scratch);
            start_rows(scratch.rows, std::size_t{stride} * sizeof(typename M::Native));
            value_queries<M>(NativeRows<M>{}, v.d, starts, needed, weights, n, states, out,
                             out_stride, ahead);
            return;
        }
        value_queries<M>(source, v.d, starts, needed, weights, n, states, out, out_stride, ahead);
    };
    const bool plain = v.form == Rows::Form::exact;
    const U32 bitmap_stride = v.d / 8U;
    if ((plain || v.form == Rows::Form::ragged) && v.bits == 16 && v.bitmaps != nullptr) {
        for (U32 slot = 0; slot < tile_rows; ++slot) { starts.at[slot] = codes_of(v, slot); }
        add(SparseRows<M>{v.bf16, v.bitmaps, bitmap_stride});
    } else if (v.bits == 16 && v.bitmaps == nullptr && v.marks == nullptr) {
        start_rows(v.codes, v.code_stride);
        add(WordRows<M>{v.bf16});
    } else if (plain && M::half) {
        with_bits(v.bits, [&](auto bits) {
            if constexpr (M::half) {
                dequantize_rows<M, decltype(bits)::value>(v, needed, scratch.codes);
            }
        });
        start_rows(scratch.codes, std::size_t{segments(v.keep)} * 64);
        if (v.bitmaps != nullptr) {
            add(SparseRows<M>{false, v.bitmaps, bitmap_stride});
        } else {
            add(NativeRows<M>{});
        }
    } else {
        const U32 stride = expand_tile<M>(v, needed, false, scratch);
        start_rows(scratch.rows, std::size_t{stride} * sizeof(typename M::Native));
        add(NativeRows<M>{});
    }
}

} // namespace
} // namespace mustafar::cpu
