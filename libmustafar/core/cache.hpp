// SPDX-License-Identifier: Apache-2.0
// A cache: the keys and values of one sequence, all layers.
//
// Rows of a kv head, oldest first:   [ sink | body: pages | dense tail, tentative rows last ]
// Sink and tail share one buffer of dense slots; the body lies between slot `sink` and the next.
//
// How a change keeps its promise that a failed call changes nothing: each public call (1)
// validates, (2) stages: builds pages, larger buffers and encodings aside, in `Stage` or in slots
// nobody reads yet, (3) publishes with operations that cannot fail. An exception before (3) drops
// the stages.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/context.hpp"
#include "core/error.hpp"
#include "core/geometry.hpp"
#include "core/kernels.hpp"
#include "mustafar/cache.h"
#include "recipe/recipe.hpp"

namespace mustafar {

class SnapshotReader;

struct CacheOptions {
    std::uint32_t max_tokens = 0;
    std::uint32_t reserve_tokens = 0;
    bool automatic = true;
};

// What a call has built for one head and not yet published.
struct Stage {
    Page* first = nullptr; // new pages in order, by Page::next
    Page* last = nullptr;
    Page* before_last = nullptr; // null where `last` is the first
    std::uint32_t last_rows = 0; // rows in `last`
    Page* replacement = nullptr; // of the head's last page, which was shared or ragged
    std::uint32_t replacement_rows = 0;
    std::uint32_t in_place_rows = 0; // written behind the rows of the head's last page
    std::uint32_t pages = 0;
    std::uint32_t from_reserve = 0; // the first of them came from the head's reserve
    std::uint32_t rows = 0;         // taken from the dense tail into the body
    Buffer<PageRef> table;
    Buffer<std::uint16_t> window;
    std::uint32_t window_slots = 0;
    Buffer<std::uint8_t> marks;
    Buffer<std::int32_t> positions;
    bool centre_ready = false;
    bool mask_ready[2] = {false, false};
};

struct HeadState {
    HeadSpec spec;
    bool precise = false;
    Buffer<PageRef> pages; // the first page_count are in use
    std::uint32_t page_count = 0;
    std::uint32_t body_rows = 0;
    std::uint32_t reserved_pages = 0; // pages this head shall never have to ask for
    std::uint32_t reserve_count = 0;
    Page* reserve = nullptr;
    Buffer<std::uint16_t> window; // K rows [slots, d_k], then V rows [slots, d_v]
    std::uint32_t slots = 0;
    std::uint32_t dense_rows = 0;
    Buffer<std::uint8_t>
        marks; // flags [slots], K bits [slots, d_k / 8], V bits [slots, d_v / 8]; or empty
    Buffer<std::int32_t> positions; // of all rows, once the head has evicted; empty = the row index
    Buffer<float> centre;           // of K, where it is centred
    Buffer<std::uint8_t> channel_mask[2]; // of sides pruned by whole channels
    bool centre_frozen = false;
    bool mask_frozen[2] = {false, false};
    std::uint64_t evicted = 0;
    Stage stage;

    std::uint32_t rows() const { return body_rows + dense_rows; }
};

struct LayerState {
    std::uint32_t committed = 0;
    std::uint32_t tentative = 0;
    std::uint32_t length() const { return committed + tentative; }
};

struct CacheCounters {
    std::atomic<std::uint64_t> appended_tokens{0}, packed_rows{0}, attend_calls{0};
    std::atomic<std::uint64_t> append_ns{0}, pack_ns{0}, attend_ns{0};
};

struct PruneRequest {
    std::uint32_t layer = 0, kv_head = 0; // or MUSTAFAR_ALL
    Side side = Side::k;
    std::uint32_t begin = 0, end = 0; // positions
    bool as_recipe = true;
    PruneRule rule;
    const mustafar_tensor* channel_weights = nullptr; // [heads, d]
    const mustafar_tensor* token_weights = nullptr;   // [heads, end - begin]
    const mustafar_tensor* mask = nullptr;            // [heads, end - begin, d / 8]
};

class Cache {
  public:
    using Handle = std::unique_ptr<Cache, void (*)(Cache*)>;
    static Handle create(std::shared_ptr<Context> context, const Geometry& geometry,
                         std::shared_ptr<const Recipe> recipe, const CacheOptions& options);
    Handle fork() const;

    void append(std::uint32_t layer, const mustafar_tensor& k, const mustafar_tensor& v,
                bool tentative);
    void commit(std::uint32_t layer);
    void prune(const PruneRequest& request);
    void compress(std::uint32_t layer);
    void evict(std::uint32_t layer, std::uint32_t kv_head, std::span<const std::int32_t> positions,
               bool keep);
    void evict_scores(std::uint32_t layer, std::uint32_t kv_head, std::span<const float> scores,
                      std::uint32_t budget);
    void truncate(std::uint32_t length, bool keep_packed);
    void reset();

