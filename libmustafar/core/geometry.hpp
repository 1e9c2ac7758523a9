// SPDX-License-Identifier: Apache-2.0
// Shape of a model's cache, already checked.
#pragma once

#include <cstdint>

namespace mustafar {

enum class Side : std::uint32_t { k = 0, v = 1 };
enum class Dtype : std::int32_t { f32 = 1, f16 = 2, bf16 = 3 };

constexpr std::uint32_t page_rows = 32; // rows of a page; also the default pack step

struct Geometry {
    std::uint32_t layers = 0;
    std::uint32_t q_heads = 0;
    std::uint32_t kv_heads = 0;
    std::uint32_t head_dim_k = 0;
    std::uint32_t head_dim_v = 0;
    Dtype store = Dtype::f16; // f16 or bf16

    std::uint32_t head_dim(Side side) const { return side == Side::k ? head_dim_k : head_dim_v; }
    std::uint32_t group() const { return q_heads / kv_heads; }
    bool operator==(const Geometry&) const = default;
};

// Throws Error{UNSUPPORTED | INVALID_ARGUMENT} naming the field, its value, the limit and the way
// out.
void check_geometry(const Geometry& geometry);

} // namespace mustafar
