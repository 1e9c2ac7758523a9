// SPDX-License-Identifier: Apache-2.0
#include "library.hpp"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>

namespace oracle {

void fail(const char *format, ...) {
    char text[2000];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    throw Failure(text);
}

Heap::~Heap() {
    for (const auto &[data, block] : blocks_) std::free(data);
}

mustafar_allocator Heap::hook() {
    mustafar_allocator hook{};
    hook.struct_size = sizeof hook;
    hook.user = this;
    hook.allocate = &Heap::allocate;
    hook.release = &Heap::release;
    return hook;
}

void *Heap::allocate(void *user, size_t bytes, size_t alignment) {
    auto &heap = *static_cast<Heap *>(user);
    const std::lock_guard lock(heap.mutex_);
    if (heap.countdown_ >= 0 && heap.countdown_-- == 0) {
        heap.refused_ = true;
        return nullptr;
    }
    if (alignment > 64 || (alignment & (alignment - 1)) != 0)
        heap.complaint_ = "allocate: alignment " + std::to_string(alignment);
    void *data = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (data == nullptr) return nullptr;
    std::memset(data, 0xA5, bytes); // nobody may count on zeros
    heap.blocks_[data] = {bytes, alignment};
    heap.live_ += bytes;
    ++heap.granted_;
    return data;
}

void Heap::release(void *user, void *data, size_t bytes, size_t alignment) {
    auto &heap = *static_cast<Heap *>(user);
    const std::lock_guard lock(heap.mutex_);
    const auto found = heap.blocks_.find(data);
    if (found == heap.blocks_.end()) {
        if (data != nullptr) heap.complaint_ = "release: a block that is not live";
        return;
    }
    if (found->second.bytes != bytes || found->second.alignment != alignment)
        heap.complaint_ = "release: " + std::to_string(bytes) + " bytes, allocated were " +
                          std::to_string(found->second.bytes);
    heap.live_ -= found->second.bytes;
    std::free(data);
    heap.blocks_.erase(found);
}

namespace {

std::size_t element_bytes(mustafar_dtype dtype) { return dtype == MUSTAFAR_F32 ? 4 : 2; }

void put(std::byte *to, mustafar_dtype dtype, float x) {
    if (dtype == MUSTAFAR_F32) {
        std::memcpy(to, &x, 4);
        return;
    }
    const uint16_t bits = half_bits(dtype, x);
    std::memcpy(to, &bits, 2);
}

} // namespace

// Dimensions in any order in memory, some backwards, gaps behind some.
Array::Array(mustafar_dtype dtype, const std::vector<int64_t> &shape,
             const std::vector<float> &values, uint64_t layout) {
    Random random(layout);
    view_.dtype = dtype;
    view_.ndim = static_cast<uint32_t>(shape.size());
    std::vector<std::size_t> order(shape.size()); // innermost first
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::reverse(order.begin(), order.end());
    if (layout != 0)
        for (std::size_t i = order.size(); i > 1; --i)
            std::swap(order[i - 1], order[random.below(i)]);
    int64_t step = layout != 0 && random.chance(20) ? 2 : 1, origin = 0;
    for (const std::size_t dimension : order) {
        view_.shape[dimension] = shape[dimension];
        view_.strides[dimension] = step;
        const int64_t span = step * shape[dimension];
        if (layout != 0 && random.chance(20) && shape[dimension] != 0) {
            origin += step * (shape[dimension] - 1);
            view_.strides[dimension] = -step;
        }
        step = span + (layout != 0 && random.chance(30) ? random.below(5) : 0);
    }
    const std::size_t size = element_bytes(dtype);
    bytes_.assign(static_cast<std::size_t>(step) * size + 8, std::byte{0xFF}); // gaps hold NaN
    view_.data = bytes_.data() + static_cast<std::size_t>(origin) * size;
    std::vector<int64_t> index(shape.size(), 0);
    for (const float value : values) {
        int64_t at = origin;
        for (std::size_t i = 0; i < index.size(); ++i) at += index[i] * view_.strides[i];
        put(bytes_.data() + static_cast<std::size_t>(at) * size, dtype, value);
        for (std::size_t i = index.size(); i-- > 0 && ++index[i] == shape[i];) index[i] = 0;
    }
}

Array::Array(mustafar_dtype dtype, const std::vector<int64_t> &shape)
    : Array(dtype, shape, {}, 0) {}

std::size_t Array::count() const {
    std::size_t count = 1;
    for (uint32_t i = 0; i < view_.ndim; ++i) count *= static_cast<std::size_t>(view_.shape[i]);
    return count;
}

std::vector<float> random_values(Random &random, mustafar_dtype dtype, std::size_t rows,
                                 uint32_t d) {
    std::vector<float> offset(d, 0.0F), values;
    const uint32_t style = random.below(10);
    const double scale = style == 0 ? 1e-4 : style == 1 ? 100.0 : 1.0;
    if (style <= 4)
        for (float &x : offset) x = static_cast<float>(4.0 * scale * random.normal());
    values.reserve(rows * d);
    for (std::size_t r = 0; r < rows; ++r) {
        const uint32_t row = random.below(16);
        for (uint32_t c = 0; c < d; ++c) {
            double x = offset[c] + scale * random.normal();
            if (row == 0 || style == 5) x = random.between(0, 6) / 2.0 - 1.5; // ties
            if (row == 1) x = scale;                                          // constant
            if (row == 2) x = random.chance(50) ? 0.0 : -0.0;
            if (row == 3) x = 1e-7 * random.normal();     // f16 denormals
            if (row == 4 && random.chance(10)) x *= 30.0; // outliers
            values.push_back(round_to(dtype, static_cast<float>(std::clamp(x, -3e4, 3e4))));
        }
    }
    return values;
}

int32_t write_bytes(void *user, const void *data, size_t bytes) {
    auto &to = static_cast<Bytes *>(user)->data;
    const auto *from = static_cast<const std::byte *>(data);
    to.insert(to.end(), from, from + bytes);
    return 0;
}

int32_t read_bytes(void *user, void *data, size_t bytes, size_t *got) {
    auto &from = *static_cast<Bytes *>(user);
    *got = std::min({bytes, from.most, from.data.size() - from.at});
    if (*got != 0) std::memcpy(data, from.data.data() + from.at, *got);
    from.at += *got;
    return 0;
}

} // namespace oracle
