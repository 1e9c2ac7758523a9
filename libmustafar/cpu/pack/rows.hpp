// SPDX-License-Identifier: Apache-2.0
// Packing on vectors of lanes L (cpu/lanes_*.hpp). Included by one file per instruction set;
// everything has internal linkage. The rule is that of ref/pack.cpp, operation by operation: minima
// and maxima are the same in any order, divisions are true ones, rounding is to nearest even.
#pragma once

#include <cstring>

#include "core/kernels.hpp"

namespace mustafar::cpu {
namespace {

using U8 = std::uint8_t;
using U16 = std::uint16_t;
using U32 = std::uint32_t;

constexpr U32 slack = 64; // elements that a vector may reach behind a row

// Channels c .. of a row, centred.
template <class L>
MUSTAFAR_INLINE typename L::Floats values_at(const PackArgs& args, std::size_t row, U32 c) {
    const U32 d = args.side->d;
    const HalfRows& halves = args.halves;
    typename L::Floats x = halves.first != nullptr
                               ? L::load_halves(halves.row(row) + c, d - c, halves.store)
                               : L::load(args.values.data() + row * d + c, d - c);
    if (halves.centre != nullptr) { x = L::subtract(x, L::load(halves.centre + c, d - c)); }
    return x;
}

MUSTAFAR_INLINE float f16_value(U32 half) {
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(static_cast<int>(half))));
}
MUSTAFAR_INLINE U32 f16_bits(float x) {
    const __m128i halves =
        _mm_cvtps_ph(_mm_set_ss(x), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return static_cast<U32>(_mm_cvtsi128_si32(halves)) & 0xFFFFU;
}

struct Affine {
    U32 bits; // scale, and zero above it
    float scale, zero;
};
MUSTAFAR_INLINE Affine fit(float lo, float hi, float top) {
    U32 zero = f16_bits(lo);
    if (zero == 0x8000U) { zero = 0; }
    const U32 scale = f16_bits(__builtin_fabsf(hi - lo) / top);
    return {scale | zero << 16, f16_value(scale), f16_value(zero)};
}

MUSTAFAR_INLINE U32 packed_bytes(U32 count, U32 bits) { return (count * bits + 7) / 8; }

// Codes, a byte each, to a stream of `bits` each. Bytes behind the last code are zeros; up to 15 of
// them are read, and up to 16 bytes are written.
MUSTAFAR_INLINE void join_codes(const U8* codes, U32 count, U32 bits, U8* out) {
    const __m128i pairs = _mm_set1_epi16(bits == 4 ? 0x1001 : 0x0401);
    for (U32 i = 0; i < count; i += 16) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + i));
        const __m128i words = _mm_maddubs_epi16(bytes, pairs); // first + second * 2^bits
        if (bits == 4) {
            _mm_storel_epi64(reinterpret_cast<__m128i*>(out + i / 2),
                             _mm_packus_epi16(words, words));
        } else {
            const __m128i fours = _mm_madd_epi16(words, _mm_set1_epi32(0x00100001));
            const __m128i packed = _mm_packus_epi32(fours, fours);
            const U32 four = static_cast<U32>(_mm_cvtsi128_si32(_mm_packus_epi16(packed, packed)));
            std::memcpy(out + i / 4, &four, 4);
        }
    }
}

// `count` codes of a row, a byte each in `codes`, zeros behind them, to where they are stored.
template <class V>
MUSTAFAR_INLINE void put_codes(const U8* codes, U32 count, U32 bits, U8* out) {
    if (bits == 8) { return V::put_bytes(out, codes, count); }
    alignas(64) U8 stream[max_head_dim / 2 + slack];
    join_codes(codes, count, bits, stream);
    V::put_bytes(out, stream, packed_bytes(count, bits));
}

// One scale and zero for kept values first .. first + count - 1.
template <class V>
MUSTAFAR_INLINE U32 encode_group(const float* kept, U32 count, float top, U8* codes) {
    typename V::Floats lo = V::all(kept[0]);
    typename V::Floats hi = lo;
    U32 i = 0;
    for (; i + V::lanes <= count; i += V::lanes) {
        lo = V::min(lo, V::load(kept + i));
        hi = V::max(hi, V::load(kept + i));
    }
    if (i < count) { // the last vector once more, up to the end: lanes twice change nothing
        const typename V::Floats x = V::load_first(kept + i, count - i, kept[0]);
        lo = V::min(lo, x);
        hi = V::max(hi, x);
    }
    const Affine affine = fit(V::least(lo), V::largest(hi), top);
    if (affine.scale == 0.0F) {
        std::memset(codes, 0, count);
        return affine.bits;
    }
    const typename V::Floats zero = V::all(affine.zero);
    const typename V::Floats scale = V::all(affine.scale);
    for (i = 0; i < count; i += V::lanes) {
        V::store_bytes(codes + i, V::codes(V::load(kept + i), zero, scale, V::all(top)));
    }
    return affine.bits;
}

