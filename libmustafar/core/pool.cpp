// SPDX-License-Identifier: Apache-2.0
#include "core/pool.hpp"

#include <cstring>

namespace mustafar {

Page* Pool::create(std::size_t data_bytes) {
    void* raw = memory_.allocate(sizeof(Page) + data_bytes, alignof(Page), Part::page);
    auto* page = ::new (raw) Page();
    page->data_bytes = static_cast<std::uint32_t>(data_bytes);
    std::memset(page->data(), 0, data_bytes); // readers may touch slack: it must hold something
    pages_.fetch_add(1, std::memory_order_relaxed);
    return page;
}

Page* Pool::clone(const Page& page) {
    Page* copy = create(page.data_bytes);
    copy->key_columns = page.key_columns;
    copy->v_at = page.v_at;
    copy->code_bytes[0] = page.code_bytes[0];
    copy->code_bytes[1] = page.code_bytes[1];
    std::memcpy(copy->data(), page.data(), page.data_bytes);
    return copy;
}

void Pool::retain(Page& page) noexcept {
    if (page.refs.fetch_add(1, std::memory_order_acq_rel) == 1) {
        shared_.fetch_add(1, std::memory_order_relaxed);
    }
}

void Pool::release(Page* page) noexcept {
    if (page == nullptr) { return; }
    const std::uint32_t before = page->refs.fetch_sub(1, std::memory_order_acq_rel);
    if (before == 2) { shared_.fetch_sub(1, std::memory_order_relaxed); }
    if (before != 1) { return; }
    const std::size_t bytes = sizeof(Page) + page->data_bytes;
    page->~Page();
    memory_.release(page, bytes, alignof(Page), Part::page);
    pages_.fetch_sub(1, std::memory_order_relaxed);
}

} // namespace mustafar
