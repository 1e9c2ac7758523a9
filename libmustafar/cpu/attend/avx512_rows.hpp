// SPDX-License-Identifier: Apache-2.0
// One row, or all rows of a tile, to native values, whatever their encoding.
#pragma once

#include "cpu/attend/avx512_vectors.hpp"

namespace mustafar::cpu {
namespace {

// Scale and zero of segment `segment` of a slot's row.
template <class M>
struct Affine {
    typename M::Vec scale, zero;
};

template <class M>
MUSTAFAR_INLINE Affine<M> affine_at(const std::byte* pair) {
    return {M::broadcast_f16(half_at(pair)), M::broadcast_f16(half_at(pair + 2))};
}

// 32 pairs (scale, zero) of f16, one per lane.
struct PairWords {
    __m512i scale, zero;
};
MUSTAFAR_INLINE PairWords split_pairs(const std::byte* pairs, Mask used = ~0U) {
    const __m512i a = _mm512_maskz_loadu_epi32(static_cast<__mmask16>(used), pairs);
    const __m512i b = _mm512_maskz_loadu_epi32(static_cast<__mmask16>(used >> 16), pairs + 64);
    const __m512i low = _mm512_set1_epi32(0xFFFF);
    const auto pack = [](__m512i x, __m512i y) { // dwords below 65536 to words, in order
        const __m512i lo = _mm512_castsi256_si512(_mm512_cvtepi32_epi16(x));
        return _mm512_inserti64x4(lo, _mm512_cvtepi32_epi16(y), 1);
    };
    return {pack(_mm512_and_si512(a, low), _mm512_and_si512(b, low)),
            pack(_mm512_srli_epi32(a, 16), _mm512_srli_epi32(b, 16))};
}

template <class M>
MUSTAFAR_INLINE Affine<M> affine_of(const Rows& rows, U32 slot, U32 segment) {
    if (rows.form == Rows::Form::channel) {
        const PairWords words =
            split_pairs(rows.meta + std::size_t{segment} * 128, lanes(rows.d, segment));
        return {M::from_words(words.scale, false), M::from_words(words.zero, false)};
    }
    const std::byte* meta = rows.meta + std::size_t{slot} * rows.meta_stride;
    return affine_at<M>(rows.group != 0 ? meta + segment * 32 / rows.group * 4 : meta);
}

template <class M>
MUSTAFAR_INLINE void window_row(const Rows& rows, U32 slot, typename M::Native* out) {
    const std::byte* row = codes_of(rows, slot);
    const bool marked = rows.marks != nullptr && ((rows.marks[slot] >> rows.mark_bit) & 1U) != 0;
    for (U32 s = 0; s < segments(rows.d); ++s) {
        const Mask all = lanes(rows.d, s);
        const __m512i words = _mm512_maskz_loadu_epi16(all, row + s * 64);
        typename M::Vec v = M::from_words(words, rows.bf16);
        if (marked) {
            Mask kept = all;
            std::uint8_t bits[4] = {};
            for (U32 b = 0; b < 4 && s * 4 + b < rows.d / 8U; ++b) {
                bits[b] = rows.mark_bits[std::size_t{slot} * (rows.d / 8U) + s * 4 + b];
            }
            kept = bits_at(reinterpret_cast<const std::byte*>(bits));
            Pair mu{_mm512_setzero_ps(), _mm512_setzero_ps()};
            if (rows.centre != nullptr) {
                mu.lo = _mm512_maskz_loadu_ps(static_cast<__mmask16>(all), rows.centre + s * 32);
                mu.hi = _mm512_maskz_loadu_ps(static_cast<__mmask16>(all >> 16),
                                              rows.centre + s * 32 + 16);
            }
            v = M::select(kept, v, M::from_floats(mu));
        }
        M::store(out + s * 32, v);
    }
}

// The words of a row's codes, one after the other, into scratch.
MUSTAFAR_INLINE const std::byte* spread_codes(const Rows& rows, const std::byte* codes, U32 count,
                                              std::byte* scratch) {
    with_bits(rows.bits, [&](auto bits) {
        for (U32 i = 0; i * 32 < count; ++i) {
            _mm512_storeu_si512(scratch + i * 64, codes_at<decltype(bits)::value>(codes, i));
        }
    });
    return scratch;
}

// All of a row's d values (0 where pruned), and zeros up to a whole segment.
template <class M>
inline void expand_row(const Rows& rows, U32 slot, const Scratch& scratch,
                       typename M::Native* out) {
    if (rows.form == Rows::Form::window) {
        window_row<M>(rows, slot, out);
        return;
    }
    const U32 bitmap_bytes = rows.d / 8U;
    const std::byte* bitmap =
        rows.bitmaps != nullptr ? rows.bitmaps + std::size_t{slot} * bitmap_bytes : nullptr;
    const std::byte* words = codes_of(rows, slot);
    if (rows.bits !=
        16) { // no further than the row's own codes: what follows may be the page's end
        U32 kept = bitmap == nullptr ? rows.d : 0;
        for (U32 s = 0; bitmap != nullptr && s < segments(rows.d); ++s) {
            kept += count_bits(lanes(rows.d, s) & bits_at(bitmap + s * 4));
        }
        words = spread_codes(rows, words, kept, scratch.codes);
    }
    for (U32 s = 0; s < segments(rows.d); ++s) {
        Mask mask = lanes(rows.d, s);
        if (bitmap != nullptr) { mask &= bits_at(bitmap + s * 4); }
        const __m512i w = _mm512_maskz_expand_epi16(mask, load_words(words));
        words += std::size_t{count_bits(mask)} * 2;
        typename M::Vec v = M::zero();
        if (rows.bits == 16) {
            v = M::from_words(w, rows.bf16);
        } else {
            const Affine<M> affine = affine_of<M>(rows, slot, s);
            v = M::fma_where(mask, M::from_codes(w), affine.scale, affine.zero);
        }
        M::store(out + s * 32, v);
    }
}

// Every slot somebody looks at, to scratch.rows [32][stride]; returns the stride. Others are zeros
// where `all` asks for it.
template <class M>
inline U32 expand_tile(const Rows& rows, U32 slots, bool all, const Scratch& scratch) {
    auto* out = reinterpret_cast<typename M::Native*>(scratch.rows);
    const U32 stride = segments(rows.d) * 32;
    for (U32 slot = 0; slot < tile_rows; ++slot) {
        if (((slots >> slot) & 1U) != 0) {
            expand_row<M>(rows, slot, scratch, out + std::size_t{slot} * stride);
        } else if (all) {
            for (U32 s = 0; s < stride; s += 32) {
                M::store(out + std::size_t{slot} * stride + s, M::zero());
            }
        }
    }
    return stride;
}

} // namespace
} // namespace mustafar::cpu
