// SPDX-License-Identifier: Apache-2.0
// What a random program runs on: geometry, recipe, window and limits, and the
// recipe's JSON.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mustafar/mustafar.h"
#include "numbers.hpp"

namespace oracle {

// How survivors are chosen. Methods and encodings are numbered as in
// mustafar/recipe.h.
struct Rule {
    uint32_t method = MUSTAFAR_PRUNE_NONE;
    bool paper = false;
    uint32_t keep = 0; // token_topk, channels: elements; channel_topk: rows of 32; n_m: n
    uint32_t of = 0;
    float threshold = 0.0F;
};

// One side (K or V) of one kv head, as the recipe says and as it is meant.
struct SideRecipe {
    uint32_t d = 0;
    Rule written;           // as the recipe says
    double sparsity = -1.0; // as written; below 0: the recipe gives `keep`
    Rule rule;              // as it is meant: keeping d of d is no pruning
    uint32_t bits = 16;
    bool channel_axis = false;
    uint32_t group = 0;
    bool centred = false;
    std::vector<float> centre; // given in the recipe; empty: the mean of the first rows

    uint32_t encoding() const;
    uint32_t count() const; // k of an exact row, 0 where the data decide
    std::string json() const;
};

struct HeadRecipe {
    SideRecipe side[2];
    uint32_t budget = 0;
    std::string json() const; // the members, without braces
};

struct Config {
    mustafar_geometry geometry{};
    uint32_t recent = 0, sink = 0, step = 32;
    std::vector<HeadRecipe> heads; // layer * kv_heads + head
    uint32_t max_tokens = 0, reserve_tokens = 0, threads = 1;
    bool automatic = true;
    uint64_t quota = 0;

    uint32_t d(uint32_t side) const {
        return side == MUSTAFAR_SIDE_K ? geometry.head_dim_k : geometry.head_dim_v;
    }
    const HeadRecipe &head(uint32_t layer, uint32_t kv_head) const {
        return heads[std::size_t{layer} * geometry.kv_heads + kv_head];
    }
    mustafar_cache_options options() const;
    std::string json() const; // the recipe
    std::string text() const; // all of it, for people
};

Config random_config(uint64_t seed);

// The same program on less: one layer, one head, no quota, ... Empty when
// nothing is left to try.
std::vector<Config> simpler(const Config &config);

} // namespace oracle
