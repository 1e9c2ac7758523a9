// SPDX-License-Identifier: Apache-2.0
#include "caches.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <numeric>

#include "experiment/half.hpp"
#include "patterns.hpp"

namespace mustafar::bench {
namespace {

constexpr std::size_t block_bytes = std::size_t{64} << 20;
constexpr std::size_t huge_page = std::size_t{2} << 20;

struct Source { // of a snapshot that lies in memory
    const std::vector<std::uint8_t>* bytes;
    std::size_t at = 0;
};

std::int32_t write_bytes(void* user, const void* data, std::size_t bytes) {
    auto& to = *static_cast<std::vector<std::uint8_t>*>(user);
    const auto* from = static_cast<const std::uint8_t*>(data);
    to.insert(to.end(), from, from + bytes);
    return 0;
}

std::int32_t read_bytes(void* user, void* data, std::size_t bytes, std::size_t* got) {
    auto& source = *static_cast<Source*>(user);
    *got = std::min(bytes, source.bytes->size() - source.at);
    std::memcpy(data, source.bytes->data() + source.at, *got);
    source.at += *got;
    return 0;
}

std::size_t layer_of(const Trace& trace, const Shape& shape, std::uint32_t kv_head) {
    return shape.layer < 0 ? kv_head / trace.kv_heads % trace.layers.size()
                           : static_cast<std::size_t>(shape.layer);
}

constexpr std::uint32_t window = 32; // of every recipe here, or more

std::vector<std::uint32_t> lengths_of(const Shape& shape) {
    return unequal_lengths(shape.kv_heads, shape.tokens, shape.unequal, 2 * window);
}

// Appends `tokens` tokens, a chunk at a time.
void fill(const Trace& trace, const Shape& shape, std::uint32_t tokens, mustafar_cache* cache) {
    constexpr std::uint32_t chunk = 4096;
    const std::size_t d = trace.head_dim;
    std::vector<std::uint16_t> k(std::size_t{chunk} * shape.kv_heads * d);
    std::vector<std::uint16_t> v(k.size());
    for (std::uint32_t first = 0; first < tokens; first += chunk) {
        const std::uint32_t count = std::min(chunk, tokens - first);
        for (std::uint32_t t = 0; t < count; ++t) {
            for (std::uint32_t h = 0; h < shape.kv_heads; ++h) {
                const std::size_t layer = layer_of(trace, shape, h);
                const std::uint32_t head = h % trace.kv_heads;
                const std::uint32_t turn = shape.layer < 0 ? h * 331 : 0;
                // The newest token is the trace's newest.
                const std::uint32_t token =
                    (first + t + turn + trace.tokens - tokens % trace.tokens);
                const std::size_t row = trace.row(head, token % trace.tokens);
                const std::size_t to = (std::size_t{t} * shape.kv_heads + h) * d;
                std::copy_n(trace.layers[layer].k.data() + row, d, k.data() + to);
                std::copy_n(trace.layers[layer].v.data() + row, d, v.data() + to);
            }
        }
        const auto heads = std::int64_t{shape.kv_heads};
        const auto dim = static_cast<std::int64_t>(d);
        const mustafar_tensor k_view =
            tensor(k.data(), trace.dtype, {count, heads, dim}, {heads * dim, dim, 1});
        const mustafar_tensor v_view =
            tensor(v.data(), trace.dtype, {count, heads, dim}, {heads * dim, dim, 1});
        call("append", mustafar_cache_append, cache, 0U, &k_view, &v_view, 0U);
    }
}

Context make_context(const std::string& backend, std::uint32_t threads,
                     const mustafar_allocator* allocator) {
    auto options = sized<mustafar_context_options>();
    options.threads = threads;
    std::strncpy(options.backend, backend.c_str(), sizeof(options.backend) - 1);
    return make<mustafar_context>("context", mustafar_context_create, &options, allocator, nullptr);
}

} // namespace

Arena::~Arena() {
    for (const Block& block : blocks_) { ::munmap(block.start, block.bytes); }
}

mustafar_allocator Arena::allocator() {
    auto hook = sized<mustafar_allocator>();
    hook.user = this;
    hook.allocate = [](void* user, std::size_t bytes, std::size_t) {
        return static_cast<Arena*>(user)->allocate(bytes);
    };
    hook.release = [](void*, void*, std::size_t, std::size_t) {};
    return hook;
}

void* Arena::allocate(std::size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_); // the library asks from several threads
    bytes = (bytes + 63) / 64 * 64;
    if (blocks_.empty() || used_ + bytes > blocks_.back().bytes) {
        const std::size_t size = (std::max(bytes, block_bytes) / huge_page + 2) * huge_page;
        void* start =
            ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (start == MAP_FAILED) { return nullptr; }
        (void)::madvise(start, size, MADV_HUGEPAGE);
        blocks_.push_back({start, size});
        used_ = (huge_page - reinterpret_cast<std::uintptr_t>(start) % huge_page) % huge_page;
    }
    void* result = static_cast<std::byte*>(blocks_.back().start) + used_;
    used_ += bytes;
    return result;
}

