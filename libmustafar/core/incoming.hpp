// SPDX-License-Identifier: Apache-2.0
// The rows of one append, standing behind the dense rows of each head until they are published.
#pragma once

#include <cstdint>

#include "core/cache.hpp"
#include "core/tensor.hpp"

namespace mustafar {

struct Cache::Incoming {
    const mustafar_tensor* k = nullptr; // [tokens, kv_heads, d_k]
    const mustafar_tensor* v = nullptr; // [tokens, kv_heads, d_v]
    Dtype store = Dtype::f16;
    std::uint32_t tokens = 0;

    // One row as it will be stored.
    void load(Side side, std::uint32_t token, std::uint32_t kv_head, std::uint32_t d,
              std::uint16_t* out) const {
        const mustafar_tensor& tensor = side == Side::k ? *k : *v;
        const std::int64_t at = token * tensor.strides[0] + kv_head * tensor.strides[1];
        const auto same = static_cast<mustafar_dtype>(store);
        const auto* halves = static_cast<const std::uint16_t*>(tensor.data);
        for (std::uint32_t c = 0; c < d; ++c) {
            const std::int64_t offset = at + c * tensor.strides[2];
            out[c] = tensor.dtype == same ? halves[offset]
                                          : store_half(load_element(tensor, offset), store);
        }
    }
};

} // namespace mustafar
