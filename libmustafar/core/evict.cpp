// SPDX-License-Identifier: Apache-2.0
// Token-level removal, per kv head. Codes move as they are; nothing is quantized again.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>

#include "core/cache.hpp"
#include "format/columns.hpp"

namespace mustafar {
namespace {

void refuse_tentative(const LayerState& layer, std::uint32_t index) {
    if (layer.tentative == 0) { return; }
    throw Error(MUSTAFAR_BAD_STATE,
                "layer " + std::to_string(index) + " has " + std::to_string(layer.tentative) +
                    " tentative tokens; commit or truncate them before evicting");
}

// New pages for a call that may still fail: what is not taken is given back.
class Built {
  public:
    explicit Built(Pool& pool) : pool_(pool) {}
    ~Built() {
        for (Page* page : pages) { pool_.release(page); }
    }
    Built(const Built&) = delete;
    Built& operator=(const Built&) = delete;
    std::vector<Page*> pages;

  private:
    Pool& pool_;
};

} // namespace

void Cache::evict(std::uint32_t layer, std::uint32_t kv_head,
                  std::span<const std::int32_t> positions, bool keep) {
    HeadState& head = mutable_head(layer, kv_head);
    refuse_tentative(layers_[layer], layer);
    const std::uint32_t rows = head.rows();
    const std::uint32_t sink = sink_rows(head);
    const std::uint32_t window_at =
        rows - std::min(rows - sink, window_.recent); // from here on they stay
    std::vector<bool> removed(rows, keep);
    std::uint32_t row = 0;
    for (std::size_t i = 0; i < positions.size(); ++i) {
        while (row < rows && position(head, row) < positions[i]) { ++row; }
        const bool known = row < rows && position(head, row) == positions[i];
        if (i > 0 && positions[i] <= positions[i - 1]) {
            throw Error(MUSTAFAR_INVALID_ARGUMENT, "positions[" + std::to_string(i) +
                                                       "] = " + std::to_string(positions[i]) +
                                                       " does not ascend; sort them");
        }
        if (!known) {
            throw Error(MUSTAFAR_INVALID_ARGUMENT,
                        "positions[" + std::to_string(i) + "] = " + std::to_string(positions[i]) +
                            " is not held by kv_head " + std::to_string(kv_head) +
                            "; mustafar_cache_positions lists what is");
        }
        if (!keep && (row < sink || row >= window_at)) {
            throw Error(MUSTAFAR_INVALID_ARGUMENT,
                        "positions[" + std::to_string(i) + "] = " + std::to_string(positions[i]) +
                            " is in the window: the first " + std::to_string(window_.sink) +
                            " and the newest " + std::to_string(window_.recent) + " tokens stay");
        }
        removed[row] = !keep;
    }
    for (std::uint32_t r = 0; r < rows; ++r) {
        if (r < sink || r >= window_at) { removed[r] = false; }
    }
    evict_rows(head, removed);
}

void Cache::evict_scores(std::uint32_t layer, std::uint32_t kv_head, std::span<const float> scores,
                         std::uint32_t budget) {
    HeadState& head = mutable_head(layer, kv_head);
    refuse_tentative(layers_[layer], layer);
    const std::uint32_t rows = head.rows();
    if (scores.size() != rows) {
        throw Error(MUSTAFAR_INVALID_ARGUMENT, "count = " + std::to_string(scores.size()) +
                                                   ", but kv_head " + std::to_string(kv_head) +
                                                   " holds " + std::to_string(rows) +
                                                   " rows; give one score per row");
    }
    const std::uint64_t stay = std::uint64_t{window_.sink} + window_.recent;
    const std::uint32_t target = budget != 0 ? budget : head.spec.budget;
    if (target == 0) {
        throw Error(MUSTAFAR_INVALID_ARGUMENT,
                    "budget = 0, and the recipe gives kv_head " + std::to_string(kv_head) +
                        " of layer " + std::to_string(layer) + " none; name one, at least " +
                        std::to_string(std::max<std::uint64_t>(1, stay)));
    }
    if (target < stay) {
        throw Error(MUSTAFAR_INVALID_ARGUMENT, "budget = " + std::to_string(target) +
                                                   " is below the window: recent + sink = " +
                                                   std::to_string(stay) + " tokens always stay");
    }
    for (std::size_t i = 0; i < scores.size(); ++i) {
        if (std::isnan(scores[i])) {
            throw Error(MUSTAFAR_NON_FINITE, "scores[" + std::to_string(i) + "] is NaN",
                        {0, static_cast<std::int64_t>(i), kv_head, 0});
        }
    }
    if (rows <= target) { return; }
    const std::uint32_t sink = sink_rows(head);
    const std::uint32_t window_at = rows - std::min(rows - sink, window_.recent);
    std::vector<std::uint32_t> order(window_at - sink);
    std::iota(order.begin(), order.end(), sink);
    std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
        return scores[a] > scores[b];
    }); // ties: older first
    std::vector<bool> removed(rows, false);
    const std::size_t stays = target - sink - (rows - window_at);
    for (std::size_t i = stays; i < order.size(); ++i) { removed[order[i]] = true; }
    evict_rows(head, removed);
}

