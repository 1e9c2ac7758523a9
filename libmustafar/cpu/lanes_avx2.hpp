// SPDX-License-Identifier: Apache-2.0
// Rows of halves or floats, 8 lanes at a time, with AVX2. Included by kernels of that set alone;
// everything has internal linkage. Head sizes are multiples of 8: there are no partial vectors.
#pragma once

#include <immintrin.h>

#include "core/kernels.hpp"

namespace mustafar::cpu {
namespace {

#define MUSTAFAR_INLINE inline __attribute__((always_inline))

struct Avx2 {
    static constexpr std::uint32_t lanes = 8;
    using Floats = __m256;
    using Ints = __m256i;
    using Bits = __m256i; // all or no bits of a lane

    static MUSTAFAR_INLINE Floats load(const float* at) { return _mm256_loadu_ps(at); }
    static MUSTAFAR_INLINE void store(float* at, Floats x) { _mm256_storeu_ps(at, x); }
    static MUSTAFAR_INLINE Floats all(float x) { return _mm256_set1_ps(x); }
    static MUSTAFAR_INLINE Floats min(Floats a, Floats b) { return _mm256_min_ps(a, b); }
    static MUSTAFAR_INLINE Floats max(Floats a, Floats b) { return _mm256_max_ps(a, b); }
    static MUSTAFAR_INLINE float least(Floats x) {
        const __m128 four = _mm_min_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
        const __m128 two = _mm_min_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_min_ss(two, _mm_movehdup_ps(two)));
    }
    static MUSTAFAR_INLINE float largest(Floats x) {
        const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
        const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
    }
    static MUSTAFAR_INLINE Floats magnitude(Floats x) {
        return _mm256_and_ps(x, _mm256_castsi256_ps(_mm256_set1_epi32(0x7FFFFFFF)));
    }
    static MUSTAFAR_INLINE Ints bits_of(Floats x) { return _mm256_castps_si256(x); }
    static MUSTAFAR_INLINE Floats load(const float* at, std::uint32_t /*count*/) {
        return _mm256_loadu_ps(at);
    }
    static MUSTAFAR_INLINE Floats load_halves(const std::uint16_t* at, std::uint32_t /*count*/,
                                              Dtype store) {
        const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
        if (store == Dtype::f16) { return _mm256_cvtph_ps(halves); }
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
    }
    static MUSTAFAR_INLINE Floats subtract(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
    static MUSTAFAR_INLINE Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
    static MUSTAFAR_INLINE Bits at_least(Floats a, Floats b) {
        return _mm256_castps_si256(_mm256_cmp_ps(a, b, _CMP_GE_OQ));
    }
    // Magnitudes as integers, which order alike: none is negative.
    static MUSTAFAR_INLINE Bits above(Ints a, Ints b) { return _mm256_cmpgt_epi32(a, b); }
    static MUSTAFAR_INLINE Bits same(Ints a, Ints b) { return _mm256_cmpeq_epi32(a, b); }
    static MUSTAFAR_INLINE Ints zero() { return _mm256_setzero_si256(); }
    static MUSTAFAR_INLINE Ints all(std::int32_t x) { return _mm256_set1_epi32(x); }
    static MUSTAFAR_INLINE Ints either(Ints a, Ints b) { return _mm256_or_si256(a, b); }
    static MUSTAFAR_INLINE Ints count_up(Ints n, Bits where) { return _mm256_sub_epi32(n, where); }
    static MUSTAFAR_INLINE Ints choose(Bits where, Ints a, Ints b) {
        return _mm256_blendv_epi8(b, a, where);
    }
    static MUSTAFAR_INLINE Ints minus(Ints a, Ints b) { return _mm256_sub_epi32(a, b); }
    static MUSTAFAR_INLINE std::uint32_t mask(Bits bits) {
        return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(bits)));
    }
    static MUSTAFAR_INLINE Bits both(Bits a, Bits b) { return _mm256_and_si256(a, b); }
    static MUSTAFAR_INLINE Bits any(Bits a, Bits b) { return _mm256_or_si256(a, b); }

    // code = clamp(rint((x - zero) / scale), 0, top)
    static MUSTAFAR_INLINE Ints codes(Floats x, Floats zero, Floats scale, Floats top) {
        const Floats level = _mm256_round_ps(_mm256_div_ps(_mm256_sub_ps(x, zero), scale),
                                             _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        return _mm256_cvttps_epi32(_mm256_min_ps(_mm256_max_ps(level, _mm256_setzero_ps()), top));
    }
    static MUSTAFAR_INLINE void store_bytes(std::uint8_t* at, Ints values) { // 0 .. 255 each
        const __m128i words =
            _mm_packus_epi32(_mm256_castsi256_si128(values), _mm256_extracti128_si256(values, 1));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(at), _mm_packus_epi16(words, words));
    }
    // Rounded to nearest even, as 8 halves.
    static MUSTAFAR_INLINE __m128i to_halves(Floats x, Dtype store) {
        if (store == Dtype::f16) {
            return _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        }
        const __m256i bits = _mm256_castps_si256(x);
        const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
        const __m256i rounded = _mm256_srli_epi32(
            _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7FFF)), odd), 16);
        return _mm_packus_epi32(_mm256_castsi256_si128(rounded),
                                _mm256_extracti128_si256(rounded, 1));
    }
    static MUSTAFAR_INLINE void store_halves(std::uint16_t* at, Floats x, Dtype store) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(at), to_halves(x, store));
    }
};

} // namespace
} // namespace mustafar::cpu
