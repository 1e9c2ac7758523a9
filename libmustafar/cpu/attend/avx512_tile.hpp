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

#include <immintrin.h>

#include <cstring>
#include <type_traits>

#include "cpu/attend/tile.hpp"

namespace mustafar::cpu {
namespace {

#define MUSTAFAR_INLINE inline __attribute__((always_inline))

using Mask = __mmask32;
using U32 = std::uint32_t;
using U16 = std::uint16_t;

struct Pair { // 32 fp32 lanes
    __m512 lo, hi;
};

MUSTAFAR_INLINE U32 bits_at(const std::byte* at) {
    U32 value = 0;
    std::memcpy(&value, at, 4);
    return value;
}
MUSTAFAR_INLINE U16 half_at(const std::byte* at) {
    U16 value = 0;
    std::memcpy(&value, at, 2);
    return value;
}
MUSTAFAR_INLINE U32 count_bits(U32 mask) { return static_cast<U32>(__builtin_popcount(mask)); }
MUSTAFAR_INLINE U32 lowest(U32 mask) { return static_cast<U32>(__builtin_ctz(mask)); }
constexpr U32 segments(U32 d) { return (d + 31) / 32; }
// Which lanes of a segment are channels.
MUSTAFAR_INLINE U32 lanes(U32 d, U32 segment) {
    const U32 rest = d - segment * 32;
    return rest >= 32 ? ~0U : (1U << rest) - 1U;
}
MUSTAFAR_INLINE __m512i load_words(const void* at) { return _mm512_loadu_si512(at); }
MUSTAFAR_INLINE __m256i low_half(__m512i words) { return _mm512_castsi512_si256(words); }
MUSTAFAR_INLINE __m256i high_half(__m512i words) { return _mm512_extracti64x4_epi64(words, 1); }

// ---- codes of 8, 4 or 2 bits -------------------------------------------------------------------

struct SpreadTable { // byte of each word within its 128-bit lane, and the shift behind it
    alignas(64) std::uint8_t bytes[64];
    alignas(64) U16 shifts[32];
};
constexpr SpreadTable spread_table(U32 bits) {
    SpreadTable table{};
    const U32 per_byte = 8 / bits;
    for (U32 word = 0; word < 32; ++word) {
        table.bytes[2 * word] = static_cast<std::uint8_t>(word / per_byte);
        table.bytes[2 * word + 1] = 0x80; // reads as 0
        table.shifts[word] = static_cast<U16>(word % per_byte * bits);
    }
    return table;
}
constexpr SpreadTable spread4 = spread_table(4);
constexpr SpreadTable spread2 = spread_table(2);

// Fetches evenly over `steps` steps.
class Fetch {
  public:
    MUSTAFAR_INLINE Fetch(const Ahead& ahead, U32 steps)
        : at_(ahead.at != nullptr ? reinterpret_cast<const char*>(ahead.at)
                                  : reinterpret_cast<const char*>(&spread4)),
          stride_((ahead.bytes + steps - 1) / steps) {}
    MUSTAFAR_INLINE void step() {
        _mm_prefetch(at_, _MM_HINT_T0);
        if (stride_ > 64) { _mm_prefetch(at_ + 64, _MM_HINT_T0); } // dense rows, few steps
        at_ += stride_;
    }

  private:
    const char* at_; // where nothing is to be fetched: something that is there already
    std::size_t stride_;
};

// Codes 32 i .. 32 i + 31 of a stream as words.
template <int Bits>
MUSTAFAR_INLINE __m512i codes_at(const std::byte* codes, std::size_t i) {
    if constexpr (Bits == 8) {
        return _mm512_cvtepu8_epi16(
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + i * 32)));
    } else {
        const SpreadTable& table = Bits == 4 ? spread4 : spread2;
        __m512i packed;
        if constexpr (Bits == 4) {
            packed = _mm512_broadcast_i32x4(
                _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + i * 16)));
        } else {
            packed = _mm512_broadcastq_epi64(
                _mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + i * 8)));
        }
        const __m512i spread = _mm512_shuffle_epi8(packed, load_words(table.bytes));
        const __m512i shifted = _mm512_srlv_epi16(spread, load_words(table.shifts));
        return _mm512_and_si512(shifted, _mm512_set1_epi16((1 << Bits) - 1));
    }
}