void Cache::evict_rows(HeadState& head, const std::vector<bool>& removed) {
    const auto gone = static_cast<std::uint32_t>(std::count(removed.begin(), removed.end(), true));
    if (gone == 0) { return; }
    const std::uint32_t rows = head.rows();
    const std::uint32_t sink = sink_rows(head);
    if (head.positions.empty()) {
        Buffer<std::int32_t> positions(memory(), position_slots(rows));
        for (std::uint32_t r = 0; r < rows; ++r) { positions[r] = static_cast<std::int32_t>(r); }
        evict_body(head, removed, sink); // the last thing that can fail
        head.positions = std::move(positions);
    } else {
        evict_body(head, removed, sink);
    }
    const std::uint32_t body = head.body_rows; // still the old count
    std::uint32_t slot = sink;
    for (std::uint32_t r = sink + body; r < rows; ++r) { // the dense tail closes up
        const std::uint32_t from = r - body;
        if (removed[r]) { continue; }
        if (slot != from) { move_dense(head, from, slot); }
        ++slot;
    }
    head.dense_rows = slot;
    std::uint32_t kept = 0;
    for (std::uint32_t r = 0; r < rows; ++r) {
        if (!removed[r]) { head.positions[kept++] = head.positions[r]; }
    }
    head.body_rows = kept - head.dense_rows;
    head.evicted += gone;
}

void Cache::move_dense(HeadState& head, std::uint32_t from, std::uint32_t to) {
    const std::size_t dk = head.spec.k.d;
    const std::size_t dv = head.spec.v.d;
    std::uint16_t* k = head.window.data();
    std::uint16_t* v = k + head.slots * dk;
    std::memcpy(k + to * dk, k + from * dk, dk * 2);
    std::memcpy(v + to * dv, v + from * dv, dv * 2);
    if (head.marks.empty()) { return; }
    std::uint8_t* flags = head.marks.data();
    std::uint8_t* k_bits = flags + head.slots;
    std::uint8_t* v_bits = k_bits + head.slots * (dk / 8);
    flags[to] = std::exchange(flags[from], std::uint8_t{0});
    std::memcpy(k_bits + to * (dk / 8), k_bits + from * (dk / 8), dk / 8);
    std::memcpy(v_bits + to * (dv / 8), v_bits + from * (dv / 8), dv / 8);
}

// Removes body rows; `removed` is indexed by row, the body starts at row `body_at`.
void Cache::evict_body(HeadState& head, const std::vector<bool>& removed, std::uint32_t body_at) {
    const auto first = removed.begin() + body_at;
    const auto last = first + head.body_rows;
    if (std::find(first, last, true) == last) { return; }
    if (keeps_holes(head.spec)) {
        evict_holes(head, removed, body_at);
    } else if (is_ragged(head.spec)) {
        evict_ragged(head, removed, body_at);
    } else {
        evict_fixed(head, removed, body_at);
    }
}

// Rows of a channel group share its scales: they only lose their bit; empty pages go.
void Cache::evict_holes(HeadState& head, const std::vector<bool>& removed, std::uint32_t body_at) {
    std::vector<Page*> emptied;
    emptied.reserve(head.page_count); // the last thing that can fail
    std::uint32_t row = body_at;
    std::uint32_t kept_pages = 0;
    for (std::uint32_t p = 0; p < head.page_count; ++p) {
        PageRef ref = head.pages[p];
        for (std::uint32_t slot = 0; slot < page_rows; ++slot) {
            if (((head.pages[p].valid >> slot) & 1U) == 0) { continue; }
            if (removed[row++]) { ref.valid &= ~(1U << slot); }
        }
        if (ref.valid != 0) {
            head.pages[kept_pages++] = ref;
        } else {
            emptied.push_back(ref.page);
        }
    }
    head.page_count = kept_pages;
    for (Page* page : emptied) { give_page(head, page); }
}

