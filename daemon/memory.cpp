// SPDX-License-Identifier: Apache-2.0
#include "memory.hpp"

#include <cstdlib>
#include <new>

namespace mustafar::daemon {

namespace {

// Under the address sanitizer every block comes from its allocator, which sees a use after release.
#ifdef __SANITIZE_ADDRESS__
constexpr bool use_slabs = false;
#else
constexpr bool use_slabs = true;
#endif

bool of_slabs(std::size_t bytes, std::size_t alignment) {
    return use_slabs && bytes >= Slabs::smallest && bytes <= Slabs::largest &&
           alignment <= Slabs::alignment;
}

void* of_heap(std::size_t bytes, std::size_t alignment) {
    const std::size_t step = alignment < sizeof(void*) ? sizeof(void*) : alignment;
    return std::aligned_alloc(step, (bytes + step - 1) / step * step);
}

} // namespace

mustafar_allocator Memory::hook() {
    mustafar_allocator hook{};
    hook.struct_size = static_cast<std::uint32_t>(sizeof hook);
    hook.user = this;
    hook.allocate = &Memory::allocate;
    hook.release = &Memory::release;
    return hook;
}

bool Memory::take(std::uint64_t bytes) {
    if (whole_ != nullptr && !whole_->take(bytes)) { return false; }
    if (used_.fetch_add(bytes, std::memory_order_relaxed) + bytes <= quota_) { return true; }
    give_back(bytes);
    return false;
}

void Memory::give_back(std::uint64_t bytes) {
    used_.fetch_sub(bytes, std::memory_order_relaxed);
    if (whole_ != nullptr) { whole_->give_back(bytes); }
}

void* Memory::allocate(void* user, std::size_t bytes, std::size_t alignment) {
    Memory& self = *static_cast<Memory*>(user);
    if (!self.take(bytes)) { return nullptr; }
    void* data = nullptr;
    try { // the library's allocator hook must not throw
        data = of_slabs(bytes, alignment) ? self.slabs_.take(bytes) : of_heap(bytes, alignment);
    } catch (const std::bad_alloc&) {}
    if (data == nullptr) { self.give_back(bytes); }
    return data;
}

void Memory::release(void* user, void* data, std::size_t bytes, std::size_t alignment) {
    Memory& self = *static_cast<Memory*>(user);
    if (of_slabs(bytes, alignment)) {
        self.slabs_.give(data);
    } else {
        std::free(data);
    }
    self.give_back(bytes);
}

} // namespace mustafar::daemon
