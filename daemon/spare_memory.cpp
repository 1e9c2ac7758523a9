// SPDX-License-Identifier: Apache-2.0
// Small pieces of memory for the moment when the machine has none left. nlohmann/json allocates in its destructors, which may
// not throw: std::bad_alloc there is the end of the process and of every cache. So operator new, and nothing else, takes what
// malloc refuses from a pool that is never used otherwise; the last quarter of it only while an exception is on its way.
// Tensors and bodies are not allocated by operator new: for them a refusal is a refusal, 507.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <new>

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) // they have their own

namespace {

// Pieces of one size; the free ones are a list within themselves. It lies in .bss: no page is touched before it is needed.
template <std::size_t bytes, std::size_t count>
class Shelf {
  public:
    bool holds(const void* data) const {
        const auto at = reinterpret_cast<std::uintptr_t>(data);
        const auto begin = reinterpret_cast<std::uintptr_t>(pieces_.data());
        return at >= begin && at < begin + pieces_.size();
    }
    void* take(std::size_t wanted, bool last_quarter) {
        const std::lock_guard lock(mutex_);
        if (wanted > bytes || used_ >= (last_quarter ? count : count - count / 4)) {
            return nullptr;
        }
        ++used_;
        if (free_ == nullptr) { return pieces_.data() + bytes * fresh_++; }
        void* piece = free_;
        free_ = *static_cast<void**>(piece);
        return piece;
    }
    void give(void* data) {
        const std::lock_guard lock(mutex_);
        *static_cast<void**>(data) = free_;
        free_ = data;
        --used_;
    }

  private:
    alignas(std::max_align_t) std::array<std::byte, bytes * count> pieces_{};
    void* free_ = nullptr;
    std::size_t fresh_ = 0; // never taken so far: pieces from here on
    std::size_t used_ = 0;
    std::mutex mutex_;
};

constinit Shelf<128, 8192> small;
constinit Shelf<2048, 512> middle;
constinit Shelf<65536, 32> large;

void* take_spare(std::size_t bytes) {
    const bool unwinding = std::uncaught_exceptions() > 0;
    if (void* data = small.take(bytes, unwinding)) { return data; }
    if (void* data = middle.take(bytes, unwinding)) { return data; }
    return large.take(bytes, unwinding);
}

bool give_spare(void* data) {
    if (small.holds(data)) { return small.give(data), true; }
    if (middle.holds(data)) { return middle.give(data), true; }
    if (large.holds(data)) { return large.give(data), true; }
    return false;
}

} // namespace

void* operator new(std::size_t bytes) {
    if (void* data = std::malloc(bytes == 0 ? 1 : bytes)) { return data; }
    if (void* data = take_spare(bytes)) { return data; }
    throw std::bad_alloc();
}

void operator delete(void* data) noexcept {
    if (data != nullptr && !give_spare(data)) { std::free(data); }
}

void operator delete(void* data, std::size_t) noexcept { operator delete(data); }

#endif
