// SPDX-License-Identifier: Apache-2.0
// prune: every method, over one head or many, with and without weights.
#include <algorithm>
#include <bit>
#include <climits>

#include "world.hpp"

namespace oracle {
namespace {

// One call, and what it means for each head it names.
struct Call {
    uint32_t layer = MUSTAFAR_ALL, head = MUSTAFAR_ALL, side = 0;
    int32_t begin = 0, end = 0;
    mustafar_prune_options options = MUSTAFAR_PRUNE_OPTIONS_INIT;
    std::vector<float> channel_weights,
        token_weights;      // [heads][d], [heads][end - begin]
    std::vector<Mask> mask; // [heads * (end - begin)]

    bool names(uint32_t l, uint32_t h) const {
        return (layer == MUSTAFAR_ALL || layer == l) && (head == MUSTAFAR_ALL || head == h);
    }
    std::size_t rows() const { return static_cast<std::size_t>(end - begin); }
};

template <typename Each>
void each_head(const World &world, const Call &call, Each each) {
    for (uint32_t layer = 0; layer < world.config.geometry.layers; ++layer)
        for (uint32_t h = 0; h < world.config.geometry.kv_heads; ++h)
            if (call.names(layer, h)) each(layer, h);
}

// The positions every named head holds dense and outside the window.
void choose_range(World &world, const Slot &slot, Call &call) {
    int32_t from = 0, to = INT32_MAX;
    each_head(world, call, [&](uint32_t layer, uint32_t h) {
        const Head &head = slot.model.head(layer, h);
        const uint32_t dense = slot.model.first_dense(head),
                       kept = slot.model.first_kept(layer, head);
        from = std::max(from, dense == 0 ? 0 : head.rows[dense - 1].position + 1);
        to = std::min(to, kept <= dense ? from : head.rows[kept - 1].position + 1);
    });
    if (to <= from) {
        call.begin = call.end = 0;
        return;
    }
    const auto room = static_cast<uint32_t>(to - from);
    const auto take = world.random.chance(40) ? room : world.random.between(1, room);
    call.begin = from + static_cast<int32_t>(world.random.below(room - take + 1));
    call.end = call.begin + static_cast<int32_t>(take);
}

// Bits of `count` random channels for every row of the range and every head the call speaks of.
void choose_mask(World &world, Call &call, uint32_t count) {
    const uint32_t d = world.config.d(call.side);
    const std::size_t heads = call.head == MUSTAFAR_ALL ? world.config.geometry.kv_heads : 1;
    for (std::size_t i = 0; i < heads * call.rows(); ++i) {
        Mask mask(d, 0);
        std::fill_n(mask.begin(), count, 1);
        for (std::size_t c = d; c > 1; --c) std::swap(mask[c - 1], mask[world.random.below(c)]);
        call.mask.push_back(mask);
    }
}

// The count that every named head's encoding accepts. With automatic packing a
// mark that does not fit would stand in the way of a later append; without,
// compress refuses it, which is tried too.
bool must_fit(World &world, const Slot &slot, const Call &call, uint32_t &count) {
    bool bound = false, agree = true;
    each_head(world, call, [&](uint32_t layer, uint32_t h) {
        const SideRecipe &recipe = slot.model.head(layer, h).recipe->side[call.side];
        if (recipe.encoding() == MUSTAFAR_ENCODING_RAGGED) return;
        agree = agree && (!bound || count == recipe.count());
        count = recipe.count();
        bound = true;
    });
    if (!agree) count = 0;
    return bound && (world.config.automatic || world.random.chance(65));
}

bool any_method_mask(const World &world, const Slot &slot, const Call &call) {
    bool found = false;
    each_head(world, call, [&](uint32_t layer, uint32_t h) {
        const SideRecipe &recipe = slot.model.head(layer, h).recipe->side[call.side];
        found = found || recipe.rule.method == MUSTAFAR_PRUNE_MASK;
    });
    return found;
}

void choose_method(World &world, const Slot &slot, Call &call) {
    Random &random = world.random;
    const uint32_t d = world.config.d(call.side);
    auto &o = call.options;
    o.method = random.chance(30) ? 0 : random.below(8); // 0: MUSTAFAR_PRUNE_RECIPE
    uint32_t count = 0;
    if (must_fit(world, slot, call, count)) {
        constexpr uint32_t fitting[] = {MUSTAFAR_PRUNE_TOKEN_TOPK, MUSTAFAR_PRUNE_CHANNELS,
                                        MUSTAFAR_PRUNE_MASK, MUSTAFAR_PRUNE_NONE};
        o.method = count == 0 || random.chance(40) ? 0 : random.pick(fitting);
    }
    if (o.method == MUSTAFAR_PRUNE_RECIPE && any_method_mask(world, slot, call))
        o.method = MUSTAFAR_PRUNE_MASK;
    if (count == 0) count = random.between(1, d);
    if (o.method == MUSTAFAR_PRUNE_TOKEN_TOPK || o.method == MUSTAFAR_PRUNE_CHANNELS)
        o.keep = count;
    if (o.method == MUSTAFAR_PRUNE_CHANNEL_TOPK) o.keep = random.between(1, 32);
    if (o.method == MUSTAFAR_PRUNE_N_M) {
        o.of = 1U << random.below(4);
        o.keep = random.between(1, o.of);
    }
    if (o.method == MUSTAFAR_PRUNE_THRESHOLD)
        o.threshold = static_cast<float>(random.below(9)) / 4.0F;
    if (o.method == MUSTAFAR_PRUNE_MASK) choose_mask(world, call, count);
}

// Powers of two, so that the order of multiplications does not matter.
void choose_weights(World &world, Call &call) {
    Random &random = world.random;
    const uint32_t method = call.options.method;
    if (method == MUSTAFAR_PRUNE_NONE || method == MUSTAFAR_PRUNE_MASK) return;
    const std::size_t heads = call.head == MUSTAFAR_ALL ? world.config.geometry.kv_heads : 1;
    const auto fill = [&](std::vector<float> &to, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i)
            to.push_back(random.chance(5) ? 0.0F
                                          : 0.125F * static_cast<float>(1U << random.below(7)));
    };
    if (random.chance(30)) fill(call.channel_weights, heads * world.config.d(call.side));
    if (random.chance(30)) fill(call.token_weights, heads * call.rows());
}

mustafar_status call_library(World &world, const Slot &slot, Call &call) {
    const int64_t heads = call.head == MUSTAFAR_ALL ? world.config.geometry.kv_heads : 1;
    const int64_t d = world.config.d(call.side), rows = call.end - call.begin;
    Array channel(MUSTAFAR_F32, {heads, d}, call.channel_weights, world.random.next());
    Array token(MUSTAFAR_F32, {heads, rows}, call.token_weights, world.random.next());
    std::vector<uint8_t> bits(static_cast<std::size_t>(heads * rows * d / 8), 0);
    for (std::size_t i = 0; i < call.mask.size(); ++i)
        for (std::size_t c = 0; c < static_cast<std::size_t>(d); ++c)
            bits[(i * static_cast<std::size_t>(d) + c) / 8] |=
                static_cast<uint8_t>(call.mask[i][c] << (c % 8));
    mustafar_tensor mask{};
    mask.data = bits.data();
    mask.dtype = MUSTAFAR_U8;
    mask.ndim = 3;
    mask.shape[0] = heads, mask.shape[1] = rows, mask.shape[2] = d / 8;
    mask.strides[0] = rows * d / 8, mask.strides[1] = d / 8, mask.strides[2] = 1;
    return mustafar_cache_prune(slot.library, call.layer, call.head, call.side,
                                static_cast<uint32_t>(call.begin), static_cast<uint32_t>(call.end),
                                &call.options,
                                call.channel_weights.empty() ? nullptr : channel.view(),
                                call.token_weights.empty() ? nullptr : token.view(),
                                call.mask.empty() ? nullptr : &mask, &world.error);
}

void tell_model(World &world, Slot &slot, const Call &call) {
    each_head(world, call, [&](uint32_t layer, uint32_t h) {
        const std::size_t at = call.head == MUSTAFAR_ALL ? h : 0;
        const uint32_t d = world.config.d(call.side);
        Prune prune;
        prune.side = call.side;
        prune.begin = call.begin, prune.end = call.end;
        prune.rule.method = call.options.method;
        prune.rule.keep = call.options.keep;
        prune.rule.of = call.options.of;
        prune.rule.threshold = call.options.threshold;
        if (!call.channel_weights.empty()) prune.channel_weights = &call.channel_weights[at * d];
        if (!call.token_weights.empty())
            prune.token_weights = &call.token_weights[at * call.rows()];
        if (!call.mask.empty()) {
            const auto first = call.mask.begin() + static_cast<std::ptrdiff_t>(at * call.rows());
            prune.mask.assign(first, first + static_cast<std::ptrdiff_t>(call.rows()));
        }
        slot.model.prune(layer, h, prune);
    });
}

} // namespace

