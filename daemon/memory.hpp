// SPDX-License-Identifier: Apache-2.0
// The allocator of the library: counts what every cache takes, and says no at the quota.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "mustafar/context.h"
#include "slabs.hpp"

namespace mustafar::daemon {

// Threads: any. Outlives the context that uses it.
class Memory {
  public:
    // What is taken here counts in `whole` too, where there is one.
    explicit Memory(std::uint64_t quota, Memory* whole = nullptr) : quota_(quota), whole_(whole) {}
    mustafar_allocator hook();
    std::uint64_t used() const { return used_.load(std::memory_order_relaxed); }
    std::uint64_t quota() const { return quota_; }
    void trim(bool all) noexcept { slabs_.trim(all); }   // to be called now and then
    std::uint64_t kept() const { return slabs_.kept(); } // for reuse, not of the quota

  private:
    static void* allocate(void* user, std::size_t bytes, std::size_t alignment);
    static void release(void* user, void* data, std::size_t bytes, std::size_t alignment);
    bool take(std::uint64_t bytes);
    void give_back(std::uint64_t bytes);
    const std::uint64_t quota_;
    Memory* const whole_;
    Slabs slabs_;
    std::atomic<std::uint64_t> used_{0};
};

} // namespace mustafar::daemon
