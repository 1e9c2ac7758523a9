// SPDX-License-Identifier: Apache-2.0
// binary16 and bfloat16 as raw bits, rounding to nearest, ties to even (IEEE 754-2019, 4.3.1).
// In software, so that bytes are the same on every machine and compiler.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>

#include "core/geometry.hpp"

namespace mustafar {

constexpr float most_f16 = 65504.0F;
constexpr float most_bf16 = 0x1.FEp127F;

// What goes to a caller: a decoded number can lie a little beyond what the caller's type holds, since
// scales round up. It becomes the largest number of that type; infinities stay what they are.
inline float saturated(float value, float most) {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    if (value > most && value != infinity) { return most; }
    if (value < -most && value != -infinity) { return -most; }
    return value;
}

inline float f16_to_f32(std::uint16_t half) {
    const std::uint32_t sign = std::uint32_t{half & 0x8000U} << 16;
    const std::uint32_t exponent = (half >> 10) & 0x1FU;
    const std::uint32_t fraction = half & 0x3FFU;
    if (exponent == 0) { // zero or subnormal: fraction * 2^-24, exact in binary32
        const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
        return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
    }
    if (exponent == 31) { return std::bit_cast<float>(sign | 0x7F800000U | (fraction << 13)); }
    return std::bit_cast<float>(sign | ((exponent + 112U) << 23) | (fraction << 13));
}

inline std::uint16_t f32_to_f16(float value) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
    const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000U);
    const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
    if (magnitude >= 0x7F800000U) { // infinity, NaN (kept a NaN)
        const std::uint32_t nan =
            magnitude > 0x7F800000U ? 0x0200U | ((magnitude >> 13) & 0x3FFU) : 0U;
        return static_cast<std::uint16_t>(sign | 0x7C00U | nan);
    }
    if (magnitude >= 0x477FF000U) { return static_cast<std::uint16_t>(sign | 0x7C00U); } // >= 65520
    if (magnitude < 0x33000001U) {
        return sign;
    } // <= 2^-25: half of the least subnormal ties to even
    std::uint32_t mantissa = (magnitude & 0x7FFFFFU) | 0x800000U;
    const auto exponent = static_cast<int>(magnitude >> 23) - 127;
    const int shift = exponent < -14 ? 13 + (-14 - exponent) : 13; // bits dropped
    const std::uint32_t rest = mantissa & ((1U << shift) - 1U);
    const std::uint32_t tie = 1U << (shift - 1);
    mantissa >>= shift;
    if (rest > tie || (rest == tie && (mantissa & 1U) != 0U)) { ++mantissa; }
    const std::uint32_t base =
        exponent < -14 ? 0U : static_cast<std::uint32_t>(exponent + 14) << 10;
    return static_cast<std::uint16_t>(sign | (base + mantissa)); // a carry moves into the exponent
}

inline float bf16_to_f32(std::uint16_t half) {
    return std::bit_cast<float>(std::uint32_t{half} << 16);
}

inline std::uint16_t f32_to_bf16(float value) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
    if ((bits & 0x7FFFFFFFU) > 0x7F800000U) {
        return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
    }
    return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

// ---- rows of them, in pieces of 8, which every processor has vectors for -----------------------
// d is a multiple of 8 throughout, as every head size is.
using Half8 = std::int16_t __attribute__((vector_size(16)));
using Word8 = std::int32_t __attribute__((vector_size(32)));
static_assert(sizeof(Half8) == 16 && sizeof(Word8) == 32);

inline bool halves_within(const std::uint16_t* halves, std::uint32_t d, std::uint16_t most) {
    const Half8 limit = Half8{} + static_cast<std::int16_t>(most);
    Half8 beyond = {};
    for (std::uint32_t c = 0; c < d; c += 8) {
        Half8 x;
        std::memcpy(&x, halves + c, sizeof x);
        beyond |= (x & 0x7FFF) > limit;
    }
    std::uint64_t any[2];
    std::memcpy(any, &beyond, sizeof any);
    return (any[0] | any[1]) == 0;
}
inline bool floats_within(const float* values, std::uint32_t d, std::uint32_t most_bits) {
    const Word8 limit = Word8{} + static_cast<std::int32_t>(most_bits);
    Word8 beyond = {};
    for (std::uint32_t c = 0; c < d; c += 8) {
        Word8 x;
        std::memcpy(&x, values + c, sizeof x);
        beyond |= (x & 0x7FFFFFFF) > limit;
    }
    std::uint64_t any[4];
    std::memcpy(any, &beyond, sizeof any);
    return (any[0] | any[1] | any[2] | any[3]) == 0;
}

// f32_to_f16 of finite values.
inline std::uint16_t finite_to_f16(float value) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
    // Subnormal in binary16: the sum with 1/2 has them as its lowest bits, rounded to nearest even.
    const std::uint32_t small =
        std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - 0x3F000000U;
    const std::uint32_t normal =
        (magnitude - (112U << 23) + 0xFFFU + ((magnitude >> 13) & 1U)) >> 13;
    const std::uint32_t rounded = magnitude < (113U << 23) ? small : normal;
    const std::uint32_t most = rounded > 0x7C00U ? 0x7C00U : rounded;
    return static_cast<std::uint16_t>(((bits >> 16) & 0x8000U) | most);
}

inline float load_half(std::uint16_t half, Dtype store) {
    return store == Dtype::f16 ? f16_to_f32(half) : bf16_to_f32(half);
}
inline std::uint16_t store_half(float value, Dtype store) {
    return store == Dtype::f16 ? f32_to_f16(value) : f32_to_bf16(value);
}

// store_half of d finite values.
inline void store_halves(const float* values, std::uint32_t d, Dtype store, std::uint16_t* out) {
    for (std::uint32_t c = 0; c < d; c += 8) {
        std::uint16_t eight[8];
        if (store == Dtype::f16) {
            for (std::uint32_t i = 0; i < 8; ++i) { eight[i] = finite_to_f16(values[c + i]); }
        } else {
            for (std::uint32_t i = 0; i < 8; ++i) { eight[i] = f32_to_bf16(values[c + i]); }
        }
        for (std::uint32_t i = 0; i < 8; ++i) { out[c + i] = eight[i]; }
    }
}

} // namespace mustafar
