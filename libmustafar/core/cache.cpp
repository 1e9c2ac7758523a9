// SPDX-License-Identifier: Apache-2.0
// Create, fork, reset, views and export.
#include "core/cache.hpp"

#include <bit>
#include <chrono>
#include <cstring>

#include "core/tensor.hpp"

namespace mustafar {

// ---- rules shared with plan --------------------------------------------------------------------

std::uint32_t first_window_slots(const Window& window, const CacheOptions& options) {
    const std::uint64_t wanted = std::uint64_t{window.sink} + window.recent + window.step;
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(wanted, options.max_tokens));
}

namespace {
std::uint32_t power_of_two(std::uint32_t least, std::uint32_t count) {
    return std::max(least, static_cast<std::uint32_t>(std::bit_ceil(std::uint64_t{count})));
}
} // namespace

std::uint32_t window_slots(std::uint32_t first_slots, std::uint32_t rows) {
    return rows <= first_slots ? first_slots : power_of_two(1, rows);
}
std::uint32_t table_slots(std::uint32_t pages) { return pages == 0 ? 0 : power_of_two(8, pages); }
std::uint32_t position_slots(std::uint32_t rows) { return power_of_two(64, rows); }

std::size_t mark_bytes(const HeadSpec& head, std::uint32_t slots) {
    return std::size_t{slots} * (1U + head.k.d / 8U + head.v.d / 8U);
}

std::uint32_t automatic_body(std::uint32_t tokens, const Window& window) {
    const std::uint64_t dense = std::uint64_t{window.sink} + window.recent;
    return tokens <= dense
               ? 0
               : static_cast<std::uint32_t>((tokens - dense) / window.step * window.step);
}

std::uint32_t reserve_pages(const HeadSpec& head, const Window& window,
                            const CacheOptions& options) {
    const std::uint32_t tokens = std::min(options.reserve_tokens, options.max_tokens);
    if (is_ragged(head)) { return 0; } // their size is not known before their rows are
    // Every row outside the window, not whole steps of them alone: a compress or a truncate that
    // keeps packed rows shifts where the steps begin.
    const std::uint64_t stay = std::uint64_t{window.sink} + window.recent;
    const std::uint32_t most = tokens <= stay ? 0 : tokens - static_cast<std::uint32_t>(stay);
    return (most + page_rows - 1) / page_rows;
}

void check_together(const ResolvedRecipe& resolved, const Geometry& geometry,
                    const CacheOptions& options) {
    if (options.max_tokens == 0 || options.max_tokens > 0x7FFFFFFFU) {
        throw Error(MUSTAFAR_INVALID_ARGUMENT,
                    "options.max_tokens = " + std::to_string(options.max_tokens) +
                        " is out of range; give 1..2147483647");
    }
    if (options.reserve_tokens > options.max_tokens) {
        throw Error(MUSTAFAR_INVALID_ARGUMENT,
                    "options.reserve_tokens = " + std::to_string(options.reserve_tokens) +
                        " exceeds max_tokens = " + std::to_string(options.max_tokens));
    }
    if (!options.automatic) { return; }
    for (std::size_t i = 0; i < resolved.heads.size(); ++i) {
        const HeadSpec& head = resolved.heads[i];
        if (head.k.prune.method != Method::mask && head.v.prune.method != Method::mask) {
            continue;
        }
        throw Error(
            MUSTAFAR_UNSUPPORTED,
            "options.flags = AUTO with method \"mask\" in layer " +
                std::to_string(i / geometry.kv_heads) +
                ": its bits come from mustafar_cache_prune, so rows cannot be packed on their own; "
                "leave AUTO out and call mustafar_cache_compress");
    }
}

// ---- life --------------------------------------------------------------------------------------

Cache::Cache(std::shared_ptr<Context> context, const Geometry& geometry,
             std::shared_ptr<const Recipe> recipe, const CacheOptions& options,
             const Window& window)
    : context_(std::move(context)), recipe_(std::move(recipe)), geometry_(geometry),
      options_(options), window_(window), layers_(memory(), geometry.layers),
      heads_(memory(), std::size_t{geometry.layers} * geometry.kv_heads) {
    context_->caches.fetch_add(1, std::memory_order_relaxed);
}

Cache::~Cache() {
    for (HeadState& head : heads_) {
        drop_stage(head);
        for (std::uint32_t i = 0; i < head.page_count; ++i) { pool().release(head.pages[i].page); }
        while (head.reserve != nullptr) {
            pool().release(std::exchange(head.reserve, head.reserve->next));
        }
    }
    context_->caches.fetch_sub(1, std::memory_order_relaxed);
}

