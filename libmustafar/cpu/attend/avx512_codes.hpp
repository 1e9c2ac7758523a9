// SPDX-License-Identifier: Apache-2.0
// Dense rows of 4 and 2 bits with one scale and zero, in integers (VNNI): codes are never widened.
//   scores   s = scale * (q . code) + zero * sum q, q in two 8-bit planes (16 bits)
//   values   out = sum (p * scale) code + sum p * zero, p * scale in 8 bits of the largest of the tile
// 8 / Bits codes lie in a byte; the "phase" is which of them.
#pragma once

#include "cpu/attend/avx512_rows.hpp"

namespace mustafar::cpu {
namespace {

constexpr std::size_t native_query_bytes = std::size_t{max_queries} * max_dim * 4;
constexpr U32 block_dwords = 16; // of a row's codes, transposed at a time

MUSTAFAR_INLINE bool has_code_rows(const Rows& rows) {
    return rows.form == Rows::Form::exact && rows.bitmaps == nullptr && rows.bits < 8;
}

// Query planes: [query][plane: high, low][dword of codes][phase], then step and sum of each query.
struct CodeQueries {
    std::byte* planes;
    U32 dwords;
    U32 phases;
    MUSTAFAR_INLINE CodeQueries(std::byte* native, U32 d, U32 bits)
        : planes(native + native_query_bytes), dwords((d * bits / 8 + 3) / 4), phases(8 / bits) {}
    MUSTAFAR_INLINE std::byte* plane(U32 query, U32 which) const {
        return planes + (std::size_t{query} * 2 + which) * dwords * phases * 4;
    }
    MUSTAFAR_INLINE float* scales(U32 query) const { // step, sum q
        return reinterpret_cast<float*>(planes + std::size_t{max_queries} * max_dim * 2) +
               std::size_t{query} * 2;
    }
};

// Raw scores are to be multiplied by `factor`, whatever made them.
inline void load_code_queries(const float* q, U32 n, U32 d, std::byte* native, U32 bits,
                              const float* factor) {
    const CodeQueries to(native, d, bits);
    for (U32 i = 0; i < n; ++i) {
        const float* row = q + std::size_t{i} * d;
        float largest = 0.0F;
        float sum = 0.0F;
        for (U32 c = 0; c < d; ++c) {
            const float magnitude = __builtin_fabsf(row[c]);
            largest = magnitude > largest ? magnitude : largest;
            sum += row[c];
        }
        const float inverse = largest > 1e-30F ? 32512.0F / largest : 0.0F; // 127 * 256
        to.scales(i)[0] = largest > 1e-30F ? largest / 32512.0F / factor[i] : 0.0F;
        to.scales(i)[1] = sum / factor[i];
        std::byte* high = to.plane(i, 0);
        std::byte* low = to.plane(i, 1);
        std::memset(high, 0, std::size_t{2} * to.dwords * to.phases * 4);
        for (U32 c = 0; c < d; ++c) {
            const int value = static_cast<int>(__builtin_rintf(row[c] * inverse));
            const int top = (value + 128) >> 8;
            const U32 byte = c / to.phases;
            const std::size_t at =
                (std::size_t{byte / 4} * to.phases + c % to.phases) * 4 + byte % 4;
            high[at] = static_cast<std::byte>(top);
            low[at] = static_cast<std::byte>(value - top * 256);
        }
    }
}

MUSTAFAR_INLINE __m512i dword_at(const std::byte* at) {
    int value = 0;
    std::memcpy(&value, at, 4);
    return _mm512_set1_epi32(value);
}

template <int Bits>
MUSTAFAR_INLINE __m512i phase_codes(__m512i packed, int phase) {
    const __m512i shifted = _mm512_srli_epi16(packed, static_cast<unsigned>(phase * Bits));
    return _mm512_and_si512(phase == 0 ? packed : shifted, _mm512_set1_epi8((1 << Bits) - 1));
}

// Raw scores of 16 rows for NQ queries from `query` on.
template <int Bits, int NQ>
inline void score_code_rows(const Rows& k, U32 first, const CodeQueries& queries, U32 query,
                            float* scores, Fetch& fetch) {
    constexpr int phases = 8 / Bits;
    __m512i high[NQ];
    __m512i low[NQ];
    for (int q = 0; q < NQ; ++q) { high[q] = low[q] = _mm512_setzero_si512(); }
    for (U32 block = 0; block < queries.dwords; block += block_dwords) {
        __m512i columns[block_dwords];
        transpose16(k.codes + std::size_t{first} * k.code_stride + std::size_t{block} * 4,
                    k.code_stride, columns);
        const U32 left = queries.dwords - block;
        const U32 count = left < block_dwords ? left : block_dwords;
        for (U32 i = 0; i < count; ++i) {
            fetch.step();
            for (int phase = 0; phase < phases; ++phase) {
                const __m512i codes = phase_codes<Bits>(columns[i], phase);
                const std::size_t at =
                    (std::size_t{block + i} * phases + static_cast<U32>(phase)) * 4;
                for (int q = 0; q < NQ; ++q) {
                    const U32 row = query + static_cast<U32>(q);
                    high[q] =
                        _mm512_dpbusd_epi32(high[q], codes, dword_at(queries.plane(row, 0) + at));
                    low[q] =
                        _mm512_dpbusd_epi32(low[q], codes, dword_at(queries.plane(row, 1) + at));
                }
            }
        }
    }
    const PairWords words = split_pairs(k.meta);
    const Pair scale = F32::from_f16(words.scale);
    const Pair zero = F32::from_f16(words.zero);
    for (int q = 0; q < NQ; ++q) {
        const float* of = queries.scales(query + static_cast<U32>(q));
        const __m512 dot =
            _mm512_mul_ps(_mm512_fmadd_ps(_mm512_cvtepi32_ps(high[q]), _mm512_set1_ps(256.0F),
                                          _mm512_cvtepi32_ps(low[q])),
                          _mm512_set1_ps(of[0]));
        const __m512 s =
            _mm512_fmadd_ps(dot, first == 0 ? scale.lo : scale.hi,
                            _mm512_mul_ps(first == 0 ? zero.lo : zero.hi, _mm512_set1_ps(of[1])));
        _mm512_storeu_ps(scores + q * 32 + first, s);
    }
}

template <int Bits>
inline void score_codes_of(const Rows& k, std::byte* native, U32 n, float* scores,
                           const Ahead& ahead) {
    const CodeQueries queries(native, k.d, Bits);
    Fetch fetch(ahead, 2 * queries.dwords);
    Fetch nothing(Ahead{}, 1);
    for (U32 first = 0; first < 32; first += 16) {
        if (n == 1) {
            score_code_rows<Bits, 1>(k, first, queries, 0, scores, fetch);
        } else if (n == 2) {
            score_code_rows<Bits, 2>(k, first, queries, 0, scores, fetch);
        } else {
            for (U32 q = 0; q < n; q += 4) {
                score_code_rows<Bits, 4>(k, first, queries, q, scores + q * 32,
                                         q == 0 ? fetch : nothing);
            }
        }
    }
}

// ---- values ------------------------------------------------------------------------------------
// Eight rows at a time: rows i and i + 4 of the eight share a register, so that 32 bytes of codes fill
// it. Bytes of 4 rows are brought together in a dword, which is what dpbusd sums.

template <int NQ>
struct CodeWeights {
    __m512i quads[NQ][4]; // rows 8 g .. 8 g + 3 in the low half, 8 g + 4 .. 8 g + 7 in the high one
    float step[NQ];
    float zero[NQ]; // sum p * zero
};

template <int NQ>
inline void load_code_weights(const Rows& v, const float* weights, U32 needed,
                              CodeWeights<NQ>& out) {
    const PairWords words = split_pairs(v.meta);
    const Pair scale = F32::from_f16(words.scale);
    const Pair zero = F32::from_f16(words.zero);
    const auto low = static_cast<__mmask16>(needed);
    const auto high = static_cast<__mmask16>(needed >> 16);
    for (int q = 0; q < NQ; ++q) {
        const __m512 a = _mm512_maskz_loadu_ps(low, weights + q * 32);
        const __m512 b = _mm512_maskz_loadu_ps(high, weights + q * 32 + 16);
        out.zero[q] = _mm512_reduce_add_ps(_mm512_add_ps(_mm512_maskz_mul_ps(low, a, zero.lo),
                                                         _mm512_maskz_mul_ps(high, b, zero.hi)));
        const __m512 x = _mm512_maskz_mul_ps(low, a, scale.lo);
        const __m512 y = _mm512_maskz_mul_ps(high, b, scale.hi);
        const float largest = _mm512_reduce_max_ps(_mm512_max_ps(x, y));
        const float inverse = largest > 1e-30F ? 255.0F / largest : 0.0F;
        out.step[q] = largest > 1e-30F ? largest / 255.0F : 0.0F;
        const __m512 factor = _mm512_set1_ps(inverse);
        const __m256i bytes =
            _mm256_set_m128i(_mm512_cvtusepi32_epi8(_mm512_cvtps_epu32(_mm512_mul_ps(y, factor))),
                             _mm512_cvtusepi32_epi8(_mm512_cvtps_epu32(_mm512_mul_ps(x, factor))));
        alignas(32) U32 dwords[8];
        _mm256_store_si256(reinterpret_cast<__m256i*>(dwords), bytes);
        for (int g = 0; g < 4; ++g) {
            const auto even = static_cast<int>(dwords[2 * g]);
            const auto odd = static_cast<int>(dwords[2 * g + 1]);
            out.quads[q][g] =
                _mm512_inserti64x4(_mm512_set1_epi32(even), _mm256_set1_epi32(odd), 1);
        }
    }
}

// Sums of 32 bytes of codes, as [phase][byte], for NQ queries.
template <int Bits, int NQ>
struct CodeSums {
    alignas(64) float at[NQ][8 / Bits][32];
};

// Half of the bytes (8 i .. 8 i + 7 of each 16: lo or hi of the unpacking) and two phases.
template <int Bits, int NQ, bool Upper, int Phase>
inline void sum_codes(const std::byte* codes, std::size_t stride, __mmask32 bytes,
                      const CodeWeights<NQ>& weights, CodeSums<Bits, NQ>& sums, Fetch& fetch) {
    __m512i acc[NQ][2][2];
    for (int q = 0; q < NQ; ++q) {
        for (auto& pair : acc[q]) { pair[0] = pair[1] = _mm512_setzero_si512(); }
    }
    for (U32 g = 0; g < 4; ++g) {
        __m512i rows[4];
        fetch.step();
        for (U32 i = 0; i < 4; ++i) {
            const std::byte* at = codes + std::size_t{g * 8 + i} * stride;
            rows[i] = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_maskz_loadu_epi8(bytes, at)),
                                         _mm256_maskz_loadu_epi8(bytes, at + 4 * stride), 1);
        }
        const __m512i a =
            Upper ? _mm512_unpackhi_epi8(rows[0], rows[1]) : _mm512_unpacklo_epi8(rows[0], rows[1]);
        const __m512i b =
            Upper ? _mm512_unpackhi_epi8(rows[2], rows[3]) : _mm512_unpacklo_epi8(rows[2], rows[3]);
        const __m512i packed[2] = {_mm512_unpacklo_epi16(a, b), _mm512_unpackhi_epi16(a, b)};
        for (int half = 0; half < 2; ++half) {
            for (int phase = 0; phase < 2; ++phase) {
                const __m512i x = phase_codes<Bits>(packed[half], Phase + phase);
                for (int q = 0; q < NQ; ++q) {
                    acc[q][half][phase] =
                        _mm512_dpbusd_epi32(acc[q][half][phase], weights.quads[q][g], x);
                }
            }
        }
    }
    for (int q = 0; q < NQ; ++q) {
        for (int half = 0; half < 2; ++half) {
            for (int phase = 0; phase < 2; ++phase) {
                const __m512i both = acc[q][half][phase];
                const __m256 sum = _mm256_cvtepi32_ps(_mm256_add_epi32(
                    _mm512_castsi512_si256(both), _mm512_extracti64x4_epi64(both, 1)));
                float* to = sums.at[q][Phase + phase] + (Upper ? 8 : 0) + half * 4;
                _mm_storeu_ps(to, _mm256_castps256_ps128(sum));
                _mm_storeu_ps(to + 16, _mm256_extractf128_ps(sum, 1));
            }
        }
    }
}

