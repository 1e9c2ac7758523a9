// SPDX-License-Identifier: Apache-2.0
// What the unit tests of core, format and ref share: an allocator that counts and refuses, random
// numbers with a seed, arrays with a tensor view, a way to catch a refusal, and small caches.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "core/cache.hpp"
#include "core/context.hpp"
#include "core/error.hpp"
#include "core/tensor.hpp"
#include "format/snapshot.hpp"

namespace mustafar::test {

// The allocator of a context: knows what is live, fills what it hands out with rubbish, and refuses
// one call when told to.
class Heap {
  public:
    ~Heap() {
        for (const auto& [data, block] : blocks_) { std::free(data); }
    }
    mustafar_allocator hook() { return {sizeof(mustafar_allocator), 0, this, allocate, release}; }

    void refuse_call(std::uint64_t n) { // the n-th one from now on; 0 = none
        refuse_at_ = n == 0 ? 0 : calls_ + n;
        refused_ = false;
    }
    bool refused() const { return refused_; }
    std::uint64_t calls() const { return calls_; }
    std::uint64_t live() const { return live_; }
    std::uint64_t blocks() const { return blocks_.size(); }
    std::size_t last_alignment() const { return last_alignment_; }
    const std::string& complaint() const { return complaint_; } // a wrong release

  private:
    struct Block {
        std::size_t bytes = 0, alignment = 0;
    };
    static void* allocate(void* user, std::size_t bytes, std::size_t alignment) {
        Heap& heap = *static_cast<Heap*>(user);
        const std::lock_guard lock(heap.mutex_);
        heap.last_alignment_ = alignment;
        if (++heap.calls_ == heap.refuse_at_) {
            heap.refused_ = true;
            return nullptr;
        }
        const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
        void* data = std::aligned_alloc(alignment, rounded);
        std::memset(data, 0xA5, bytes); // nobody may count on zeros
        heap.blocks_[data] = {bytes, alignment};
        heap.live_ += bytes;
        return data;
    }
    static void release(void* user, void* data, std::size_t bytes, std::size_t alignment) {
        Heap& heap = *static_cast<Heap*>(user);
        const std::lock_guard lock(heap.mutex_);
        const auto found = heap.blocks_.find(data);
        if (found == heap.blocks_.end()) {
            heap.complaint_ = "released what is not live";
            return;
        }
        if (found->second.bytes != bytes || found->second.alignment != alignment) {
            heap.complaint_ = "released with another size or alignment than allocated";
        }
        heap.live_ -= found->second.bytes;
        heap.blocks_.erase(found);
        std::free(data);
    }

    std::mutex mutex_;
    std::map<void*, Block> blocks_;
    std::uint64_t calls_ = 0, live_ = 0, refuse_at_ = 0;
    std::size_t last_alignment_ = 0;
    bool refused_ = false;
    std::string complaint_;
};

inline std::shared_ptr<Context> make_context(Heap& heap, std::uint64_t quota_bytes = 0,
                                             std::uint32_t threads = 1) {
    ContextSettings settings;
    settings.threads = threads;
    settings.quota_bytes = quota_bytes;
    settings.allocator = heap.hook();
    return std::make_shared<Context>(settings);
}

// The error a call throws; OK where it throws none.
template <class Call>
Error error_of(Call&& call) {
    try {
        call();
    } catch (const Error& error) { return error; }
    return {MUSTAFAR_OK, "accepted"};
}
template <class Call>
mustafar_status status_of(Call&& call) {
    return error_of(call).code;
}

constexpr std::uint64_t mix(std::uint64_t z) { // splitmix64
    z += 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31U);
}

// Random numbers; MUSTAFAR_SEED, where given, chooses others.
class Random {
  public:
    explicit Random(std::uint64_t salt) : state_(mix(seed() + salt)) {}
    static std::uint64_t seed() {
        const char* given = std::getenv("MUSTAFAR_SEED");
        return given == nullptr ? 1 : std::strtoull(given, nullptr, 0);
    }
    std::uint64_t next() { return state_ = mix(state_); }
    std::uint32_t below(std::uint32_t limit) { return static_cast<std::uint32_t>(next() % limit); }
    bool chance(std::uint32_t percent) { return below(100) < percent; }
    float uniform(float from, float to) {
        const double unit = static_cast<double>(next() >> 11U) * 0x1p-53;
        return static_cast<float>(from + (static_cast<double>(to) - from) * unit);
    }
    std::vector<float> values(std::size_t count, float from = -4.0F, float to = 4.0F) {
        std::vector<float> out(count);
        for (float& x : out) { x = uniform(from, to); }
        return out;
    }

  private:
    std::uint64_t state_;
};

// A row-major f32 array and the view the library takes of it.
struct Array {
    std::vector<std::int64_t> shape;
    std::vector<float> values;

    explicit Array(std::vector<std::int64_t> of, float fill = 0.0F) : shape(std::move(of)) {
        std::int64_t count = 1;
        for (const std::int64_t size : shape) { count *= size; }
        values.assign(static_cast<std::size_t>(count), fill);
    }
    mustafar_tensor view() const {
        mustafar_tensor tensor{};
        tensor.data = const_cast<float*>(values.data());
        tensor.dtype = MUSTAFAR_F32;
        tensor.ndim = static_cast<std::uint32_t>(shape.size());
        std::int64_t stride = 1;
        for (std::size_t i = shape.size(); i-- > 0;) {
            tensor.shape[i] = shape[i];
            tensor.strides[i] = stride;
            stride *= shape[i];
        }
        return tensor;
    }
};