// Fixed strides: rows move down in place; pages shared with a fork are copied first.
void Cache::evict_fixed(HeadState& head, const std::vector<bool>& removed, std::uint32_t body_at) {
    std::uint32_t kept = 0;
    while (!removed[body_at + kept]) { ++kept; }
    std::uint32_t survivors = 0;
    for (std::uint32_t r = 0; r < head.body_rows; ++r) {
        survivors += removed[body_at + r] ? 0 : 1;
    }
    const std::uint32_t first_page = kept / page_rows;
    const std::uint32_t pages = (survivors + page_rows - 1) / page_rows;
    Built copies(pool());
    copies.pages.assign(std::max(pages, first_page), nullptr);
    for (std::uint32_t p = first_page; p < pages; ++p) { // the last thing that can fail
        if (Pool::shared(*head.pages[p].page)) {
            copies.pages[p] = pool().clone(*head.pages[p].page);
        }
    }
    for (std::uint32_t p = first_page; p < pages; ++p) { // rows are stored in row order
        keys_to_rows(head.spec,
                     copies.pages[p] != nullptr ? *copies.pages[p] : *head.pages[p].page);
    }
    for (std::uint32_t r = kept; r < head.body_rows; ++r) {
        if (removed[body_at + r]) { continue; }
        Page* copy = copies.pages[kept / page_rows];
        Page& to = copy != nullptr ? *copy : *head.pages[kept / page_rows].page;
        for (const Side side : {Side::k, Side::v}) {
            RowImage image;
            load_row(head.spec.side(side),
                     page_side(head.spec, side, *head.pages[r / page_rows].page), r % page_rows,
                     image);
            PageSide arrays = page_side(head.spec, side, to);
            store_row(head.spec.side(side), arrays, kept % page_rows, image);
        }
        ++kept;
    }
    for (std::uint32_t p = first_page; p < pages; ++p) {
        if (copies.pages[p] != nullptr) { std::swap(copies.pages[p], head.pages[p].page); }
        head.pages[p].valid = first_slots(survivors - p * page_rows);
    }
    while (head.page_count > pages) { give_page(head, head.pages[--head.page_count].page); }
    order_keys(head, first_page);
}

// Ragged pages are built anew from the first one that loses a row.
void Cache::evict_ragged(HeadState& head, const std::vector<bool>& removed, std::uint32_t body_at) {
    std::uint32_t first_page = 0;
    while (std::none_of(removed.begin() + body_at + first_page * page_rows,
                        removed.begin() + body_at +
                            std::min((first_page + 1) * page_rows, head.body_rows),
                        [](bool gone) { return gone; })) {
        ++first_page;
    }
    Built built(pool());
    built.pages.reserve(head.page_count);
    std::vector<RowImage> rows[2];
    std::uint32_t last_rows = 0;
    const auto flush = [&] {
        if (rows[0].empty()) { return; }
        built.pages.push_back(build_ragged_page(pool(), head.spec, rows[0], rows[1]));
        last_rows = static_cast<std::uint32_t>(rows[0].size());
        rows[0].clear();
        rows[1].clear();
    };
    for (std::uint32_t r = first_page * page_rows; r < head.body_rows; ++r) {
        if (removed[body_at + r]) { continue; }
        for (const Side side : {Side::k, Side::v}) {
            RowImage& image = rows[static_cast<int>(side)].emplace_back();
            load_row(head.spec.side(side),
                     page_side(head.spec, side, *head.pages[r / page_rows].page), r % page_rows,
                     image);
        }
        if (rows[0].size() == page_rows) { flush(); }
    }
    flush();
    std::uint32_t p = first_page;
    for (Page*& page : built.pages) {
        head.pages[p].valid =
            &page == &built.pages.back() ? first_slots(last_rows) : first_slots(page_rows);
        std::swap(page, head.pages[p++].page);
    }
    while (head.page_count > p) { pool().release(head.pages[--head.page_count].page); }
    order_keys(head, first_page);
}

} // namespace mustafar
