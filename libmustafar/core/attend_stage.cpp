// SPDX-License-Identifier: Apache-2.0
#include "core/attend_stage.hpp"

#include <cstring>

namespace mustafar {
namespace {

std::size_t element_bytes(const mustafar_tensor& tensor) {
    return tensor.dtype == MUSTAFAR_F32 ? 4 : 2;
}

std::size_t tensor_bytes(const mustafar_tensor* tensor) { // contiguous; the next one is aligned
    if (tensor == nullptr) { return 0; }
    std::size_t bytes = element_bytes(*tensor);
    for (std::uint32_t i = 0; i < tensor->ndim; ++i) {
        bytes *= static_cast<std::size_t>(tensor->shape[i]);
    }
    return (bytes + 7) / 8 * 8;
}

std::size_t bytes_of(const AttendArgs& args) {
    return tensor_bytes(args.out) + tensor_bytes(args.lse) + tensor_bytes(args.weights) +
           tensor_bytes(args.dropped);
}

// One of the same shape and type, contiguous, at `data`.
mustafar_tensor contiguous(const mustafar_tensor& like, std::byte* data) {
    mustafar_tensor tensor = like;
    tensor.data = data;
    std::int64_t stride = 1;
    for (std::uint32_t i = like.ndim; i-- > 0;) {
        tensor.strides[i] = stride;
        stride *= like.shape[i];
    }
    return tensor;
}

// Dimension `dim` and those behind it, from the next bytes of a contiguous tensor.
const std::byte* copy_from(const std::byte* from, const mustafar_tensor& to, std::uint32_t dim,
                           std::int64_t at) {
    const std::size_t size = element_bytes(to);
    auto* data = static_cast<std::byte*>(to.data);
    const std::int64_t stride = to.strides[dim];
    const auto count = static_cast<std::size_t>(to.shape[dim]);
    if (dim + 1 == to.ndim && stride == 1) {
        std::memcpy(data + at * static_cast<std::int64_t>(size), from, count * size);
        return from + count * size;
    }
    for (std::size_t i = 0; i < count; ++i, at += stride) {
        if (dim + 1 < to.ndim) {
            from = copy_from(from, to, dim + 1, at);
            continue;
        }
        std::memcpy(data + at * static_cast<std::int64_t>(size), from, size);
        from += size;
    }
    return from;
}

} // namespace

AttendStage::AttendStage(Context& context, AttendArgs& args) : room_(context, bytes_of(args)) {
    const mustafar_tensor** tensors[] = {&args.out, &args.lse, &args.weights, &args.dropped};
    auto* next = static_cast<std::byte*>(room_.data());
    for (std::size_t i = 0; i < std::size(tensors); ++i) {
        const mustafar_tensor* wanted = *tensors[i];
        if (wanted == nullptr) { continue; }
        outputs_[i] = {wanted, contiguous(*wanted, next)};
        *tensors[i] = &outputs_[i].staged;
        next += tensor_bytes(wanted);
    }
}

void AttendStage::publish() const {
    for (const Output& output : outputs_) {
        if (output.wanted == nullptr) { continue; }
        copy_from(static_cast<const std::byte*>(output.staged.data), *output.wanted, 0, 0);
    }
}

} // namespace mustafar
