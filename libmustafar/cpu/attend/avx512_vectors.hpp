// SPDX-License-Identifier: Apache-2.0
// 32 lanes in AVX-512: loads, prefetch, codes of few bits to words, columns out of rows, and fp32
// arithmetic (F32). The fp16 twin of F32 is in avx512fp16.cpp.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "cpu/attend/bits.hpp"

namespace mustafar::cpu {
namespace {

using Mask = __mmask32;

struct Pair { // 32 fp32 lanes
    __m512 lo, hi;
};

MUSTAFAR_INLINE U32 bits_at(const std::byte* at) {
    U32 value = 0;
    std::memcpy(&value, at, 4);
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

// Codes 32 i .. 32 i + 31 of a stream of 4 or 2 bits in the low bits of words; what is above is not theirs.
template <int Bits>
MUSTAFAR_INLINE __m512i spread_at(const std::byte* codes, std::size_t i) {
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
    return _mm512_srlv_epi16(spread, load_words(table.shifts));
}

// Codes 32 i .. 32 i + 31 of a stream as words.
template <int Bits>
MUSTAFAR_INLINE __m512i codes_at(const std::byte* codes, std::size_t i) {
    if constexpr (Bits == 8) {
        return _mm512_cvtepu8_epi16(
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + i * 32)));
    } else {
        return _mm512_and_si512(spread_at<Bits>(codes, i), _mm512_set1_epi16((1 << Bits) - 1));
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
    using Weight = float;
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
    static MUSTAFAR_INLINE Vec weight(const Weight* at) { return broadcast(at); }
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
    static MUSTAFAR_INLINE void load_weights(const float* weights, Weight* native,
                                             TileWeights<NQ>& tile) {
        for (int q = 0; q < NQ; ++q) {
            store(native + q * 32, load(weights + q * 32));
            tile.inverse[q] = 1.0F;
        }
    }
};

} // namespace
} // namespace mustafar::cpu