// a0 b0 a1 b1 ... of the lower or upper halves of two registers.
MUSTAFAR_INLINE __m512 interleave(__m512 a, __m512 b, bool upper) {
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i index = upper ? _mm512_add_epi32(low, _mm512_set1_epi32(8)) : low;
    return _mm512_permutex2var_ps(a, index, b);
}

// Channels in order again, and into the output.
template <int Bits, int NQ>
inline void store_codes(const CodeSums<Bits, NQ>& sums, const CodeWeights<NQ>& weights,
                        const Softmax* states, U32 channels, float* out, U32 out_stride) {
    for (int q = 0; q < NQ; ++q) {
        const auto& of = sums.at[q];
        float* row = out + static_cast<U32>(q) * out_stride;
        for (U32 half = 0; half < 2; ++half) { // of the 32 bytes
            __m512 ordered[8 / Bits];
            const auto load = [&](int phase) { return _mm512_load_ps(of[phase] + half * 16); };
            if constexpr (Bits == 4) {
                for (int i = 0; i < 2; ++i) { ordered[i] = interleave(load(0), load(1), i != 0); }
            } else {
                for (int i = 0; i < 2; ++i) {
                    const __m512 even = interleave(load(0), load(2), i != 0);
                    const __m512 odd = interleave(load(1), load(3), i != 0);
                    ordered[2 * i] = interleave(even, odd, false);
                    ordered[2 * i + 1] = interleave(even, odd, true);
                }
            }
            for (U32 i = 0; i < 8 / Bits; ++i) {
                const U32 channel = (half * (8 / Bits) + i) * 16;
                if (channel >= channels) { break; }
                const __m512 sum = _mm512_fmadd_ps(ordered[i], _mm512_set1_ps(weights.step[q]),
                                                   _mm512_set1_ps(weights.zero[q]));
                float* at = row + channel;
                _mm512_storeu_ps(at, _mm512_fmadd_ps(_mm512_loadu_ps(at),
                                                     _mm512_set1_ps(states[q].correction), sum));
            }
        }
    }
}

