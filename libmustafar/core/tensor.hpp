// SPDX-License-Identifier: Apache-2.0
// Reading and writing elements of a tensor view that was already checked at the edge.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "core/half.hpp"
#include "mustafar/types.h"

namespace mustafar {

inline float load_element(const mustafar_tensor& tensor, std::int64_t offset) {
    switch (tensor.dtype) {
    case MUSTAFAR_F16:
        return f16_to_f32(static_cast<const std::uint16_t*>(tensor.data)[offset]);
    case MUSTAFAR_BF16:
        return bf16_to_f32(static_cast<const std::uint16_t*>(tensor.data)[offset]);
    default:
        return static_cast<const float*>(tensor.data)[offset];
    }
}

inline void store_element(const mustafar_tensor& tensor, std::int64_t offset, double value) {
    const auto rounded = static_cast<float>(value);
    switch (tensor.dtype) {
    case MUSTAFAR_F16:
        static_cast<std::uint16_t*>(tensor.data)[offset] = f32_to_f16(saturated(rounded, most_f16));
        break;
    case MUSTAFAR_BF16:
        static_cast<std::uint16_t*>(tensor.data)[offset] =
            f32_to_bf16(saturated(rounded, most_bf16));
        break;
    default:
        static_cast<float*>(tensor.data)[offset] = rounded;
        break;
    }
}

// The last dimension from `offset` on, whatever its stride.
inline void load_row(const mustafar_tensor& tensor, std::int64_t offset, std::size_t count,
                     float* out) {
    const std::int64_t stride = tensor.strides[tensor.ndim - 1];
    if (tensor.dtype == MUSTAFAR_F32) { // the way of most: no choice per element
        const float* from = static_cast<const float*>(tensor.data) + offset;
        for (std::size_t i = 0; i < count; ++i) {
            out[i] = from[static_cast<std::int64_t>(i) * stride];
        }
        return;
    }
    for (std::size_t i = 0; i < count; ++i) {
        out[i] = load_element(tensor, offset + static_cast<std::int64_t>(i) * stride);
    }
}

inline void store_row(const mustafar_tensor& tensor, std::int64_t offset, std::size_t count,
                      const double* values) {
    const std::int64_t stride = tensor.strides[tensor.ndim - 1];
    if (tensor.dtype == MUSTAFAR_F32) {
        float* to = static_cast<float*>(tensor.data) + offset;
        for (std::size_t i = 0; i < count; ++i) {
            to[static_cast<std::int64_t>(i) * stride] = static_cast<float>(values[i]);
        }
        return;
    }
    for (std::size_t i = 0; i < count; ++i) {
        store_element(tensor, offset + static_cast<std::int64_t>(i) * stride, values[i]);
    }
}

inline bool all_finite(const float* values, std::size_t count) {
    std::uint32_t wrong = 0; // no branch per element
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint32_t exponent = std::bit_cast<std::uint32_t>(values[i]) & 0x7F800000U;
        wrong |= exponent == 0x7F800000U ? 1U : 0U;
    }
    return wrong == 0;
}

} // namespace mustafar
