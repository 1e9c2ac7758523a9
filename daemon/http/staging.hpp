// SPDX-License-Identifier: Apache-2.0
// Memory for bodies. Every byte is reserved from one budget before the first one is received, so that clients
// can never make the process grow beyond it.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <string_view>
#include <utility>

namespace mustafar::daemon {

// Threads: any. Outlives every Staging made from it.
class StagingBudget {
  public:
    explicit StagingBudget(std::size_t limit) : limit_(limit) {}
    bool reserve(std::size_t bytes) {
        std::size_t used = used_.load(std::memory_order_relaxed);
        do {
            if (bytes > limit_ - used) { return false; }
        } while (!used_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
        return true;
    }
    void give_back(std::size_t bytes) { used_.fetch_sub(bytes, std::memory_order_relaxed); }
    // Large buffers that are kept for the next body, where the limit has room for them and no longer than it has.
    // trim() frees those that nobody has taken since the call before.
    void trim() noexcept;
    std::size_t kept() const { return kept_.load(std::memory_order_relaxed); } // bytes of them
    ~StagingBudget();
    std::size_t used() const { return used_.load(std::memory_order_relaxed); }
    std::size_t limit() const { return limit_; }

  private:
    friend class Staging;
    struct Spare {
        char* data = nullptr;
        std::size_t bytes = 0;
        bool old = false;
    };
    char* take_spare(std::size_t bytes);    // nullptr: none that fits
    void free_spare(Spare& spare) noexcept; // under the lock
    void make_room() noexcept;
    bool keep_spare(char* data, std::size_t bytes) noexcept;

    std::size_t limit_;
    std::atomic<std::size_t> used_{0};
    std::mutex mutex_;
    std::array<Spare, 2> spares_{};
    std::atomic<std::size_t> kept_{0}; // changed under the lock
};

// One buffer, 64-byte aligned, owned.
class Staging {
  public:
    Staging() = default;
    // Empty() where budget or heap have no room for `bytes` > 0.
    static Staging reserve(StagingBudget& budget, std::size_t bytes);
    Staging(Staging&& other) noexcept { swap(other); }
    Staging& operator=(Staging&& other) noexcept {
        Staging moved(std::move(other));
        swap(moved);
        return *this;
    }
    ~Staging();

    bool empty() const { return size_ == 0; }
    std::size_t size() const { return size_; }
    char* data() { return data_; }
    const char* data() const { return data_; }
    std::string_view view() const { return {data_, size_}; }

  private:
    void swap(Staging& other) noexcept {
        std::swap(budget_, other.budget_);
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(whole_, other.whole_);
    }
    StagingBudget* budget_ = nullptr;
    char* data_ = nullptr;
    std::size_t size_ = 0;
    std::size_t whole_ = 0; // bytes of the buffer
};

} // namespace mustafar::daemon
