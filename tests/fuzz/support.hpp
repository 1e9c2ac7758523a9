// SPDX-License-Identifier: Apache-2.0
// What malformed inputs are tried in: a context with a quota and an allocator that counts, and a check that a cache
// which came out of one is a whole cache.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "library.hpp"

namespace mustafar::fuzz {

using golden::Bytes;
using golden::CachePtr;
using golden::ContextPtr;
using golden::Outcome;

constexpr std::uint64_t quota_bytes = std::uint64_t{64} << 20;

class Gate {
  public:
    Gate();
    ~Gate(); // ends the program where a block was not given back
    Gate(const Gate&) = delete;
    Gate& operator=(const Gate&) = delete;

    mustafar_context* context() { return context_.get(); }
    std::uint64_t cache_bytes() const; // live, workspaces left out
    std::uint64_t largest() const { return counts_.largest; }

  private:
    struct Counts {
        std::int64_t live = 0, live_bytes = 0;
        std::uint64_t largest = 0;
    };
    static void* allocate(void* user, std::size_t bytes, std::size_t alignment);
    static void release(void* user, void* data, std::size_t bytes, std::size_t alignment);

    Counts counts_;
    ContextPtr context_;
};

// "" where every row can be exported, values are finite, attend works, bytes add up, and saving, loading and saving
// again gives `file` (left out where that is empty). Otherwise what is wrong.
std::string problem_of(Gate& gate, const mustafar_cache* cache, const Bytes& file);

// Works on a cache as an engine would: append, commit, compress, evict, truncate, fork. Changes it; refusals are
// fine, INTERNAL is not.
std::string problem_of_use(Gate& gate, mustafar_cache* cache);

// Ends the program with a line that a fuzzer's log shows.
[[noreturn]] void fail(const std::string& text);

// Loads a snapshot and, where that succeeds, does both checks above. Gives the status; the cache is gone afterwards.
mustafar_status try_snapshot(Gate& gate, const Bytes& file);

// Parses; an accepted text must give a canonical one that gives itself, and resolve or be refused for geometries.
mustafar_status try_recipe(std::string_view text);

} // namespace mustafar::fuzz