bool mark_for_compress(World &world, Slot &slot, uint32_t only) {
    for (uint32_t layer = 0; layer < world.config.geometry.layers; ++layer)
        for (uint32_t h = 0; h < world.config.geometry.kv_heads; ++h)
            for (uint32_t side = 0; side < 2; ++side) {
                const Head &head = slot.model.head(layer, h);
                const uint32_t from = slot.model.first_dense(head);
                const uint32_t to = slot.model.first_kept(layer, head);
                if ((only != MUSTAFAR_ALL && only != layer) || from >= to ||
                    head.recipe->side[side].rule.method != MUSTAFAR_PRUNE_MASK)
                    continue;
                Call call;
                call.layer = layer, call.head = h, call.side = side;
                call.begin = head.rows[from].position;
                call.end = head.rows[to - 1].position + 1;
                call.options.method = MUSTAFAR_PRUNE_MASK;
                choose_mask(world, call, world.random.below(uint64_t{world.config.d(side)} + 1));
                if (!world.done(call_library(world, slot, call), "prune")) return false;
                slot.plain = false;
                tell_model(world, slot, call);
            }
    return true;
}

void do_prune(World &world, const Op &op) {
    Slot &slot = world.slot(op);
    Call call;
    if (world.random.chance(70)) call.layer = world.any_layer();
    if (world.random.chance(70)) call.head = world.any_head();
    call.side = world.random.below(2);
    choose_range(world, slot, call);
    if (call.end == call.begin) {
        world.say(": nothing outside the window");
        return;
    }
    choose_method(world, slot, call);
    choose_weights(world, call);
    world.say(", layer %d head %d %c [%d, %d) method %u keep %u of %u%s%s", (int)call.layer,
              (int)call.head, call.side == 0 ? 'K' : 'V', call.begin, call.end, call.options.method,
              call.options.keep, call.options.of,
              call.channel_weights.empty() ? "" : " channel_weights",
              call.token_weights.empty() ? "" : " token_weights");
    const mustafar_status status = call_library(world, slot, call);
    if (!world.done(status, "prune")) {
        check_unchanged(world, slot, slot.bytes);
        return;
    }
    slot.plain = false;
    tell_model(world, slot, call);
    world.coverage.count("prune method " + std::to_string(call.options.method));
    if (!call.channel_weights.empty() || !call.token_weights.empty())
        world.coverage.count("prune weights");
}

} // namespace oracle
