// SPDX-License-Identifier: Apache-2.0
#include "core/memory.hpp"

#include "core/error.hpp"

namespace mustafar {

void Memory::take_quota(std::uint64_t bytes) {
    std::uint64_t used = live_.load(std::memory_order_relaxed);
    do {
        if (quota_ != 0 && (bytes > quota_ || used > quota_ - bytes)) {
            throw Error(MUSTAFAR_OUT_OF_MEMORY,
                        "quota_bytes = " + std::to_string(quota_) + ": " + std::to_string(used) +
                            " B in use, " + std::to_string(bytes) +
                            " B asked; raise quota_bytes, truncate, evict or destroy a cache",
                        {static_cast<std::int64_t>(bytes), static_cast<std::int64_t>(used),
                         static_cast<std::int64_t>(quota_)});
        }
    } while (!live_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
}

void* Memory::allocate(std::size_t bytes, std::size_t alignment, Part part) {
    take_quota(bytes);
    void* data = hook_.allocate(hook_.user, bytes, alignment);
    if (data == nullptr) {
        const std::uint64_t used = live_.fetch_sub(bytes, std::memory_order_relaxed) - bytes;
        throw Error(MUSTAFAR_OUT_OF_MEMORY,
                    "the allocator refused " + std::to_string(bytes) + " B; " +
                        std::to_string(used) +
                        " B are in use by this context; free memory and try again",
                    {static_cast<std::int64_t>(bytes), static_cast<std::int64_t>(used), 0});
    }
    const std::uint64_t now = live_.load(std::memory_order_relaxed);
    std::uint64_t peak = peak_.load(std::memory_order_relaxed);
    while (peak < now && !peak_.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {}
    parts_[static_cast<std::uint32_t>(part)].fetch_add(bytes, std::memory_order_relaxed);
    allocations_.fetch_add(1, std::memory_order_relaxed);
    return data;
}

void Memory::release(void* data, std::size_t bytes, std::size_t alignment, Part part) noexcept {
    hook_.release(hook_.user, data, bytes, alignment);
    parts_[static_cast<std::uint32_t>(part)].fetch_sub(bytes, std::memory_order_relaxed);
    live_.fetch_sub(bytes, std::memory_order_relaxed);
}

} // namespace mustafar
