// SPDX-License-Identifier: Apache-2.0
// 16-bit floats as raw bits, widened exactly.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "mustafar/types.h"

namespace mustafar::experiment {

inline float f16_to_float(std::uint16_t bits) {
    const std::uint32_t sign = std::uint32_t{bits & 0x8000u} << 16;
    const std::uint32_t exponent = bits >> 10 & 0x1fu;
    const std::uint32_t fraction = bits & 0x3ffu;
    if (exponent == 0) { // zero and denormals: fraction * 2^-24
        const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
        return sign != 0 ? -magnitude : magnitude;
    }
    const std::uint32_t wide = exponent == 31 ? 255 : exponent + 112;
    return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

inline float bf16_to_float(std::uint16_t bits) {
    return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

inline float half_to_float(std::uint16_t bits, mustafar_dtype dtype) {
    return dtype == MUSTAFAR_BF16 ? bf16_to_float(bits) : f16_to_float(bits);
}

} // namespace mustafar::experiment