    const Geometry& geometry() const { return geometry_; }
    const CacheOptions& options() const { return options_; }
    const Window& window() const { return window_; }
    const std::shared_ptr<const Recipe>& recipe() const { return recipe_; }
    const std::shared_ptr<Context>& context() const { return context_; }
    CacheCounters& counters() const { return counters_; }
    const LayerState& layer(std::uint32_t index) const { return layers_[index]; }
    const HeadState& head(std::uint32_t layer, std::uint32_t kv_head) const {
        return heads_[std::size_t{layer} * geometry_.kv_heads + kv_head];
    }
    HeadView view(std::uint32_t layer, std::uint32_t kv_head) const;
    std::uint32_t sink_rows(const HeadState& head) const {
        return std::min(window_.sink, head.dense_rows);
    }
    std::int32_t position(const HeadState& head, std::uint32_t row) const {
        return head.positions.empty() ? static_cast<std::int32_t>(row) : head.positions[row];
    }
    void export_rows(std::uint32_t layer, std::uint32_t kv_head, Side side, std::uint32_t begin,
                     std::uint32_t end, const mustafar_tensor& values, std::uint8_t* bitmaps) const;
    mustafar_bytes bytes(std::uint32_t layer, std::uint32_t kv_head) const;

    ~Cache();
    Cache(const Cache&) = delete;
    Cache& operator=(const Cache&) = delete;

  private:
    friend class SnapshotReader;
    Cache(std::shared_ptr<Context> context, const Geometry& geometry,
          std::shared_ptr<const Recipe> recipe, const CacheOptions& options, const Window& window);
    static Handle allocate(std::shared_ptr<Context> context, const Geometry& geometry,
                           std::shared_ptr<const Recipe> recipe, const CacheOptions& options);
    static void destroy(Cache* cache);

    HeadState& mutable_head(std::uint32_t layer, std::uint32_t kv_head) {
        return heads_[std::size_t{layer} * geometry_.kv_heads + kv_head];
    }
    Memory& memory() const { return context_->memory(); }
    Pool& pool() const { return context_->pool(); }

    // create
    void prepare_head(HeadState& head, const HeadSpec& spec, const ResolvedRecipe& resolved);
    void fill_reserve(HeadState& head);

    // pack.cpp: rows from the dense tail (and the incoming tensors behind it) into staged pages
    struct Incoming; // the rows of an append, behind the dense ones
    struct PackScratch;
    std::uint32_t rows_to_pack(const HeadState& head, std::uint32_t dense_committed,
                               bool manual) const;
    void stage_pack(std::uint32_t layer, std::uint32_t kv_head, std::uint32_t rows,
                    const Incoming* incoming, std::byte* work);
    void stage_chunk(HeadState& head, std::uint32_t first, std::uint32_t count,
                     PackScratch& scratch);
    void survivors(HeadState& head, Side side, std::uint32_t first, std::uint32_t count,
                   PackScratch& scratch);
    struct Weights { // empty = none
        std::span<const float> channel, token;
    };
    void recipe_survivors(HeadState& head, Side side, const HalfRows& rows, const Weights& weights,
                          std::span<std::uint8_t> bitmaps);
    void centre_rows(HeadState& head, HalfRows& rows, std::uint32_t count);
    static const std::uint16_t* dense_halves(const HeadState& head, Side side) {
        return head.window.data() + (side == Side::k ? 0 : std::size_t{head.slots} * head.spec.k.d);
    }
    void gather(const HeadState& head, std::uint32_t kv_head, std::uint32_t first,
                std::uint32_t count, const Incoming* incoming, PackScratch& scratch) const;
    void place(HeadState& head, PackScratch& scratch, std::uint32_t count);
    struct Place {
        Page* page = nullptr;
        std::uint32_t slot = 0, rows = 0;
    };
    Place next_place(HeadState& head, std::uint32_t count);
    void pack_rows(const HeadState& head, Side side, const PackScratch& scratch, std::uint32_t done,
                   const PackedRows& out, std::uint8_t* block_meta) const;
    void place_fixed(HeadState& head, const PackScratch& scratch, std::uint32_t count);
    void place_ragged(HeadState& head, PackScratch& scratch, std::uint32_t count);
    void place_block(HeadState& head, const PackScratch& scratch, std::uint32_t count);

    // append.cpp
    void check_values(std::uint32_t layer, const Incoming& incoming) const;
    bool surely_fit(const HeadState& head, std::uint32_t kv_head, const Incoming& incoming,
                    std::uint32_t first, std::uint32_t end) const;
    bool unpacked_fit(std::uint32_t layer, const Incoming& incoming) const;
    void stage_checked(std::uint32_t layer, const Incoming& incoming);
    void publish_layers(std::uint32_t first, std::uint32_t count);

