// SPDX-License-Identifier: Apache-2.0
// Pages: 32 rows of one (layer, kv head), K and V together. Reference counted, copied before they
// are written while shared. The pool counts them; their bytes come from the context's Memory.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/memory.hpp"

namespace mustafar {

// The record in front of a page's data. Content layout: format/page.hpp.
struct alignas(64) Page {
    std::atomic<std::uint32_t> refs{1};
    std::uint32_t key_columns = 0;        // 1: K lies by columns (format/columns.hpp)
    std::uint32_t data_bytes = 0;         // behind this record
    std::uint32_t v_at = 0;               // where the V side starts in the data
    std::uint32_t code_bytes[2] = {0, 0}; // ragged sides: bytes of all codes; else 0
    Page* next = nullptr;                 // lists of pages not yet published, or held in reserve

    std::byte* data() { return reinterpret_cast<std::byte*>(this + 1); }
    const std::byte* data() const { return reinterpret_cast<const std::byte*>(this + 1); }
};
// A cache's hold on a page. Which slots are in use is the cache's own business, so that forks can
// truncate and evict without touching what they share.
struct PageRef {
    Page* page = nullptr;
    std::uint32_t valid = 0; // bit s: slot s holds a row
    std::uint32_t reserved = 0;
};
static_assert(sizeof(Page) == 64, "page data starts 64-byte aligned behind the record");

class Pool {
  public:
    explicit Pool(Memory& memory) : memory_(memory) {}

    Page* create(std::size_t data_bytes); // zero-filled, one reference
    Page* clone(const Page& page);        // same content, one reference
    void retain(Page& page) noexcept;
    void release(Page* page) noexcept; // frees with the last reference; null is allowed
    static bool shared(const Page& page) { return page.refs.load(std::memory_order_acquire) > 1; }

    std::uint64_t pages() const { return pages_.load(std::memory_order_relaxed); }
    std::uint64_t shared_pages() const { return shared_.load(std::memory_order_relaxed); }

  private:
    Memory& memory_;
    std::atomic<std::uint64_t> pages_{0};
    std::atomic<std::uint64_t> shared_{0};
};

} // namespace mustafar
