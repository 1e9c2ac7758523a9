// SPDX-License-Identifier: Apache-2.0
// What must hold of a cache after every operation: values, lengths, positions
// and statistics. Bytes are in checks_bytes.cpp.
#include <algorithm>
#include <cstdio>

#include "world.hpp"

namespace oracle {
namespace {

using Big = unsigned long long;

void check_shape(World &world, const Slot &slot, uint32_t layer) {
    uint32_t committed = 0, tentative = 0;
    REQUIRE(mustafar_cache_length(slot.library, layer, &committed, &tentative, &world.error) == 0,
            "length: %s", world.error.message);
    const Layer &want = slot.model.layers()[layer];
    REQUIRE(committed == want.committed && tentative == want.tentative,
            "layer %u: length %u + %u, expected %u + %u", layer, committed, tentative,
            want.committed, want.tentative);
    for (uint32_t h = 0; h < want.heads.size(); ++h) {
        const Head &head = want.heads[h];
        uint32_t rows = 0, body = 0;
        REQUIRE(mustafar_cache_rows(slot.library, layer, h, &rows, &body, &world.error) == 0,
                "rows: %s", world.error.message);
        REQUIRE(rows == head.rows.size() && body == head.body,
                "layer %u head %u: %u rows, %u packed; expected %zu, %u", layer, h, rows, body,
                head.rows.size(), head.body);
        std::vector<int32_t> positions(rows + 1, -7);
        const mustafar_status status =
            mustafar_cache_positions(slot.library, layer, h, positions.data(), rows, &world.error);
        REQUIRE(status == MUSTAFAR_OK, "positions: %s", world.error.message);
        for (uint32_t i = 0; i < rows; ++i)
            REQUIRE(positions[i] == head.rows[i].position,
                    "layer %u head %u row %u: position %d, expected %d", layer, h, i, positions[i],
                    head.rows[i].position);
        REQUIRE(positions[rows] == -7, "positions: wrote behind the end");
    }
}

void check_row(const SideRow &want, const float *got, const uint8_t *bits, const char *where) {
    const std::size_t d = want.value.size();
    for (std::size_t c = 0; c < d; ++c) {
        const auto value = static_cast<float>(want.value[c]);
        REQUIRE(value == got[c], "%s channel %zu: %.9g (%a), expected %.9g (%a)", where, c,
                double{got[c]}, double{got[c]}, double{value}, double{value});
        const bool bit = (bits[c / 8] >> (c % 8) & 1) != 0;
        REQUIRE(bit == (want.survivors[c] != 0), "%s channel %zu: bitmap %d, expected %d", where, c,
                bit, want.survivors[c]);
    }
}

void check_values(World &world, const Slot &slot, uint32_t layer, uint32_t h, uint32_t side) {
    const Head &head = slot.model.head(layer, h);
    const auto rows = static_cast<uint32_t>(head.rows.size());
    if (rows == 0) return;
    const uint32_t d = world.config.d(side);
    std::vector<float> values(std::size_t{rows} * d);
    std::vector<uint8_t> bits(std::size_t{rows} * d / 8 + 1, 0x5A);
    mustafar_tensor view{};
    view.data = values.data();
    view.dtype = MUSTAFAR_F32;
    view.ndim = 2;
    view.shape[0] = rows, view.shape[1] = d;
    view.strides[0] = d, view.strides[1] = 1;
    const mustafar_status status = mustafar_cache_export(slot.library, layer, h, side, 0, rows,
                                                         &view, bits.data(), &world.error);
    REQUIRE(status == MUSTAFAR_OK, "export: %s", world.error.message);
    REQUIRE(bits.back() == 0x5A, "export: wrote behind the bitmaps");
    const uint32_t dense = slot.model.first_dense(head);
    const SideRecipe &recipe = head.recipe->side[side];
    if (head.body != 0)
        world.coverage.count("packed encoding " + std::to_string(recipe.encoding()) + " method " +
                             std::to_string(recipe.rule.method) + " bits " +
                             std::to_string(recipe.bits) + (recipe.centred ? " centred" : ""));
    for (uint32_t i = 0; i < rows; ++i) {
        char where[120];
        const SideRow &want = head.rows[i].side[side];
        const char *state = i < dense && i >= slot.model.sink_rows(head) ? "packed"
                            : want.marked                                ? "marked"
                                                                         : "dense";
        std::snprintf(where, sizeof where, "layer %u head %u %c row %u (position %d, %s)", layer, h,
                      side == MUSTAFAR_SIDE_K ? 'K' : 'V', i, head.rows[i].position, state);
        check_row(want, values.data() + std::size_t{i} * d, bits.data() + std::size_t{i} * d / 8,
                  where);
    }
}

void check_stats(World &world, const Slot &slot) {
    mustafar_cache_stats stats{};
    stats.struct_size = sizeof stats;
    REQUIRE(mustafar_cache_get_stats(slot.library, &stats, &world.error) == 0, "stats: %s",
            world.error.message);
    const Model &model = slot.model;
    uint64_t rows = 0, body = 0, pages = 0, shared = 0, longest = 0;
    for (uint32_t layer = 0; layer < model.layers().size(); ++layer) {
        longest = std::max<uint64_t>(longest, model.length(layer));
        for (const Head &head : model.layers()[layer].heads) {
            rows += head.rows.size();
            body += head.body;
            pages += head.pages.size();
            for (const PageOf &page : head.pages) shared += page.identity.use_count() > 1 ? 1 : 0;
        }
    }
    const auto &shape = world.config.geometry;
    const auto equal = [](uint64_t got, uint64_t want, const char *what) {
        REQUIRE(got == want, "stats.%s = %llu, expected %llu", what, Big{got}, Big{want});
    };
    equal(stats.longest, longest, "longest");
    equal(stats.rows, rows, "rows");
    equal(stats.body_rows, body, "body_rows");
    equal(stats.dense_bytes, rows * 2 * (shape.head_dim_k + shape.head_dim_v), "dense_bytes");
    equal(stats.packed_rows - slot.base.packed_rows, model.packed_rows - slot.base_packed,
          "packed_rows");
    equal(stats.appended_tokens - slot.base.appended_tokens,
          model.appended_tokens - slot.base_appended, "appended_tokens");
    equal(stats.evicted_rows - slot.base.evicted_rows, model.evicted_rows - slot.base_evicted,
          "evicted_rows");
    if (world.config.reserve_tokens == 0) equal(stats.pages, pages, "pages");
    equal(stats.shared_pages, shared, "shared_pages");
    if (shared != 0) world.coverage.count("pages shared");
}

} // namespace

void check_slot(World &world, Slot &slot) {
    for (uint32_t layer = 0; layer < world.config.geometry.layers; ++layer) {
        check_shape(world, slot, layer);
        for (uint32_t h = 0; h < world.config.geometry.kv_heads; ++h)
            for (uint32_t side = 0; side < 2; ++side) check_values(world, slot, layer, h, side);
    }
    check_stats(world, slot);
    check_bytes(world, slot);
}

} // namespace oracle