inline bool bit_at(const std::uint8_t* bitmap, std::size_t channel) {
    return ((bitmap[channel / 8] >> (channel % 8)) & 1U) != 0;
}
inline void set_bit(std::uint8_t* bitmap, std::size_t channel) {
    bitmap[channel / 8] = static_cast<std::uint8_t>(bitmap[channel / 8] | (1U << (channel % 8)));
}

// ---- small caches ------------------------------------------------------------------------------

inline Geometry small_geometry(std::uint32_t layers = 1, std::uint32_t kv_heads = 2) {
    return {layers, 2 * kv_heads, kv_heads, 64, 32, Dtype::f16};
}

// A recipe by what it says of K and V, e.g. R"("k":{"bits":4},"v":{})".
inline std::shared_ptr<const Recipe> recipe_of(const std::string& sides, const Window& window) {
    return Recipe::parse(R"({"schema":"mustafar.recipe","version":1,"window":{"recent":)" +
                         std::to_string(window.recent) + R"(,"sink":)" +
                         std::to_string(window.sink) + R"(,"step":)" + std::to_string(window.step) +
                         "}," + sides + "}");
}

// Every way of storing rows, with a window that is small and odd.
struct Kind {
    const char* name;
    const char* sides;
    std::uint32_t step;
    Window window() const { return {5, 2, step}; }
    std::shared_ptr<const Recipe> recipe() const { return recipe_of(sides, window()); }
};
inline void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }
inline const std::vector<Kind> kinds = {
    {"dense", R"("k":{},"v":{})", 8},
    {"fixed", R"("k":{"keep":"3/8","bits":4},"v":{"keep":"1/2"})", 8},
    {"centred", R"("k":{"keep":25,"bits":4,"centre":"mean"},"v":{"bits":2})", 4},
    {"grouped", R"("k":{"bits":4,"group":32},"v":{"bits":8,"group":32})", 16},
    {"channels",
     R"("k":{"method":"channels","keep":20},"v":{"method":"channels","keep":9,"bits":8})", 8},
    {"ragged",
     R"("k":{"method":"threshold","threshold":2,"bits":4},)"
     R"("v":{"method":"threshold","threshold":1})",
     8},
    {"ragged V", R"("k":{"keep":"1/2"},"v":{"method":"channel_topk","keep":10,"bits":2})", 8},
    {"channel axis", R"("k":{"bits":4,"axis":"channel"},"v":{"bits":4})", 32},
    {"channel axis, ragged V",
     R"("k":{"bits":2,"axis":"channel"},"v":{"method":"threshold","threshold":1})", 32},
};

// The keys and values of one sequence, the same for every cache they are appended to.
class Sequence {
  public:
    Sequence(const Geometry& geometry, std::uint32_t tokens, std::uint64_t salt = 1) {
        Random random(salt);
        for (std::uint32_t layer = 0; layer < geometry.layers; ++layer) {
            for (auto* side : {&k, &v}) {
                side->push_back(Array({tokens, geometry.kv_heads,
                                       side == &k ? geometry.head_dim_k : geometry.head_dim_v}));
                side->back().values = random.values(side->back().values.size());
            }
        }
    }
    void append(Cache& cache, std::uint32_t layer, std::uint32_t begin, std::uint32_t end,
                bool tentative = false) const {
        cache.append(layer, slice(k[layer], begin, end), slice(v[layer], begin, end), tentative);
    }
    void append(Cache& cache, std::uint32_t begin, std::uint32_t end) const { // to every layer
        if (begin == end) { return; }
        for (std::uint32_t layer = 0; layer < k.size(); ++layer) {
            append(cache, layer, begin, end);
        }
    }
    static mustafar_tensor slice(const Array& array, std::uint32_t begin, std::uint32_t end) {
        mustafar_tensor tensor = array.view();
        tensor.data = static_cast<float*>(tensor.data) + begin * tensor.strides[0];
        tensor.shape[0] = end - begin;
        return tensor;
    }
    std::vector<Array> k, v; // per layer [tokens, kv_heads, d]
};

inline std::string snapshot(const Cache& cache) {
    std::string bytes;
    save_snapshot(cache, "", [&](const void* data, std::size_t count) {
        bytes.append(static_cast<const char*>(data), count);
    });
    return bytes;
}
inline Cache::Handle load(const std::shared_ptr<Context>& context, const std::string& bytes) {
    LoadRequest request;
    request.context = context;
    std::size_t at = 0;
    return load_snapshot(request, [&](void* data, std::size_t count) {
        count = std::min(count, bytes.size() - at);
        std::memcpy(data, bytes.data() + at, count);
        at += count;
        return count;
    });
}

// The rows of a kv head as attend sees them.
inline Array rows_of(const Cache& cache, std::uint32_t layer, std::uint32_t kv_head, Side side) {
    const std::uint32_t rows = cache.head(layer, kv_head).rows();
    Array values({rows, cache.geometry().head_dim(side)});
    cache.export_rows(layer, kv_head, side, 0, rows, values.view(), nullptr);
    return values;
}
inline std::vector<std::int32_t> positions_of(const Cache& cache, std::uint32_t layer,
                                              std::uint32_t kv_head) {
    const HeadState& head = cache.head(layer, kv_head);
    std::vector<std::int32_t> positions;
    for (std::uint32_t r = 0; r < head.rows(); ++r) {
        positions.push_back(cache.position(head, r));
    }
    return positions;
}

// Bytes that caches hold; workspaces, which a context keeps, apart.
inline std::uint64_t cache_bytes(const Context& context) {
    return context.memory().live(Part::page) + context.memory().live(Part::cache);
}

} // namespace mustafar::test
