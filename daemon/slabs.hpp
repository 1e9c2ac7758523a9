// SPDX-License-Identifier: Apache-2.0
// Blocks of a few sizes that come and go by the thousand: the pages of caches. What is given back is kept for the
// next who asks: memory that is new to the process costs a page fault for every 4 KiB, which is as much time as it
// takes to fill them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

namespace mustafar::daemon {

// Threads: any.
class Slabs {
  public:
    static constexpr std::size_t smallest =
        1 << 10; // blocks outside of these sizes are not its business
    static constexpr std::size_t largest = 256 << 10;
    static constexpr std::size_t alignment = 64;

    Slabs();
    ~Slabs(); // every block has been given back
    Slabs(const Slabs&) = delete;
    Slabs& operator=(const Slabs&) = delete;

    void* take(std::size_t bytes); // nullptr: the machine has no memory
    void give(void* block) noexcept;
    // Gives to the machine regions that have been free since the call before, or all that are. One in which a block is
    // in use stays.
    void trim(bool all = false) noexcept;
    std::uint64_t reserved() const; // bytes of all regions
    std::uint64_t kept() const;     // of those, what was given back and waits for the next who asks

  private:
    struct Region;
    struct Class;
    Region* make_region(std::size_t block);
    void drop_region(Region* region) noexcept;

    mutable std::mutex mutex_;
    std::map<std::size_t, Class> classes_;                   // by size of block
    std::map<const char*, std::unique_ptr<Region>> regions_; // by address
    std::uint64_t reserved_ = 0;
    std::uint64_t kept_ = 0;
};

} // namespace mustafar::daemon
