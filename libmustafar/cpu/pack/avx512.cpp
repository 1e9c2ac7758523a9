// SPDX-License-Identifier: Apache-2.0
#include "cpu/lanes_avx512.hpp"
#include "cpu/pack/rows.hpp"
#include "cpu/rows.hpp"

namespace mustafar::cpu {
namespace {

struct Pack512 : Avx512 {
    // Bits of up to 32 channels from channel c on; a bitmap is read as far as it goes.
    static MUSTAFAR_INLINE U32 bits_at(const U8* bitmap, U32 d, U32 c) {
        U32 bits = 0;
        if (d - c >= 32) {
            std::memcpy(&bits, bitmap + c / 8, 4);
            return bits;
        }
        for (U32 i = c; i < d; i += 8) { bits |= U32{bitmap[i / 8]} << (i - c); }
        return bits;
    }
    static MUSTAFAR_INLINE U32 low_bits(U32 count) { return count >= 32 ? ~0U : (1U << count) - 1; }

    static MUSTAFAR_INLINE U32 compress_halves(const U16* row, U32 d, const U8* bitmap, U8* out) {
        U32 count = 0;
        for (U32 c = 0; c < d; c += 32) {
            const __mmask32 bits = bits_at(bitmap, d, c);
            const __m512i x = _mm512_maskz_loadu_epi16(low_bits(d - c), row + c);
            const auto here = static_cast<U32>(__builtin_popcount(bits));
            _mm512_mask_storeu_epi16(out + std::size_t{count} * 2, low_bits(here),
                                     _mm512_maskz_compress_epi16(bits, x));
            count += here;
        }
        return count;
    }
    static MUSTAFAR_INLINE U32 kept_values(const PackArgs& args, std::size_t row, const U8* bitmap,
                                           float* kept) {
        const U32 d = args.side->d;
        U32 count = 0;
        for (U32 c = 0; c < d; c += lanes) {
            const U32 bits = bitmap[c / 8] | (d - c > 8 ? U32{bitmap[c / 8 + 1]} << 8 : 0U);
            _mm512_storeu_ps(kept + count,
                             _mm512_maskz_compress_ps(static_cast<__mmask16>(bits),
                                                      values_at<Pack512>(args, row, c)));
            count += static_cast<U32>(__builtin_popcount(bits));
        }
        return count;
    }
    static MUSTAFAR_INLINE Floats load_first(const float* at, U32 count, float others) {
        return _mm512_mask_loadu_ps(_mm512_set1_ps(others), first(count), at);
    }
    static MUSTAFAR_INLINE Ints only_where_not_zero(Ints codes, Floats scale) {
        return _mm512_maskz_mov_epi32(_mm512_cmp_ps_mask(scale, _mm512_setzero_ps(), _CMP_NEQ_UQ),
                                      codes);
    }
    static MUSTAFAR_INLINE void put_bytes(U8* out, const U8* from, U32 count) {
        for (U32 i = 0; i < count; i += 64) {
            const __mmask64 there = count - i >= 64 ? ~0ULL : (1ULL << (count - i)) - 1;
            _mm512_mask_storeu_epi8(out + i, there, _mm512_maskz_loadu_epi8(there, from + i));
        }
    }
};

} // namespace
} // namespace mustafar::cpu

namespace mustafar {

void pack_avx512(const PackArgs& args) { cpu::pack_rows<cpu::Pack512>(args); }

} // namespace mustafar
