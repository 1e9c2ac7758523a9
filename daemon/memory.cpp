// SPDX-License-Identifier: Apache-2.0
#include "memory.hpp"

#include <cstdlib>

namespace mustafar::daemon {

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
    const std::size_t step = alignment < sizeof(void*) ? sizeof(void*) : alignment;
    void* data = std::aligned_alloc(step, (bytes + step - 1) / step * step);
    if (data == nullptr) { self.give_back(bytes); }
    return data;
}

void Memory::release(void* user, void* data, std::size_t bytes, std::size_t) {
    std::free(data);
    static_cast<Memory*>(user)->give_back(bytes);
}

} // namespace mustafar::daemon
