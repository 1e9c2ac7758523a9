// SPDX-License-Identifier: Apache-2.0
// Where caches live: memory, pages, threads, kernels, log, workspaces.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "core/kernels.hpp"
#include "core/memory.hpp"
#include "core/pool.hpp"

namespace mustafar {

struct ContextSettings {
    std::uint32_t threads = 0;
    std::uint64_t quota_bytes = 0;
    bool refuse_ref = false;
    std::string backend;
    const Kernels* kernels = nullptr; // instead of a backend: rows that no table lists, in tests
    mustafar_allocator allocator{};
    mustafar_log_hook log{};
};

class Context {
  public:
    explicit Context(const ContextSettings& settings);
    ~Context();
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

    Memory& memory() { return memory_; }
    const Memory& memory() const { return memory_; }
    Pool& pool() { return pool_; }
    const Pool& pool() const { return pool_; }
    const Kernels& kernels() const { return kernels_; }
    std::uint32_t threads() const { return threads_; }

    // Runs work(0) .. work(count - 1), in any order and on any of the context's threads.
    void parallel_for(std::size_t count, const std::function<void(std::size_t)>& work);

    // Scratch for every thread that may work on one call, taken before the work starts, so that nothing
    // can run out half-way.
    class Leases {
      public:
        Leases(Context& context, std::size_t items);
        ~Leases();
        Leases(const Leases&) = delete;
        Leases& operator=(const Leases&) = delete;
        // One of them for the duration of a work item.
        class Loan {
          public:
            explicit Loan(Leases& leases) : leases_(leases), block_(leases.take()) {}
            ~Loan() { leases_.give(block_); }
            Loan(const Loan&) = delete;
            Loan& operator=(const Loan&) = delete;
            std::byte* data() const { return static_cast<std::byte*>(block_); }

          private:
            Leases& leases_;
            void* block_;
        };

      private:
        void* take();
        void give(void* block) noexcept;
        Context& context_;
        std::mutex mutex_;
        void* free_ = nullptr; // each starts with a pointer to the next
    };

    // One block of scratch for a call's partial results, kept by the context between calls.
    class Room {
      public:
        Room(Context& context, std::size_t bytes)
            : context_(context), block_(context.take_room(bytes)) {}
        ~Room() { context_.return_room(block_); }
        Room(const Room&) = delete;
        Room& operator=(const Room&) = delete;
        void* data() const;

      private:
        Context& context_;
        void* block_;
    };

    bool logs(std::int32_t level) const { return log_.write != nullptr && level <= log_.level; }
    void log(std::int32_t level, const char* text) const noexcept {
        if (logs(level)) { log_.write(log_.user, level, text); }
    }

    std::atomic<std::uint64_t> caches{0};

  private:
    void* take_workspace();
    void return_workspace(void* block) noexcept;

    void* take_room(std::size_t bytes);
    void return_room(void* block) noexcept;

    Memory memory_;
    Pool pool_;
    Kernels kernels_;
    mustafar_log_hook log_;
    std::uint32_t threads_;
    struct Arena;                  // oneTBB's, kept out of this header
    std::unique_ptr<Arena> arena_; // null with one thread
    std::mutex workspaces_mutex_;
    void* rooms_ = nullptr;      // free ones, each starting with a RoomHeader
    void* workspaces_ = nullptr; // free ones, each starting with a pointer to the next
};

} // namespace mustafar