// Heads lose their oldest tokens until each has its length.
void Caches::shorten(const Shape& shape, mustafar_cache* cache) {
    const std::vector<std::uint32_t> lengths = lengths_of(shape);
    rows_ = std::accumulate(lengths.begin(), lengths.end(), 0.0);
    std::vector<std::int32_t> oldest(lengths.front());
    std::iota(oldest.begin(), oldest.end(), 0);
    for (std::uint32_t head = 1; head < shape.kv_heads; ++head) {
        const std::size_t gone = lengths.front() - lengths[head];
        if (gone > 0) {
            call("evict", mustafar_cache_evict, cache, 0U, head, oldest.data(), gone, 0U);
        }
    }
}

Caches::Caches(const Trace& trace, const Shape& shape, const std::string& recipe,
               const std::string& backend, std::uint32_t threads, std::size_t working_set) {
    geometry_ = trace.geometry();
    geometry_.layers = 1;
    geometry_.q_heads = shape.q_heads;
    geometry_.kv_heads = shape.kv_heads;
    recipe_ = make<mustafar_recipe>(recipe, mustafar_recipe_parse, recipe.c_str(), recipe.size());
    const mustafar_allocator hook = arena_.allocator();
    context_ = make_context(backend, threads, &hook);
    auto row = sized<mustafar_kernel_info>();
    call("kernel", mustafar_context_kernel, context_.get(), "attend", &row);
    kernel_ = row.name;
    auto options = sized<mustafar_cache_options>();
    options.max_tokens = lengths_of(shape).front();
    options.flags = MUSTAFAR_CACHE_AUTO;
    {
        Cache first = make<mustafar_cache>(recipe, mustafar_cache_create, context_.get(),
                                           &geometry_, recipe_.get(), &options);
        fill(trace, shape, options.max_tokens, first.get());
        shorten(shape, first.get());
        call(recipe, mustafar_cache_save, first.get(), "", write_bytes, &snapshot_);
        auto bytes = sized<mustafar_bytes>();
        call(recipe, mustafar_cache_bytes, first.get(), MUSTAFAR_ALL, MUSTAFAR_ALL, &bytes);
        const auto read =
            static_cast<double>(bytes.values + bytes.bitmaps + bytes.meta + bytes.window);
        bytes_per_token_head_ = read / rows_;
        caches_.push_back(std::move(first));
    }
    const double one = bytes_per_token_head_ * rows_;
    while (one * static_cast<double>(caches_.size()) < static_cast<double>(working_set)) {
        Source source{&snapshot_};
        caches_.push_back(make<mustafar_cache>(recipe, mustafar_cache_load, context_.get(),
                                               &geometry_, recipe_.get(), "", nullptr, read_bytes,
                                               &source));
    }
}

std::vector<float> Caches::reference(const Shape& shape, const mustafar_tensor& q,
                                     const mustafar_attend_options& options) const {
    const Context context = make_context("ref", 0, nullptr);
    Source source{&snapshot_};
    const Cache cache =
        make<mustafar_cache>("reference", mustafar_cache_load, context.get(), &geometry_,
                             recipe_.get(), "", nullptr, read_bytes, &source);
    std::vector<float> out(std::size_t{shape.q_heads} * geometry_.head_dim_v);
    const mustafar_tensor view =
        f32_tensor(out.data(), {1, 1, shape.q_heads, geometry_.head_dim_v});
    const mustafar_cache* list[] = {cache.get()};
    call("reference", mustafar_attend, list, std::size_t{1}, 0U, &q, nullptr, &options, &view,
         nullptr, nullptr, nullptr);
    return out;
}

std::vector<float> queries_of(const Trace& trace, const Shape& shape) {
    const std::size_t d = trace.head_dim;
    std::vector<float> q(std::size_t{shape.q_heads} * d);
    for (std::uint32_t h = 0; h < shape.q_heads; ++h) {
        const std::uint32_t kv = h / shape.group();
        const std::size_t layer = layer_of(trace, shape, kv);
        const std::uint32_t head =
            kv % trace.kv_heads * trace.group() + h % shape.group() % trace.group();
        const std::uint32_t index = trace.queries - 1 - h % shape.group() / trace.group();
        const std::uint16_t* from = trace.layers[layer].q.data() + trace.query(head, index);
        for (std::size_t c = 0; c < d; ++c) {
            q[std::size_t{h} * d + c] = half_to_float(from[c], trace.dtype);
        }
    }
    return q;
}

} // namespace mustafar::bench
