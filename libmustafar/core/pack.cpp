// SPDX-License-Identifier: Apache-2.0
// From dense rows to staged pages: gather, centre, choose survivors, quantize, place.
// The order is fixed (docs/format.md, section 2): centre -> prune -> quantize -> pack.
#include <bit>
#include <cstring>

#include "core/assert.hpp"
#include "core/incoming.hpp"
#include "format/columns.hpp"

namespace mustafar {

// Everything one chunk of at most 32 rows needs; lies in a leased workspace.
struct Cache::PackScratch {
    std::uint16_t half[max_head_dim];
    float values[2][page_rows * max_head_dim];
    std::uint8_t bitmaps[2][page_rows * max_bitmap_bytes];
    RowImage images[2][page_rows];
    std::uint8_t block_meta[max_block_meta_bytes];
    float some_values[page_rows * max_head_dim]; // rows that carry no mark yet
    std::uint8_t some_bitmaps[page_rows * max_bitmap_bytes];
};

// Rows that leave the dense tail now. `dense_committed` counts the incoming ones too.
std::uint32_t Cache::rows_to_pack(const HeadState& head, std::uint32_t dense_committed,
                                  bool manual) const {
    const std::uint64_t stay = std::uint64_t{window_.sink} + window_.recent;
    if (dense_committed <= stay) { return 0; }
    const auto outside = static_cast<std::uint32_t>(dense_committed - stay);
    // A channel's scale covers 32 rows and is frozen with them: such heads pack whole groups only.
    const std::uint32_t unit = keeps_holes(head.spec) ? page_rows : manual ? 1 : window_.step;
    return outside / unit * unit;
}

void Cache::gather(const HeadState& head, std::uint32_t kv_head, std::uint32_t first,
                   std::uint32_t count, const Incoming* incoming, PackScratch& scratch) const {
    for (const Side side : {Side::k, Side::v}) {
        const std::uint32_t d = head.spec.side(side).d;
        const std::uint16_t* dense =
            head.window.data() + (side == Side::k ? 0 : std::size_t{head.slots} * head.spec.k.d);
        for (std::uint32_t i = 0; i < count; ++i) {
            const std::uint32_t at = first + i;
            const std::uint16_t* row = dense + std::size_t{at} * d;
            if (at >= head.dense_rows) {
                incoming->load(side, at - head.dense_rows, kv_head, d, scratch.half);
                row = scratch.half;
            }
            float* out = scratch.values[static_cast<int>(side)] + std::size_t{i} * d;
            for (std::uint32_t c = 0; c < d; ++c) { out[c] = load_half(row[c], geometry_.store); }
        }
    }
}

void Cache::stage_pack(std::uint32_t layer, std::uint32_t kv_head, std::uint32_t rows,
                       const Incoming* incoming, std::byte* work) {
    static_assert(sizeof(PackScratch) <= work_bytes, "a workspace holds the scratch of a chunk");
    HeadState& head = mutable_head(layer, kv_head);
    auto* scratch = ::new (static_cast<void*>(work)) PackScratch;
    const std::uint32_t incoming_rows = incoming != nullptr ? incoming->tokens : 0;
    const std::uint32_t first = std::min(window_.sink, head.dense_rows + incoming_rows);
    for (std::uint32_t done = 0; done < rows;) {
        const std::uint32_t count = std::min(window_.step, rows - done);
        gather(head, kv_head, first + done, count, incoming, *scratch);
        stage_chunk(head, first + done, count, *scratch);
        done += count;
    }
}

void Cache::stage_chunk(HeadState& head, std::uint32_t first, std::uint32_t count,
                        PackScratch& scratch) {
    if (head.spec.k.centred) {
        centre_rows(head, {scratch.values[0], std::size_t{count} * head.spec.k.d});
    }
    for (const Side side : {Side::k, Side::v}) {
        survivors(head, side, first, count, scratch);
        const SideSpec& spec = head.spec.side(side);
        const auto which = static_cast<int>(side);
        PackArgs args;
        args.side = &spec;
        args.store = geometry_.store;
        args.values = {scratch.values[which], std::size_t{count} * spec.d};
        args.bitmaps = {scratch.bitmaps[which], std::size_t{count} * (spec.d / 8U)};
        args.images = {scratch.images[which], count};
        args.block_meta = scratch.block_meta; // only K can have one
        context_->kernels().pack(args);
    }
    place(head, scratch, count);
    head.stage.rows += count;
}

// The centre is the mean of the first rows that need it, unless it came with the recipe.
void Cache::centre_rows(HeadState& head, std::span<float> values) {
    const std::size_t d = head.spec.k.d;
    const std::size_t rows = values.size() / d;
    if (!head.centre_frozen && !head.stage.centre_ready) {
        for (std::size_t c = 0; c < d; ++c) {
            double sum = 0.0;
            for (std::size_t row = 0; row < rows; ++row) { sum += values[row * d + c]; }
            head.centre[c] = static_cast<float>(sum / static_cast<double>(rows));
        }
        head.stage.centre_ready = true;
    }
    for (std::size_t i = 0; i < values.size(); ++i) { values[i] -= head.centre[i % d]; }
}

// What the recipe's rule leaves of these (centred) rows.
void Cache::recipe_survivors(HeadState& head, Side side, std::span<const float> values,
                             const Weights& weights, std::span<std::uint8_t> bitmaps) {
    const SideSpec& spec = head.spec.side(side);
    const auto which = static_cast<int>(side);
    const std::size_t row_bytes = spec.d / 8U;
    const bool channels = spec.prune.method == Method::channels;
    if (channels && (head.mask_frozen[which] || head.stage.mask_ready[which])) {
        for (std::size_t at = 0; at < bitmaps.size(); at += row_bytes) {
            std::memcpy(bitmaps.data() + at, head.channel_mask[which].data(), row_bytes);
        }
        return;
    }
    context_->kernels().prune(
        {spec.prune, spec.d, values, weights.channel, weights.token, bitmaps});
    if (channels) {
        std::memcpy(head.channel_mask[which].data(), bitmaps.data(), row_bytes);
        head.stage.mask_ready[which] = true;
    }
}

namespace {

std::uint32_t count_bits(const std::uint8_t* bytes, std::size_t count) {
    std::uint32_t total = 0;
    for (std::size_t i = 0; i < count; ++i) {
        total += static_cast<std::uint32_t>(std::popcount(bytes[i]));
    }
    return total;
}

const char* side_name(Side side) { return side == Side::k ? "k" : "v"; }

void check_mark(const SideSpec& spec, Side side, const std::uint8_t* bits) {
    const std::uint32_t kept = count_bits(bits, spec.d / 8U);
    if (spec.encoding == Encoding::ragged || kept == spec.keep) { return; }
    throw Error(MUSTAFAR_BAD_STATE,
                std::string("side ") + side_name(side) + ": a marked row keeps " +
                    std::to_string(kept) + " elements, the recipe's encoding keeps " +
                    std::to_string(spec.keep) +
                    "; prune again with that count, or use a recipe with method \"mask\"");
}

} // namespace

// Bitmaps of a chunk: the marks of rows that carry one, the recipe's choice for the others.
void Cache::survivors(HeadState& head, Side side, std::uint32_t first, std::uint32_t count,
                      PackScratch& scratch) {
    const SideSpec& spec = head.spec.side(side);
    const auto which = static_cast<std::uint32_t>(side);
    const std::size_t row_bytes = spec.d / 8U;
    const auto mark_of = [&](std::uint32_t i) -> const std::uint8_t* { // null = no mark
        const std::size_t slot = std::size_t{first} + i;
        if (head.marks.empty() || slot >= head.dense_rows) { return nullptr; }
        if (((head.marks[slot] >> which) & 1U) == 0) { return nullptr; }
        const std::size_t before =
            side == Side::k ? 0 : std::size_t{head.slots} * (head.spec.k.d / 8U);
        return head.marks.data() + head.slots + before + slot * row_bytes;
    };
    std::size_t open = 0; // rows without a mark
    for (std::uint32_t i = 0; i < count; ++i) {
        if (mark_of(i) != nullptr) { continue; }
        std::memcpy(scratch.some_values + open++ * spec.d,
                    scratch.values[which] + std::size_t{i} * spec.d, spec.d * sizeof(float));
    }
    if (open > 0 && spec.prune.method == Method::mask) {
        throw Error(MUSTAFAR_BAD_STATE,
                    std::string("side ") + side_name(side) +
                        ": the recipe's method is \"mask\" and " + std::to_string(open) +
                        " rows outside the window carry no mark; give them one with "
                        "mustafar_cache_prune");
    }
    if (open > 0) {
        recipe_survivors(head, side, {scratch.some_values, open * spec.d}, {},
                         {scratch.some_bitmaps, open * row_bytes});
    }
    open = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
        const std::uint8_t* mark = mark_of(i);
        if (mark != nullptr) { check_mark(spec, side, mark); }
        const std::uint8_t* from =
            mark != nullptr ? mark : scratch.some_bitmaps + open++ * row_bytes;
        std::memcpy(scratch.bitmaps[which] + i * row_bytes, from, row_bytes);
    }
}

