// SPDX-License-Identifier: Apache-2.0
// evict (positions, scores), truncate, fork, drop, reset.
#include <algorithm>

#include "world.hpp"

namespace oracle {
namespace {

constexpr std::size_t most_caches = 4;

// Positions that may be evicted: neither sinks nor the newest `recent` rows.
std::vector<int32_t> evictable(const Model &model, uint32_t layer, uint32_t h) {
    const Head &head = model.head(layer, h);
    std::vector<int32_t> positions;
    for (uint32_t i = model.sink_rows(head); i < model.first_kept(layer, head); ++i)
        positions.push_back(head.rows[i].position);
    return positions;
}

// With KEEP the list holds the others, and some of the window for good measure.
std::vector<int32_t> to_keep(World &world, const Model &model, uint32_t layer, uint32_t h,
                             const std::vector<int32_t> &gone, const std::vector<int32_t> &free) {
    std::vector<int32_t> keep;
    for (const Row &row : model.head(layer, h).rows) {
        const bool window = !std::binary_search(free.begin(), free.end(), row.position);
        if (window ? world.random.chance(50)
                   : !std::binary_search(gone.begin(), gone.end(), row.position))
            keep.push_back(row.position);
    }
    return keep;
}

} // namespace

void do_evict(World &world, const Op &op) {
    Slot &slot = world.slot(op);
    const uint32_t layer = world.any_layer(), h = world.any_head();
    const std::vector<int32_t> free = evictable(slot.model, layer, h);
    const bool keep = world.random.chance(50);
    const uint32_t percent = world.random.below(4) == 0 ? 100 : world.random.between(1, 60);
    std::vector<int32_t> gone;
    for (const int32_t position : free)
        if (world.random.chance(percent)) gone.push_back(position);
    std::vector<int32_t> list = keep ? to_keep(world, slot.model, layer, h, gone, free) : gone;
    const std::size_t count = list.size();
    list.push_back(-1); // a list is never NULL
    world.say(", layer %u head %u, %zu of %zu rows%s", layer, h, gone.size(), free.size(),
              keep ? " by KEEP" : "");
    const mustafar_status status = mustafar_cache_evict(
        slot.library, layer, h, list.data(), count, keep ? MUSTAFAR_EVICT_KEEP : 0, &world.error);
    if (slot.model.layers()[layer].tentative != 0) {
        world.refused(status, MUSTAFAR_BAD_STATE, "evict with tentative tokens");
    } else if (world.done(status, "evict")) {
        slot.plain = false;
        slot.model.evict(layer, h, gone);
        return;
    }
    check_unchanged(world, slot, slot.bytes);
}

void do_evict_scores(World &world, const Op &op) {
    Slot &slot = world.slot(op);
    const uint32_t layer = world.any_layer(), h = world.any_head();
    const auto rows = static_cast<uint32_t>(slot.model.head(layer, h).rows.size());
    std::vector<float> scores(rows + 1, 0.0F);
    for (float &score : scores)
        score = world.random.chance(50) ? static_cast<float>(world.random.below(5))
                                        : static_cast<float>(world.random.normal());
    const uint32_t least = world.config.recent + world.config.sink;
    uint32_t budget = least + op.size % 40;
    if (world.random.chance(30)) budget = 0;
    world.say(", layer %u head %u, budget %u of %u rows", layer, h, budget, rows);
    const std::vector<int32_t> gone = slot.model.lowest(layer, h, scores, budget);
    const mustafar_status status = mustafar_cache_evict_scores(
        slot.library, layer, h, scores.data(), rows, budget, &world.error);
    if (slot.model.layers()[layer].tentative != 0) {
        world.refused(status, MUSTAFAR_BAD_STATE, "evict_scores with tentative tokens");
    } else if (budget == 0 && slot.model.head(layer, h).recipe->budget == 0) {
        world.refused(status, MUSTAFAR_INVALID_ARGUMENT, "evict_scores without any budget");
    } else if (world.done(status, "evict_scores")) {
        slot.plain = false;
        slot.model.evict(layer, h, gone);
        if (!gone.empty()) world.coverage.count("rows evicted by score", gone.size());
        return;
    }
    check_unchanged(world, slot, slot.bytes);
}

// Short ones, deep ones, and those exactly at and one below the smallest exact
// length.
void do_truncate(World &world, const Op &op) {
    Slot &slot = world.slot(op);
    uint32_t longest = 0, exact = 0;
    bool ok = true;
    for (uint32_t layer = 0; layer < world.config.geometry.layers; ++layer) {
        longest = std::max(longest, slot.model.length(layer));
        exact = std::max(exact, slot.model.smallest_exact(layer));
    }
    uint32_t length = longest - std::min(longest, op.size % 40);
    if (world.random.chance(25)) length = exact;
    if (world.random.chance(10)) length = world.random.between(0, world.config.sink + 1);
    if (world.random.chance(15)) length = exact - std::min(exact, world.random.between(1, 40));
    for (uint32_t layer = 0; layer < world.config.geometry.layers; ++layer) {
        const Layer &state = slot.model.layers()[layer];
        ok = ok && (length <= world.config.sink || length >= state.committed ||
                    length >= slot.model.smallest_exact(layer));
    }
    const bool accept = world.random.chance(30);
    world.say(", to %u of %u, smallest exact %u%s", length, longest, exact,
              accept ? ", KEEP_PACKED" : "");
    const mustafar_status status = mustafar_cache_truncate(
        slot.library, length, accept ? MUSTAFAR_TRUNCATE_KEEP_PACKED : 0, &world.error);
    if (!ok && !accept) {
        world.refused(status, MUSTAFAR_NOT_EXACT, "truncate");
        REQUIRE(world.error.values[0] == exact, "truncate: smallest exact length %lld, expected %u",
                static_cast<long long>(world.error.values[0]), exact);
        check_unchanged(world, slot, slot.bytes);
        return;
    }
    REQUIRE(status == MUSTAFAR_OK, "truncate: %s: %s", mustafar_status_name(status),
            world.error.message); // needs no memory
    world.coverage.count(ok ? "truncate exact" : "truncate with packed rows kept");
    slot.plain = false;
    slot.model.truncate(length);
}

void do_fork(World &world, const Op &op) {
    Slot &slot = world.slot(op);
    if (world.slots.size() >= most_caches) {
        world.say(": enough caches");
        return;
    }
    mustafar_cache *child = nullptr;
    const mustafar_status status = mustafar_cache_fork(slot.library, &child, &world.error);
    if (!world.done(status, "fork")) {
        REQUIRE(child == nullptr, "fork: failed, yet wrote its output");
        check_unchanged(world, slot, slot.bytes);
        return;
    }
    world.slots.push_back(std::make_unique<Slot>(child, slot.model));
    world.say(" = cache %zu", world.slots.size() - 1);
}

void do_drop(World &world, const Op &op) {
    if (world.slots.size() == 1 && op.size % 4 != 0) {
        world.say(": the last one stays");
        return;
    }
    world.slots.erase(world.slots.begin() +
                      static_cast<std::ptrdiff_t>(op.cache % world.slots.size()));
}

void do_reset(World &world, const Op &op) {
    Slot &slot = world.slot(op);
    REQUIRE(mustafar_cache_reset(slot.library, &world.error) == MUSTAFAR_OK, "reset: %s",
            world.error.message);
    slot.plain = false;
    slot.model.reset();
    slot.rebase();
}

} // namespace oracle
