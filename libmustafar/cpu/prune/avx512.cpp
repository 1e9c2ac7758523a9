// SPDX-License-Identifier: Apache-2.0
// 64 channels to a comparison, whose result is a mask that is counted.
#include "cpu/lanes_avx512.hpp"
#include "cpu/prune/select.hpp"
#include "cpu/rows.hpp"

namespace mustafar::cpu {
namespace {

struct Prune512 : Avx512 {
    using Bytes = __m512i;
    static MUSTAFAR_INLINE Bytes load_bytes(const U8* at, U64 open) {
        return _mm512_maskz_loadu_epi8(open, at);
    }
    static MUSTAFAR_INLINE Bytes all_bytes(U32 x) { return _mm512_set1_epi8(static_cast<char>(x)); }
    static MUSTAFAR_INLINE U64 bytes_at_least(Bytes a, Bytes b) {
        return _mm512_cmpge_epu8_mask(a, b);
    }
    static MUSTAFAR_INLINE U64 bytes_same(Bytes a, Bytes b) { return _mm512_cmpeq_epu8_mask(a, b); }

    // The high and the low byte of each magnitude.
    static MUSTAFAR_INLINE void split_halves(const std::uint16_t* row, U32 d,
                                             U8 (&bytes)[2][max_head_dim]) {
        alignas(64) static constexpr struct Even {
            U8 at[64];
            constexpr Even() : at{} {
                for (U32 i = 0; i < 64; ++i) { at[i] = static_cast<U8>(2 * i); }
            }
        } even;
        const __m512i low = _mm512_load_si512(even.at);
        const __m512i high = _mm512_or_si512(low, _mm512_set1_epi8(1));
        for (U32 c = 0; c < d; c += 64) {
            const U64 there = low_bits(d - c);
            const __m512i a = _mm512_maskz_loadu_epi16(static_cast<U32>(there), row + c);
            const __m512i b = _mm512_maskz_loadu_epi16(static_cast<U32>(there >> 32), row + c + 32);
            const __m512i upper = _mm512_permutex2var_epi8(a, high, b);
            _mm512_store_si512(bytes[0] + c, _mm512_and_si512(upper, _mm512_set1_epi8(0x7F)));
            _mm512_store_si512(bytes[1] + c, _mm512_permutex2var_epi8(a, low, b));
        }
    }

    static MUSTAFAR_INLINE Ints lane_numbers() {
        return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    }
    static MUSTAFAR_INLINE Ints differ(Ints a, Ints b) { return _mm512_xor_si512(a, b); }
    static MUSTAFAR_INLINE Ints permute(Ints x, Ints from) {
        return _mm512_permutexvar_epi32(from, x);
    }
    static MUSTAFAR_INLINE bool overlap(Ints a, Ints b) {
        return _mm512_test_epi32_mask(a, b) != 0;
    }
};

} // namespace
} // namespace mustafar::cpu

namespace mustafar {

void prune_avx512(const PruneArgs& args) { cpu::prune_rows<cpu::Prune512>(args); }

} // namespace mustafar