template <int Bits, int NQ>
inline void add_code_block(const Rows& v, const float* weights, U32 needed, const Softmax* states,
                           float* out, U32 out_stride, const Ahead& ahead) {
    constexpr U32 block_channels = 32 * 8 / Bits;
    constexpr U32 passes = 8 / Bits; // over each block
    Fetch fetch(ahead, (v.d + block_channels - 1) / block_channels * passes * 4);
    CodeWeights<NQ> loaded;
    load_code_weights<NQ>(v, weights, needed, loaded);
    CodeSums<Bits, NQ> sums;
    for (U32 channel = 0; channel < v.d; channel += block_channels) {
        const U32 left = v.d - channel;
        const U32 channels = left < block_channels ? left : block_channels;
        const U32 bytes = channels * Bits / 8;
        const __mmask32 mask = bytes == 32 ? ~0U : (1U << bytes) - 1U;
        const std::byte* codes = v.codes + channel * Bits / 8;
        sum_codes<Bits, NQ, false, 0>(codes, v.code_stride, mask, loaded, sums, fetch);
        sum_codes<Bits, NQ, true, 0>(codes, v.code_stride, mask, loaded, sums, fetch);
        if constexpr (Bits == 2) {
            sum_codes<Bits, NQ, false, 2>(codes, v.code_stride, mask, loaded, sums, fetch);
            sum_codes<Bits, NQ, true, 2>(codes, v.code_stride, mask, loaded, sums, fetch);
        }
        store_codes<Bits, NQ>(sums, loaded, states, channels, out + channel, out_stride);
    }
}

template <int Bits>
inline void add_codes_of(const Rows& v, const float* weights, U32 n, U32 needed,
                         const Softmax* states, float* out, U32 out_stride, const Ahead& ahead) {
    if (n == 1) {
        add_code_block<Bits, 1>(v, weights, needed, states, out, out_stride, ahead);
    } else if (n == 2) {
        add_code_block<Bits, 2>(v, weights, needed, states, out, out_stride, ahead);
    } else {
        for (U32 q = 0; q < n; q += 4) {
            add_code_block<Bits, 4>(v, weights + q * 32, needed, states + q,
                                    out + std::size_t{q} * out_stride, out_stride,
                                    q == 0 ? ahead : Ahead{});
        }
    }
}

} // namespace
} // namespace mustafar::cpu
