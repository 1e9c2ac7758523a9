// SPDX-License-Identifier: Apache-2.0
#include "slabs.hpp"

#include <algorithm>
#include <bit>

#include <sys/mman.h>

namespace mustafar::daemon {

namespace {

constexpr std::size_t region_min = 256 << 10;
constexpr std::size_t region_max = 8 << 20;
constexpr std::size_t fault_step = 1 << 20; // faulted in by one call instead of 256 faults

} // namespace

// Blocks of one size. Those never taken lie behind `fresh`; those given back are in a list that runs through them.
struct Slabs::Region {
    char* base = nullptr;
    std::size_t bytes = 0;
    std::size_t block = 0;
    std::size_t fresh = 0;   // offset
    std::size_t faulted = 0; // offset up to which memory has been asked for
    void* free = nullptr;
    std::size_t live = 0;
    bool listed = false; // in Class::open
    bool empty_before = false;
    Region* next = nullptr;

    bool has_room() const { return free != nullptr || fresh + block <= bytes; }
    void* take() {
        ++live;
        empty_before = false;
        if (free != nullptr) {
            void* data = free;
            free = *static_cast<void**>(free);
            return data;
        }
        char* data = base + fresh;
        fresh += block;
        if (fresh > faulted && bytes >= fault_step) {
            const std::size_t step = std::min(fault_step, bytes - faulted);
            ::madvise(base + faulted, step, MADV_POPULATE_WRITE); // else they come one by one
            faulted += step;
        }
        return data;
    }
};

struct Slabs::Class {
    Region* open = nullptr; // regions that had room when they were last looked at
    std::size_t bytes = 0;  // of all its regions
};

Slabs::Slabs() = default;

Slabs::~Slabs() {
    for (auto& [base, region] : regions_) { ::munmap(region->base, region->bytes); }
}

Slabs::Region* Slabs::make_region(std::size_t block) {
    Class& same = classes_[block];
    // A quarter more of what there is: little is wasted on sizes of which there are few.
    const std::size_t wanted = std::max(same.bytes / 4, 4 * block);
    const std::size_t bytes = std::clamp(std::bit_ceil(wanted), region_min,
                                         std::max(region_max, std::bit_ceil(4 * block)));
    void* base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) { return nullptr; }
    auto region = std::make_unique<Region>();
    region->base = static_cast<char*>(base);
    region->bytes = bytes;
    region->block = block;
    Region* made = region.get();
    regions_.emplace(made->base, std::move(region));
    same.bytes += bytes;
    reserved_ += bytes;
    return made;
}

void* Slabs::take(std::size_t bytes) {
    const std::size_t block = (bytes + alignment - 1) / alignment * alignment;
    const std::lock_guard lock(mutex_);
    Class& same = classes_[block];
    while (same.open != nullptr && !same.open->has_room()) {
        same.open->listed = false;
        same.open = same.open->next;
    }
    if (same.open == nullptr) {
        Region* made = make_region(block);
        if (made == nullptr) { return nullptr; }
        made->listed = true;
        made->next = nullptr;
        same.open = made;
    }
    if (same.open->free != nullptr) { kept_ -= block; }
    return same.open->take();
}

void Slabs::give(void* block) noexcept {
    const std::lock_guard lock(mutex_);
    const auto behind = regions_.upper_bound(static_cast<const char*>(block));
    Region& region = *std::prev(behind)->second;
    *static_cast<void**>(block) = region.free;
    region.free = block;
    --region.live;
    kept_ += region.block;
    if (!region.listed) {
        Class& same = classes_[region.block];
        region.listed = true;
        region.next = same.open;
        same.open = &region;
    }
}

void Slabs::drop_region(Region* region) noexcept {
    Class& same = classes_[region->block];
    for (Region** at = &same.open; *at != nullptr; at = &(*at)->next) {
        if (*at == region) {
            *at = region->next;
            break;
        }
    }
    same.bytes -= region->bytes;
    reserved_ -= region->bytes;
    kept_ -= region->fresh; // no block of it is in use
    ::munmap(region->base, region->bytes);
}

void Slabs::trim(bool all) noexcept {
    const std::lock_guard lock(mutex_);
    for (auto at = regions_.begin(); at != regions_.end();) {
        Region& region = *at->second;
        if (region.live > 0 || !(region.empty_before || all)) {
            region.empty_before = region.live == 0;
            ++at;
            continue;
        }
        drop_region(&region);
        at = regions_.erase(at);
    }
}

std::uint64_t Slabs::reserved() const {
    const std::lock_guard lock(mutex_);
    return reserved_;
}

std::uint64_t Slabs::kept() const {
    const std::lock_guard lock(mutex_);
    return kept_;
}

} // namespace mustafar::daemon