void Cache::destroy(Cache* cache) {
    if (cache == nullptr) { return; }
    const std::shared_ptr<Context> context = cache->context_; // outlives the record it gives back
    cache->~Cache();
    context->memory().release(cache, sizeof(Cache), alignof(std::max_align_t), Part::cache);
}

Cache::Handle Cache::allocate(std::shared_ptr<Context> context, const Geometry& geometry,
                              std::shared_ptr<const Recipe> recipe, const CacheOptions& options) {
    check_geometry(geometry);
    const ResolvedRecipe resolved = recipe->resolve(geometry);
    check_together(resolved, geometry, options);
    Memory& memory = context->memory();
    void* raw = memory.allocate(sizeof(Cache), alignof(std::max_align_t), Part::cache);
    Cache* made = nullptr;
    try {
        made = ::new (raw) Cache(context, geometry, std::move(recipe), options, resolved.window);
    } catch (...) {
        memory.release(raw, sizeof(Cache), alignof(std::max_align_t), Part::cache);
        throw;
    }
    Handle cache(made, destroy);
    for (std::size_t i = 0; i < resolved.heads.size(); ++i) {
        cache->prepare_head(cache->heads_[i], resolved.heads[i], resolved);
    }
    return cache;
}

void Cache::prepare_head(HeadState& head, const HeadSpec& spec, const ResolvedRecipe& resolved) {
    head.spec = spec;
    head.precise = resolved.precise;
    head.slots = first_window_slots(window_, options_);
    head.window = Buffer<std::uint16_t>(memory(), std::size_t{head.slots} * (spec.k.d + spec.v.d));
    if (spec.k.centred) {
        head.centre = Buffer<float>(memory(), spec.k.d);
        head.centre_frozen = spec.k.centre_at >= 0;
        if (head.centre_frozen) {
            std::memcpy(head.centre.data(), resolved.centres.data() + spec.k.centre_at,
                        spec.k.d * sizeof(float));
        }
    }
    for (const Side side : {Side::k, Side::v}) {
        if (spec.side(side).prune.method != Method::channels) { continue; }
        head.channel_mask[static_cast<int>(side)] =
            Buffer<std::uint8_t>(memory(), spec.side(side).d / 8U);
    }
    head.reserved_pages = reserve_pages(spec, window_, options_);
}

void Cache::fill_reserve(HeadState& head) {
    const std::uint32_t slots = table_slots(std::max(head.page_count, head.reserved_pages));
    if (slots > head.pages.size()) {
        Buffer<PageRef> table(memory(), slots);
        std::copy(head.pages.begin(), head.pages.begin() + head.page_count, table.begin());
        head.pages = std::move(table);
    }
    while (head.page_count + head.reserve_count < head.reserved_pages) {
        Page* page = create_page(pool(), head.spec);
        page->next = std::exchange(head.reserve, page);
        ++head.reserve_count;
    }
}

Cache::Handle Cache::create(std::shared_ptr<Context> context, const Geometry& geometry,
                            std::shared_ptr<const Recipe> recipe, const CacheOptions& options) {
    Handle cache = allocate(std::move(context), geometry, std::move(recipe), options);
    for (HeadState& head : cache->heads_) { cache->fill_reserve(head); }
    if (options.reserve_tokens > 0) { // packing must not run out of scratch either
        const Context::Leases workspaces(*cache->context_, geometry.kv_heads);
    }
    return cache;
}

namespace {

template <typename T>
Buffer<T> copy_of(Memory& memory, const Buffer<T>& from) {
    Buffer<T> copy(memory, from.size());
    std::copy(from.begin(), from.end(), copy.begin());
    return copy;
}

} // namespace

Cache::Handle Cache::fork() const {
    Handle child = allocate(context_, geometry_, recipe_, options_);
    std::copy(layers_.begin(), layers_.end(), child->layers_.begin());
    for (std::size_t i = 0; i < heads_.size(); ++i) {
        const HeadState& from = heads_[i];
        HeadState& to = child->heads_[i];
        to.window = copy_of(memory(), from.window);
        to.slots = from.slots;
        to.dense_rows = from.dense_rows;
        to.marks = copy_of(memory(), from.marks);
        to.positions = copy_of(memory(), from.positions);
        to.centre = copy_of(memory(), from.centre);
        to.centre_frozen = from.centre_frozen;
        for (int side = 0; side < 2; ++side) {
            to.channel_mask[side] = copy_of(memory(), from.channel_mask[side]);
            to.mask_frozen[side] = from.mask_frozen[side];
        }
        to.evicted = from.evicted;
        to.pages = copy_of(memory(), from.pages);
        to.page_count = from.page_count; // from here on the child gives them back
        to.body_rows = from.body_rows;
        for (std::uint32_t p = 0; p < to.page_count; ++p) { pool().retain(*to.pages[p].page); }
        child->fill_reserve(to);
    }
    return child;
}

