// SPDX-License-Identifier: Apache-2.0
// attend_neon: fp32 arithmetic; armv8-a without extensions.
#include <arm_neon.h>

#include "cpu/attend/driver.hpp"
#include "cpu/attend/fp32_tile.hpp"

namespace mustafar::cpu {
namespace {

// By a byte of a bitmap: which byte of 32 goes to each byte of eight floats, 255 = none, which reads
// as 0; and how many bits are set.
struct Expansions {
    alignas(64) U8 bytes[256][32];
    alignas(64) U8 words[256][16]; // the same for words
    U8 count[256];
};
constexpr Expansions make_expansions() {
    Expansions table{};
    for (U32 byte = 0; byte < 256; ++byte) {
        U8 next = 0;
        for (U32 lane = 0; lane < 8; ++lane) {
            const bool kept = ((byte >> lane) & 1U) != 0;
            for (U32 b = 0; b < 4; ++b) {
                table.bytes[byte][lane * 4 + b] = kept ? static_cast<U8>(next * 4 + b) : U8{255};
            }
            for (U32 b = 0; b < 2; ++b) {
                table.words[byte][lane * 2 + b] = kept ? static_cast<U8>(next * 2 + b) : U8{255};
            }
            next = static_cast<U8>(next + (kept ? 1 : 0));
        }
        table.count[byte] = next;
    }
    return table;
}
constexpr Expansions expansions = make_expansions();

constexpr U8 quarter_bytes[8] = {0, 0, 0, 0, 1, 1, 1, 1}; // of eight codes of 2 bits
constexpr U8 half_bytes[8] = {0, 0, 1, 1, 2, 2, 3, 3};    // of 4 bits
constexpr std::int8_t quarter_shifts[8] = {0, -2, -4, -6, 0, -2, -4, -6};
constexpr std::int8_t half_shifts[8] = {0, -4, 0, -4, 0, -4, 0, -4};
constexpr U32 lane_bits[4] = {1, 2, 4, 8};

struct Neon {
    struct Vec {
        float32x4_t lo = vdupq_n_f32(0.0F), hi = vdupq_n_f32(0.0F);
    };

    static MUSTAFAR_INLINE Vec halves(float16x8_t x) {
        return {vcvt_f32_f16(vget_low_f16(x)), vcvt_high_f32_f16(x)};
    }
    static MUSTAFAR_INLINE Vec floats(uint32x4_t lo, uint32x4_t hi) {
        return {vreinterpretq_f32_u32(lo), vreinterpretq_f32_u32(hi)};
    }
    static MUSTAFAR_INLINE Vec wide(uint16x8_t x) { // bf16
        return floats(vshll_n_u16(vget_low_u16(x), 16), vshll_high_n_u16(x, 16));
    }
    static MUSTAFAR_INLINE uint32x4_t words(float32x4_t x) { return vreinterpretq_u32_f32(x); }
    static MUSTAFAR_INLINE uint16x8_t load_words(const std::byte* at) {
        return vreinterpretq_u16_u8(vld1q_u8(reinterpret_cast<const U8*>(at)));
    }

    static MUSTAFAR_INLINE Vec once(Vec v) { return v; } // FMA reads registers only

    static MUSTAFAR_INLINE Vec zero() { return set(0.0F); }
    static MUSTAFAR_INLINE Vec set(float x) { return {vdupq_n_f32(x), vdupq_n_f32(x)}; }
    static MUSTAFAR_INLINE Vec load(const float* at) { return {vld1q_f32(at), vld1q_f32(at + 4)}; }
    static MUSTAFAR_INLINE Vec broadcast(const float* at) {
        const float32x4_t x = vld1q_dup_f32(at);
        return {x, x};
    }
    static MUSTAFAR_INLINE void store(float* at, Vec v) {
        vst1q_f32(at, v.lo);
        vst1q_f32(at + 4, v.hi);
    }
    static MUSTAFAR_INLINE Vec from_f16(const std::byte* at) {
        return halves(vreinterpretq_f16_u16(load_words(at)));
    }
    static MUSTAFAR_INLINE Vec from_bf16(const std::byte* at) { return wide(load_words(at)); }
    static MUSTAFAR_INLINE Vec broadcast_f16(U16 bits) {
        return halves(vreinterpretq_f16_u16(vdupq_n_u16(bits)));
    }

