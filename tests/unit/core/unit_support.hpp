// SPDX-License-Identifier: Apache-2.0
// What the unit tests of core, format and ref share: an allocator that counts and refuses, random
// numbers with a seed, arrays with a tensor view, and a way to catch a refusal.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "core/context.hpp"
#include "core/error.hpp"
#include "core/tensor.hpp"

namespace mustafar::test {

// The allocator of a context: knows what is live, fills what it hands out with rubbish, and refuses
// one call when told to.
class Heap {
  public:
    ~Heap() {
        for (const auto& [data, block] : blocks_) { std::free(data); }
    }
    mustafar_allocator hook() { return {sizeof(mustafar_allocator), 0, this, allocate, release}; }

    void refuse_call(std::uint64_t n) { // the n-th one from now on; 0 = none
        refuse_at_ = n == 0 ? 0 : calls_ + n;
        refused_ = false;
    }
    bool refused() const { return refused_; }
    std::uint64_t calls() const { return calls_; }
    std::uint64_t live() const { return live_; }
    std::uint64_t blocks() const { return blocks_.size(); }
    std::size_t last_alignment() const { return last_alignment_; }
    const std::string& complaint() const { return complaint_; } // a wrong release

  private:
    struct Block {
        std::size_t bytes = 0, alignment = 0;
    };
    static void* allocate(void* user, std::size_t bytes, std::size_t alignment) {
        Heap& heap = *static_cast<Heap*>(user);
        const std::lock_guard lock(heap.mutex_);
        heap.last_alignment_ = alignment;
        if (++heap.calls_ == heap.refuse_at_) {
            heap.refused_ = true;
            return nullptr;
        }
        const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
        void* data = std::aligned_alloc(alignment, rounded);
        std::memset(data, 0xA5, bytes); // nobody may count on zeros
        heap.blocks_[data] = {bytes, alignment};
        heap.live_ += bytes;
        return data;
    }
    static void release(void* user, void* data, std::size_t bytes, std::size_t alignment) {
        Heap& heap = *static_cast<Heap*>(user);
        const std::lock_guard lock(heap.mutex_);
        const auto found = heap.blocks_.find(data);
        if (found == heap.blocks_.end()) {
            heap.complaint_ = "released what is not live";
            return;
        }
        if (found->second.bytes != bytes || found->second.alignment != alignment) {
            heap.complaint_ = "released with another size or alignment than allocated";
        }
        heap.live_ -= found->second.bytes;
        heap.blocks_.erase(found);
        std::free(data);
    }

    std::mutex mutex_;
    std::map<void*, Block> blocks_;
    std::uint64_t calls_ = 0, live_ = 0, refuse_at_ = 0;
    std::size_t last_alignment_ = 0;
    bool refused_ = false;
    std::string complaint_;
};

inline std::shared_ptr<Context> make_context(Heap& heap, std::uint64_t quota_bytes = 0,
                                             std::uint32_t threads = 1) {
    ContextSettings settings;
    settings.threads = threads;
    settings.quota_bytes = quota_bytes;
    settings.allocator = heap.hook();
    return std::make_shared<Context>(settings);
}

// The error a call throws; OK where it throws none.
template <class Call>
Error error_of(Call&& call) {
    try {
        call();
    } catch (const Error& error) { return error; }
    return {MUSTAFAR_OK, "accepted"};
}
template <class Call>
mustafar_status status_of(Call&& call) {
    return error_of(call).code;
}

constexpr std::uint64_t mix(std::uint64_t z) { // splitmix64
    z += 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31U);
}

// Random numbers; MUSTAFAR_SEED, where given, chooses others.
class Random {
  public:
    explicit Random(std::uint64_t salt) : state_(mix(seed() + salt)) {}
    static std::uint64_t seed() {
        const char* given = std::getenv("MUSTAFAR_SEED");
        return given == nullptr ? 1 : std::strtoull(given, nullptr, 0);
    }
    std::uint64_t next() { return state_ = mix(state_); }
    std::uint32_t below(std::uint32_t limit) { return static_cast<std::uint32_t>(next() % limit); }
    bool chance(std::uint32_t percent) { return below(100) < percent; }
    float uniform(float from, float to) {
        const double unit = static_cast<double>(next() >> 11U) * 0x1p-53;
        return static_cast<float>(from + (static_cast<double>(to) - from) * unit);
    }
    std::vector<float> values(std::size_t count, float from = -4.0F, float to = 4.0F) {
        std::vector<float> out(count);
        for (float& x : out) { x = uniform(from, to); }
        return out;
    }

  private:
    std::uint64_t state_;
};

// A row-major f32 array and the view the library takes of it.
struct Array {
    std::vector<std::int64_t> shape;
    std::vector<float> values;

    explicit Array(std::vector<std::int64_t> of, float fill = 0.0F) : shape(std::move(of)) {
        std::int64_t count = 1;
        for (const std::int64_t size : shape) { count *= size; }
        values.assign(static_cast<std::size_t>(count), fill);
    }
    mustafar_tensor view() const {
        mustafar_tensor tensor{};
        tensor.data = const_cast<float*>(values.data());
        tensor.dtype = MUSTAFAR_F32;
        tensor.ndim = static_cast<std::uint32_t>(shape.size());
        std::int64_t stride = 1;
        for (std::size_t i = shape.size(); i-- > 0;) {
            tensor.shape[i] = shape[i];
            tensor.strides[i] = stride;
            stride *= shape[i];
        }
        return tensor;
    }
};

inline bool bit_at(const std::uint8_t* bitmap, std::size_t channel) {
    return ((bitmap[channel / 8] >> (channel % 8)) & 1U) != 0;
}
inline void set_bit(std::uint8_t* bitmap, std::size_t channel) {
    bitmap[channel / 8] = static_cast<std::uint8_t>(bitmap[channel / 8] | (1U << (channel % 8)));
}

} // namespace mustafar::test
