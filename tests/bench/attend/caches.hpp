// SPDX-License-Identifier: Apache-2.0
// Caches as large as the benchmark needs them, filled from a recorded trace.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "experiment/capi.hpp"
#include "experiment/trace.hpp"

namespace mustafar::bench {

using namespace mustafar::experiment;

struct Shape {
    std::uint32_t q_heads = 32;
    std::uint32_t kv_heads = 8;
    std::uint32_t tokens = 16384; // of a head; their mean where heads are unequal
    double unequal = 1.0;         // longest head / mean
    int layer = -1;               // of the trace, as it is; -1: heads of all layers
    std::uint32_t group() const { return q_heads / kv_heads; }
};

// Memory in 2 MB pages where the system gives them; released as a whole.
class Arena {
  public:
    Arena() = default;
    ~Arena();
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    mustafar_allocator allocator();

  private:
    void* allocate(std::size_t bytes);
    struct Block {
        void* start;
        std::size_t bytes;
    };
    std::mutex mutex_;
    std::vector<Block> blocks_;
    std::size_t used_ = 0; // of the last block
};

// One layer of `tokens` tokens under a recipe (a name, a shorthand or JSON), as many copies as fill `working_set` bytes. Head h takes
// head h of the trace's (layer, head) pairs, its tokens turned by an offset of its own; or the heads are those
// of one layer, its tokens repeated in order.
class Caches {
  public:
    Caches(const Trace& trace, const Shape& shape, const std::string& recipe,
           const std::string& backend, std::uint32_t threads, std::size_t working_set);

    std::size_t copies() const { return caches_.size(); }
    const mustafar_cache* at(std::size_t i) const { return caches_[i].get(); }
    double bytes_per_token_head() const { return bytes_per_token_head_; }
    double rows() const { return rows_; } // of all heads of one copy
    const std::string& kernel() const { return kernel_; }
    // Attention outputs of `ref` on the same bytes.
    std::vector<float> reference(const Shape& shape, const mustafar_tensor& q,
                                 const mustafar_attend_options& options) const;

  private:
    void shorten(const Shape& shape, mustafar_cache* cache);

    Arena arena_; // outlives the context
    mustafar_geometry geometry_{};
    Recipe recipe_;
    Context context_;
    std::vector<Cache> caches_;
    std::vector<std::uint8_t> snapshot_;
    std::string kernel_;
    double bytes_per_token_head_ = 0.0;
    double rows_ = 0.0;
};

// The last recorded queries of the trace's heads, [1][1][q_heads][d], f32.
std::vector<float> queries_of(const Trace& trace, const Shape& shape);

} // namespace mustafar::bench