// One scale and zero per row, or per `group` neighbouring kept values.
template <class V>
MUSTAFAR_INLINE U32 pack_codes(const PackArgs& args, std::size_t row, const U8* bitmap, U8* out,
                               U8* meta) {
    alignas(64) float kept[max_head_dim + slack];
    alignas(64) U8 codes[max_head_dim + slack];
    const U32 count = V::kept_values(args, row, bitmap, kept);
    const U32 bits = args.side->bits;
    const auto top = static_cast<float>((1U << bits) - 1U);
    const U32 group = args.side->group != 0 ? args.side->group : max_head_dim;
    if (count == 0) { std::memset(meta, 0, 4); }
    for (U32 first = 0, index = 0; first < count; first += group, ++index) {
        const U32 here = count - first < group ? count - first : group;
        const U32 affine = encode_group<V>(kept + first, here, top, codes + first);
        std::memcpy(meta + std::size_t{index} * 4, &affine, 4);
    }
    std::memset(codes + count, 0, 16);
    put_codes<V>(codes, count, bits, out);
    return count;
}

// One scale and zero per channel over all rows: lanes are channels.
template <class V>
MUSTAFAR_INLINE void pack_channels(const PackArgs& args) {
    const U32 d = args.side->d;
    const U32 bits = args.side->bits;
    const std::size_t rows = args.out.rows;
    const auto top = static_cast<float>((1U << bits) - 1U);
    alignas(64) float lo[max_head_dim + slack];
    alignas(64) float hi[max_head_dim + slack];
    for (U32 c = 0; c < d; c += V::lanes) {
        typename V::Floats least = values_at<V>(args, 0, c);
        typename V::Floats most = least;
        for (std::size_t row = 1; row < rows; ++row) {
            const typename V::Floats x = values_at<V>(args, row, c);
            least = V::min(least, x);
            most = V::max(most, x);
        }
        V::store(lo + c, least);
        V::store(hi + c, most);
    }
    alignas(64) float scale[max_head_dim + slack] = {};
    alignas(64) float zero[max_head_dim + slack] = {};
    for (U32 c = 0; c < d; ++c) {
        const Affine affine = fit(lo[c], hi[c], top);
        std::memcpy(args.block_meta + std::size_t{c} * 4, &affine.bits, 4);
        scale[c] = affine.scale;
        zero[c] = affine.zero;
    }
    alignas(64) U8 codes[max_head_dim + slack];
    for (std::size_t row = 0; row < rows; ++row) {
        for (U32 c = 0; c < d; c += V::lanes) {
            const typename V::Ints code = V::codes(values_at<V>(args, row, c), V::load(zero + c),
                                                   V::load(scale + c), V::all(top));
            V::store_bytes(codes + c, V::only_where_not_zero(code, V::load(scale + c)));
        }
        std::memset(codes + d, 0, 16);
        put_codes<V>(codes, d, bits, args.out.codes + row * args.out.codes_stride);
    }
}

// Halves of the stored type.
template <class V>
MUSTAFAR_INLINE U32 pack_halves(const PackArgs& args, std::size_t row, const U8* bitmap, U8* out) {
    const U32 d = args.side->d;
    if (args.halves.first != nullptr && args.halves.centre == nullptr) {
        return V::compress_halves(args.halves.row(row), d, bitmap, out);
    }
    alignas(64) U16 halves[max_head_dim + slack];
    for (U32 c = 0; c < d; c += V::lanes) {
        V::store_halves(halves + c, values_at<V>(args, row, c), args.store);
    }
    return V::compress_halves(halves, d, bitmap, out);
}

template <class V>
MUSTAFAR_INLINE U32 pack_row(const PackArgs& args, std::size_t row, const U8* bitmap) {
    U8* codes = args.out.codes + row * args.out.codes_stride;
    if (args.side->bits == 16) { return pack_halves<V>(args, row, bitmap, codes); }
    return pack_codes<V>(args, row, bitmap, codes, args.out.meta + row * args.out.meta_stride);
}

template <class V>
void pack_rows(const PackArgs& args) {
    const std::size_t bitmap_bytes = args.side->d / 8U;
    const PackedRows& out = args.out;
    const bool channels = args.side->encoding == Encoding::channel;
    for (std::size_t row = 0; row < out.rows; ++row) {
        const U8* bitmap = args.bitmaps.data() + row * bitmap_bytes;
        if (out.bitmap != nullptr) {
            V::put_bytes(out.bitmap + row * out.bitmap_stride, bitmap,
                         static_cast<U32>(bitmap_bytes));
        }
        U32 count = 0;
        if (!channels) {
            count = pack_row<V>(args, row, bitmap);
        } else {
            for (std::size_t i = 0; i < bitmap_bytes; ++i) {
                count += static_cast<U32>(__builtin_popcount(bitmap[i]));
            }
        }
        if (out.count != nullptr) { std::memcpy(out.count + row * out.count_stride, &count, 4); }
    }
    if (channels) { pack_channels<V>(args); }
}

} // namespace
} // namespace mustafar::cpu