    // stage.cpp: room, publication, roll-back
    void stage_room(HeadState& head, std::uint32_t incoming_rows);
    void stage_all(std::uint32_t first_layer, std::uint32_t layer_count, const Incoming* incoming,
                   bool manual);
    void publish(HeadState& head, const Incoming* incoming, std::uint32_t kv_head,
                 std::uint32_t length);
    void order_staged(HeadState& head) const;
    void order_keys(HeadState& head, std::uint32_t first_page) const;
    void publish_body(HeadState& head);
    void publish_dense(HeadState& head, const Incoming* incoming, std::uint32_t kv_head);
    void drop_stages() noexcept;
    void drop_stage(HeadState& head) noexcept;
    Page* take_page(HeadState& head);
    void give_page(HeadState& head, Page* page) noexcept;
    static void keep_in_reserve(HeadState& head, Page* page) noexcept;
    void stage_new_page(HeadState& head, Page* page, std::uint32_t rows);

    // prune.cpp
    struct DenseRange {
        std::uint32_t slot = 0, count = 0;
    };
    DenseRange dense_range(const HeadState& head, const LayerState& layer,
                           const PruneRequest& request) const;
    void choose_marks(HeadState& head, const PruneRequest& request, std::uint32_t head_index,
                      const DenseRange& range, std::vector<std::uint8_t>& bits);
    void publish_marks(HeadState& head, const PruneRequest& request, const DenseRange& range,
                       const std::vector<std::uint8_t>& bits);

    // evict.cpp, truncate.cpp
    void evict_rows(HeadState& head, const std::vector<bool>& removed);
    void evict_body(HeadState& head, const std::vector<bool>& removed, std::uint32_t body_at);
    void evict_holes(HeadState& head, const std::vector<bool>& removed, std::uint32_t body_at);
    void evict_fixed(HeadState& head, const std::vector<bool>& removed, std::uint32_t body_at);
    void evict_ragged(HeadState& head, const std::vector<bool>& removed, std::uint32_t body_at);
    void move_dense(HeadState& head, std::uint32_t from, std::uint32_t to);
    std::uint32_t kept_rows(const HeadState& head, std::uint32_t length) const;
    std::uint32_t smallest_exact(const HeadState& head, std::uint32_t layer_committed) const;
    void truncate_head(HeadState& head, std::uint32_t keep);
    void forget_body(HeadState& head);
    void clear_window_marks(HeadState& head, std::uint32_t tentative);

    mustafar_bytes head_bytes(const HeadState& head) const;

    std::shared_ptr<Context> context_;
    std::shared_ptr<const Recipe> recipe_;
    Geometry geometry_;
    CacheOptions options_;
    Window window_;
    Buffer<LayerState> layers_;
    Buffer<HeadState> heads_; // [layers, kv_heads]
    mutable CacheCounters counters_;
};

// Attends one layer of several caches; every argument is checked.
struct AttendRequest {
    std::span<const Cache* const> caches;
    std::uint32_t layer = 0;
    AttendArgs args; // without head, kv_head, cache, q_position, work
    bool at = false;
    std::int64_t q_position = 0;
};
void attend(const AttendRequest& request);

// bytes.cpp, and the rules that plan and cache share
mustafar_bytes plan(const Recipe& recipe, const Geometry& geometry, const CacheOptions& options,
                    std::uint32_t tokens, std::uint32_t layer);
void add_bytes(mustafar_bytes& total, const mustafar_bytes& more);
std::uint32_t first_window_slots(const Window& window, const CacheOptions& options);
std::uint32_t window_slots(std::uint32_t first_slots, std::uint32_t rows);
std::uint32_t table_slots(std::uint32_t pages);
std::uint32_t position_slots(std::uint32_t rows);
std::size_t mark_bytes(const HeadSpec& head, std::uint32_t slots);
std::uint32_t reserve_pages(const HeadSpec& head, const Window& window,
                            const CacheOptions& options);
std::uint32_t automatic_body(std::uint32_t tokens, const Window& window);
void check_together(const ResolvedRecipe& resolved, const Geometry& geometry,
                    const CacheOptions& options);

// Wall time of a scope, added to a counter.
class Stopwatch {
  public:
    explicit Stopwatch(std::atomic<std::uint64_t>& counter);
    ~Stopwatch();
    Stopwatch(const Stopwatch&) = delete;
    Stopwatch& operator=(const Stopwatch&) = delete;

  private:
    std::atomic<std::uint64_t>& counter_;
    std::uint64_t start_;
};

} // namespace mustafar
