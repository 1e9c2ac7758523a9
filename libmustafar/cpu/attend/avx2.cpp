// SPDX-License-Identifier: Apache-2.0
// attend_avx2: fp32 arithmetic; AVX2, FMA and F16C.
#include <immintrin.h>

#include "cpu/attend/driver.hpp"
#include "cpu/attend/fp32_tile.hpp"

namespace mustafar::cpu {
namespace {

// By a byte of a bitmap: which kept value goes to each lane, and which lanes get one.
struct Expansion {
    std::int32_t index[8];
    std::int32_t mask[8];
};
struct Expansions {
    alignas(64) Expansion of[256];
    alignas(64) U8 words[256][16]; // the same for words: bytes, 128 = none
    U8 count[256];
};
constexpr Expansions make_expansions() {
    Expansions table{};
    for (U32 byte = 0; byte < 256; ++byte) {
        std::int32_t next = 0;
        for (U32 lane = 0; lane < 8; ++lane) {
            const bool kept = ((byte >> lane) & 1U) != 0;
            table.of[byte].mask[lane] = kept ? -1 : 0;
            table.of[byte].index[lane] = next;
            const U8 from = static_cast<U8>(next * 2);
            table.words[byte][lane * 2] = kept ? from : U8{128};
            table.words[byte][lane * 2 + 1] = kept ? static_cast<U8>(from + 1) : U8{128};
            next += kept ? 1 : 0;
        }
        table.count[byte] = static_cast<U8>(next);
    }
    return table;
}
constexpr Expansions expansions = make_expansions();

struct Avx2 {
    using Vec = __m256;

    static MUSTAFAR_INLINE __m256i ints(const void* at) {
        return _mm256_loadu_si256(static_cast<const __m256i*>(at));
    }
    static MUSTAFAR_INLINE __m128i words(const void* at) {
        return _mm_loadu_si128(static_cast<const __m128i*>(at));
    }

    // In a register from here on, instead of one more load for each use.
    static MUSTAFAR_INLINE Vec once(Vec v) {
        __asm__("" : "+x"(v));
        return v;
    }

    static MUSTAFAR_INLINE Vec zero() { return _mm256_setzero_ps(); }
    static MUSTAFAR_INLINE Vec set(float x) { return _mm256_set1_ps(x); }
    static MUSTAFAR_INLINE Vec load(const float* at) { return _mm256_loadu_ps(at); }
    static MUSTAFAR_INLINE Vec broadcast(const float* at) { return _mm256_broadcast_ss(at); }
    static MUSTAFAR_INLINE void store(float* at, Vec v) { _mm256_storeu_ps(at, v); }
    static MUSTAFAR_INLINE Vec from_f16(const std::byte* at) { return _mm256_cvtph_ps(words(at)); }
    static MUSTAFAR_INLINE Vec from_bf16(const std::byte* at) {
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(words(at)), 16));
    }
    static MUSTAFAR_INLINE Vec broadcast_f16(U16 bits) {
        return _mm256_cvtph_ps(_mm_set1_epi16(static_cast<short>(bits)));
    }

