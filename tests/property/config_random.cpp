// SPDX-License-Identifier: Apache-2.0
// Random configurations: every encoding, method and width, mixed per layer,
// head and side.
#include <cmath>

#include "config.hpp"

namespace oracle {
namespace {

constexpr uint32_t widths[] = {32, 40, 64, 80, 128};
constexpr uint32_t common_widths[] = {32, 40, 64};
constexpr uint32_t all_bits[] = {16, 8, 4, 2};
constexpr uint32_t low_bits[] = {8, 4, 2};

// Every method. Sparsities are sixteenths, whose product with d is exact.
Rule random_rule(Random &random, uint32_t d, bool automatic, double &sparsity) {
    constexpr uint32_t methods[] = {MUSTAFAR_PRUNE_NONE,       MUSTAFAR_PRUNE_TOKEN_TOPK,
                                    MUSTAFAR_PRUNE_TOKEN_TOPK, MUSTAFAR_PRUNE_N_M,
                                    MUSTAFAR_PRUNE_CHANNELS,   MUSTAFAR_PRUNE_CHANNEL_TOPK,
                                    MUSTAFAR_PRUNE_THRESHOLD,  MUSTAFAR_PRUNE_MASK};
    Rule rule;
    rule.method = random.pick(methods);
    if (automatic && rule.method == MUSTAFAR_PRUNE_MASK) rule.method = MUSTAFAR_PRUNE_TOKEN_TOPK;
    switch (rule.method) {
    case MUSTAFAR_PRUNE_TOKEN_TOPK:
        rule.keep = random.between(1, d);
        if (random.chance(50)) {
            sparsity = random.between(1, 15) / 16.0;
            const auto removed = static_cast<uint32_t>(std::floor(sparsity * d));
            rule.paper = random.chance(50);
            rule.keep = rule.paper ? d - std::max(1U, removed) + 1 : d - removed;
        }
        break;
    case MUSTAFAR_PRUNE_N_M: {
        constexpr uint32_t of[] = {2, 4, 8};
        rule.of = random.pick(of);
        rule.keep = random.between(1, rule.of);
        break;
    }
    case MUSTAFAR_PRUNE_CHANNELS:
        rule.keep = random.between(1, d);
        break;
    case MUSTAFAR_PRUNE_CHANNEL_TOPK:
        rule.keep = random.between(1, 32);
        break;
    case MUSTAFAR_PRUNE_THRESHOLD:
        rule.threshold = static_cast<float>(random.below(9)) / 4.0F;
        break;
    default:
        break;
    }
    return rule;
}

SideRecipe random_side(Random &random, uint32_t side, uint32_t d, uint32_t step, bool automatic) {
    SideRecipe recipe;
    recipe.d = d;
    const uint32_t kind = random.below(10);
    if (kind == 0 && (d % 32 == 0)) {
        recipe.group = d % 64 == 0 && random.chance(50) ? 64 : 32;
        recipe.bits = random.pick(low_bits);
    } else if (kind <= 2 && side == MUSTAFAR_SIDE_K && step == 32) {
        recipe.channel_axis = true;
        recipe.bits = random.pick(low_bits);
    } else {
        recipe.written = random_rule(random, d, automatic, recipe.sparsity);
        const Rule &r = recipe.written;
        const bool counted =
            r.method == MUSTAFAR_PRUNE_TOKEN_TOPK || r.method == MUSTAFAR_PRUNE_CHANNELS;
        const bool all =
            (counted && r.keep == d) || (r.method == MUSTAFAR_PRUNE_N_M && r.keep == r.of);
        if (!all) recipe.rule = r;
        recipe.bits = random.pick(all_bits);
    }
    recipe.centred = side == MUSTAFAR_SIDE_K && !recipe.channel_axis && random.chance(35);
    if (recipe.centred && random.chance(25))
        for (uint32_t c = 0; c < d; ++c)
            recipe.centre.push_back(static_cast<float>(random.below(65)) / 16.0F - 2.0F);
    return recipe;
}

} // namespace

Config random_config(uint64_t seed) {
    Random random(seed ^ 0xC0FFEE);
    Config config;
    auto &shape = config.geometry;
    shape.struct_size = sizeof shape;
    shape.layers = random.chance(60) ? 1 : random.between(2, 3);
    shape.kv_heads = random.chance(50) ? 1 : random.between(2, 3);
    shape.q_heads = shape.kv_heads * random.between(1, 4);
    shape.head_dim_k = random.chance(80) ? random.pick(common_widths) : random.pick(widths);
    shape.head_dim_v = random.chance(80) ? random.pick(common_widths) : random.pick(widths);
    shape.dtype = random.chance(50) ? MUSTAFAR_F16 : MUSTAFAR_BF16;
    config.automatic = random.chance(65);
    constexpr uint32_t steps[] = {1, 2, 4, 8, 16, 32, 32, 32, 32};
    config.step = random.pick(steps);
    config.recent = random.chance(40) ? random.below(4) : random.below(41);
    config.sink = random.chance(50) ? 0 : random.below(6);
    const bool uniform = random.chance(20);
    for (uint32_t i = 0; i < shape.layers * shape.kv_heads; ++i) {
        HeadRecipe head;
        for (uint32_t side = 0; side < 2; ++side)
            head.side[side] =
                random_side(random, side, config.d(side), config.step, config.automatic);
        if (random.chance(40)) head.budget = config.recent + config.sink + random.between(1, 40);
        config.heads.push_back(uniform && i != 0 ? config.heads[0] : head);
    }
    config.max_tokens = random.between(50, 160);
    if (random.chance(25)) config.reserve_tokens = random.below(config.max_tokens + 1);
    if (random.chance(12)) config.quota = uint64_t{30000} << random.below(6);
    config.threads = random.chance(90) ? 1 : 2;
    return config;
}

} // namespace oracle
