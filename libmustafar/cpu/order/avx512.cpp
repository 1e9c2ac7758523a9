// SPDX-License-Identifier: Apache-2.0
// order_avx512: rows are expanded to 32 x 32 blocks, transposed in registers, and each channel is
// compressed by the mask of the rows that keep it.
#include <immintrin.h>

#include <cstring>

#include "cpu/rows.hpp"

namespace mustafar::cpu {
namespace {

#define MUSTAFAR_INLINE inline __attribute__((always_inline))

using U8 = std::uint8_t;
using U16 = std::uint16_t;
using U32 = std::uint32_t;
static_assert(page_rows == 32, "a row is a bit of a mask and a lane of a vector of words");

struct Rows { // what lies in the page by rows, while it is rewritten; 64 bytes are read behind each
    alignas(64) U8 codes[page_rows * max_head_dim * 2 + 64]; // of 16 bits, or a byte each
    alignas(64) U8 bitmaps[page_rows * max_bitmap_bytes + 64];
    std::size_t stride;    // of codes
    U32 before[page_rows]; // codes in front of a row's first, besides its stride
};

MUSTAFAR_INLINE __m512i load(const void* at) { return _mm512_loadu_si512(at); }
MUSTAFAR_INLINE U32 low_bits(U32 count) { return count >= 32 ? ~0U : (1U << count) - 1; }
MUSTAFAR_INLINE U32 count_bits(U32 mask) { return static_cast<U32>(__builtin_popcount(mask)); }

// Codes of 4 or 2 bits to a byte each, 64 at a time.
MUSTAFAR_INLINE void split_codes(const U8* from, U32 count, U32 bits, U8* to) {
    for (U32 i = 0; i < count; i += 64) {
        __m512i x;
        if (bits == 4) {
            x = _mm512_cvtepu8_epi16(
                _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i / 2)));
            x = _mm512_and_si512(_mm512_or_si512(x, _mm512_slli_epi16(x, 4)),
                                 _mm512_set1_epi8(0x0F));
        } else {
            x = _mm512_cvtepu8_epi32(
                _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i / 4)));
            x = _mm512_or_si512(x, _mm512_slli_epi32(x, 12));
            x = _mm512_or_si512(x, _mm512_slli_epi32(x, 6));
            x = _mm512_and_si512(x, _mm512_set1_epi8(0x03));
        }
        _mm512_storeu_si512(to + i, x);
    }
}

// And back: `count` codes, a multiple of 32.
MUSTAFAR_INLINE void join_codes(const U8* from, U32 count, U32 bits, U8* to) {
    for (U32 i = 0; i < count; i += 64) {
        const U32 codes = count - i < 64 ? 32 : 64;
        const __m512i pairs = _mm512_set1_epi16(bits == 4 ? 0x1001 : 0x0401);
        const __m512i words = _mm512_maddubs_epi16(load(from + i), pairs);
        if (bits == 4) {
            _mm256_mask_storeu_epi8(to + i / 2, low_bits(codes / 2), _mm512_cvtepi16_epi8(words));
        } else {
            const __m512i fours = _mm512_madd_epi16(words, _mm512_set1_epi32(0x00100001));
            _mm_mask_storeu_epi8(to + i / 4, static_cast<__mmask16>(low_bits(codes / 4)),
                                 _mm512_cvtepi32_epi8(fours));
        }
    }
}

void take_rows(const SideSpec& side, const PageSide& arrays, std::size_t ragged_bytes, Rows& rows) {
    const std::size_t stride = arrays.strides.codes;
    rows.stride = stride;
    std::memset(rows.before, 0, sizeof rows.before);
    if (arrays.offsets != nullptr) { // ragged, of 16 bits
        rows.stride = 0;
        for (U32 row = 0; row < page_rows; ++row) {
            rows.before[row] = static_cast<U32>(arrays.row_codes(row) - arrays.codes) / 2;
        }
        std::memcpy(rows.codes, arrays.codes, ragged_bytes);
    } else if (side.bits < 8) {
        rows.stride = side.keep;
        const auto* codes = reinterpret_cast<const U8*>(arrays.codes);
        for (U32 row = 0; row < page_rows; ++row) { // what goes too far is overwritten by the next
            split_codes(codes + row * stride, side.keep, side.bits, rows.codes + row * side.keep);
        }
    } else {
        std::memcpy(rows.codes, arrays.codes, page_rows * stride);
    }
    if (arrays.bitmaps != nullptr) {
        std::memcpy(rows.bitmaps, arrays.bitmaps, std::size_t{page_rows} * side.d / 8);
    } else {
        std::memset(rows.bitmaps, 0xFF, std::size_t{page_rows} * side.d / 8);
    }
}

// Bits of 32 channels in each row, to bits of 32 rows in each channel.
MUSTAFAR_INLINE void transpose_bits(const U32* rows, U32* channels) {
    const __m512i first = load(rows);
    const __m512i second = load(rows + 16);
    __m512i bit = _mm512_set1_epi32(1);
    for (U32 c = 0; c < 32; ++c) {
        channels[c] = static_cast<U32>(_mm512_test_epi32_mask(first, bit)) |
                      static_cast<U32>(_mm512_test_epi32_mask(second, bit)) << 16;
        bit = _mm512_slli_epi32(bit, 1);
    }
}