// ---- placing rows into pages -------------------------------------------------------------------

void Cache::place(HeadState& head, PackScratch& scratch, std::uint32_t count) {
    if (keeps_holes(head.spec)) {
        place_block(head, scratch, count);
    } else if (is_ragged(head.spec)) {
        place_ragged(head, scratch, count);
    } else {
        place_fixed(head, scratch, count);
    }
}

// The page and slot of the next row behind all rows, staged ones included.
Cache::Place Cache::next_place(HeadState& head) {
    Stage& stage = head.stage;
    if (stage.last != nullptr && stage.last_rows < page_rows) {
        return {stage.last, stage.last_rows++};
    }
    if (stage.last == nullptr && stage.replacement != nullptr &&
        stage.replacement_rows < page_rows) {
        return {stage.replacement, stage.replacement_rows++};
    }
    if (stage.last == nullptr && stage.replacement == nullptr && head.page_count > 0) {
        const PageRef& last = head.pages[head.page_count - 1];
        const auto used = static_cast<std::uint32_t>(std::popcount(last.valid));
        if (used + stage.in_place_rows < page_rows && !Pool::shared(*last.page)) {
            keys_to_rows(head.spec, *last.page); // same content: a failed call changes nothing
            return {last.page, used + stage.in_place_rows++};
        }
        if (used < page_rows &&
            stage.in_place_rows == 0) { // a fork reads this page: copy before writing
            stage.replacement = pool().clone(*last.page);
            keys_to_rows(head.spec, *stage.replacement);
            stage.replacement_rows = used + 1;
            return {stage.replacement, used};
        }
    }
    stage_new_page(head, take_page(head), 1);
    return {stage.last, 0};
}

