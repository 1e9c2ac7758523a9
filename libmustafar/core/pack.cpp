// SPDX-License-Identifier: Apache-2.0
// From dense rows to staged pages: gather, centre, choose survivors, quantize, place.
// The order is fixed (docs/format.md, section 2): centre -> prune -> quantize -> pack.
#include <bit>
#include <cstring>

#include "core/assert.hpp"
#include "core/incoming.hpp"
#include "format/columns.hpp"

namespace mustafar {

// Everything one chunk of at most 32 rows needs; lies in a leased workspace. Nothing in it is
// filled before it is used.
struct Cache::PackScratch {
    HalfRows rows[2]; // where they lie
    std::uint8_t bitmaps[2][page_rows * max_bitmap_bytes];
    std::uint16_t halves[2][page_rows * max_head_dim]; // rows that cannot be read where they lie
    std::uint16_t
        open_halves[page_rows * max_head_dim]; // rows without a mark, where others have one
    std::uint8_t open_bitmaps[page_rows * max_bitmap_bytes];
    RowImage* images[2]; // of heads with a ragged side: their pages are built from images
    std::uint8_t block_meta[max_block_meta_bytes];
    alignas(RowImage) std::byte image_bytes[2][page_rows * sizeof(RowImage)];
};

PackedRows::PackedRows(std::span<RowImage> images) : rows(images.size()) {
    RowImage* first = images.data();
    bitmap = first->bitmap;
    codes = first->codes;
    meta = first->meta;
    count = reinterpret_cast<std::uint8_t*>(&first->count);
    bitmap_stride = codes_stride = meta_stride = count_stride = sizeof(RowImage);
}

PackedRows::PackedRows(const PageSide& side, std::uint32_t slot, std::size_t row_count)
    : bitmap_stride(side.strides.bitmap), codes_stride(side.strides.codes),
      meta_stride(side.strides.meta), rows(row_count) {
    MUSTAFAR_ASSERT(!side.columns && side.offsets == nullptr);
    const auto at = [slot](std::byte* array, std::size_t stride) {
        return reinterpret_cast<std::uint8_t*>(array + slot * stride);
    };
    if (side.bitmaps != nullptr) { bitmap = at(side.bitmaps, bitmap_stride); }
    codes = at(side.codes, codes_stride);
    meta = at(side.meta, meta_stride);
}

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

// Where the rows of a chunk lie: most often in one piece, else they are copied together.
void Cache::gather(const HeadState& head, std::uint32_t kv_head, std::uint32_t first,
                   std::uint32_t count, const Incoming* incoming, PackScratch& scratch) const {
    const std::uint32_t from_dense =
        first >= head.dense_rows ? 0 : std::min(count, head.dense_rows - first);
    for (const Side side : {Side::k, Side::v}) {
        const auto which = static_cast<int>(side);
        const std::uint32_t d = head.spec.side(side).d;
        const std::uint16_t* dense = dense_halves(head, side) + std::size_t{first} * d;
        HalfRows& rows = scratch.rows[which];
        if (from_dense == count) {
            rows = {dense, d, geometry_.store};
        } else if (from_dense == 0 && incoming->lies_as_stored(side)) {
            rows = incoming->rows(side, first - head.dense_rows, kv_head);
        } else {
            std::uint16_t* out = scratch.halves[which];
            rows = {out, d, geometry_.store};
            std::memcpy(out, dense, std::size_t{from_dense} * d * sizeof(std::uint16_t));
            for (std::uint32_t i = from_dense; i < count; ++i) {
                incoming->load(side, first + i - head.dense_rows, kv_head, d,
                               out + std::size_t{i} * d);
            }
        }
    }
}

// Packs the next chunk of the `rows` that leave the dense tail of a head.
void Cache::stage_pack(std::uint32_t layer, std::uint32_t kv_head, std::uint32_t rows,
                       const Incoming* incoming, std::byte* work) {
    static_assert(sizeof(PackScratch) <= work_bytes, "a workspace holds the scratch of a chunk");
    HeadState& head = mutable_head(layer, kv_head);
    auto* scratch = ::new (static_cast<void*>(work)) PackScratch;
    const std::uint32_t incoming_rows = incoming != nullptr ? incoming->tokens : 0;
    const std::uint32_t first = std::min(window_.sink, head.dense_rows + incoming_rows);
    const std::uint32_t done = head.stage.rows;
    const std::uint32_t count = std::min(window_.step, rows - done);
    if (incoming != nullptr && incoming->check_in_turn) {
        const std::uint32_t end = first + done + count;
        const std::uint32_t begin = std::max(first + done, head.dense_rows);
        if (begin < end &&
            !surely_fit(head, kv_head, *incoming, begin - head.dense_rows, end - head.dense_rows)) {
            throw Incoming::Unsure{};
        }
    }
    gather(head, kv_head, first + done, count, incoming, *scratch);
    stage_chunk(head, first + done, count, *scratch);
    order_staged(head);
}

void Cache::stage_chunk(HeadState& head, std::uint32_t first, std::uint32_t count,
                        PackScratch& scratch) {
    if (head.spec.k.centred) { centre_rows(head, scratch.rows[0], count); }
    for (const Side side : {Side::k, Side::v}) { survivors(head, side, first, count, scratch); }
    place(head, scratch, count);
    head.stage.rows += count;
}

// Rows done .. done + out.rows - 1 of a chunk, to where they shall lie.
void Cache::pack_rows(const HeadState& head, Side side, const PackScratch& scratch,
                      std::uint32_t done, const PackedRows& out, std::uint8_t* block_meta) const {
    const SideSpec& spec = head.spec.side(side);
    const auto which = static_cast<int>(side);
    const std::size_t row_bytes = spec.d / 8U;
    context_->kernels().pack({&spec,
                              geometry_.store,
                              {},
                              {scratch.bitmaps[which] + done * row_bytes, out.rows * row_bytes},
                              out,
                              block_meta,
                              scratch.rows[which].from(done)});
}

// The centre is the mean of the first rows that need it, unless it came with the recipe.
void Cache::centre_rows(HeadState& head, HalfRows& rows, std::uint32_t count) {
    const std::size_t d = head.spec.k.d;
    if (!head.centre_frozen && !head.stage.centre_ready) {
        for (std::size_t c = 0; c < d; ++c) {
            double sum = 0.0;
            for (std::size_t i = 0; i < count; ++i) {
                sum += load_half(rows.row(i)[c], rows.store);
            }
            head.centre[c] = static_cast<float>(sum / static_cast<double>(count));
        }
        head.stage.centre_ready = true;
    }
    rows.centre = head.centre.data();
}

// What the recipe's rule leaves of these rows.
void Cache::recipe_survivors(HeadState& head, Side side, const HalfRows& rows,
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
        {spec.prune, spec.d, {}, weights.channel, weights.token, bitmaps, rows});
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
    const HalfRows& rows = scratch.rows[which];
    const auto mark_of = [&](std::uint32_t i) -> const std::uint8_t* { // null = no mark
        const std::size_t slot = std::size_t{first} + i;
        if (head.marks.empty() || slot >= head.dense_rows) { return nullptr; }
        if (((head.marks[slot] >> which) & 1U) == 0) { return nullptr; }
        const std::size_t before =
            side == Side::k ? 0 : std::size_t{head.slots} * (head.spec.k.d / 8U);
        return head.marks.data() + head.slots + before + slot * row_bytes;
    };
    std::uint32_t open = 0; // rows without a mark
    for (std::uint32_t i = 0; i < count; ++i) { open += mark_of(i) == nullptr ? 1 : 0; }
    if (open > 0 && spec.prune.method == Method::mask) {
        throw Error(MUSTAFAR_BAD_STATE,
                    std::string("side ") + side_name(side) +
                        ": the recipe's method is \"mask\" and " + std::to_string(open) +
                        " rows outside the window carry no mark; give them one with "
                        "mustafar_cache_prune");
    }
    if (open == count) {
        recipe_survivors(head, side, rows, {}, {scratch.bitmaps[which], count * row_bytes});
        return;
    }
    open = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
        if (mark_of(i) != nullptr) { continue; }
        std::memcpy(scratch.open_halves + std::size_t{open++} * spec.d, rows.row(i),
                    spec.d * sizeof(std::uint16_t));
    }
    if (open > 0) {
        recipe_survivors(head, side, {scratch.open_halves, spec.d, rows.store, rows.centre}, {},
                         {scratch.open_bitmaps, open * row_bytes});
    }
    open = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
        const std::uint8_t* mark = mark_of(i);
        if (mark != nullptr) { check_mark(spec, side, mark); }
        const std::uint8_t* from =
            mark != nullptr ? mark : scratch.open_bitmaps + open++ * row_bytes;
        std::memcpy(scratch.bitmaps[which] + i * row_bytes, from, row_bytes);
    }
}