// Calls use(std::integral_constant) with the number of bits as a constant.
template <int Value>
struct Constant {
    static constexpr int value = Value;
};
template <typename Use>
MUSTAFAR_INLINE void with_bits(U32 bits, const Use& use) {
    switch (bits) {
    case 8:
        use(Constant<8>{});
        break;
    case 4:
        use(Constant<4>{});
        break;
    default:
        use(Constant<2>{});
        break;
    }
}

// ---- transposing rows to columns ---------------------------------------------------------------

// 16 rows of 16 dwords, `stride` bytes apart, to 16 columns.
MUSTAFAR_INLINE void transpose16(const std::byte* rows, std::size_t stride, __m512i (&out)[16]) {
    __m512i a[16];
    __m512i b[16];
    for (U32 i = 0; i < 16; ++i) { a[i] = load_words(rows + i * stride); }
    for (U32 i = 0; i < 16; i += 2) {
        b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
    for (U32 i = 0; i < 16; i += 4) {
        a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
        a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
        a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
        a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
    }
    for (U32 j = 0; j < 4; ++j) {
        b[j] = _mm512_shuffle_i32x4(a[j], a[j + 4], 0x88);
        b[j + 4] = _mm512_shuffle_i32x4(a[j], a[j + 4], 0xDD);
        b[j + 8] = _mm512_shuffle_i32x4(a[j + 8], a[j + 12], 0x88);
        b[j + 12] = _mm512_shuffle_i32x4(a[j + 8], a[j + 12], 0xDD);
    }
    for (U32 j = 0; j < 4; ++j) {
        out[j] = _mm512_shuffle_i32x4(b[j], b[j + 8], 0x88);
        out[j + 4] = _mm512_shuffle_i32x4(b[j + 4], b[j + 12], 0x88);
        out[j + 8] = _mm512_shuffle_i32x4(b[j], b[j + 8], 0xDD);
        out[j + 12] = _mm512_shuffle_i32x4(b[j + 4], b[j + 12], 0xDD);
    }
}

// [32][stride] floats to [d][32].
inline void floats_to_columns(const float* rows, std::size_t stride, U32 d, float* columns) {
    for (U32 c = 0; c < d; c += 16) {
        for (U32 half = 0; half < 2; ++half) {
            __m512i out[16];
            transpose16(reinterpret_cast<const std::byte*>(rows + half * 16 * stride + c),
                        stride * 4, out);
            const U32 count = d - c < 16 ? d - c : 16;
            for (U32 i = 0; i < count; ++i) {
                _mm512_storeu_si512(columns + std::size_t{c + i} * 32 + half * 16, out[i]);
            }
        }
    }
}

// What the weights were multiplied by so that half precision neither overflows nor loses small ones.
template <int NQ>
struct TileWeights {
    float inverse[NQ];
};

// ---- fp32 arithmetic ---------------------------------------------------------------------------

struct F32 {
    using Native = float;
    using Vec = Pair;
    static constexpr U32 value_segments = 2; // of V, in registers at a time
    static constexpr bool half = false;
    static constexpr bool codes = false; // integer arithmetic where rows allow it

    static MUSTAFAR_INLINE Vec zero() { return {_mm512_setzero_ps(), _mm512_setzero_ps()}; }
    static MUSTAFAR_INLINE Vec load(const float* at) {
        return {_mm512_loadu_ps(at), _mm512_loadu_ps(at + 16)};
    }
    static MUSTAFAR_INLINE void store(float* at, Vec v) {
        _mm512_storeu_ps(at, v.lo);
        _mm512_storeu_ps(at + 16, v.hi);
    }
    static MUSTAFAR_INLINE Vec from_f16(__m512i words) {
        return {_mm512_cvtph_ps(low_half(words)), _mm512_cvtph_ps(high_half(words))};
    }
    static MUSTAFAR_INLINE Vec from_words(__m512i words, bool bf16) {
        if (!bf16) { return from_f16(words); }
        return {
            _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(low_half(words)), 16)),
            _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(high_half(words)), 16))};
    }
    static MUSTAFAR_INLINE Vec from_codes(__m512i words) {
        return {_mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(low_half(words))),
                _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(high_half(words)))};
    }
    static MUSTAFAR_INLINE Vec from_floats(Pair x) { return x; }
    static MUSTAFAR_INLINE Vec broadcast(const float* at) {
        const __m512 x = _mm512_set1_ps(*at);
        return {x, x};
    }
    static MUSTAFAR_INLINE Vec broadcast_f16(U16 bits) {
        const __m512 x = _mm512_cvtph_ps(_mm256_set1_epi16(static_cast<short>(bits)));
        return {x, x};
    }
    static MUSTAFAR_INLINE Vec fma(Vec a, Vec b, Vec c) {
        return {_mm512_fmadd_ps(a.lo, b.lo, c.lo), _mm512_fmadd_ps(a.hi, b.hi, c.hi)};
    }
    // a * b + c where the mask is set, else 0
    static MUSTAFAR_INLINE Vec fma_where(Mask mask, Vec a, Vec b, Vec c) {
        return {_mm512_maskz_fmadd_ps(static_cast<__mmask16>(mask), a.lo, b.lo, c.lo),
                _mm512_maskz_fmadd_ps(static_cast<__mmask16>(mask >> 16), a.hi, b.hi, c.hi)};
    }
    static MUSTAFAR_INLINE Vec select(Mask mask, Vec yes, Vec no) {
        return {_mm512_mask_blend_ps(static_cast<__mmask16>(mask), no.lo, yes.lo),
                _mm512_mask_blend_ps(static_cast<__mmask16>(mask >> 16), no.hi, yes.hi)};
    }
    static MUSTAFAR_INLINE Pair to_f32(Vec v) { return v; }
    // Codes as they are kept until they are expanded: integers in words.
    static MUSTAFAR_INLINE __m512i keep_codes(__m512i words) { return words; }
    static MUSTAFAR_INLINE Vec kept_codes(__m512i words) { return from_codes(words); }
    static MUSTAFAR_INLINE float to_native(float x) { return x; }
    static void to_columns(const float* rows, std::size_t stride, U32 d, float* columns) {
        floats_to_columns(rows, stride, d, columns);
    }
    static MUSTAFAR_INLINE float query_factor(const float*, U32) { return 1.0F; }
    template <int NQ>
    static MUSTAFAR_INLINE void load_weights(const float* weights, float* native,
                                             TileWeights<NQ>& tile) {
        for (int q = 0; q < NQ; ++q) {
            store(native + q * 32, load(weights + q * 32));
            tile.inverse[q] = 1.0F;
        }
    }
};

