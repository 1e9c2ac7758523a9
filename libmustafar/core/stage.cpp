// SPDX-License-Identifier: Apache-2.0
// Staging room, publishing stages, dropping them.
#include <bit>
#include <cstring>

#include "core/assert.hpp"
#include "core/incoming.hpp"
#include "format/columns.hpp"

namespace mustafar {

// ---- pages of a stage --------------------------------------------------------------------------

Page* Cache::take_page(HeadState& head) {
    if (head.reserve == nullptr) { return create_page(pool(), head.spec); }
    Page* page = std::exchange(head.reserve, head.reserve->next);
    --head.reserve_count;
    ++head.stage.from_reserve;
    page->next = nullptr;
    return page;
}

void Cache::keep_in_reserve(HeadState& head, Page* page) noexcept {
    std::memset(page->data(), 0, page->data_bytes);
    page->key_columns = 0;
    page->next = std::exchange(head.reserve, page);
    ++head.reserve_count;
}

// Back to the head's reserve while that is not full, else to the pool.
void Cache::give_page(HeadState& head, Page* page) noexcept {
    const bool reservable = !Pool::shared(*page) && !is_ragged(head.spec);
    if (!reservable || head.page_count + head.reserve_count >= head.reserved_pages) {
        pool().release(page);
        return;
    }
    keep_in_reserve(head, page);
}

void Cache::stage_new_page(HeadState& head, Page* page, std::uint32_t rows) {
    Stage& stage = head.stage;
    page->next = nullptr;
    (stage.last != nullptr ? stage.last->next : stage.first) = page;
    stage.before_last = std::exchange(stage.last, page);
    stage.last_rows = rows;
    ++stage.pages;
}

void Cache::drop_stage(HeadState& head) noexcept {
    Stage& stage = head.stage;
    while (stage.first != nullptr) {
        Page* page = std::exchange(stage.first, stage.first->next);
        if (stage.from_reserve > 0) { // taken before any page was created
            --stage.from_reserve;
            keep_in_reserve(head, page);
        } else {
            pool().release(page);
        }
    }
    pool().release(stage.replacement);
    stage = Stage{};
}

void Cache::drop_stages() noexcept {
    for (HeadState& head : heads_) { drop_stage(head); }
}

// ---- room --------------------------------------------------------------------------------------

// Larger tables and buffers, where what is staged and what comes in need them.
void Cache::stage_room(HeadState& head, std::uint32_t incoming_rows) {
    Stage& stage = head.stage;
    const std::uint32_t pages = head.page_count + stage.pages;
    if (pages > head.pages.size()) { stage.table = Buffer<PageRef>(memory(), table_slots(pages)); }
    const std::uint32_t dense = head.dense_rows + incoming_rows - stage.rows;
    if (dense > head.slots) {
        stage.window_slots = window_slots(first_window_slots(window_, options_), dense);
        stage.window = Buffer<std::uint16_t>(memory(), std::size_t{stage.window_slots} *
                                                           (head.spec.k.d + head.spec.v.d));
        if (!head.marks.empty()) {
            stage.marks = Buffer<std::uint8_t>(memory(), mark_bytes(head.spec, stage.window_slots));
        }
    }
    const std::uint32_t rows = head.rows() + incoming_rows;
    if (!head.positions.empty() && rows > head.positions.size()) {
        stage.positions = Buffer<std::int32_t>(memory(), position_slots(rows));
    }
}

// Stages packing and room for all heads of some layers; on failure nothing stays staged.
void Cache::stage_all(std::uint32_t first_layer, std::uint32_t layer_count,
                      const Incoming* incoming, bool manual) {
    const std::uint32_t incoming_rows = incoming != nullptr ? incoming->tokens : 0;
    const std::size_t heads = std::size_t{layer_count} * geometry_.kv_heads;
    const std::size_t first_head = std::size_t{first_layer} * geometry_.kv_heads;
    const auto layer_of = [&](std::size_t i) {
        return first_layer + static_cast<std::uint32_t>(i / geometry_.kv_heads);
    };
    const auto leaving = [&](std::size_t i) {
        if (!manual && !options_.automatic) { return 0U; }
        const HeadState& head = heads_[first_head + i];
        return rows_to_pack(head, head.dense_rows - layers_[layer_of(i)].tentative + incoming_rows,
                            manual);
    };
    try {
        bool any = false;
        for (std::size_t i = 0; i < heads && !any; ++i) { any = leaving(i) > 0; }
        if (any) {
            const Stopwatch watch(counters_.pack_ns);
            // What comes in holds the heads of a token side by side: a thread that packs its heads in turns, a
            // chunk each, reads it as it lies in memory. Head by head took twice as long to read.
            const std::size_t groups =
                incoming != nullptr ? std::min<std::size_t>(heads, context_->threads()) : heads;
            Context::Leases leases(*context_, groups);
            context_->parallel_for(groups, [&](std::size_t group) {
                const Context::Leases::Loan work(leases);
                for (bool more = true; more;) {
                    more = false;
                    for (std::size_t i = heads * group / groups; i < heads * (group + 1) / groups;
                         ++i) {
                        const std::uint32_t rows = leaving(i);
                        if (heads_[first_head + i].stage.rows >= rows) { continue; }
                        stage_pack(layer_of(i), static_cast<std::uint32_t>(i % geometry_.kv_heads),
                                   rows, incoming, work.data());
                        more = true;
                    }
                }
            });
        }
        for (std::size_t i = 0; i < heads; ++i) {
            stage_room(heads_[first_head + i], incoming_rows);
        }
    } catch (...) {
        drop_stages();
        throw;
    }
}

// ---- publication: nothing below can fail -------------------------------------------------------

// Full pages that nobody else reads take the order that attend likes best.
void Cache::order_keys(HeadState& head, std::uint32_t first_page) const {
    if (!context_->kernels().key_columns || !wants_columns(head.spec)) { return; }
    for (std::uint32_t p = first_page; p < head.page_count; ++p) {
        const PageRef& ref = head.pages[p];
        if (ref.valid == first_slots(page_rows) && !Pool::shared(*ref.page)) {
            context_->kernels().order(head.spec, *ref.page);
        }
    }
}

// The same for new pages as soon as they are full: they are still in the cache of the thread that filled them.
void Cache::order_staged(HeadState& head) const {
    if (!context_->kernels().key_columns || !wants_columns(head.spec)) { return; }
    const Stage& stage = head.stage;
    if (stage.before_last != nullptr) { context_->kernels().order(head.spec, *stage.before_last); }
    if (stage.last != nullptr && stage.last_rows == page_rows) {
        context_->kernels().order(head.spec, *stage.last);
    }
}

void Cache::publish_body(HeadState& head) {
    Stage& stage = head.stage;
    const bool replaced = stage.replacement != nullptr;
    if (!stage.table.empty()) {
        std::copy(head.pages.begin(), head.pages.begin() + head.page_count, stage.table.begin());
        head.pages.swap(stage.table);
    }
    if (stage.in_place_rows > 0) {
        PageRef& last = head.pages[head.page_count - 1];
        last.valid = first_slots(static_cast<std::uint32_t>(std::popcount(last.valid)) +
                                 stage.in_place_rows);
    }
    if (stage.replacement != nullptr) {
        PageRef& last = head.pages[head.page_count - 1];
        pool().release(std::exchange(last.page, std::exchange(stage.replacement, nullptr)));
        last.valid = first_slots(stage.replacement_rows);
    }
    const std::uint32_t first_new = head.page_count - (stage.in_place_rows > 0 || replaced ? 1 : 0);
    while (stage.first != nullptr) {
        Page* page = std::exchange(stage.first, stage.first->next);
        page->next = nullptr;
        const std::uint32_t rows = page == stage.last ? stage.last_rows : page_rows;
        head.pages[head.page_count++] = PageRef{page, first_slots(rows), 0};
    }
    order_keys(head, first_new);
    head.body_rows += stage.rows;
    head.centre_frozen |= stage.centre_ready;
    for (int side = 0; side < 2; ++side) { head.mask_frozen[side] |= stage.mask_ready[side]; }
    if (stage.rows > 0) { counters_.packed_rows.fetch_add(stage.rows, std::memory_order_relaxed); }
}

namespace {

// Moves `count` rows of one array of a window: [sink, sink + gone) leave, what is behind closes up.
template <typename T>
void close_up(T* to, const T* from, std::size_t row, std::size_t sink, std::size_t gone,
              std::size_t count) {
    if (to != from && sink > 0) { std::memcpy(to, from, sink * row * sizeof(T)); }
    if (count <= sink + gone || (to == from && gone == 0)) { return; }
    std::memmove(to + sink * row, from + (sink + gone) * row,
                 (count - sink - gone) * row * sizeof(T));
}

} // namespace

// The packed rows leave the dense ones, the incoming rows join them.
void Cache::publish_dense(HeadState& head, const Incoming* incoming, std::uint32_t kv_head) {
    Stage& stage = head.stage;
    const std::uint32_t incoming_rows = incoming != nullptr ? incoming->tokens : 0;
    const std::uint32_t old_rows = head.dense_rows;
    const std::uint32_t total = old_rows + incoming_rows;
    const std::uint32_t sink = std::min(window_.sink, total);
    const std::size_t dk = head.spec.k.d;
    const std::size_t dv = head.spec.v.d;
    const bool larger = !stage.window.empty();
    const std::uint32_t slots = larger ? stage.window_slots : head.slots;
    std::uint16_t* to = larger ? stage.window.data() : head.window.data();
    const std::size_t kept_sink = std::min(sink, old_rows);
    const std::size_t gone = std::min<std::size_t>(stage.rows, old_rows - kept_sink);
    close_up(to, head.window.data(), dk, kept_sink, gone, old_rows);
    close_up(to + slots * dk, head.window.data() + head.slots * dk, dv, kept_sink, gone, old_rows);
    if (!head.marks.empty()) {
        std::uint8_t* marks_to = larger ? stage.marks.data() : head.marks.data();
        const std::uint8_t* marks = head.marks.data();
        const std::size_t kb = dk / 8; // bytes of a K bitmap
        close_up(marks_to, marks, 1, kept_sink, gone, old_rows);
        close_up(marks_to + slots, marks + head.slots, kb, kept_sink, gone, old_rows);
        close_up(marks_to + slots * (1 + kb), marks + head.slots * (1 + kb), dv / 8, kept_sink,
                 gone, old_rows);
        const std::size_t kept = old_rows - gone;
        std::memset(marks_to + kept, 0, slots - kept); // rows to come carry no mark
    }
    for (std::uint32_t i = 0; i < incoming_rows; ++i) {
        const std::uint32_t at = old_rows + i;
        if (at >= sink && at < sink + stage.rows) { continue; } // went straight into the body
        const std::size_t slot = at < sink ? at : at - stage.rows;
        incoming->load(Side::k, i, kv_head, head.spec.k.d, to + slot * dk);
        incoming->load(Side::v, i, kv_head, head.spec.v.d, to + slots * dk + slot * dv);
    }
    if (larger) {
        head.window.swap(stage.window);
        if (!head.marks.empty()) { head.marks.swap(stage.marks); }
        head.slots = slots;
    }
    head.dense_rows = total - stage.rows;
}

void Cache::publish(HeadState& head, const Incoming* incoming, std::uint32_t kv_head,
                    std::uint32_t length) {
    const std::uint32_t incoming_rows = incoming != nullptr ? incoming->tokens : 0;
    if (!head.positions.empty()) {
        const std::uint32_t rows = head.rows();
        if (!head.stage.positions.empty()) {
            std::copy(head.positions.begin(), head.positions.begin() + rows,
                      head.stage.positions.begin());
            head.positions.swap(head.stage.positions);
        }
        for (std::uint32_t i = 0; i < incoming_rows; ++i) {
            head.positions[rows + i] = static_cast<std::int32_t>(length + i);
        }
    }
    publish_dense(head, incoming, kv_head);
    publish_body(head);
    head.stage = Stage{};
}

} // namespace mustafar