    // Codes c .. c + 7 of a row; c is a multiple of 8.
    template <int Bits>
    static MUSTAFAR_INLINE Vec codes(const std::byte* at, U32 c) {
        if constexpr (Bits == 8) {
            const auto* from = reinterpret_cast<const __m128i*>(at + c);
            return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(from)));
        } else {
            std::int32_t packed = 0;
            std::memcpy(&packed, at + c * Bits / 8, 4);
            const __m256i shifts = _mm256_setr_epi32(0, Bits, 2 * Bits, 3 * Bits, 4 * Bits,
                                                     5 * Bits, 6 * Bits, 7 * Bits);
            const __m256i shifted = _mm256_srlv_epi32(_mm256_set1_epi32(packed), shifts);
            return _mm256_cvtepi32_ps(
                _mm256_and_si256(shifted, _mm256_set1_epi32((1 << Bits) - 1)));
        }
    }
    // Eight pairs (scale, zero) of f16.
    static MUSTAFAR_INLINE void load_pairs(const std::byte* at, Vec& scale, Vec& zero) {
        const __m128i a = words(at);
        const __m128i b = words(at + 16);
        const __m128i low = _mm_set1_epi32(0xFFFF);
        scale = _mm256_cvtph_ps(_mm_packus_epi32(_mm_and_si128(a, low), _mm_and_si128(b, low)));
        zero = _mm256_cvtph_ps(_mm_packus_epi32(_mm_srli_epi32(a, 16), _mm_srli_epi32(b, 16)));
    }

    static MUSTAFAR_INLINE U32 count(U32 byte) { return expansions.count[byte]; }
    // The kept values from `at` on to the lanes whose bit is set, 0 to the others.
    static MUSTAFAR_INLINE Vec expand(const float* at, U32 byte) {
        const Expansion& by = expansions.of[byte];
        const Vec moved = _mm256_permutevar8x32_ps(load(at), ints(by.index));
        return _mm256_and_ps(moved, _mm256_castsi256_ps(ints(by.mask)));
    }
    template <bool Bf16>
    static MUSTAFAR_INLINE Vec expand_words(const std::byte* at, U32 byte) {
        const __m128i moved = _mm_shuffle_epi8(words(at), words(expansions.words[byte]));
        if (!Bf16) { return _mm256_cvtph_ps(moved); }
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(moved), 16));
    }
    static MUSTAFAR_INLINE Vec mask(U32 byte) {
        return _mm256_castsi256_ps(ints(expansions.of[byte].mask));
    }

    static MUSTAFAR_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
    static MUSTAFAR_INLINE Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
    static MUSTAFAR_INLINE Vec sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
    static MUSTAFAR_INLINE Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
    static MUSTAFAR_INLINE Vec div(Vec a, Vec b) { return _mm256_div_ps(a, b); }
    static MUSTAFAR_INLINE Vec min(Vec a, Vec b) { return _mm256_min_ps(a, b); }
    static MUSTAFAR_INLINE Vec max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
    static MUSTAFAR_INLINE Vec round(Vec x) {
        return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    }
    // 2^n, n whole and in the range of normal numbers.
    static MUSTAFAR_INLINE Vec power2(Vec n) {
        const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
        return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
    }

    // Masks are lanes of ones.
    static MUSTAFAR_INLINE Vec at_least(Vec a, Vec b) { return _mm256_cmp_ps(a, b, _CMP_GE_OQ); }
    static MUSTAFAR_INLINE Vec above(Vec a, Vec b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
    static MUSTAFAR_INLINE Vec equal(Vec a, Vec b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
    static MUSTAFAR_INLINE Vec keep(Vec mask, Vec x) { return _mm256_and_ps(mask, x); }
    static MUSTAFAR_INLINE Vec select(Vec mask, Vec yes, Vec no) {
        return _mm256_blendv_ps(no, yes, mask);
    }
    static MUSTAFAR_INLINE U32 bits(Vec mask) { return static_cast<U32>(_mm256_movemask_ps(mask)); }

    static MUSTAFAR_INLINE float first(Vec v) { return _mm256_cvtss_f32(v); }
    static MUSTAFAR_INLINE float reduce_add(Vec v) {
        __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
        x = _mm_add_ps(x, _mm_movehl_ps(x, x));
        return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
    }
    static MUSTAFAR_INLINE float reduce_max(Vec v) {
        __m128 x = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
        x = _mm_max_ps(x, _mm_movehl_ps(x, x));
        return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
    }
    // The sums of four vectors.
    static MUSTAFAR_INLINE void sum4(Vec a, Vec b, Vec c, Vec d, float* to) {
        const Vec sums = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
        _mm_storeu_ps(to, _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1)));
    }
    // [4][4] to four rows that are 32 floats apart.
    static MUSTAFAR_INLINE void split4(const float* from, float* to) {
        __m128 a = _mm_loadu_ps(from);
        __m128 b = _mm_loadu_ps(from + 4);
        __m128 c = _mm_loadu_ps(from + 8);
        __m128 d = _mm_loadu_ps(from + 12);
        _MM_TRANSPOSE4_PS(a, b, c, d);
        _mm_storeu_ps(to, a);
        _mm_storeu_ps(to + tile_rows, b);
        _mm_storeu_ps(to + 2 * tile_rows, c);
        _mm_storeu_ps(to + 3 * tile_rows, d);
    }
};

} // namespace
} // namespace mustafar::cpu

namespace mustafar {

void attend_avx2(const AttendArgs& args) {
    cpu::attend_part(args, nullptr, cpu::tile_ops<cpu::Avx2>);
}

} // namespace mustafar