// ---- one row to native values ------------------------------------------------------------------

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

MUSTAFAR_INLINE const std::byte* codes_of(const Rows& rows, U32 slot) {
    if (rows.form == Rows::Form::ragged) { return rows.codes + half_at(rows.offsets + slot * 2); }
    return rows.codes + std::size_t{slot} * rows.code_stride;
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

#include "cpu/attend/avx512_codes.hpp"

namespace mustafar::cpu {
namespace {

// ---- scores ------------------------------------------------------------------------------------
// A source yields the 32 tokens' values of channel 0, 1, 2, ...

template <class M>
struct NativeColumns {
    const typename M::Native* at;
    MUSTAFAR_INLINE typename M::Vec next(U32) {
        const auto v = M::load(at);
        at += 32;
        return v;
    }
};

template <class M>
struct DenseWords { // 16 bits, nothing pruned
    const std::byte* at;
    bool bf16;
    MUSTAFAR_INLINE typename M::Vec next(U32) {
        const auto v = M::from_words(load_words(at), bf16);
        at += 64;
        return v;
    }
};

template <class M>
struct SparseWords { // 16 bits
    const std::byte* masks;
    const std::byte* at;
    bool bf16;
    MUSTAFAR_INLINE typename M::Vec next(U32 channel) {
        const Mask mask = bits_at(masks + channel * 4);
        const auto v = M::from_words(_mm512_maskz_expand_epi16(mask, load_words(at)), bf16);
        at += std::size_t{count_bits(mask)} * 2;
        return v;
    }
};

template <class M>
struct SparseCodes { // codes that keep_codes made, one after the other
    const std::byte* masks;
    const std::byte* at;
    Affine<M> affine; // of the 32 tokens
    MUSTAFAR_INLINE typename M::Vec next(U32 channel) {
        const Mask mask = bits_at(masks + channel * 4);
        const auto x = M::kept_codes(_mm512_maskz_expand_epi16(mask, load_words(at)));
        at += std::size_t{count_bits(mask)} * 2;
        return M::fma_where(mask, x, affine.scale, affine.zero);
    }
};

template <class M, int Bits>
struct DenseCodes {
    const std::byte* codes;
    Affine<M> affine;
    MUSTAFAR_INLINE typename M::Vec next(U32 channel) {
        return M::fma(M::from_codes(codes_at<Bits>(codes, channel)), affine.scale, affine.zero);
    }
};

// scores[q][32] = sum over channels; queries are [d][NQ]. Two sets of sums hide the latency; they are
// added to fp32 sums every 32 channels.
template <class M, int NQ, class Source>
inline void score_columns(Source source, U32 d, const typename M::Native* queries, float* scores,
                          const Ahead& ahead) {
    Fetch fetch(ahead, d);
    Pair total[NQ];
    for (int q = 0; q < NQ; ++q) { total[q] = {_mm512_setzero_ps(), _mm512_setzero_ps()}; }
    for (U32 first = 0; first < d; first += 32) {
        const U32 end = first + 32 < d ? first + 32 : d;
        typename M::Vec even[NQ];
        typename M::Vec odd[NQ];
        for (int q = 0; q < NQ; ++q) { even[q] = odd[q] = M::zero(); }
        for (U32 c = first; c < end; c += 2) { // d is a multiple of 8
            const auto a = source.next(c);
            for (int q = 0; q < NQ; ++q) {
                even[q] = M::fma(a, M::broadcast(queries + c * NQ + q), even[q]);
            }
            fetch.step();
            const auto b = source.next(c + 1);
            for (int q = 0; q < NQ; ++q) {
                odd[q] = M::fma(b, M::broadcast(queries + (c + 1) * NQ + q), odd[q]);
            }
            fetch.step();
        }
        for (int q = 0; q < NQ; ++q) {
            const Pair x = M::to_f32(even[q]);
            const Pair y = M::to_f32(odd[q]);
            total[q].lo = _mm512_add_ps(total[q].lo, _mm512_add_ps(x.lo, y.lo));
            total[q].hi = _mm512_add_ps(total[q].hi, _mm512_add_ps(x.hi, y.hi));
        }
    }
    for (int q = 0; q < NQ; ++q) {
        _mm512_storeu_ps(scores + q * 32, total[q].lo);
        _mm512_storeu_ps(scores + q * 32 + 16, total[q].hi);
    }
}

template <class M, class Source>
inline void score_queries(Source source, U32 d, const std::byte* native, U32 n, float* scores,
                          const Scratch& scratch, const Ahead& ahead) {
    const auto* queries = reinterpret_cast<const typename M::Native*>(native);
    if (n == 1) {
        score_columns<M, 1>(source, d, queries, scores, ahead);
    } else if (n == 2) {
        score_columns<M, 2>(source, d, queries, scores, ahead);
    } else if (n == 4) {
        score_columns<M, 4>(source, d, queries, scores, ahead);
    } else {
        auto* columns = reinterpret_cast<typename M::Native*>(scratch.columns);
        Fetch fetch(ahead, d);
        for (U32 c = 0; c < d; ++c) {
            M::store(columns + c * 32, source.next(c));
            fetch.step();
        }
        for (U32 q = 0; q < n; q += 4) {
            score_columns<M, 4>(NativeColumns<M>{columns}, d, queries + std::size_t{q} * d,
                                scores + q * 32, Ahead{});
        }
    }
}

template <class M>
inline void score_codes(const Rows& k, const std::byte* native, U32 n, float* scores,
                        const Scratch& scratch, const Ahead& ahead) {
    const PairWords words = split_pairs(k.meta);
    const Affine<M> affine{M::from_f16(words.scale), M::from_f16(words.zero)};
    with_bits(k.bits, [&](auto bits) {
        constexpr int Bits = decltype(bits)::value;
        if (k.bitmaps == nullptr) {
            score_queries<M>(DenseCodes<M, Bits>{k.codes, affine}, k.d, native, n, scores, scratch,
                             ahead);
            return;
        }
        for (U32 i = 0; i < k.keep; ++i) { // 32 rows of `keep` codes
            _mm512_storeu_si512(scratch.codes + i * 64, M::keep_codes(codes_at<Bits>(k.codes, i)));
        }
        score_queries<M>(SparseCodes<M>{k.bitmaps, scratch.codes, affine}, k.d, native, n, scores,
                         scratch, ahead);
    });
}

template <class M>
void score(const Rows& k, const std::byte* native, U32 n, float* scores, const Scratch& scratch,
           const Ahead& ahead) {
    if (M::codes && has_code_rows(k)) {
        auto* queries = const_cast<std::byte*>(native);
        if (k.bits == 4) {
            score_codes_of<4>(k, queries, n, scores, ahead);
        } else {
            score_codes_of<2>(k, queries, n, scores, ahead);
        }
        return;
    }
    if (k.form == Rows::Form::columns && k.bits != 16) {
        score_codes<M>(k, native, n, scores, scratch, ahead);
    } else if (k.form == Rows::Form::columns && k.bitmaps != nullptr) {
        score_queries<M>(SparseWords<M>{k.bitmaps, k.codes, k.bf16}, k.d, native, n, scores,
                         scratch, ahead);
    } else if (k.form == Rows::Form::columns) {
        score_queries<M>(DenseWords<M>{k.codes, k.bf16}, k.d, native, n, scores, scratch, ahead);
    } else {
        const U32 stride = expand_tile<M>(k, k.slots, true, scratch);
        auto* columns = reinterpret_cast<typename M::Native*>(scratch.columns);
        M::to_columns(reinterpret_cast<const typename M::Native*>(scratch.rows), stride, k.d,
                      columns);
        const auto* queries = reinterpret_cast<const typename M::Native*>(native);
        if (n < 4) {
            score_queries<M>(NativeColumns<M>{columns}, k.d, native, n, scores, scratch, ahead);
            return;
        }
        for (U32 q = 0; q < n; q += 4) {
            score_columns<M, 4>(NativeColumns<M>{columns}, k.d, queries + std::size_t{q} * k.d,
                                scores + q * 32, q == 0 ? ahead : Ahead{});
        }
    }
}

// ---- softmax -----------------------------------------------------------------------------------

// Weights below e^-45 of the largest are 0: a million of them are 3e-14 of the sum. Without that their
// products would be subnormal, and each would cost an assist.
constexpr float least_exponent = -45.0F;

// e^x for x up to 80: 2^n e^r, |r| <= ln 2 / 2, Taylor to degree 6: below 2^-22 relative.
MUSTAFAR_INLINE __m512 exponential(__m512 x) {
    const __mmask16 counts = _mm512_cmp_ps_mask(x, _mm512_set1_ps(least_exponent), _CMP_GE_OQ);
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504F)), 0);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375F), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4F), r);
    __m512 p = _mm512_set1_ps(1.0F / 720.0F);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F / 120.0F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F / 24.0F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F / 6.0F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F));
    return _mm512_maskz_scalef_ps(counts, p, n);
}

