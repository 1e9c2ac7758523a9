// SPDX-License-Identifier: Apache-2.0
#include "cpu/lanes_avx2.hpp"
#include "cpu/prune/select.hpp"
#include "cpu/rows.hpp"

namespace mustafar::cpu {
namespace {

struct Prune2 : Avx2 {
    struct Bytes {
        __m256i lo, hi;
    };
    static MUSTAFAR_INLINE __m256i load_vector(const U8* at) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    }
    // 32 bits as 32 bytes of ones or zeros.
    static MUSTAFAR_INLINE __m256i spread(U32 bits) {
        const __m256i byte_of_lane =
            _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
        const __m256i bit_of_lane =
            _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ULL));
        const __m256i bytes =
            _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(bits)), byte_of_lane);
        return _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit_of_lane), bit_of_lane);
    }
    static MUSTAFAR_INLINE Bytes load_bytes(const U8* at, U64 open) {
        return {_mm256_and_si256(load_vector(at), spread(static_cast<U32>(open))),
                _mm256_and_si256(load_vector(at + 32), spread(static_cast<U32>(open >> 32)))};
    }
    static MUSTAFAR_INLINE Bytes all_bytes(U32 x) {
        const __m256i bytes = _mm256_set1_epi8(static_cast<char>(x));
        return {bytes, bytes};
    }
    static MUSTAFAR_INLINE U64 join(__m256i lo, __m256i hi) {
        return static_cast<U32>(_mm256_movemask_epi8(lo)) |
               static_cast<U64>(static_cast<U32>(_mm256_movemask_epi8(hi))) << 32;
    }
    static MUSTAFAR_INLINE U64 bytes_same(const Bytes& a, const Bytes& b) {
        return join(_mm256_cmpeq_epi8(a.lo, b.lo), _mm256_cmpeq_epi8(a.hi, b.hi));
    }
    static MUSTAFAR_INLINE U64 bytes_at_least(const Bytes& a, const Bytes& b) {
        return join(_mm256_cmpeq_epi8(_mm256_max_epu8(a.lo, b.lo), a.lo),
                    _mm256_cmpeq_epi8(_mm256_max_epu8(a.hi, b.hi), a.hi));
    }

    // The high and the low byte of each magnitude.
    static MUSTAFAR_INLINE void split_halves(const std::uint16_t* row, U32 d,
                                             U8 (&bytes)[2][max_head_dim]) {
        for (U32 c = 0; c < d; c += 8) {
            const __m128i x = _mm_and_si128(
                _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + c)), _mm_set1_epi16(0x7FFF));
            const __m128i low = _mm_and_si128(x, _mm_set1_epi16(0xFF));
            const __m128i both = _mm_packus_epi16(_mm_srli_epi16(x, 8), low);
            _mm_storel_epi64(reinterpret_cast<__m128i*>(bytes[0] + c), both);
            _mm_storel_epi64(reinterpret_cast<__m128i*>(bytes[1] + c), _mm_srli_si128(both, 8));
        }
    }

    static MUSTAFAR_INLINE Ints lane_numbers() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
    static MUSTAFAR_INLINE Ints differ(Ints a, Ints b) { return _mm256_xor_si256(a, b); }
    static MUSTAFAR_INLINE Ints permute(Ints x, Ints from) {
        return _mm256_permutevar8x32_epi32(x, from);
    }
    static MUSTAFAR_INLINE bool overlap(Ints a, Ints b) { return _mm256_testz_si256(a, b) == 0; }
};

} // namespace
} // namespace mustafar::cpu

namespace mustafar {

void prune_avx2(const PruneArgs& args) { cpu::prune_rows<cpu::Prune2>(args); }

} // namespace mustafar
