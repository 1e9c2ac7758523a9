// SPDX-License-Identifier: Apache-2.0
// All memory of a context: one allocator hook, one byte quota, exact live counts.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "mustafar/context.h"

namespace mustafar {

enum class Part : std::uint32_t { page, cache, work };

class Memory {
  public:
    Memory(const mustafar_allocator& hook, std::uint64_t quota_bytes)
        : hook_(hook), quota_(quota_bytes) {}
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;

    // Never null. Throws Error{OUT_OF_MEMORY, values = asked, used, limit}; limit 0 means the
    // allocator said no.
    void* allocate(std::size_t bytes, std::size_t alignment, Part part);
    void release(void* data, std::size_t bytes, std::size_t alignment, Part part) noexcept;

    std::uint64_t live() const { return live_.load(std::memory_order_relaxed); }
    std::uint64_t live(Part part) const {
        return parts_[static_cast<std::uint32_t>(part)].load(std::memory_order_relaxed);
    }
    std::uint64_t peak() const { return peak_.load(std::memory_order_relaxed); }
    std::uint64_t quota() const { return quota_; }
    std::uint64_t allocations() const { return allocations_.load(std::memory_order_relaxed); }

  private:
    void take_quota(std::uint64_t bytes);

    mustafar_allocator hook_;
    std::uint64_t quota_; // 0 = no limit
    std::atomic<std::uint64_t> live_{0};
    std::atomic<std::uint64_t> peak_{0};
    std::atomic<std::uint64_t> allocations_{0};
    std::atomic<std::uint64_t> parts_[3] = {};
};

// A fixed number of value-initialised elements from a Memory. Empty buffers hold no memory.
template <typename T>
class Buffer {
  public:
    static constexpr std::size_t alignment = 64;

    Buffer() = default;
    Buffer(Memory& memory, std::size_t count, Part part = Part::cache) : part_(part) {
        if (count == 0) { return; }
        void* raw = memory.allocate(count * sizeof(T), alignment, part);
        memory_ = &memory;
        size_ = count;
        data_ = static_cast<T*>(raw);
        for (std::size_t i = 0; i < count; ++i) { ::new (static_cast<void*>(data_ + i)) T(); }
    }
    Buffer(Buffer&& other) noexcept { swap(other); }
    Buffer& operator=(Buffer&& other) noexcept {
        Buffer moved(std::move(other));
        swap(moved);
        return *this;
    }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() {
        if (data_ == nullptr) { return; }
        for (std::size_t i = size_; i-- > 0;) { data_[i].~T(); }
        memory_->release(data_, bytes(), alignment, part_);
    }

    void swap(Buffer& other) noexcept {
        std::swap(memory_, other.memory_);
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(part_, other.part_);
    }
    T* data() { return data_; }
    const T* data() const { return data_; }
    std::size_t size() const { return size_; }
    std::uint64_t bytes() const { return std::uint64_t{size_} * sizeof(T); }
    bool empty() const { return size_ == 0; }
    T& operator[](std::size_t index) { return data_[index]; }
    const T& operator[](std::size_t index) const { return data_[index]; }
    T* begin() { return data_; }
    T* end() { return data_ + size_; }
    const T* begin() const { return data_; }
    const T* end() const { return data_ + size_; }

  private:
    Memory* memory_ = nullptr;
    T* data_ = nullptr;
    std::size_t size_ = 0;
    Part part_ = Part::cache;
};

} // namespace mustafar
