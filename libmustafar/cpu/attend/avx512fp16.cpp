// SPDX-License-Identifier: Apache-2.0
// attend_avx512fp16: fp16 FMA inside a tile (32 channels of a score, 32 tokens of an output), fp32
// across; fp32 throughout for bf16 rows and recipes that ask for precise.
#include "cpu/attend/avx512_tile.hpp"

#include "cpu/attend/driver.hpp"

namespace mustafar::cpu {
namespace {

// The power of two 2^(e - down) for a value in [2^e, 2^(e + 1)).
MUSTAFAR_INLINE float power_below(float value, int down) {
    U32 bits = 0;
    std::memcpy(&bits, &value, 4);
    const int exponent = static_cast<int>((bits >> 23) & 0xFFU) - down; // biased
    const U32 power = exponent <= 0 ? 0U : exponent >= 255 ? 0x7F800000U : U32(exponent) << 23;
    float result = 0.0F;
    std::memcpy(&result, &power, 4);
    return result;
}

// [32][stride] halves to [d][32]: pairs of channels are transposed, then parted.
inline void halves_to_columns(const _Float16* rows, std::size_t stride, U32 d, _Float16* columns) {
    alignas(64) U16 index[2][32];
    for (U32 i = 0; i < 32; ++i) {
        index[0][i] = static_cast<U16>(2 * i); // words of two registers, the second from 32 on
        index[1][i] = static_cast<U16>(2 * i + 1);
    }
    const __m512i even = load_words(index[0]);
    const __m512i odd = load_words(index[1]);
    for (U32 c = 0; c < d; c += 32) {
        __m512i older[16];
        __m512i newer[16];
        const auto* at = reinterpret_cast<const std::byte*>(rows + c);
        transpose16(at, stride * 2, older);
        transpose16(at + 16 * stride * 2, stride * 2, newer);
        const U32 count = d - c < 32 ? d - c : 32;
        for (U32 i = 0; i < count; i += 2) {
            _Float16* to = columns + std::size_t{c + i} * 32;
            _mm512_storeu_si512(to, _mm512_permutex2var_epi16(older[i / 2], even, newer[i / 2]));
            _mm512_storeu_si512(to + 32,
                                _mm512_permutex2var_epi16(older[i / 2], odd, newer[i / 2]));
        }
    }
}

template <int Bits>
struct CodeTable { // 0, 1, ..., 2^Bits - 1, 0, 1, ...
    U16 at[32] = {};
    constexpr CodeTable() {
        for (U32 i = 0; i < 32; ++i) { at[i] = static_cast<U16>(i % (1U << Bits)); }
    }
};

struct F16 {
    using Native = _Float16;
    // Twice the same half: a dword is broadcast by the load alone, a word takes the shuffle port, which
    // the expansion needs.
    using Weight = U32;
    using Vec = __m512h;
    static constexpr U32 value_segments = 4;
    static constexpr bool half = true;
    static constexpr bool codes = true;

    static MUSTAFAR_INLINE Vec zero() { return _mm512_setzero_ph(); }
    static MUSTAFAR_INLINE Vec load(const Native* at) { return _mm512_loadu_ph(at); }
    static MUSTAFAR_INLINE void store(Native* at, Vec v) { _mm512_storeu_ph(at, v); }
    static MUSTAFAR_INLINE Vec from_f16(__m512i words) { return _mm512_castsi512_ph(words); }
    static MUSTAFAR_INLINE Vec from_words(__m512i words, bool) { return from_f16(words); }
    static MUSTAFAR_INLINE Vec from_codes(__m512i words) { return _mm512_cvtepu16_ph(words); }
    static MUSTAFAR_INLINE Vec from_floats(Pair x) {
        const __m512i lo = _mm512_castsi256_si512(_mm256_castph_si256(_mm512_cvtxps_ph(x.lo)));
        return _mm512_castsi512_ph(
            _mm512_inserti64x4(lo, _mm256_castph_si256(_mm512_cvtxps_ph(x.hi)), 1));
    }
    static MUSTAFAR_INLINE Vec broadcast(const Native* at) { return _mm512_set1_ph(*at); }
    static MUSTAFAR_INLINE Vec weight(const Weight* at) {
        return _mm512_castsi512_ph(_mm512_set1_epi32(static_cast<int>(*at)));
    }
    // 32 halves as weight() reads them.
    static MUSTAFAR_INLINE void store_weights(Weight* to, __m512i words) {
        const auto twice = [](__m256i half) {
            const __m512i low = _mm512_cvtepu16_epi32(half);
            return _mm512_or_si512(low, _mm512_slli_epi32(low, 16));
        };
        _mm512_store_si512(to, twice(low_half(words)));
        _mm512_store_si512(to + 16, twice(high_half(words)));
    }

