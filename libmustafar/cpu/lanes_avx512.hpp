// SPDX-License-Identifier: Apache-2.0
// Rows of halves or floats, 16 lanes at a time, with AVX-512. Included by kernels of that set alone;
// everything has internal linkage.
#pragma once

#include <immintrin.h>

#include "core/kernels.hpp"

namespace mustafar::cpu {
namespace {

#define MUSTAFAR_INLINE inline __attribute__((always_inline))

struct Avx512 {
    static constexpr std::uint32_t lanes = 16;
    using Floats = __m512;
    using Ints = __m512i;
    using Bits = __mmask16;

    static MUSTAFAR_INLINE Floats load(const float* at) { return _mm512_loadu_ps(at); }
    static MUSTAFAR_INLINE void store(float* at, Floats x) { _mm512_storeu_ps(at, x); }
    static MUSTAFAR_INLINE Floats all(float x) { return _mm512_set1_ps(x); }
    static MUSTAFAR_INLINE Floats min(Floats a, Floats b) { return _mm512_min_ps(a, b); }
    static MUSTAFAR_INLINE Floats max(Floats a, Floats b) { return _mm512_max_ps(a, b); }
    static MUSTAFAR_INLINE float least(Floats x) { return _mm512_reduce_min_ps(x); }
    static MUSTAFAR_INLINE float largest(Floats x) { return _mm512_reduce_max_ps(x); }
    static MUSTAFAR_INLINE Floats magnitude(Floats x) { return _mm512_abs_ps(x); }
    static MUSTAFAR_INLINE Ints bits_of(Floats x) { return _mm512_castps_si512(x); }
    // Lanes behind the first `count` read as 0.
    static MUSTAFAR_INLINE Floats load(const float* at, std::uint32_t count) {
        return _mm512_maskz_loadu_ps(first(count), at);
    }
    static MUSTAFAR_INLINE Floats load_halves(const std::uint16_t* at, std::uint32_t count,
                                              Dtype store) {
        const __m256i halves = _mm256_maskz_loadu_epi16(first(count), at);
        if (store == Dtype::f16) { return _mm512_cvtph_ps(halves); }
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
    }
    static MUSTAFAR_INLINE Floats subtract(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
    static MUSTAFAR_INLINE Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
    static MUSTAFAR_INLINE Bits at_least(Floats a, Floats b) {
        return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ);
    }
    // Magnitudes as integers, which order alike.
    static MUSTAFAR_INLINE Bits above(Ints a, Ints b) { return _mm512_cmpgt_epi32_mask(a, b); }
    static MUSTAFAR_INLINE Bits same(Ints a, Ints b) { return _mm512_cmpeq_epi32_mask(a, b); }
    static MUSTAFAR_INLINE Ints zero() { return _mm512_setzero_si512(); }
    static MUSTAFAR_INLINE Ints all(std::int32_t x) { return _mm512_set1_epi32(x); }
    static MUSTAFAR_INLINE Ints either(Ints a, Ints b) { return _mm512_or_si512(a, b); }
    static MUSTAFAR_INLINE Ints count_up(Ints n, Bits where) {
        return _mm512_mask_add_epi32(n, where, n, _mm512_set1_epi32(1));
    }
    static MUSTAFAR_INLINE Ints choose(Bits where, Ints a, Ints b) {
        return _mm512_mask_blend_epi32(where, b, a);
    }
    static MUSTAFAR_INLINE Ints minus(Ints a, Ints b) { return _mm512_sub_epi32(a, b); }
    static MUSTAFAR_INLINE std::uint32_t mask(Bits bits) { return bits; }
    static MUSTAFAR_INLINE Bits both(Bits a, Bits b) { return static_cast<Bits>(a & b); }
    static MUSTAFAR_INLINE Bits any(Bits a, Bits b) { return static_cast<Bits>(a | b); }

    // code = clamp(rint((x - zero) / scale), 0, top)
    static MUSTAFAR_INLINE Ints codes(Floats x, Floats zero, Floats scale, Floats top) {
        const Floats level = _mm512_roundscale_ps(_mm512_div_ps(_mm512_sub_ps(x, zero), scale),
                                                  _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        return _mm512_cvttps_epi32(_mm512_min_ps(_mm512_max_ps(level, _mm512_setzero_ps()), top));
    }
    static MUSTAFAR_INLINE void store_bytes(std::uint8_t* at, Ints values) { // 0 .. 255 each
        _mm_storeu_si128(reinterpret_cast<__m128i*>(at), _mm512_cvtepi32_epi8(values));
    }
    // Rounded to nearest even, as 16 halves.
    static MUSTAFAR_INLINE __m256i to_halves(Floats x, Dtype store) {
        if (store == Dtype::f16) {
            return _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        }
        const __m512i bits = _mm512_castps_si512(x);
        const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
        const __m512i rounded =
            _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
        return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
    }
    static MUSTAFAR_INLINE void store_halves(std::uint16_t* at, Floats x, Dtype store) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), to_halves(x, store));
    }

    static MUSTAFAR_INLINE __mmask16 first(std::uint32_t count) {
        return static_cast<__mmask16>(count >= lanes ? 0xFFFFU : (1U << count) - 1U);
    }
};

} // namespace
} // namespace mustafar::cpu
