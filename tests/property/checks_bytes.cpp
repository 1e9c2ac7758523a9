// SPDX-License-Identifier: Apache-2.0
// Bytes: of heads, layers, caches, the context and the allocator, which must
// all add up.
#include <cstring>
#include <set>

#include "world.hpp"

namespace oracle {
namespace {

using Big = unsigned long long;

bool same(const mustafar_bytes &a, const mustafar_bytes &b) {
    return std::memcmp(&a, &b, sizeof a) == 0;
}

// What body rows of fixed stride take is known to the byte.
void check_head(World &world, const Slot &slot, uint32_t layer, uint32_t h,
                const mustafar_bytes &bytes) {
    const Head &head = slot.model.head(layer, h);
    REQUIRE(head.evicted ? bytes.positions >= 4 * head.rows.size() : bytes.positions == 0,
            "layer %u head %u: positions of %zu rows take %llu bytes", layer, h, head.rows.size(),
            Big{bytes.positions});
    uint64_t values = 0, bitmaps = 0, meta = 0;
    for (const SideRecipe &recipe : head.recipe->side) {
        if (recipe.encoding() != MUSTAFAR_ENCODING_EXACT &&
            recipe.encoding() != MUSTAFAR_ENCODING_GROUPED)
            return;
        const uint32_t k = recipe.count();
        const uint32_t scales = recipe.bits == 16   ? 0
                                : recipe.group == 0 ? 1
                                                    : recipe.d / recipe.group;
        values += uint64_t{head.body} * ((k * recipe.bits + 7) / 8);
        bitmaps += k < recipe.d ? uint64_t{head.body} * recipe.d / 8 : 0;
        meta += uint64_t{head.body} * 4 * scales;
    }
    REQUIRE(bytes.values == values && bytes.bitmaps == bitmaps && bytes.meta == meta,
            "layer %u head %u, %u packed rows: values %llu bitmaps %llu meta "
            "%llu, expected "
            "%llu %llu %llu",
            layer, h, head.body, Big{bytes.values}, Big{bytes.bitmaps}, Big{bytes.meta},
            Big{values}, Big{bitmaps}, Big{meta});
    if (head.body != 0) world.coverage.count("bytes of rows known exactly");
}

// Heads add up to layers, layers to the cache, but for the records of layer and
// cache themselves.
mustafar_bytes check_sums(World &world, const Slot &slot) {
    const mustafar_bytes all = bytes_of(world, slot, MUSTAFAR_ALL, MUSTAFAR_ALL);
    uint64_t layers = 0, layers_tables = 0;
    for (uint32_t layer = 0; layer < world.config.geometry.layers; ++layer) {
        const mustafar_bytes whole = bytes_of(world, slot, layer, MUSTAFAR_ALL);
        uint64_t heads = 0, heads_tables = 0;
        for (uint32_t h = 0; h < world.config.geometry.kv_heads; ++h) {
            const mustafar_bytes one = bytes_of(world, slot, layer, h);
            check_head(world, slot, layer, h, one);
            heads += one.total;
            heads_tables += one.tables;
        }
        REQUIRE(whole.total - whole.tables == heads - heads_tables && whole.tables >= heads_tables,
                "layer %u: %llu bytes, its heads %llu", layer, Big{whole.total}, Big{heads});
        layers += whole.total;
        layers_tables += whole.tables;
    }
    REQUIRE(all.total - all.tables == layers - layers_tables && all.tables > layers_tables,
            "cache: %llu bytes, its layers %llu", Big{all.total}, Big{layers});
    return all;
}

} // namespace

mustafar_bytes bytes_of(World &world, const Slot &slot, uint32_t layer, uint32_t head) {
    mustafar_bytes bytes{};
    bytes.struct_size = sizeof bytes;
    REQUIRE(mustafar_cache_bytes(slot.library, layer, head, &bytes, &world.error) == 0, "bytes: %s",
            world.error.message);
    const uint64_t sum = bytes.values + bytes.bitmaps + bytes.meta + bytes.slack + bytes.window +
                         bytes.positions + bytes.tables;
    REQUIRE(bytes.total == sum, "bytes: total %llu is not the sum of its parts %llu",
            Big{bytes.total}, Big{sum});
    REQUIRE(bytes.exact == 1, "bytes: a cache knows its bytes, exact = %u", bytes.exact);
    return bytes;
}

// plan() of a cache that only saw appends and commits.
void check_plan(World &world, const Slot &slot, const mustafar_bytes &bytes) {
    const auto &layers = slot.model.layers();
    for (const Layer &layer : layers)
        if (layer.tentative != 0 || layer.committed != layers[0].committed) return;
    mustafar_bytes plan{};
    plan.struct_size = sizeof plan;
    const mustafar_cache_options options = world.config.options();
    REQUIRE(mustafar_plan(world.recipe, &world.config.geometry, &options, layers[0].committed,
                          MUSTAFAR_ALL, &plan, &world.error) == 0,
            "plan: %s", world.error.message);
    world.coverage.count(plan.exact != 0 ? "plan exact" : "plan bound");
    if (plan.exact == 0) {
        REQUIRE(plan.total >= bytes.total, "plan for %u tokens: %llu is no bound of %llu",
                layers[0].committed, Big{plan.total}, Big{bytes.total});
        return;
    }
    REQUIRE(same(plan, bytes),
            "plan for %u tokens: total %llu window %llu tables %llu slack %llu "
            "values %llu, "
            "cache: total %llu window %llu tables %llu slack %llu values %llu",
            layers[0].committed, Big{plan.total}, Big{plan.window}, Big{plan.tables},
            Big{plan.slack}, Big{plan.values}, Big{bytes.total}, Big{bytes.window},
            Big{bytes.tables}, Big{bytes.slack}, Big{bytes.values});
}

void check_bytes(World &world, Slot &slot) {
    slot.bytes = check_sums(world, slot);
    if (slot.plain) check_plan(world, slot, slot.bytes);
}

void check_unchanged(World &world, const Slot &slot, const mustafar_bytes &before) {
    REQUIRE(same(bytes_of(world, slot, MUSTAFAR_ALL, MUSTAFAR_ALL), before),
            "a failed call changed the bytes of the cache (total was %llu)", Big{before.total});
}

// The context's numbers against the allocator's, and against the caches it
// holds.
void check_context(World &world) {
    mustafar_context_stats stats{};
    stats.struct_size = sizeof stats;
    REQUIRE(mustafar_context_get_stats(world.context, &stats, &world.error) == 0, "stats: %s",
            world.error.message);
    REQUIRE(world.heap.complaint().empty(), "%s", world.heap.complaint().c_str());
    REQUIRE(stats.live_bytes == world.heap.live(), "live_bytes = %llu, the allocator says %llu",
            Big{stats.live_bytes}, Big{world.heap.live()});
    REQUIRE(stats.allocations == world.heap.granted(),
            "allocations = %llu, the allocator says %llu", Big{stats.allocations},
            Big{world.heap.granted()});
    REQUIRE(stats.live_bytes == stats.page_bytes + stats.cache_bytes + stats.work_bytes,
            "live %llu is not pages %llu + caches %llu + work %llu", Big{stats.live_bytes},
            Big{stats.page_bytes}, Big{stats.cache_bytes}, Big{stats.work_bytes});
    REQUIRE(stats.peak_bytes >= stats.live_bytes, "peak below live");
    REQUIRE(world.config.quota == 0 || stats.peak_bytes <= world.config.quota, "quota exceeded");
    REQUIRE(stats.caches == world.slots.size(), "caches = %llu, expected %zu", Big{stats.caches},
            world.slots.size());
    uint64_t total = 0;
    std::set<int *> pages, shared;
    for (const auto &slot : world.slots) {
        total += bytes_of(world, *slot, MUSTAFAR_ALL, MUSTAFAR_ALL).total;
        for (const Layer &layer : slot->model.layers())
            for (const Head &head : layer.heads)
                for (const PageOf &page : head.pages)
                    if (!pages.insert(page.identity.get()).second)
                        shared.insert(page.identity.get());
    }
    REQUIRE(stats.shared_pages == shared.size(), "shared_pages = %llu, expected %zu",
            Big{stats.shared_pages}, shared.size());
    REQUIRE(world.config.reserve_tokens != 0 || stats.pages == pages.size(),
            "pages = %llu, expected %zu", Big{stats.pages}, pages.size());
    const uint64_t held = stats.page_bytes + stats.cache_bytes;
    REQUIRE(shared.empty() ? total == held : total > held,
            "caches say %llu bytes, the context %llu, %zu pages shared", Big{total}, Big{held},
            shared.size());
}

} // namespace oracle