// 8 rows of 32 words: lane l of out[j] gets word 8 l + j of each row.
MUSTAFAR_INLINE void transpose_8(const __m512i (&r)[8], __m512i* out) {
    __m512i a[8], b[8];
    for (int i = 0; i < 4; ++i) {
        a[i] = _mm512_unpacklo_epi16(r[2 * i], r[2 * i + 1]);
        a[4 + i] = _mm512_unpackhi_epi16(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 4; ++i) { // i = 2 * (low or high words) + (rows 0..3 or 4..7)
        b[i] = _mm512_unpacklo_epi32(a[2 * i], a[2 * i + 1]);
        b[4 + i] = _mm512_unpackhi_epi32(a[2 * i], a[2 * i + 1]);
    }
    for (int half = 0; half < 2; ++half) {
        out[4 * half] = _mm512_unpacklo_epi64(b[2 * half], b[2 * half + 1]);
        out[4 * half + 1] = _mm512_unpackhi_epi64(b[2 * half], b[2 * half + 1]);
        out[4 * half + 2] = _mm512_unpacklo_epi64(b[4 + 2 * half], b[4 + 2 * half + 1]);
        out[4 * half + 3] = _mm512_unpackhi_epi64(b[4 + 2 * half], b[4 + 2 * half + 1]);
    }
}

template <bool bytes>
MUSTAFAR_INLINE void put_column(__m512i column, U32 mask, U32 start, U8* out) {
    const __m512i kept = _mm512_maskz_compress_epi16(mask, column);
    const U32 there = low_bits(count_bits(mask));
    if (bytes) {
        _mm256_mask_storeu_epi8(out + start, there, _mm512_cvtepi16_epi8(kept));
    } else {
        _mm512_mask_storeu_epi16(out + std::size_t{start} * 2, there, kept);
    }
}

// Columns c .. c + 31; `cursors` are the codes of each row before them.
template <bool bytes>
MUSTAFAR_INLINE void move_block(const Rows& rows, const U32* bits, const U32* masks,
                                const U16* starts, U32 columns, U32* cursors, U8* out) {
    __m512i turned[4][8];
    for (U32 group = 0; group < 4; ++group) {
        __m512i r[8];
        for (U32 i = 0; i < 8; ++i) {
            const U32 row = group * 8 + i;
            const U8* codes = rows.codes + row * rows.stride;
            const __m512i x = bytes ? _mm512_cvtepu8_epi16(_mm256_loadu_si256(
                                          reinterpret_cast<const __m256i*>(codes + cursors[row])))
                                    : load(codes + std::size_t{cursors[row]} * 2);
            r[i] = _mm512_maskz_expand_epi16(bits[row], x);
            cursors[row] += count_bits(bits[row]);
        }
        transpose_8(r, turned[group]);
    }
    for (U32 j = 0; j < 8; ++j) {
        const __m512i p = _mm512_shuffle_i64x2(turned[0][j], turned[1][j], 0x44);
        const __m512i q = _mm512_shuffle_i64x2(turned[2][j], turned[3][j], 0x44);
        const __m512i u = _mm512_shuffle_i64x2(turned[0][j], turned[1][j], 0xEE);
        const __m512i v = _mm512_shuffle_i64x2(turned[2][j], turned[3][j], 0xEE);
        const __m512i column[4] = {
            _mm512_shuffle_i64x2(p, q, 0x88), _mm512_shuffle_i64x2(p, q, 0xDD),
            _mm512_shuffle_i64x2(u, v, 0x88), _mm512_shuffle_i64x2(u, v, 0xDD)};
        for (U32 i = 0; i < 4; ++i) {
            const U32 c = i * 8 + j;
            if (i * 8 < columns) { put_column<bytes>(column[i], masks[c], starts[c], out); }
        }
    }
}

template <bool bytes>
void move_codes(const SideSpec& side, const Rows& rows, std::byte* bitmaps, U8* out) {
    const U32 d = side.d;
    U32 cursors[page_rows];
    std::memcpy(cursors, rows.before, sizeof cursors);
    U32 total = 0;
    for (U32 c = 0; c < d; c += 32) {
        const U32 columns = d - c < 32 ? d - c : 32;
        alignas(64) U32 bits[page_rows];
        alignas(64) U32 masks[32];
        U16 starts[32];
        for (U32 row = 0; row < page_rows; ++row) {
            std::memcpy(&bits[row], rows.bitmaps + std::size_t{row} * (d / 8) + c / 8, 4);
            bits[row] &= low_bits(columns);
        }
        transpose_bits(bits, masks);
        for (U32 i = 0; i < 32; ++i) {
            starts[i] = static_cast<U16>(total);
            total += count_bits(masks[i]);
        }
        if (bitmaps != nullptr) { std::memcpy(bitmaps + std::size_t{c} * 4, masks, columns * 4); }
        move_block<bytes>(rows, bits, masks, starts, columns, cursors, out);
    }
}

} // namespace
} // namespace mustafar::cpu

namespace mustafar {

void order_avx512(const HeadSpec& head, Page& page) {
    using namespace cpu;
    if (page.key_columns != 0) { return; }
    const SideSpec& side = head.k;
    const PageSide arrays = page_side(head, Side::k, page);
    auto* out = reinterpret_cast<U8*>(arrays.codes);
    Rows rows;
    take_rows(side, arrays, page.code_bytes[0], rows);
    if (side.bits == 16) {
        move_codes<false>(side, rows, arrays.bitmaps, out);
    } else if (side.bits == 8) {
        move_codes<true>(side, rows, arrays.bitmaps, out);
    } else {
        alignas(64) U8 codes[page_rows * max_head_dim + 64];
        move_codes<true>(side, rows, arrays.bitmaps, codes);
        join_codes(codes, page_rows * side.keep, side.bits, out);
        const std::size_t used = std::size_t{page_rows} * side.keep * side.bits / 8;
        std::memset(out + used, 0, page_rows * arrays.strides.codes - used); // rows end with a byte
    }
    page.key_columns = 1;
}

} // namespace mustafar