// softcap * tanh(s / softcap), tanh(y) = 1 - 2 / (e^2y + 1)
MUSTAFAR_INLINE __m512 cap(__m512 s, float softcap) {
    const __m512 one = _mm512_set1_ps(1.0F);
    const __m512 y = _mm512_mul_ps(s, _mm512_set1_ps(2.0F / softcap));
    const __m512 e = exponential(_mm512_min_ps(y, _mm512_set1_ps(80.0F)));
    const __m512 t = _mm512_sub_ps(one, _mm512_div_ps(_mm512_set1_ps(2.0F), _mm512_add_ps(e, one)));
    return _mm512_mul_ps(t, _mm512_set1_ps(softcap));
}

U32 weigh(float* scores, float* weights, U32 visible, Softmax& state) {
    const auto low = static_cast<__mmask16>(visible);
    const auto high = static_cast<__mmask16>(visible >> 16);
    const __m512 scale = _mm512_set1_ps(state.scale);
    const __m512 offset = _mm512_set1_ps(state.offset);
    Pair s{_mm512_fmadd_ps(_mm512_loadu_ps(scores), scale, offset),
           _mm512_fmadd_ps(_mm512_loadu_ps(scores + 16), scale, offset)};
    constexpr int not_finite = 0x99; // NaN, +inf, -inf
    if ((_mm512_mask_fpclass_ps_mask(low, s.lo, not_finite) |
         _mm512_mask_fpclass_ps_mask(high, s.hi, not_finite)) != 0) {
        state.max = __builtin_nanf("");
        return 0;
    }
    if (state.softcap != 0.0F) { s = {cap(s.lo, state.softcap), cap(s.hi, state.softcap)}; }
    _mm512_storeu_ps(scores, s.lo);
    _mm512_storeu_ps(scores + 16, s.hi);
    if (visible == 0) {
        _mm512_storeu_ps(weights, _mm512_setzero_ps());
        _mm512_storeu_ps(weights + 16, _mm512_setzero_ps());
        state.correction = 1.0F;
        return 0;
    }
    const __m512 least = _mm512_set1_ps(-__builtin_inff());
    const float tile = _mm512_reduce_max_ps(
        _mm512_max_ps(_mm512_mask_mov_ps(least, low, s.lo), _mm512_mask_mov_ps(least, high, s.hi)));
    const float max = tile > state.max ? tile : state.max;
    const __m512 maximum = _mm512_set1_ps(max);
    const Pair w{_mm512_maskz_mov_ps(low, exponential(_mm512_sub_ps(s.lo, maximum))),
                 _mm512_maskz_mov_ps(high, exponential(_mm512_sub_ps(s.hi, maximum)))};
    state.correction =
        max == state.max ? 1.0F : _mm512_cvtss_f32(exponential(_mm512_set1_ps(state.max - max)));
    state.max = max;
    state.sum = state.sum * state.correction + _mm512_reduce_add_ps(_mm512_add_ps(w.lo, w.hi));
    state.dropped *= state.correction;
    _mm512_storeu_ps(weights, w.lo);
    _mm512_storeu_ps(weights + 16, w.hi);
    const __m512 least_needed = _mm512_set1_ps(state.drop * state.sum);
    constexpr int compare = _CMP_GT_OQ; // a weight of 0 needs no value either
    return _mm512_mask_cmp_ps_mask(low, w.lo, least_needed, compare) |
           static_cast<U32>(_mm512_mask_cmp_ps_mask(high, w.hi, least_needed, compare)) << 16;
}

