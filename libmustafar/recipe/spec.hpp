// SPDX-License-Identifier: Apache-2.0
// What a recipe means for one kv head of a geometry: plain numbers, no JSON.
#pragma once

#include <cstdint>

#include "core/geometry.hpp"
#include "mustafar/recipe.h"

namespace mustafar {

// Values are those of the C ABI (mustafar/recipe.h), never reused.
enum class Encoding : std::uint8_t {
    exact = MUSTAFAR_ENCODING_EXACT,
    ragged = MUSTAFAR_ENCODING_RAGGED,
    grouped = MUSTAFAR_ENCODING_GROUPED,
    channel = MUSTAFAR_ENCODING_CHANNEL,
};
enum class Method : std::uint8_t {
    recipe = MUSTAFAR_PRUNE_RECIPE,
    none = MUSTAFAR_PRUNE_NONE,
    token_topk = MUSTAFAR_PRUNE_TOKEN_TOPK,
    n_m = MUSTAFAR_PRUNE_N_M,
    channels = MUSTAFAR_PRUNE_CHANNELS,
    channel_topk = MUSTAFAR_PRUNE_CHANNEL_TOPK,
    threshold = MUSTAFAR_PRUNE_THRESHOLD,
    mask = MUSTAFAR_PRUNE_MASK,
};

// How a set of survivors is chosen. Used by recipes and by the prune call.
struct PruneRule {
    Method method = Method::none;
    bool paper = false; // token_topk: the reference implementation's count, ties included (ragged)
    std::uint16_t keep =
        0; // token_topk, channels: elements of a row; channel_topk: rows of every 32; n_m: n
    std::uint16_t of = 0; // n_m: m
    float threshold = 0.0F;
    bool operator==(const PruneRule&) const = default;
};

struct SideSpec {
    Encoding encoding = Encoding::exact;
    PruneRule prune;
    std::uint16_t d = 0;
    std::uint16_t keep = 0; // exact count of a row; 0 where the data decide (ragged)
    std::uint8_t bits = 16; // 16, 8, 4, 2
    std::uint8_t group = 0; // grouped: 32 or 64 channels
    bool centred = false;
    // Offset of a given centre (d floats) in ResolvedRecipe::centres, or -1: the mean of the first
    // rows that are pruned or packed.
    std::int64_t centre_at = -1;
    bool operator==(const SideSpec&) const = default;
};

struct HeadSpec {
    SideSpec k;
    SideSpec v;
    std::uint32_t budget = 0; // tokens the head may hold after eviction, 0 = no limit
    const SideSpec& side(Side which) const { return which == Side::k ? k : v; }
    bool operator==(const HeadSpec&) const = default;
};

struct Window {
    std::uint32_t recent = 32;
    std::uint32_t sink = 0;
    std::uint32_t step = 32; // 1, 2, 4, 8, 16 or 32
    bool operator==(const Window&) const = default;
};

} // namespace mustafar