// Row by row behind the last one; full pages are never touched again.
void Cache::place_fixed(HeadState& head, PackScratch& scratch, std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) {
        const Place to = next_place(head);
        for (const Side side : {Side::k, Side::v}) {
            PageSide arrays = page_side(head.spec, side, *to.page);
            store_row(head.spec.side(side), arrays, to.slot,
                      scratch.images[static_cast<int>(side)][i]);
        }
    }
}

// Ragged pages are as long as their rows: a page that is not full is built anew with the rows
// behind it.
void Cache::place_ragged(HeadState& head, PackScratch& scratch, std::uint32_t count) {
    Stage& stage = head.stage;
    for (std::uint32_t done = 0; done < count;) {
        const Page* open =
            nullptr; // the page behind whose rows the next ones go, unless it is full
        std::uint32_t used = page_rows;
        if (stage.last != nullptr) {
            open = stage.last;
            used = stage.last_rows;
        } else if (stage.replacement != nullptr) {
            open = stage.replacement;
            used = stage.replacement_rows;
        } else if (head.page_count > 0) {
            open = head.pages[head.page_count - 1].page;
            used = static_cast<std::uint32_t>(std::popcount(head.pages[head.page_count - 1].valid));
        }
        const std::uint32_t old = used == page_rows ? 0 : used;
        const std::uint32_t more = std::min(count - done, page_rows - old);
        std::vector<RowImage> rows[2];
        for (const Side side : {Side::k, Side::v}) {
            auto& images = rows[static_cast<int>(side)];
            images.resize(old);
            for (std::uint32_t slot = 0; slot < old; ++slot) {
                load_row(head.spec.side(side), page_side(head.spec, side, *open), slot,
                         images[slot]);
            }
            const RowImage* fresh = scratch.images[static_cast<int>(side)] + done;
            images.insert(images.end(), fresh, fresh + more);
        }
        Page* page = build_ragged_page(pool(), head.spec, rows[0], rows[1]);
        done += more;
        if (old == 0) {
            stage_new_page(head, page, more);
        } else if (stage.last != nullptr) { // takes the place of the last staged page
            (stage.before_last != nullptr ? stage.before_last->next : stage.first) = page;
            pool().release(std::exchange(stage.last, page));
            stage.last_rows = old + more;
        } else {
            pool().release(std::exchange(stage.replacement, page));
            stage.replacement_rows = old + more;
        }
    }
}

// A channel's scale and zero belong to these 32 rows: a page of their own.
void Cache::place_block(HeadState& head, PackScratch& scratch, std::uint32_t count) {
    MUSTAFAR_ASSERT(count == page_rows);
    if (is_ragged(head.spec)) {
        Page* page = build_ragged_page(pool(), head.spec, {scratch.images[0], count},
                                       {scratch.images[1], count});
        stage_new_page(head, page, count);
    } else {
        stage_new_page(head, take_page(head), count);
        for (const Side side : {Side::k, Side::v}) {
            PageSide arrays = page_side(head.spec, side, *head.stage.last);
            for (std::uint32_t i = 0; i < count; ++i) {
                store_row(head.spec.side(side), arrays, i,
                          scratch.images[static_cast<int>(side)][i]);
            }
        }
    }
    const PageSide k = page_side(head.spec, Side::k, *head.stage.last);
    std::memcpy(k.meta, scratch.block_meta, k.strides.block_meta);
}

} // namespace mustafar
