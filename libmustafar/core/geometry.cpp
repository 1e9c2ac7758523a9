// SPDX-License-Identifier: Apache-2.0
#include "core/geometry.hpp"

#include <string>

#include "core/error.hpp"

namespace mustafar {
namespace {

void check_range(const char* name, std::uint32_t value, std::uint32_t most) {
    if (value >= 1 && value <= most) { return; }
    throw Error(MUSTAFAR_INVALID_ARGUMENT, std::string(name) + " = " + std::to_string(value) +
                                               " is out of range; give 1.." + std::to_string(most));
}

void check_head_dim(const char* name, std::uint32_t value) {
    if (value >= 32 && value <= 256 && value % 8 == 0) { return; }
    std::string text =
        std::string(name) + " = " + std::to_string(value) + " is not served: 32..256 in steps of 8";
    if (value >= 1 && value < 256) {
        const std::uint32_t padded = value < 32 ? 32 : (value + 7) / 8 * 8;
        text += "; pad each head with zeros to " + std::to_string(padded) +
                " and keep scale = 1/sqrt(" + std::to_string(value) + ")";
    } else if (value > 256) {
        text += "; latent (MLA) caches and wider heads are not served";
    }
    throw Error(MUSTAFAR_UNSUPPORTED, text);
}

} // namespace

void check_geometry(const Geometry& geometry) {
    check_range("geometry.layers", geometry.layers, 4096);
    check_range("geometry.kv_heads", geometry.kv_heads, 1024);
    check_range("geometry.q_heads", geometry.q_heads, 1024);
    if (geometry.q_heads % geometry.kv_heads != 0) {
        throw Error(MUSTAFAR_INVALID_ARGUMENT,
                    "geometry.q_heads = " + std::to_string(geometry.q_heads) +
                        " is no multiple of kv_heads = " + std::to_string(geometry.kv_heads) +
                        "; every kv head serves the same number of query heads");
    }
    if (geometry.q_heads / geometry.kv_heads > 64) {
        throw Error(MUSTAFAR_UNSUPPORTED, "geometry.q_heads / kv_heads = " +
                                              std::to_string(geometry.q_heads / geometry.kv_heads) +
                                              " query heads per kv head; at most 64 are served");
    }
    check_head_dim("geometry.head_dim_k", geometry.head_dim_k);
    check_head_dim("geometry.head_dim_v", geometry.head_dim_v);
    if (geometry.store != Dtype::f16 && geometry.store != Dtype::bf16) {
        throw Error(MUSTAFAR_INVALID_ARGUMENT,
                    "geometry.dtype = " + std::to_string(static_cast<int>(geometry.store)) +
                        " cannot be stored; give MUSTAFAR_F16 or MUSTAFAR_BF16 (f32 inputs are "
                        "rounded to it)");
    }
}

} // namespace mustafar
