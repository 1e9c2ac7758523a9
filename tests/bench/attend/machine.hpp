// SPDX-License-Identifier: Apache-2.0
// What the machine gives at this moment: without it no figure of a shared machine can be read.
#pragma once

#include <cstdint>

#include "caches.hpp"

namespace mustafar::bench {

double now_ns();

// Cycles per ns, from a chain of dependent additions (one cycle each).
double clock_ghz();

// Fused multiply-adds per ns on the widest vectors of this processor, independent ones. A core of its own
// does two per cycle (one with a single vector port); a neighbour on its other hardware thread takes its share of
// them while clock_ghz() shows nothing.
double vector_rate();

// Reads memory as fast as a plain loop can.
class Stream {
  public:
    Stream(std::size_t bytes, std::uint32_t threads);
    double read() const; // GB/s

  private:
    using Line = std::uint64_t __attribute__((vector_size(64)));
    void sum(std::uint32_t part, std::uint64_t& result) const;

    Arena arena_;
    mustafar_allocator allocator_;
    std::size_t lines_;
    std::uint32_t threads_;
    Line* data_ = nullptr;
    mutable volatile std::uint64_t sink_ = 0;
};

} // namespace mustafar::bench
