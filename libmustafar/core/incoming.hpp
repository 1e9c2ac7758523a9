// SPDX-License-Identifier: Apache-2.0
// The rows of one append, standing behind the dense rows of each head until they are published.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "core/cache.hpp"
#include "core/tensor.hpp"

namespace mustafar {

struct Cache::Incoming {
    const mustafar_tensor* k = nullptr; // [tokens, kv_heads, d_k]
    const mustafar_tensor* v = nullptr; // [tokens, kv_heads, d_v]
    Dtype store = Dtype::f16;
    std::uint32_t tokens = 0;
    bool check_in_turn =
        false; // values have not been checked: whoever packs rows looks at them first

    struct Unsure {}; // thrown by who looked and found what may not fit

    const mustafar_tensor& tensor(Side side) const { return side == Side::k ? *k : *v; }
    static std::int64_t offset(const mustafar_tensor& tensor, std::uint32_t token,
                               std::uint32_t kv_head) {
        return token * tensor.strides[0] + kv_head * tensor.strides[1];
    }
    // Each row is one piece of halves of the stored type.
    bool lies_as_stored(Side side) const {
        const mustafar_tensor& from = tensor(side);
        return from.dtype == static_cast<mustafar_dtype>(store) && from.strides[2] == 1;
    }
    HalfRows rows(Side side, std::uint32_t token, std::uint32_t kv_head) const {
        const mustafar_tensor& from = tensor(side);
        return {static_cast<const std::uint16_t*>(from.data) + offset(from, token, kv_head),
                static_cast<std::ptrdiff_t>(from.strides[0]), store};
    }

    // One row as it will be stored.
    void load(Side side, std::uint32_t token, std::uint32_t kv_head, std::uint32_t d,
              std::uint16_t* out) const {
        const mustafar_tensor& from = tensor(side);
        const std::int64_t at = offset(from, token, kv_head);
        const bool same = from.dtype == static_cast<mustafar_dtype>(store);
        if (from.strides[2] == 1 && same) {
            std::memcpy(out, static_cast<const std::uint16_t*>(from.data) + at,
                        d * sizeof(std::uint16_t));
        } else if (from.strides[2] == 1 && from.dtype == MUSTAFAR_F32) {
            store_halves(static_cast<const float*>(from.data) + at, d, store, out);
        } else {
            for (std::uint32_t c = 0; c < d; ++c) {
                const std::int64_t element = at + c * from.strides[2];
                out[c] = same ? static_cast<const std::uint16_t*>(from.data)[element]
                              : store_half(load_element(from, element), store);
            }
        }
    }

    // No element of this row is stored as anything larger in magnitude than the half `most`, which is
    // not negative. Knows rows in one piece, of halves of the stored type or floats; says false of
    // others.
    bool surely_within(Side side, std::uint32_t token, std::uint32_t kv_head, std::uint32_t d,
                       std::uint16_t most) const {
        const mustafar_tensor& from = tensor(side);
        const std::int64_t at = offset(from, token, kv_head);
        if (lies_as_stored(side)) {
            return halves_within(static_cast<const std::uint16_t*>(from.data) + at, d, most);
        }
        if (from.strides[2] != 1 || from.dtype != MUSTAFAR_F32) { return false; }
        // All floats up to this one round to `most` or less.
        const auto limit = std::bit_cast<std::uint32_t>(load_half(most, store));
        return floats_within(static_cast<const float*>(from.data) + at, d, limit);
    }
    // The same for all heads of tokens [first, end).
    bool all_within(Side side, std::uint32_t first, std::uint32_t end, std::uint32_t kv_heads,
                    std::uint32_t d, std::uint16_t most) const {
        for (std::uint32_t t = first; t < end; ++t) {
            for (std::uint32_t h = 0; h < kv_heads; ++h) {
                if (!surely_within(side, t, h, d, most)) { return false; }
            }
        }
        return true;
    }
};

} // namespace mustafar