    // Codes c .. c + 7 of a row; c is a multiple of 8.
    template <int Bits>
    static MUSTAFAR_INLINE Vec codes(const std::byte* at, U32 c) {
        uint8x8_t bytes;
        if constexpr (Bits == 8) {
            bytes = vld1_u8(reinterpret_cast<const U8*>(at + c));
        } else {
            U32 packed = 0;
            std::memcpy(&packed, at + c * Bits / 8, 4);
            const uint8x8_t all = vcreate_u8(packed);
            const uint8x8_t spread = vtbl1_u8(all, vld1_u8(Bits == 4 ? half_bytes : quarter_bytes));
            const int8x8_t shifts = vld1_s8(Bits == 4 ? half_shifts : quarter_shifts);
            bytes = vand_u8(vshl_u8(spread, shifts), vdup_n_u8((1 << Bits) - 1));
        }
        const uint16x8_t wide = vmovl_u8(bytes);
        return {vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide))), vcvtq_f32_u32(vmovl_high_u16(wide))};
    }
    // Eight pairs (scale, zero) of f16.
    static MUSTAFAR_INLINE void load_pairs(const std::byte* at, Vec& scale, Vec& zero) {
        const uint16x8_t a = load_words(at);
        const uint16x8_t b = load_words(at + 16);
        scale = halves(vreinterpretq_f16_u16(vuzp1q_u16(a, b)));
        zero = halves(vreinterpretq_f16_u16(vuzp2q_u16(a, b)));
    }

    static MUSTAFAR_INLINE U32 count(U32 byte) { return expansions.count[byte]; }
    // The kept values from `at` on to the lanes whose bit is set, 0 to the others.
    static MUSTAFAR_INLINE Vec expand(const float* at, U32 byte) {
        const auto* from = reinterpret_cast<const U8*>(at);
        const uint8x16x2_t values = {{vld1q_u8(from), vld1q_u8(from + 16)}};
        const U8* by = expansions.bytes[byte];
        return {vreinterpretq_f32_u8(vqtbl2q_u8(values, vld1q_u8(by))),
                vreinterpretq_f32_u8(vqtbl2q_u8(values, vld1q_u8(by + 16)))};
    }
    template <bool Bf16>
    static MUSTAFAR_INLINE Vec expand_words(const std::byte* at, U32 byte) {
        const uint8x16_t moved =
            vqtbl1q_u8(vld1q_u8(reinterpret_cast<const U8*>(at)), vld1q_u8(expansions.words[byte]));
        return Bf16 ? wide(vreinterpretq_u16_u8(moved)) : halves(vreinterpretq_f16_u8(moved));
    }
    static MUSTAFAR_INLINE Vec mask(U32 byte) {
        const uint32x4_t each = vld1q_u32(lane_bits);
        return floats(vtstq_u32(vdupq_n_u32(byte), each), vtstq_u32(vdupq_n_u32(byte >> 4), each));
    }

    static MUSTAFAR_INLINE Vec fma(Vec a, Vec b, Vec c) {
        return {vfmaq_f32(c.lo, a.lo, b.lo), vfmaq_f32(c.hi, a.hi, b.hi)};
    }
    static MUSTAFAR_INLINE Vec add(Vec a, Vec b) {
        return {vaddq_f32(a.lo, b.lo), vaddq_f32(a.hi, b.hi)};
    }
    static MUSTAFAR_INLINE Vec sub(Vec a, Vec b) {
        return {vsubq_f32(a.lo, b.lo), vsubq_f32(a.hi, b.hi)};
    }
    static MUSTAFAR_INLINE Vec mul(Vec a, Vec b) {
        return {vmulq_f32(a.lo, b.lo), vmulq_f32(a.hi, b.hi)};
    }
    static MUSTAFAR_INLINE Vec div(Vec a, Vec b) {
        return {vdivq_f32(a.lo, b.lo), vdivq_f32(a.hi, b.hi)};
    }
    static MUSTAFAR_INLINE Vec min(Vec a, Vec b) {
        return {vminq_f32(a.lo, b.lo), vminq_f32(a.hi, b.hi)};
    }
    static MUSTAFAR_INLINE Vec max(Vec a, Vec b) {
        return {vmaxq_f32(a.lo, b.lo), vmaxq_f32(a.hi, b.hi)};
    }
    static MUSTAFAR_INLINE Vec round(Vec x) { return {vrndnq_f32(x.lo), vrndnq_f32(x.hi)}; }
    // 2^n, n whole and in the range of normal numbers.
    static MUSTAFAR_INLINE Vec power2(Vec n) {
        const auto power = [](float32x4_t x) {
            return vreinterpretq_f32_s32(
                vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(x), vdupq_n_s32(127)), 23));
        };
        return {power(n.lo), power(n.hi)};
    }

    // Masks are lanes of ones.
    static MUSTAFAR_INLINE Vec at_least(Vec a, Vec b) {
        return floats(vcgeq_f32(a.lo, b.lo), vcgeq_f32(a.hi, b.hi));
    }
    static MUSTAFAR_INLINE Vec above(Vec a, Vec b) {
        return floats(vcgtq_f32(a.lo, b.lo), vcgtq_f32(a.hi, b.hi));
    }
    static MUSTAFAR_INLINE Vec equal(Vec a, Vec b) {
        return floats(vceqq_f32(a.lo, b.lo), vceqq_f32(a.hi, b.hi));
    }
    static MUSTAFAR_INLINE Vec keep(Vec mask, Vec x) {
        return floats(vandq_u32(words(mask.lo), words(x.lo)),
                      vandq_u32(words(mask.hi), words(x.hi)));
    }
    static MUSTAFAR_INLINE Vec select(Vec mask, Vec yes, Vec no) {
        return {vbslq_f32(words(mask.lo), yes.lo, no.lo), vbslq_f32(words(mask.hi), yes.hi, no.hi)};
    }
    static MUSTAFAR_INLINE U32 bits(Vec mask) {
        const uint32x4_t each = vld1q_u32(lane_bits);
        return vaddvq_u32(vandq_u32(words(mask.lo), each)) |
               vaddvq_u32(vandq_u32(words(mask.hi), each)) << 4;
    }

    static MUSTAFAR_INLINE float first(Vec v) { return vgetq_lane_f32(v.lo, 0); }
    static MUSTAFAR_INLINE float reduce_add(Vec v) { return vaddvq_f32(vaddq_f32(v.lo, v.hi)); }
    static MUSTAFAR_INLINE float reduce_max(Vec v) { return vmaxvq_f32(vmaxq_f32(v.lo, v.hi)); }
    // The sums of four vectors.
    static MUSTAFAR_INLINE void sum4(Vec a, Vec b, Vec c, Vec d, float* to) {
        vst1q_f32(to, vpaddq_f32(vpaddq_f32(vaddq_f32(a.lo, a.hi), vaddq_f32(b.lo, b.hi)),
                                 vpaddq_f32(vaddq_f32(c.lo, c.hi), vaddq_f32(d.lo, d.hi))));
    }
    // [4][4] to four rows that are 32 floats apart.
    static MUSTAFAR_INLINE void split4(const float* from, float* to) {
        const float32x4x4_t rows = vld4q_f32(from);
        for (U32 i = 0; i < 4; ++i) { vst1q_f32(to + std::size_t{i} * tile_rows, rows.val[i]); }
    }
};

} // namespace
} // namespace mustafar::cpu

namespace mustafar {

void attend_neon(const AttendArgs& args) {
    cpu::attend_part(args, nullptr, cpu::tile_ops<cpu::Neon>);
}

} // namespace mustafar
