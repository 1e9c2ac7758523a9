// SPDX-License-Identifier: Apache-2.0
// Roll-back. Needs no memory: rows at the end are forgotten, pages give up slots or go.
#include <bit>
#include <cstring>

#include "core/cache.hpp"

namespace mustafar {

// Rows of a head whose position is below `length`.
std::uint32_t Cache::kept_rows(const HeadState& head, std::uint32_t length) const {
    if (head.positions.empty()) { return std::min(head.rows(), length); }
    const auto* end = head.positions.begin() + head.rows();
    return static_cast<std::uint32_t>(
        std::lower_bound(head.positions.begin(), end, static_cast<std::int64_t>(length)) -
        head.positions.begin());
}

// The least length above the sinks that asks no packed row of the head back: `recent` dense rows
// must stay behind the body.
std::uint32_t Cache::smallest_exact(const HeadState& head, std::uint32_t committed) const {
    if (head.body_rows == 0) { return 0; }
    const std::uint32_t needed = window_.sink + head.body_rows + window_.recent; // rows
    if (needed > head.rows()) {
        return committed;
    } // a deep truncate has already eaten into the window
    return std::min(committed, static_cast<std::uint32_t>(position(head, needed - 1)) + 1);
}

void Cache::truncate(std::uint32_t length, bool keep_packed) {
    std::uint32_t exact = 0;
    std::uint64_t asked_back = 0;
    std::uint32_t at_layer = 0;
    for (std::uint32_t l = 0; l < geometry_.layers; ++l) {
        if (length >= layers_[l].committed) { continue; } // only tentative tokens go
        for (std::uint32_t h = 0; h < geometry_.kv_heads; ++h) {
            const std::uint32_t least = smallest_exact(head(l, h), layers_[l].committed);
            if (least > exact) {
                exact = least;
                at_layer = l;
            }
            if (least > length) {
                const HeadState& state = head(l, h);
                const std::uint32_t kept = kept_rows(state, length);
                const std::uint32_t stays = window_.sink + window_.recent;
                const std::uint32_t body_then =
                    kept > stays ? std::min(state.body_rows, kept - stays) : 0;
                asked_back = std::max<std::uint64_t>(asked_back, std::min(state.body_rows, kept) -
                                                                     std::min(body_then, kept));
            }
        }
    }
    if (length > window_.sink && length < exact && !keep_packed) {
        throw Error(MUSTAFAR_NOT_EXACT,
                    "length = " + std::to_string(length) + " asks up to " +
                        std::to_string(asked_back) +
                        " packed rows of a kv head back into the window (layer " +
                        std::to_string(at_layer) +
                        "); the smallest exact length above the sinks is " + std::to_string(exact) +
                        "; pass MUSTAFAR_TRUNCATE_KEEP_PACKED to accept packed rows there",
                    {exact, 0, 0, 0});
    }
    for (std::uint32_t l = 0; l < geometry_.layers; ++l) {
        LayerState& layer = layers_[l];
        if (length >= layer.length()) { continue; }
        for (std::uint32_t h = 0; h < geometry_.kv_heads; ++h) {
            HeadState& state = mutable_head(l, h);
            const std::uint32_t keep = kept_rows(state, length);
            if (length <= window_.sink) {
                forget_body(state); // no row that was packed, evicted or frozen from is left
                state.dense_rows = keep;
            } else {
                truncate_head(state, keep);
            }
        }
        layer.tentative = length > layer.committed ? length - layer.committed : 0;
        layer.committed = std::min(layer.committed, length);
        for (std::uint32_t h = 0; h < geometry_.kv_heads; ++h) {
            clear_window_marks(mutable_head(l, h), layer.tentative);
        }
    }
}

// The window is exact: rows that come back into it lose their marks.
void Cache::clear_window_marks(HeadState& head, std::uint32_t tentative) {
    if (head.marks.empty()) { return; }
    const std::uint32_t committed = head.dense_rows - tentative;
    const std::uint32_t first = committed - std::min(committed, window_.recent);
    std::memset(head.marks.data() + first, 0, head.slots - first);
}

void Cache::truncate_head(HeadState& head, std::uint32_t keep) {
    const std::uint32_t sink = sink_rows(head);
    const std::uint32_t tail = head.dense_rows - sink;
    const std::uint32_t keep_sink = std::min(sink, keep);
    const std::uint32_t keep_body = std::min(head.body_rows, keep - keep_sink);
    const std::uint32_t keep_tail = std::min(tail, keep - keep_sink - keep_body);
    const std::uint32_t dense = keep_sink + keep_tail;
    if (!head.marks.empty()) { std::memset(head.marks.data() + dense, 0, head.slots - dense); }
    head.dense_rows = dense;
    std::uint32_t surplus = head.body_rows - keep_body;
    head.body_rows = keep_body;
    while (surplus > 0) { // slots go from the end; what a fork shares stays untouched
        PageRef& last = head.pages[head.page_count - 1];
        while (surplus > 0 && last.valid != 0) {
            last.valid &= ~(1U << (31 - std::countl_zero(last.valid)));
            --surplus;
        }
        if (last.valid == 0) {
            Page* page = last.page;
            --head.page_count;
            give_page(head, page);
        }
    }
}

} // namespace mustafar
