// SPDX-License-Identifier: Apache-2.0
// append, draft (tentative), commit, compress.
#include <algorithm>

#include "world.hpp"

namespace oracle {
namespace {

std::vector<float> rounded(const std::vector<float> &values, mustafar_dtype store) {
    std::vector<float> out;
    out.reserve(values.size());
    for (const float x : values) out.push_back(round_to(store, x));
    return out;
}

std::vector<int64_t> shape_of(const Config &config, uint32_t tokens, uint32_t side) {
    return {tokens, config.geometry.kv_heads, config.d(side)};
}

std::vector<float> some_values(World &world, mustafar_dtype dtype, uint32_t tokens, uint32_t side) {
    return random_values(world.random, dtype, std::size_t{tokens} * world.config.geometry.kv_heads,
                         world.config.d(side));
}

uint64_t any_layout(World &world) { return world.random.chance(30) ? 0 : world.random.next(); }

// What the call must say for this many tokens here; OK where it must be done.
mustafar_status expected(const World &world, const Layer &layer, uint32_t tokens, bool tentative) {
    if (!tentative && layer.tentative != 0) return MUSTAFAR_BAD_STATE;
    if (layer.committed + layer.tentative + tokens > world.config.max_tokens)
        return MUSTAFAR_CAPACITY;
    return MUSTAFAR_OK;
}

void append_to(World &world, Slot &slot, uint32_t layer, uint32_t tokens, bool tentative) {
    Tokens rows(world, tokens);
    const Layer &target = slot.model.layers()[layer];
    const mustafar_bytes before = bytes_of(world, slot, MUSTAFAR_ALL, MUSTAFAR_ALL);
    world.say(", layer %u +%u %s", layer, tokens, mustafar_dtype_name(rows.k.view()->dtype));
    const mustafar_status status =
        mustafar_cache_append(slot.library, layer, rows.k.view(), rows.v.view(),
                              tentative ? MUSTAFAR_APPEND_TENTATIVE : 0, &world.error);
    const mustafar_status wanted = expected(world, target, tokens, tentative);
    if (wanted != MUSTAFAR_OK) {
        const bool full = target.committed + target.tentative + tokens > world.config.max_tokens;
        const bool either = full && status == MUSTAFAR_CAPACITY;
        world.refused(status, either ? MUSTAFAR_CAPACITY : wanted, "append");
        REQUIRE(status != MUSTAFAR_CAPACITY ||
                    (world.error.values[0] == tokens &&
                     world.error.values[1] == target.committed + target.tentative &&
                     world.error.values[2] == world.config.max_tokens),
                "append: CAPACITY with values %lld, %lld, %lld", (long long)world.error.values[0],
                (long long)world.error.values[1], (long long)world.error.values[2]);
    } else if (world.done(status, "append")) {
        slot.model.append(layer, tokens, rows.stored_k, rows.stored_v, tentative);
        if (tentative) slot.plain = false;
        return;
    }
    check_unchanged(world, slot, before);
}

// One layer, or all of them one after the other, as a runtime does.
void append_some(World &world, const Op &op, bool tentative) {
    Slot &slot = world.slot(op);
    const uint32_t most = tentative ? 8 : 70;
    uint32_t tokens = 1 + op.size % most, longest = 0;
    const bool all = world.random.chance(60);
    const uint32_t one = world.any_layer();
    for (uint32_t layer = 0; layer < world.config.geometry.layers; ++layer)
        if (all || layer == one) longest = std::max(longest, slot.model.length(layer));
    const uint32_t room = world.config.max_tokens - longest;
    if (room != 0 && world.random.chance(85)) tokens = 1 + (tokens - 1) % room;
    for (uint32_t layer = 0; layer < world.config.geometry.layers; ++layer)
        if (all || layer == one) append_to(world, slot, layer, tokens, tentative);
}

} // namespace

Tokens::Tokens(World &world, uint32_t tokens)
    : dtype(world.any_dtype()), values_k(some_values(world, dtype, tokens, MUSTAFAR_SIDE_K)),
      values_v(some_values(world, dtype, tokens, MUSTAFAR_SIDE_V)),
      stored_k(rounded(values_k, world.config.geometry.dtype)),
      stored_v(rounded(values_v, world.config.geometry.dtype)),
      k(dtype, shape_of(world.config, tokens, MUSTAFAR_SIDE_K), values_k, any_layout(world)),
      v(dtype, shape_of(world.config, tokens, MUSTAFAR_SIDE_V), values_v, any_layout(world)) {}

void do_append(World &world, const Op &op) { append_some(world, op, false); }

void do_draft(World &world, const Op &op) { append_some(world, op, true); }

void do_commit(World &world, const Op &op) {
    Slot &slot = world.slot(op);
    const bool all = world.random.chance(70);
    const uint32_t one = world.any_layer();
    all ? world.say(", all layers") : world.say(", layer %u", one);
    const mustafar_status status =
        mustafar_cache_commit(slot.library, all ? MUSTAFAR_ALL : one, &world.error);
    if (!world.done(status, "commit")) {
        check_unchanged(world, slot, slot.bytes);
        return;
    }
    for (uint32_t layer = 0; layer < world.config.geometry.layers; ++layer)
        if (all || layer == one) slot.model.commit(layer);
}

void do_compress(World &world, const Op &op) {
    Slot &slot = world.slot(op);
    const bool all = world.random.chance(70);
    const uint32_t one = world.any_layer();
    all ? world.say(", all layers") : world.say(", layer %u", one);
    if (world.random.chance(60) && !mark_for_compress(world, slot, all ? MUSTAFAR_ALL : one))
        return;
    const mustafar_bytes before = bytes_of(world, slot, MUSTAFAR_ALL, MUSTAFAR_ALL);
    bool fits = true;
    for (uint32_t layer = 0; layer < world.config.geometry.layers; ++layer)
        if (all || layer == one) fits = fits && slot.model.compressible(layer);
    const mustafar_status status =
        mustafar_cache_compress(slot.library, all ? MUSTAFAR_ALL : one, &world.error);
    if (!fits && status != MUSTAFAR_OUT_OF_MEMORY) {
        world.refused(status, MUSTAFAR_BAD_STATE, "compress");
        check_unchanged(world, slot, before);
        return;
    }
    if (!world.done(status, "compress")) {
        check_unchanged(world, slot, before);
        return;
    }
    slot.plain = false;
    for (uint32_t layer = 0; layer < world.config.geometry.layers; ++layer)
        if (all || layer == one) slot.model.compress(layer);
}

} // namespace oracle