// All but the dense rows, and what came from packing and eviction with it.
void Cache::forget_body(HeadState& head) {
    while (head.page_count > 0) {
        Page* page = head.pages[--head.page_count].page;
        give_page(head, page);
    }
    head.body_rows = 0;
    head.marks = {};
    head.positions = {};
    head.evicted = 0;
    head.centre_frozen = head.spec.k.centred && head.spec.k.centre_at >= 0;
    head.mask_frozen[0] = head.mask_frozen[1] = false;
}

void Cache::reset() {
    for (HeadState& head : heads_) {
        forget_body(head);
        head.dense_rows = 0;
    }
    for (LayerState& layer : layers_) { layer = {}; }
}

// ---- ask ---------------------------------------------------------------------------------------

HeadView Cache::view(std::uint32_t layer, std::uint32_t kv_head) const {
    const HeadState& head = this->head(layer, kv_head);
    HeadView view;
    view.spec = &head.spec;
    view.store = geometry_.store;
    view.precise = head.precise;
    view.pages = head.pages.data();
    view.page_count = head.page_count;
    view.body_rows = head.body_rows;
    view.dense.k = head.window.data();
    view.dense.v = head.window.data() + std::size_t{head.slots} * head.spec.k.d;
    if (!head.marks.empty()) {
        view.dense.marks = head.marks.data();
        view.dense.mark_bits[0] = head.marks.data() + head.slots;
        view.dense.mark_bits[1] =
            view.dense.mark_bits[0] + std::size_t{head.slots} * (head.spec.k.d / 8U);
    }
    view.dense.count = head.dense_rows;
    view.dense.sink = sink_rows(head);
    view.centre = head.centre_frozen ? head.centre.data() : nullptr;
    view.positions = head.positions.empty() ? nullptr : head.positions.data();
    return view;
}

namespace {

// Visits the rows [begin, end) of a head in pieces that lie together: a page, or dense slots.
// visit(page or null, first dense slot, rows in the piece, row index of the first).
template <typename Visit>
void for_each_piece(const HeadView& head, std::uint32_t begin, std::uint32_t end,
                    const Visit& visit) {
    std::uint32_t row = 0;
    const auto piece = [&](const PageRef* page, std::uint32_t slot, std::uint32_t count) {
        if (row < end && row + count > begin) { visit(page, slot, count, row); }
        row += count;
    };
    const auto dense = [&](std::uint32_t first, std::uint32_t last) {
        for (std::uint32_t slot = first; slot < last; slot += page_rows) {
            piece(nullptr, slot, std::min(page_rows, last - slot));
        }
    };
    dense(0, head.dense.sink);
    for (std::uint32_t p = 0; p < head.page_count; ++p) {
        piece(&head.pages[p], 0, static_cast<std::uint32_t>(std::popcount(head.pages[p].valid)));
    }
    dense(head.dense.sink, head.dense.count);
}

} // namespace

void Cache::export_rows(std::uint32_t layer, std::uint32_t kv_head, Side side, std::uint32_t begin,
                        std::uint32_t end, const mustafar_tensor& values,
                        std::uint8_t* bitmaps) const {
    const HeadView head = view(layer, kv_head);
    const std::size_t d = head.spec->side(side).d;
    std::vector<double> rows(page_rows * d);
    std::vector<std::uint8_t> bits(page_rows * d / 8);
    const UnpackFn unpack = context_->kernels().unpack;
    const auto copy_piece = [&](const PageRef* page, std::uint32_t slot, std::uint32_t count,
                                std::uint32_t first_row) {
        unpack({&head, side, page, slot, count, rows.data(), bits.data()});
        for (std::uint32_t i = 0; i < count; ++i) {
            const std::uint32_t row = first_row + i;
            if (row < begin || row >= end) { continue; }
            store_row(values, static_cast<std::int64_t>(row - begin) * values.strides[0], d,
                      rows.data() + i * d);
            if (bitmaps != nullptr) {
                std::memcpy(bitmaps + (row - begin) * (d / 8), bits.data() + i * (d / 8), d / 8);
            }
        }
    };
    for_each_piece(head, begin, end, copy_piece);
}

namespace {
std::uint64_t now_ns() {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                          std::chrono::steady_clock::now().time_since_epoch())
                                          .count());
}
} // namespace

Stopwatch::Stopwatch(std::atomic<std::uint64_t>& counter) : counter_(counter), start_(now_ns()) {}
Stopwatch::~Stopwatch() { counter_.fetch_add(now_ns() - start_, std::memory_order_relaxed); }

} // namespace mustafar
