// SPDX-License-Identifier: Apache-2.0
// Without a compress instruction: a byte of the bitmap chooses a shuffle of 8 elements.
#include "cpu/lanes_avx2.hpp"
#include "cpu/pack/rows.hpp"
#include "cpu/rows.hpp"

namespace mustafar::cpu {
namespace {

struct Shuffles { // of 8 lanes: the chosen ones first, in order
    U8 lane[256][8];
    constexpr Shuffles() : lane{} {
        for (U32 bits = 0; bits < 256; ++bits) {
            U32 at = 0;
            for (U32 i = 0; i < 8; ++i) {
                if ((bits >> i & 1U) != 0) { lane[bits][at++] = static_cast<U8>(i); }
            }
        }
    }
};
alignas(64) constexpr Shuffles shuffles;

struct Pack2 : Avx2 {
    static MUSTAFAR_INLINE __m128i lanes_of(U8 bits) {
        return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(shuffles.lane[bits]));
    }
    static MUSTAFAR_INLINE U32 compress_halves(const U16* row, U32 d, const U8* bitmap, U8* out) {
        alignas(32) U16 kept[max_head_dim + slack];
        U32 count = 0;
        for (U32 c = 0; c < d; c += 8) {
            const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + c));
            // Lane i is bytes 2i and 2i + 1.
            const __m128i twice = _mm_slli_epi16(_mm_cvtepu8_epi16(lanes_of(bitmap[c / 8])), 1);
            const __m128i bytes =
                _mm_or_si128(twice, _mm_slli_epi16(_mm_or_si128(twice, _mm_set1_epi16(1)), 8));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(kept + count), _mm_shuffle_epi8(x, bytes));
            count += static_cast<U32>(__builtin_popcount(bitmap[c / 8]));
        }
        std::memcpy(out, kept, std::size_t{count} * 2);
        return count;
    }
    static MUSTAFAR_INLINE U32 kept_values(const PackArgs& args, std::size_t row, const U8* bitmap,
                                           float* kept) {
        U32 count = 0;
        for (U32 c = 0; c < args.side->d; c += lanes) {
            const __m256i from = _mm256_cvtepu8_epi32(lanes_of(bitmap[c / 8]));
            _mm256_storeu_ps(kept + count,
                             _mm256_permutevar8x32_ps(values_at<Pack2>(args, row, c), from));
            count += static_cast<U32>(__builtin_popcount(bitmap[c / 8]));
        }
        return count;
    }
    static MUSTAFAR_INLINE Floats load_first(const float* at, U32 count, float others) {
        const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        const __m256i there = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lane);
        return _mm256_blendv_ps(_mm256_set1_ps(others), _mm256_loadu_ps(at),
                                _mm256_castsi256_ps(there));
    }
    static MUSTAFAR_INLINE Ints only_where_not_zero(Ints codes, Floats scale) {
        const __m256 there = _mm256_cmp_ps(scale, _mm256_setzero_ps(), _CMP_NEQ_UQ);
        return _mm256_and_si256(codes, _mm256_castps_si256(there));
    }
    static MUSTAFAR_INLINE void put_bytes(U8* out, const U8* from, U32 count) {
        std::memcpy(out, from, count);
    }
};

} // namespace
} // namespace mustafar::cpu

namespace mustafar {

void pack_avx2(const PackArgs& args) { cpu::pack_rows<cpu::Pack2>(args); }

} // namespace mustafar