// ---- placing rows into pages -------------------------------------------------------------------

void Cache::place(HeadState& head, PackScratch& scratch, std::uint32_t count) {
    if (is_ragged(head.spec)) {
        for (const Side side : {Side::k, Side::v}) {
            const auto which = static_cast<int>(side);
            scratch.images[which] = reinterpret_cast<RowImage*>(scratch.image_bytes[which]);
            pack_rows(head, side, scratch, 0, std::span(scratch.images[which], count),
                      scratch.block_meta);
        }
    }
    if (keeps_holes(head.spec)) {
        place_block(head, scratch, count);
    } else if (is_ragged(head.spec)) {
        place_ragged(head, scratch, count);
    } else {
        place_fixed(head, scratch, count);
    }
}

// Where the next rows go, behind all rows, staged ones included: up to `count` slots of one page.
Cache::Place Cache::next_place(HeadState& head, std::uint32_t count) {
    Stage& stage = head.stage;
    const auto take = [count](Page* page, std::uint32_t at, std::uint32_t& used) {
        const std::uint32_t rows = std::min(count, page_rows - at);
        used += rows;
        return Place{page, at, rows};
    };
    if (stage.last != nullptr && stage.last_rows < page_rows) {
        return take(stage.last, stage.last_rows, stage.last_rows);
    }
    if (stage.last == nullptr && stage.replacement != nullptr &&
        stage.replacement_rows < page_rows) {
        return take(stage.replacement, stage.replacement_rows, stage.replacement_rows);
    }
    if (stage.last == nullptr && stage.replacement == nullptr && head.page_count > 0) {
        const PageRef& last = head.pages[head.page_count - 1];
        const auto used = static_cast<std::uint32_t>(std::popcount(last.valid));
        if (used + stage.in_place_rows < page_rows && !Pool::shared(*last.page)) {
            keys_to_rows(head.spec, *last.page); // same content: a failed call changes nothing
            return take(last.page, used + stage.in_place_rows, stage.in_place_rows);
        }
        if (used < page_rows &&
            stage.in_place_rows == 0) { // a fork reads this page: copy before writing
            stage.replacement = pool().clone(*last.page);
            keys_to_rows(head.spec, *stage.replacement);
            stage.replacement_rows = used;
            return take(stage.replacement, used, stage.replacement_rows);
        }
    }
    stage_new_page(head, take_page(head), 0);
    return take(stage.last, 0, stage.last_rows);
}

