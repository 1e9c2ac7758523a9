// SPDX-License-Identifier: Apache-2.0
// Reading and writing elements of a tensor view that was already checked at the edge.
#pragma once

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
        static_cast<std::uint16_t*>(tensor.data)[offset] = f32_to_f16(rounded);
        break;
    case MUSTAFAR_BF16:
        static_cast<std::uint16_t*>(tensor.data)[offset] = f32_to_bf16(rounded);
        break;
    default:
        static_cast<float*>(tensor.data)[offset] = rounded;
        break;
    }
}

} // namespace mustafar
