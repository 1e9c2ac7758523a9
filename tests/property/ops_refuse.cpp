// SPDX-License-Identifier: Apache-2.0
// refuse: calls that must fail, each with its status, and leave everything as
// it was.
#include <algorithm>
#include <limits>

#include "world.hpp"

namespace oracle {
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

// A case answers false where it does not apply to the state it meets.
using Case = bool (*)(World &, Slot &);

bool append_layer(World &world, Slot &slot) {
    Tokens rows(world, 1);
    const uint32_t layer = world.config.geometry.layers;
    world.rejected(
        mustafar_cache_append(slot.library, layer, rows.k.view(), rows.v.view(), 0, &world.error),
        "append to a layer that is not there");
    return true;
}

bool append_shape(World &world, Slot &slot) {
    Tokens rows(world, 2);
    mustafar_tensor k = *rows.k.view(), v = *rows.v.view();
    switch (world.random.below(8)) {
    case 0:
        k.shape[1] += 1;
        break;
    case 1:
        v.shape[2] += 8;
        break;
    case 2:
        k.shape[0] = 1;
        break;
    case 3:
        v.ndim = 2;
        break;
    case 4:
        k.data = nullptr;
        break;
    case 5:
        v.dtype = MUSTAFAR_U8;
        break;
    case 6:
        k.shape[0] = v.shape[0] = 0;
        break;
    default:
        v.reserved = 1;
        break;
    }
    world.rejected(mustafar_cache_append(slot.library, 0, &k, &v, 0, &world.error),
                   "append of a wrong shape");
    return true;
}

bool append_flags(World &world, Slot &slot) {
    Tokens rows(world, 1);
    world.rejected(mustafar_cache_append(slot.library, 0, rows.k.view(), rows.v.view(), 0x80000000U,
                                         &world.error),
                   "append with an unknown flag");
    return true;
}

// One value that cannot be stored, anywhere in K or V.
bool append_value(World &world, Slot &slot) {
    const auto &shape = world.config.geometry;
    const uint32_t tokens = 3, side = world.random.below(2), layer = world.any_layer();
    if (slot.model.layers()[layer].tentative != 0 ||
        slot.model.length(layer) + tokens > world.config.max_tokens)
        return false;
    std::vector<float> values[2];
    for (uint32_t s = 0; s < 2; ++s)
        values[s].assign(std::size_t{tokens} * shape.kv_heads * world.config.d(s), 0.5F);
    const uint32_t token = world.random.below(tokens), h = world.any_head();
    const uint32_t d = world.config.d(side), channel = world.random.below(d);
    const bool low_bits = world.config.head(layer, h).side[side].bits < 16;
    const bool beyond = (shape.dtype == MUSTAFAR_F16 || low_bits) && world.random.chance(40);
    constexpr float bad[] = {nan, infinity, -infinity};
    values[side][(std::size_t{token} * shape.kv_heads + h) * d + channel] =
        beyond ? 70000.0F : world.random.pick(bad);
    Array k(MUSTAFAR_F32, {tokens, shape.kv_heads, shape.head_dim_k}, values[0],
            world.random.next());
    Array v(MUSTAFAR_F32, {tokens, shape.kv_heads, shape.head_dim_v}, values[1],
            world.random.next());
    world.refused(mustafar_cache_append(slot.library, layer, k.view(), v.view(), 0, &world.error),
                  MUSTAFAR_NON_FINITE, "append of a value that cannot be stored");
    const int64_t *at = world.error.values;
    REQUIRE(at[0] == side && at[1] == token && at[2] == h && at[3] == channel,
            "NON_FINITE names side %lld token %lld head %lld channel %lld, "
            "expected %u %u %u %u",
            (long long)at[0], (long long)at[1], (long long)at[2], (long long)at[3], side, token, h,
            channel);
    return true;
}

bool prune_window(World &world, Slot &slot) {
    const uint32_t layer = world.any_layer(), h = world.any_head();
    const Head &head = slot.model.head(layer, h);
    const uint32_t committed = slot.model.committed_rows(layer, head);
    const bool sink = world.config.sink != 0 && world.random.chance(50);
    if (committed == 0 || (!sink && world.config.recent == 0)) return false;
    const auto at = static_cast<uint32_t>(head.rows[sink ? 0 : committed - 1].position);
    mustafar_prune_options options = MUSTAFAR_PRUNE_OPTIONS_INIT;
    options.method = MUSTAFAR_PRUNE_TOKEN_TOPK;
    options.keep = 1;
    world.refused(mustafar_cache_prune(slot.library, layer, h, world.random.below(2), at, at + 1,
                                       &options, nullptr, nullptr, nullptr, &world.error),
                  MUSTAFAR_BAD_STATE, "prune inside the window");
    return true;
}

bool prune_options(World &world, Slot &slot) {
    mustafar_prune_options options = MUSTAFAR_PRUNE_OPTIONS_INIT;
    options.method = MUSTAFAR_PRUNE_TOKEN_TOPK;
    options.keep = 1;
    uint32_t side = 0;
    switch (world.random.below(5)) {
    case 0:
        options.keep = world.config.geometry.head_dim_k + 1;
        break;
    case 1:
        options.method = 99;
        break;
    case 2:
        options.reserved = 1;
        break;
    case 3:
        side = 2;
        break;
    default:
        options.method = MUSTAFAR_PRUNE_MASK;
        break; // without a mask
    }
    world.rejected(mustafar_cache_prune(slot.library, MUSTAFAR_ALL, MUSTAFAR_ALL, side, 0, 0,
                                        &options, nullptr, nullptr, nullptr, &world.error),
                   "prune with a wrong option");
    return true;
}

bool evict_positions(World &world, Slot &slot) {
    const uint32_t layer = world.any_layer(), h = world.any_head();
    const Head &head = slot.model.head(layer, h);
    if (slot.model.layers()[layer].tentative != 0 || head.rows.empty()) return false;
    const int32_t last = head.rows.back().position;
    std::vector<int32_t> list = {last + 1}; // not there
    const uint32_t which = world.random.below(4);
    if (which == 1 && world.config.recent != 0) list = {last};
    if (which == 2 && world.config.sink != 0) list = {0};
    if (which == 3 && head.rows.size() > 1) list = {last, head.rows[0].position}; // descending
    world.refused(
        mustafar_cache_evict(slot.library, layer, h, list.data(), list.size(), 0, &world.error),
        MUSTAFAR_INVALID_ARGUMENT, "evict of wrong positions");
    return true;
}

bool evict_scores(World &world, Slot &slot) {
    const uint32_t layer = world.any_layer(), h = world.any_head();
    const std::size_t rows = slot.model.head(layer, h).rows.size();
    const uint32_t least = world.config.recent + world.config.sink;
    if (slot.model.layers()[layer].tentative != 0 || rows == 0) return false;
    std::vector<float> scores(rows + 1, 1.0F);
    std::size_t count = rows;
    uint32_t budget = std::max(1U, least);
    const uint32_t which = world.random.below(3);
    if (which == 0) scores[world.random.below(rows)] = nan;
    if (which == 1) count += 1;
    if (which == 2 && least < 2) return false;
    if (which == 2) budget = least - 1;
    world.refused(mustafar_cache_evict_scores(slot.library, layer, h, scores.data(), count, budget,
                                              &world.error),
                  which == 0 ? MUSTAFAR_NON_FINITE : MUSTAFAR_INVALID_ARGUMENT,
                  "evict_scores with wrong arguments");
    return true;
}

bool attend_wrong(World &world, Slot &slot) {
    const auto &shape = world.config.geometry;
    const uint32_t length = slot.model.length(0), which = world.random.below(6);
    const uint32_t q_len = which == 0 ? length + 1 : 1;
    if (which != 0 && length == 0) return false;
    std::vector<float> values(std::size_t{q_len} * shape.q_heads * shape.head_dim_k, 0.25F);
    if (which == 1)
        values[world.random.below(values.size())] = world.random.chance(50) ? nan : infinity;
    Array q(MUSTAFAR_F32, {1, q_len, shape.q_heads, shape.head_dim_k}, values, 0);
    Array out(MUSTAFAR_F32, {1, q_len, shape.q_heads, shape.head_dim_v});
    mustafar_tensor q_view = *q.view(), out_view = *out.view();
    mustafar_attend_options options = MUSTAFAR_ATTEND_OPTIONS_INIT;
    uint32_t layer = 0;
    if (which == 2) q_view.shape[3] -= 8;
    if (which == 3) out_view.shape[2] += 1;
    if (which == 4) layer = shape.layers;
    if (which == 5) options.drop_mass = -0.5F;
    const mustafar_cache *const caches[] = {slot.library};
    world.refused(mustafar_attend(caches, 1, layer, &q_view, nullptr, &options, &out_view, nullptr,
                                  nullptr, nullptr, &world.error),
                  which == 1 ? MUSTAFAR_NON_FINITE : MUSTAFAR_INVALID_ARGUMENT,
                  "attend with wrong arguments");
    return true;
}

bool ask_wrong(World &world, Slot &slot) {
    const auto rows = static_cast<uint32_t>(slot.model.head(0, 0).rows.size());
    const uint32_t layers = world.config.geometry.layers, heads = world.config.geometry.kv_heads;
    std::vector<int32_t> positions(rows + 2);
    uint32_t value = 0;
    mustafar_bytes bytes{};
    mustafar_status status = MUSTAFAR_OK;
    switch (world.random.below(5)) {
    case 0:
        status = mustafar_cache_length(slot.library, layers, &value, nullptr, &world.error);
        break;
    case 1:
        status = mustafar_cache_rows(slot.library, 0, heads, &value, nullptr, &world.error);
        break;
    case 2:
        status =
            mustafar_cache_positions(slot.library, 0, 0, positions.data(), rows + 1, &world.error);
        break;
    case 3:
        status = mustafar_cache_bytes(slot.library, 0, 0, &bytes, &world.error);
        break; // size 0
    default: {
        Array out(MUSTAFAR_F32, {1, world.config.geometry.head_dim_k});
        status = mustafar_cache_export(slot.library, 0, 0, 0, rows, rows + 1, out.view(), nullptr,
                                       &world.error);
    }
    }
    world.rejected(status, "a question that has no answer");
    return true;
}

bool load_mismatch(World &world, Slot &slot) {
    Bytes bytes;
    if (!world.done(mustafar_cache_save(slot.library, "one", write_bytes, &bytes, &world.error),
                    "save"))
        return false;
    mustafar_geometry other = world.config.geometry;
    other.kv_heads += 1;
    other.q_heads += world.config.geometry.q_heads / world.config.geometry.kv_heads;
    const bool model = world.random.chance(50);
    mustafar_cache *cache = nullptr;
    world.refused(mustafar_cache_load(world.context, model ? nullptr : &other, nullptr,
                                      model ? "another" : "one", nullptr, read_bytes, &bytes,
                                      &cache, &world.error),
                  MUSTAFAR_MISMATCH, "load of another model or geometry");
    REQUIRE(cache == nullptr, "a failed load wrote its output");
    return true;
}

int32_t full_disk(void *user, const void *, size_t) { return *static_cast<int32_t *>(user); }

bool save_fails(World &world, Slot &slot) {
    int32_t code = 28;
    world.refused(mustafar_cache_save(slot.library, "", full_disk, &code, &world.error),
                  MUSTAFAR_IO, "save to a full disk");
    REQUIRE(world.error.values[0] == code, "IO names %lld", (long long)world.error.values[0]);
    return true;
}

constexpr Case cases[] = {append_layer, append_shape,  append_flags,    append_value, append_value,
                          prune_window, prune_options, evict_positions, evict_scores, attend_wrong,
                          ask_wrong,    load_mismatch, save_fails};
constexpr const char *names[] = {"append_layer", "append_shape", "append_flags",  "append_value",
                                 "append_value", "prune_window", "prune_options", "evict_positions",
                                 "evict_scores", "attend_wrong", "ask_wrong",     "load_mismatch",
                                 "save_fails"};
static_assert(std::size(cases) == std::size(names));

} // namespace

void do_refuse(World &world, const Op &op) {
    Slot &slot = world.slot(op);
    world.heap.calm(); // refusals are decided before anything is allocated
    const uint32_t which = world.random.below(std::size(cases));
    world.say(", %s", names[which]);
    if (!cases[which](world, slot)) {
        world.say(": does not apply");
        return;
    }
    world.coverage.count(std::string("refuse ") + names[which]);
    check_unchanged(world, slot, slot.bytes);
}

} // namespace oracle