// ---- values ------------------------------------------------------------------------------------
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
                       const typename M::Native* weights, const TileWeights<NQ>& tile,
                       const Softmax* states, float* out, U32 out_stride, Fetch& fetch) {
    const U32 last = lanes(d, segment + S - 1);
    typename M::Vec sums[NQ][S];
    for (int q = 0; q < NQ; ++q) {
        for (int s = 0; s < S; ++s) { sums[q][s] = M::zero(); }
    }
    for (U32 rest = needed; rest != 0; rest &= rest - 1) {
        const U32 slot = lowest(rest);
        const std::byte* at = starts.at[slot];
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
            for (int q = 0; q < NQ; ++q) {
                sums[q][s] = M::fma(v, M::broadcast(weights + q * 32 + slot), sums[q][s]);
            }
            fetch.step();
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
    alignas(64) typename M::Native native[tile_rows * NQ];
    TileWeights<NQ> tile;
    M::template load_weights<NQ>(weights, native, tile);
    const U32 total = segments(d);
    Fetch fetch(ahead, total * tile_rows);
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
template <class M>
inline U32 dequantize_rows(const Rows& v, U32 needed, const Scratch& scratch) {
    const U32 steps = segments(v.keep);
    with_bits(v.bits, [&](auto bits) {
        for (U32 rest = needed; rest != 0; rest &= rest - 1) {
            const U32 slot = lowest(rest);
            const Affine<M> affine = affine_at<M>(v.meta + std::size_t{slot} * v.meta_stride);
            const std::byte* codes = v.codes + std::size_t{slot} * v.code_stride;
            std::byte* to = scratch.codes + std::size_t{slot} * steps * 64;
            for (U32 i = 0; i < steps; ++i) {
                const auto x = M::from_codes(codes_at<decltype(bits)::value>(codes, i));
                M::store(reinterpret_cast<typename M::Native*>(to + i * 64),
                         M::fma(x, affine.scale, affine.zero));
            }
        }
    });
    return steps * 64;
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
        const U32 stride = dequantize_rows<M>(v, needed, scratch);
        start_rows(scratch.codes, stride);
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