    // What the codes of one row mean. Of few bits: a table of all values, read by the low five bits of a
    // word; the bits above a code are its neighbour's, so the table repeats itself.
    template <int Bits>
    struct CodeValues {
        Vec scale, zero;
        __m512i table;
        MUSTAFAR_INLINE Vec at(const std::byte* codes, std::size_t i) const {
            if constexpr (Bits == 8) { return fma(from_codes(codes_at<8>(codes, i)), scale, zero); }
            return from_f16(_mm512_permutexvar_epi16(spread_at<Bits>(codes, i), table));
        }
    };
    template <int Bits>
    static MUSTAFAR_INLINE CodeValues<Bits> code_values(Vec scale, Vec zero) {
        CodeValues<Bits> values{scale, zero, {}};
        if constexpr (Bits < 8) {
            alignas(64) static constexpr CodeTable<Bits> codes{};
            values.table = _mm512_castph_si512(fma(from_codes(load_words(codes.at)), scale, zero));
        }
        return values;
    }
    static MUSTAFAR_INLINE Vec broadcast_f16(U16 bits) {
        return _mm512_castsi512_ph(_mm512_set1_epi16(static_cast<short>(bits)));
    }
    static MUSTAFAR_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ph(a, b, c); }
    static MUSTAFAR_INLINE Vec fma_where(Mask mask, Vec a, Vec b, Vec c) {
        return _mm512_maskz_fmadd_ph(mask, a, b, c);
    }
    static MUSTAFAR_INLINE Vec select(Mask mask, Vec yes, Vec no) {
        return _mm512_mask_blend_ph(mask, no, yes);
    }
    static MUSTAFAR_INLINE Pair to_f32(Vec v) {
        const __m512i bits = _mm512_castph_si512(v);
        return {_mm512_cvtxph_ps(_mm256_castsi256_ph(low_half(bits))),
                _mm512_cvtxph_ps(_mm256_castsi256_ph(high_half(bits)))};
    }
    static MUSTAFAR_INLINE __m512i keep_codes(__m512i words) {
        return _mm512_castph_si512(from_codes(words));
    }
    static MUSTAFAR_INLINE Vec kept_codes(__m512i words) { return from_f16(words); }
    static MUSTAFAR_INLINE Native to_native(float x) { return static_cast<Native>(x); }

    static void to_columns(const Native* rows, std::size_t stride, U32 d, Native* columns) {
        halves_to_columns(rows, stride, d, columns);
    }

    // Queries are brought below 2^-8: 32 products with the largest half stay finite, and the smallest
    // element still has 2^-16 of the largest as its unit.
    static MUSTAFAR_INLINE float query_factor(const float* q, U32 d) {
        float largest = 0.0F;
        for (U32 c = 0; c < d; ++c) {
            const float magnitude = __builtin_fabsf(q[c]);
            largest = magnitude > largest ? magnitude : largest;
        }
        const float factor = power_below(largest, -9);
        return factor == 0.0F ? 1.0F : factor;
    }

    // The weights of a tile are brought to a sum in [1/4, 1/2): no output overflows that is not
    // infinite itself.
    template <int NQ>
    static MUSTAFAR_INLINE void load_weights(const float* weights, Weight* native,
                                             TileWeights<NQ>& tile) {
        for (int q = 0; q < NQ; ++q) {
            const Pair w = F32::load(weights + q * 32);
            const float sum = _mm512_reduce_add_ps(_mm512_add_ps(w.lo, w.hi));
            const float inverse = power_below(sum, -2);
            const __m512 factor = _mm512_set1_ps(inverse > 0.0F ? 1.0F / inverse : 0.0F);
            const Vec scaled =
                from_floats({_mm512_mul_ps(w.lo, factor), _mm512_mul_ps(w.hi, factor)});
            store_weights(native + q * 32, _mm512_castph_si512(scaled));
            tile.inverse[q] = inverse;
        }
    }
};

} // namespace
} // namespace mustafar::cpu

namespace mustafar {

void attend_avx512fp16(const AttendArgs& args) {
    const bool half = args.head.store == Dtype::f16 && !args.head.precise;
    cpu::attend_part(args, half ? &cpu::tile_ops<cpu::F16> : nullptr,
                     args.head.precise ? cpu::tile_ops<cpu::F32> : cpu::tile_ops<cpu::F32Codes>);
}

} // namespace mustafar