// Row by row behind the last one; full pages are never touched again.
void Cache::place_fixed(HeadState& head, const PackScratch& scratch, std::uint32_t count) {
    for (std::uint32_t done = 0; done < count;) {
        const Place to = next_place(head, count - done);
        for (const Side side : {Side::k, Side::v}) {
            pack_rows(head, side, scratch, done,
                      {page_side(head.spec, side, *to.page), to.slot, to.rows}, nullptr);
        }
        done += to.rows;
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
void Cache::place_block(HeadState& head, const PackScratch& scratch, std::uint32_t count) {
    MUSTAFAR_ASSERT(count == page_rows);
    if (is_ragged(head.spec)) {
        Page* page = build_ragged_page(pool(), head.spec, {scratch.images[0], count},
                                       {scratch.images[1], count});
        stage_new_page(head, page, count);
        const PageSide k = page_side(head.spec, Side::k, *page);
        std::memcpy(k.meta, scratch.block_meta, k.strides.block_meta);
        return;
    }
    stage_new_page(head, take_page(head), count);
    for (const Side side : {Side::k, Side::v}) {
        const PageSide arrays = page_side(head.spec, side, *head.stage.last);
        pack_rows(head, side, scratch, 0, {arrays, 0, count},
                  reinterpret_cast<std::uint8_t*>(arrays.meta));
    }
}

} // namespace mustafar
