// SPDX-License-Identifier: Apache-2.0
// Numbers of the oracle: rounding to 16-bit types and a small random generator.
// Shares nothing with libmustafar, on purpose.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "mustafar/types.h"

namespace oracle {

// Rounds to the nearest multiple of the last place, ties to even; infinity
// beyond the largest.
inline float round_to(mustafar_dtype type, float x) {
    if (type == MUSTAFAR_F32 || x == 0.0F || !std::isfinite(x)) return x;
    const bool half = type == MUSTAFAR_F16;
    const int digits = half ? 11 : 8;
    const int smallest = half ? -24 : -133;
    int exponent = 0;
    std::frexp(x, &exponent);
    const int quantum = std::max(exponent - digits, smallest);
    const double rounded = std::ldexp(std::nearbyint(std::ldexp(double{x}, -quantum)), quantum);
    const double largest = half ? 65504.0 : 0x1.FEp127;
    if (std::abs(rounded) <= largest) return static_cast<float>(rounded);
    return std::copysign(std::numeric_limits<float>::infinity(), x);
}

inline uint32_t bits_of(float x) {
    uint32_t bits = 0;
    static_assert(sizeof bits == sizeof x);
    __builtin_memcpy(&bits, &x, sizeof bits);
    return bits;
}

// The 16 bits of a value that round_to() has already made representable (NaN
// and infinity too).
inline uint16_t half_bits(mustafar_dtype type, float x) {
    const uint32_t bits = bits_of(x);
    if (type == MUSTAFAR_BF16) return static_cast<uint16_t>(bits >> 16);
    const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000U);
    if (std::isnan(x)) return static_cast<uint16_t>(sign | 0x7E00U);
    if (std::isinf(x)) return static_cast<uint16_t>(sign | 0x7C00U);
    const double magnitude = std::abs(double{x});
    if (magnitude < 0x1p-14)
        return static_cast<uint16_t>(sign | static_cast<uint16_t>(magnitude * 0x1p24));
    int exponent = 0;
    const double fraction = std::frexp(magnitude, &exponent); // [0.5, 1)
    const auto mantissa = static_cast<uint16_t>(std::ldexp(fraction, 11)) & 0x3FFU;
    return static_cast<uint16_t>(sign | static_cast<unsigned>(exponent + 14) << 10 | mantissa);
}

// SplitMix64 (Steele, Lea, Flood 2014).
class Random {
  public:
    explicit Random(uint64_t seed) : state_(seed) {}
    uint64_t next() {
        uint64_t z = (state_ += 0x9E3779B97F4A7C15U);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
        return z ^ (z >> 31);
    }
    // 0 .. count-1
    uint32_t below(uint64_t count) { return static_cast<uint32_t>((next() >> 11) % count); }
    uint32_t between(uint32_t low, uint32_t high) { return low + below(uint64_t{high} - low + 1); }
    bool chance(uint32_t percent) { return below(100) < percent; }
    double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }
    // Sum of four uniforms: close enough to a normal of deviation 1.
    double normal() { return (unit() + unit() + unit() + unit() - 2.0) * 1.7320508075688772; }
    template <typename T, std::size_t n>
    const T &pick(const T (&from)[n]) {
        return from[below(n)];
    }

  private:
    uint64_t state_;
};

} // namespace oracle
