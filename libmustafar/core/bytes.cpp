// SPDX-License-Identifier: Apache-2.0
// Byte accounting: what a cache occupies, and what one of a given shape would. Both follow the same
// rules; a test compares them with each other and with the allocator.
#include "core/cache.hpp"

namespace mustafar {

void add_bytes(mustafar_bytes& total, const mustafar_bytes& more) {
    total.exact &= more.exact;
    total.total += more.total;
    total.values += more.values;
    total.bitmaps += more.bitmaps;
    total.meta += more.meta;
    total.slack += more.slack;
    total.window += more.window;
    total.positions += more.positions;
    total.tables += more.tables;
}

namespace {

mustafar_bytes empty_bytes() {
    mustafar_bytes bytes{};
    bytes.struct_size = sizeof(mustafar_bytes);
    bytes.exact = 1;
    return bytes;
}

void sum_parts(mustafar_bytes& bytes) {
    bytes.total = bytes.values + bytes.bitmaps + bytes.meta + bytes.slack + bytes.window +
                  bytes.positions + bytes.tables;
}

// Buffers of a head that do not depend on its rows: the frozen centre, the masks of whole channels.
std::uint64_t frozen_bytes(const HeadSpec& spec) {
    std::uint64_t bytes = spec.k.centred ? spec.k.d * sizeof(float) : 0;
    for (const Side side : {Side::k, Side::v}) {
        if (spec.side(side).prune.method == Method::channels) { bytes += spec.side(side).d / 8U; }
    }
    return bytes;
}

std::uint64_t slot_bytes(const HeadSpec& spec) { return (spec.k.d + spec.v.d) * 2ULL; }

mustafar_bytes record_bytes(std::uint64_t bytes) {
    mustafar_bytes record = empty_bytes();
    record.tables = bytes;
    sum_parts(record);
    return record;
}

} // namespace

mustafar_bytes Cache::head_bytes(const HeadState& head) const {
    mustafar_bytes bytes = empty_bytes();
    std::uint64_t data = 0;
    for (std::uint32_t p = 0; p < head.page_count; ++p) {
        const PageUse use = page_use(head.spec, head.pages[p]);
        bytes.values += use.values;
        bytes.bitmaps += use.bitmaps;
        bytes.meta += use.meta;
        data += head.pages[p].page->data_bytes;
    }
    for (const Page* page = head.reserve; page != nullptr; page = page->next) {
        data += page->data_bytes;
    }
    bytes.slack = data - bytes.values - bytes.bitmaps - bytes.meta;
    bytes.window = head.window.bytes() + head.marks.bytes();
    bytes.positions = head.positions.bytes();
    bytes.tables = sizeof(HeadState) + head.pages.bytes() + frozen_bytes(head.spec) +
                   (head.page_count + std::uint64_t{head.reserve_count}) * sizeof(Page);
    sum_parts(bytes);
    return bytes;
}

mustafar_bytes Cache::bytes(std::uint32_t layer, std::uint32_t kv_head) const {
    mustafar_bytes total = empty_bytes();
    for (std::uint32_t l = 0; l < geometry_.layers; ++l) {
        if (layer != MUSTAFAR_ALL && l != layer) { continue; }
        for (std::uint32_t h = 0; h < geometry_.kv_heads; ++h) {
            if (kv_head == MUSTAFAR_ALL || h == kv_head) {
                add_bytes(total, head_bytes(head(l, h)));
            }
        }
        if (kv_head == MUSTAFAR_ALL) { add_bytes(total, record_bytes(sizeof(LayerState))); }
    }
    if (layer == MUSTAFAR_ALL && kv_head == MUSTAFAR_ALL) {
        add_bytes(total, record_bytes(sizeof(Cache)));
    }
    return total;
}

namespace {

// The most codes that rows of a ragged side can have: the data decide.
std::uint64_t most_codes(const SideSpec& side, std::uint32_t rows) {
    return std::uint64_t{rows} * code_bytes(side.d, side.bits);
}

mustafar_bytes head_plan(const HeadSpec& spec, const Window& window, const CacheOptions& options,
                         std::uint32_t tokens) {
    mustafar_bytes bytes = empty_bytes();
    // Heads with channel-axis K pack whole pages; their recipes have step 32, so the rule is one.
    const std::uint32_t body = options.automatic ? automatic_body(tokens, window) : 0;
    const std::uint32_t pages = (body + page_rows - 1) / page_rows;
    std::uint64_t codes[2] = {0, 0};
    for (const Side side : {Side::k, Side::v}) {
        const SideSpec& s = spec.side(side);
        PageUse use = rows_use(s, body, pages);
        if (s.encoding == Encoding::ragged && body > 0) {
            use.values = most_codes(s, body);
            use.bitmaps += std::uint64_t{body} * 2;
            bytes.exact = 0;
            codes[static_cast<int>(side)] = use.values;
        }
        bytes.values += use.values;
        bytes.bitmaps += use.bitmaps;
        bytes.meta += use.meta;
    }
    // Every page but the last is full, so that a plan takes as long for any number of tokens.
    const auto bytes_of_page = [&](std::uint64_t rows) {
        return page_bytes(spec, codes[0] * rows / body, codes[1] * rows / body);
    };
    std::uint64_t data = 0;
    if (pages > 0) {
        const std::uint32_t full = pages - 1;
        data = full * bytes_of_page(page_rows) + bytes_of_page(body - full * page_rows);
    }
    const std::uint32_t reserve = reserve_pages(spec, window, options);
    const std::uint32_t held = std::max(pages, reserve);
    data += std::uint64_t{held - pages} * (is_ragged(spec) ? 0 : page_bytes(spec, 0, 0));
    bytes.slack = data - bytes.values - bytes.bitmaps - bytes.meta;
    bytes.window =
        slot_bytes(spec) * window_slots(first_window_slots(window, options), tokens - body);
    bytes.tables = sizeof(HeadState) + std::uint64_t{table_slots(held)} * sizeof(PageRef) +
                   frozen_bytes(spec) + std::uint64_t{held} * sizeof(Page);
    sum_parts(bytes);
    return bytes;
}

} // namespace

mustafar_bytes plan(const Recipe& recipe, const Geometry& geometry, const CacheOptions& options,
                    std::uint32_t tokens, std::uint32_t layer) {
    check_geometry(geometry);
    const ResolvedRecipe resolved = recipe.resolve(geometry);
    check_together(resolved, geometry, options);
    if (tokens > options.max_tokens) {
        throw Error(MUSTAFAR_INVALID_ARGUMENT,
                    "tokens = " + std::to_string(tokens) +
                        " exceeds max_tokens = " + std::to_string(options.max_tokens));
    }
    mustafar_bytes total = empty_bytes();
    for (std::uint32_t l = 0; l < geometry.layers; ++l) {
        if (layer != MUSTAFAR_ALL && l != layer) { continue; }
        for (std::uint32_t h = 0; h < geometry.kv_heads; ++h) {
            add_bytes(total, head_plan(resolved.head(l, h, geometry.kv_heads), resolved.window,
                                       options, tokens));
        }
        add_bytes(total, record_bytes(sizeof(LayerState)));
    }
    if (layer == MUSTAFAR_ALL) { add_bytes(total, record_bytes(sizeof(Cache))); }
    return total;
}

} // namespace mustafar
