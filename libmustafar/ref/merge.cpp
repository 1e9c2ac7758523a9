// SPDX-License-Identifier: Apache-2.0
// merge_ref: two partial attentions over disjoint rows (online softmax, arXiv 1805.02867), in
// double:
//   m = max(a, b);  lse = m + ln(e^(a-m) + e^(b-m));  out = e^(a-lse) out_a + e^(b-lse) out_b
#include <cmath>
#include <limits>

#include "core/kernels.hpp"
#include "core/tensor.hpp"

namespace mustafar {
namespace {

std::int64_t offset(const mustafar_tensor& tensor, const std::int64_t* index, std::uint32_t dims) {
    std::int64_t at = 0;
    for (std::uint32_t i = 0; i < dims; ++i) { at += index[i] * tensor.strides[i]; }
    return at;
}

void merge_one(const MergeArgs& args, const std::int64_t* index, std::uint32_t dims) {
    const double a = load_element(*args.lse_a, offset(*args.lse_a, index, dims));
    const double b = load_element(*args.lse_b, offset(*args.lse_b, index, dims));
    const double m = std::max(a, b);
    const bool empty = m == -std::numeric_limits<double>::infinity();
    const double lse = empty ? m : m + std::log(std::exp(a - m) + std::exp(b - m));
    const double sum = std::exp(a - m) + std::exp(b - m);
    const double weight_a = empty ? 0.0 : std::exp(a - m) / sum;
    const double weight_b = empty ? 0.0 : std::exp(b - m) / sum;
    const std::int64_t d = args.out->shape[dims];
    for (std::int64_t c = 0; c < d; ++c) {
        const auto at = [&](const mustafar_tensor& t) {
            return offset(t, index, dims) + c * t.strides[dims];
        };
        // A part without rows has weight 0; whatever its out holds must not matter.
        const double part_a =
            weight_a == 0.0 ? 0.0 : weight_a * load_element(*args.out_a, at(*args.out_a));
        const double part_b =
            weight_b == 0.0 ? 0.0 : weight_b * load_element(*args.out_b, at(*args.out_b));
        store_element(*args.out, at(*args.out), part_a + part_b);
    }
    store_element(*args.lse, offset(*args.lse, index, dims), lse);
}

} // namespace

void merge_ref(const MergeArgs& args) {
    const std::uint32_t dims = args.out->ndim - 1;
    std::int64_t index[MUSTAFAR_MAX_DIMS] = {};
    for (std::uint32_t i = 0; i < dims; ++i) {
        if (args.out->shape[i] == 0) { return; }
    }
    for (;;) {
        merge_one(args, index, dims);
        std::uint32_t dim = dims;
        while (dim > 0 && ++index[dim - 1] == args.out->shape[dim - 1]) { index[--dim] = 0; }
        if (dim == 0) { return; }
    }
}

} // namespace mustafar
