// SPDX-License-Identifier: Apache-2.0
#include "convert.hpp"

#include <algorithm>
#include <limits>

#include "guard.hpp"

namespace mustafar::capi {

Geometry read_geometry(const mustafar_geometry* geometry) {
    require(geometry, "geometry");
    const mustafar_geometry given = read_struct(geometry, "geometry");
    require_zero(given.reserved, "geometry.reserved");
    Geometry read{given.layers,     given.q_heads,    given.kv_heads,
                  given.head_dim_k, given.head_dim_v, static_cast<Dtype>(given.dtype)};
    check_geometry(read);
    return read;
}

CacheOptions read_cache_options(const mustafar_cache_options* options) {
    require(options, "options");
    const mustafar_cache_options given = read_struct(options, "options");
    check_flags(given.flags, MUSTAFAR_CACHE_AUTO, "options.flags");
    return {given.max_tokens, given.reserve_tokens, (given.flags & MUSTAFAR_CACHE_AUTO) != 0};
}

namespace {
void check_index(const char* name, std::uint32_t index, std::uint32_t count, bool all) {
    if (index < count || (all && index == MUSTAFAR_ALL)) { return; }
    refuse(std::string(name) + " = " + std::to_string(index) + " is out of range; give 0.." +
           std::to_string(count - 1) + (all ? " or MUSTAFAR_ALL" : ""));
}
} // namespace

void check_layer(const Geometry& geometry, std::uint32_t layer, bool all) {
    check_index("layer", layer, geometry.layers, all);
}
void check_kv_head(const Geometry& geometry, std::uint32_t kv_head, bool all) {
    check_index("kv_head", kv_head, geometry.kv_heads, all);
}
Side read_side(std::uint32_t side) {
    if (side > 1) {
        refuse("side = " + std::to_string(side) + "; give MUSTAFAR_SIDE_K or MUSTAFAR_SIDE_V");
    }
    return static_cast<Side>(side);
}

const std::vector<mustafar_dtype>& float_types() {
    static const std::vector<mustafar_dtype> types{MUSTAFAR_F16, MUSTAFAR_BF16, MUSTAFAR_F32};
    return types;
}

std::string shape_text(const std::int64_t* shape, std::size_t ndim) {
    std::string text = "[";
    for (std::size_t i = 0; i < ndim; ++i) {
        text +=
            (i > 0 ? ", " : "") + (shape[i] < 0 ? std::string("any") : std::to_string(shape[i]));
    }
    return text + "]";
}

namespace {

std::int64_t element_bytes(mustafar_dtype dtype) {
    switch (dtype) {
    case MUSTAFAR_F16:
    case MUSTAFAR_BF16:
        return 2;
    case MUSTAFAR_U8:
        return 1;
    default:
        return 4;
    }
}

// Every element's byte address must be reachable with 64-bit arithmetic.
void check_reach(const mustafar_tensor& tensor, const std::string& name) {
    std::int64_t low = 0;
    std::int64_t high = 0;
    for (std::uint32_t i = 0; i < tensor.ndim; ++i) {
        std::int64_t reach = 0;
        std::int64_t& end = tensor.strides[i] < 0 ? low : high;
        if (__builtin_mul_overflow(tensor.shape[i] - 1, tensor.strides[i], &reach) ||
            __builtin_add_overflow(end, reach, &end)) {
            refuse(name + ".strides[" + std::to_string(i) +
                   "] = " + std::to_string(tensor.strides[i]) + " leaves the address space");
        }
    }
    const std::int64_t most = std::numeric_limits<std::ptrdiff_t>::max() / 8;
    if (high > most || low < -most) {
        refuse(name + ": shape and strides leave the address space");
    }
}

// Outputs: distinct elements at distinct places. Sorted by stride, each dimension must step over
// the smaller ones.
void check_no_overlap(const mustafar_tensor& tensor, const std::string& name) {
    std::vector<std::pair<std::int64_t, std::int64_t>> dims; // stride, shape
    for (std::uint32_t i = 0; i < tensor.ndim; ++i) {
        if (tensor.shape[i] > 1) { dims.emplace_back(tensor.strides[i], tensor.shape[i]); }
    }
    std::sort(dims.begin(), dims.end());
    std::int64_t span = 1;
    for (const auto& [stride, shape] : dims) {
        if (stride < span) {
            refuse(name + ": strides overlap (an output needs positive strides, each larger than "
                          "what lies inside it)");
        }
        if (__builtin_mul_overflow(stride, shape, &span)) {
            refuse(name + ": strides leave the address space");
        }
    }
}

} // namespace

void check_tensor(const mustafar_tensor* tensor, const TensorRule& rule) {
    require(tensor, rule.name);
    const std::string name = rule.name;
    const auto expected = [&] { return shape_text(rule.shape.data(), rule.shape.size()); };
    if (tensor->ndim != rule.shape.size()) {
        refuse(name + ".ndim = " + std::to_string(tensor->ndim) + "; give " +
               std::to_string(rule.shape.size()) + ": " + expected());
    }
    for (std::uint32_t i = 0; i < tensor->ndim; ++i) {
        if (tensor->shape[i] < 0 || (rule.shape[i] >= 0 && tensor->shape[i] != rule.shape[i])) {
            refuse(name + ".shape = " +
                   [&] {
                       std::string text = "[";
                       for (std::uint32_t j = 0; j < tensor->ndim; ++j) {
                           text += (j > 0 ? ", " : "") + std::to_string(tensor->shape[j]);
                       }
                       return text + "]";
                   }() +
                   "; give " + expected());
        }
    }
    if (std::find(rule.dtypes.begin(), rule.dtypes.end(), tensor->dtype) == rule.dtypes.end()) {
        std::string names;
        for (const mustafar_dtype dtype : rule.dtypes) {
            names += (names.empty() ? "" : ", ") + std::string(mustafar_dtype_name(dtype));
        }
        refuse(name + ".dtype = " + std::to_string(tensor->dtype) + " (" +
               mustafar_dtype_name(tensor->dtype) + "); give " + names);
    }
    if (tensor->device != 0) {
        throw Error(MUSTAFAR_UNSUPPORTED, name + ".device = " + std::to_string(tensor->device) +
                                              "; this context has host memory only, give 0");
    }
    require_zero(tensor->reserved, (name + ".reserved").c_str());
    if (std::any_of(tensor->shape, tensor->shape + tensor->ndim,
                    [](std::int64_t n) { return n == 0; })) {
        return;
    }
    if (tensor->data == nullptr) { refuse(name + ".data = NULL"); }
    if (reinterpret_cast<std::uintptr_t>(tensor->data) %
            static_cast<std::uintptr_t>(element_bytes(tensor->dtype)) !=
        0) {
        refuse(name + ".data is not aligned to its element of " +
               std::to_string(element_bytes(tensor->dtype)) + " bytes");
    }
    check_reach(*tensor, name);
    if (rule.output) { check_no_overlap(*tensor, name); }
}

} // namespace mustafar::capi
