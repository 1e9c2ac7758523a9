// SPDX-License-Identifier: Apache-2.0
// merge: two dense caches with some of the tokens each against one with all of
// them. plan: a fresh cache, filled in pieces.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "world.hpp"

namespace oracle {
namespace {

// A cache of its own, destroyed at the end of the operation.
struct Owned {
    mustafar_cache *cache = nullptr;
    Owned() = default;
    ~Owned() { mustafar_cache_destroy(cache); }
    Owned(const Owned &) = delete;
    Owned &operator=(const Owned &) = delete;
};

// Rows [from, to) of a contiguous array as a view.
mustafar_tensor rows_of(mustafar_tensor view, uint32_t from, uint32_t to) {
    const std::size_t size = view.dtype == MUSTAFAR_F32 ? 4 : 2;
    view.data = static_cast<std::byte *>(view.data) +
                static_cast<std::ptrdiff_t>(size) * view.strides[0] * from;
    view.shape[0] = to - from;
    return view;
}

bool fill(World &world, Owned &owned, mustafar_recipe *dense, Tokens &tokens, uint32_t from,
          uint32_t to) {
    mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
    options.max_tokens = std::max(1U, to - from);
    mustafar_status status = mustafar_cache_create(world.context, &world.config.geometry, dense,
                                                   &options, &owned.cache, &world.error);
    if (!world.done(status, "create")) return false;
    if (to == from) return true;
    const mustafar_tensor some_k = rows_of(*tokens.k.view(), from, to);
    const mustafar_tensor some_v = rows_of(*tokens.v.view(), from, to);
    status = mustafar_cache_append(owned.cache, 0, &some_k, &some_v, 0, &world.error);
    return world.done(status, "append");
}

struct Part {
    Part(const Config &config)
        : out(MUSTAFAR_F32, {1, 1, config.geometry.q_heads, config.geometry.head_dim_v}),
          lse(MUSTAFAR_F32, {1, 1, config.geometry.q_heads}) {}
    Array out, lse;
};

bool attend_all(World &world, const Owned &owned, Array &q, Array *sinks, Part &part) {
    mustafar_attend_options options = MUSTAFAR_ATTEND_OPTIONS_INIT;
    options.flags = MUSTAFAR_ATTEND_AT;
    options.q_position = 1 << 20; // behind the end: every row is seen
    const mustafar_cache *const caches[] = {owned.cache};
    const mustafar_status status =
        mustafar_attend(caches, 1, 0, q.view(), sinks != nullptr ? sinks->view() : nullptr,
                        &options, part.out.view(), part.lse.view(), nullptr, nullptr, &world.error);
    return world.done(status, "attend");
}

// The largest |scaled score| of any query head.
double largest_score(const World &world, const std::vector<float> &q, const std::vector<float> &k) {
    const auto &shape = world.config.geometry;
    const std::size_t d = shape.head_dim_k, group = shape.q_heads / shape.kv_heads;
    double most = 0.0;
    for (std::size_t row = 0; row * d < k.size(); ++row)
        for (std::size_t h = 0; h < group; ++h) {
            double dot = 0.0, terms = 0.0;
            const std::size_t q_head = row % shape.kv_heads * group + h;
            for (std::size_t c = 0; c < d; ++c) {
                const double term = double{q[q_head * d + c]} * double{k[row * d + c]};
                dot += term;
                terms += std::abs(term);
            }
            most = std::max(most, score_size(dot, terms) / std::sqrt(d));
        }
    return most;
}

void compare(const World &world, const Part &got, const Part &want, const std::vector<float> &v,
             double score) {
    const uint32_t heads = world.config.geometry.q_heads, d = world.config.geometry.head_dim_v;
    const attend_budget budget = world.budget(nullptr);
    double largest = 0.0;
    for (const float x : v) largest = std::max(largest, std::abs(double{x}));
    const double out_room = 3 * (out_share(&budget, budget_factor(&budget, score)) * largest +
                                 budget.tail * largest + budget.unit); // three attends
    for (uint32_t h = 0; h < heads; ++h) {
        const double a = double{got.lse.f32()[h]}, b = double{want.lse.f32()[h]};
        REQUIRE(a == b || std::abs(a - b) <= 3 * lse_room(&budget, score, b),
                "merge: lse[%u] = %.9g, expected %.9g", h, a, b);
        for (uint32_t c = 0; c < d; ++c) {
            const double x = double{got.out.f32()[h * d + c]};
            const double y = double{want.out.f32()[h * d + c]};
            REQUIRE(std::abs(x - y) <= out_room, "merge: out[%u][%u] = %.9g, expected %.9g", h, c,
                    x, y);
        }
    }
}

bool merge_parts(World &world, mustafar_recipe *dense, const Op &op) {
    const auto &shape = world.config.geometry;
    const uint32_t tokens = 1 + op.size % 40, first = world.random.below(uint64_t{tokens} + 1);
    Tokens rows(world, tokens);
    Owned whole, a, b;
    if (!fill(world, whole, dense, rows, 0, tokens) || !fill(world, a, dense, rows, 0, first) ||
        !fill(world, b, dense, rows, first, tokens))
        return false;
    std::vector<float> values, sink_values;
    for (uint32_t i = 0; i < shape.q_heads * shape.head_dim_k; ++i)
        values.push_back(static_cast<float>(0.3 * world.random.normal()));
    for (uint32_t h = 0; h < shape.q_heads; ++h)
        sink_values.push_back(static_cast<float>(world.random.normal()));
    Array q(MUSTAFAR_F32, {1, 1, shape.q_heads, shape.head_dim_k}, values, 0);
    Array sinks(MUSTAFAR_F32, {shape.q_heads}, sink_values, 0);
    Array *const given = world.random.chance(40) ? &sinks : nullptr; // to exactly one part
    Part one(world.config), two(world.config), all(world.config);
    world.say(", %u + %u tokens, sinks %d", first, tokens - first, given != nullptr);
    if (!attend_all(world, whole, q, given, all) || !attend_all(world, a, q, given, one) ||
        !attend_all(world, b, q, nullptr, two))
        return false;
    const mustafar_status status =
        mustafar_merge(world.context, one.out.view(), one.lse.view(), two.out.view(),
                       two.lse.view(), one.out.view(), one.lse.view(), &world.error);
    if (!world.done(status, "merge")) return false;
    compare(world, one, all, rows.stored_v, largest_score(world, values, rows.stored_k));
    return true;
}

} // namespace

void do_merge(World &world, const Op &op) {
    mustafar_recipe *dense = nullptr;
    REQUIRE(mustafar_recipe_parse("dense", 5, &dense, &world.error) == MUSTAFAR_OK,
            "recipe dense: %s", world.error.message);
    try {
        merge_parts(world, dense, op);
    } catch (...) {
        mustafar_recipe_destroy(dense);
        throw;
    }
    mustafar_recipe_destroy(dense);
}

// plan() must equal what a cache of that shape occupies, however the tokens
// came.
void do_plan(World &world, const Op &op) {
    mustafar_cache *const cache = world.create();
    if (cache == nullptr) return;
    Slot fresh(cache, Model(world.config));
    uint32_t tokens = op.size % (world.config.max_tokens + 1);
    world.say(", %u tokens", tokens);
    while (tokens != 0) {
        const uint32_t some = world.random.between(1, tokens);
        for (uint32_t layer = 0; layer < world.config.geometry.layers; ++layer) {
            Tokens rows(world, some);
            const mustafar_status status = mustafar_cache_append(
                fresh.library, layer, rows.k.view(), rows.v.view(), 0, &world.error);
            if (!world.done(status, "append")) return;
            fresh.model.append(layer, some, rows.stored_k, rows.stored_v, false);
        }
        tokens -= some;
    }
    world.heap.calm();
    check_slot(world, fresh);
    check_plan(world, fresh, fresh.bytes);
}

} // namespace oracle
