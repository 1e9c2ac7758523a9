// SPDX-License-Identifier: Apache-2.0
// Public structs to internal ones, checked on the way.
#pragma once

#include <string>
#include <vector>

#include "core/cache.hpp"
#include "mustafar/mustafar.h"

namespace mustafar::capi {

Geometry read_geometry(const mustafar_geometry* geometry);
CacheOptions read_cache_options(const mustafar_cache_options* options);
void check_layer(const Geometry& geometry, std::uint32_t layer, bool all);
void check_kv_head(const Geometry& geometry, std::uint32_t kv_head, bool all);
Side read_side(std::uint32_t side);

// What a tensor argument must look like. -1 in a shape = any size.
struct TensorRule {
    const char* name;
    std::vector<std::int64_t> shape;
    std::vector<mustafar_dtype> dtypes;
    bool output = false;
};
const std::vector<mustafar_dtype>& float_types(); // f16, bf16, f32
void check_tensor(const mustafar_tensor* tensor, const TensorRule& rule);
std::string shape_text(const std::int64_t* shape, std::size_t ndim);

} // namespace mustafar::capi
