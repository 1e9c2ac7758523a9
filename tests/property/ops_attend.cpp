// SPDX-License-Identifier: Apache-2.0
// attend: several caches, every option, against softmax in double.
#include <algorithm>
#include <cmath>

#include "world.hpp"

namespace oracle {
namespace {

struct Call {
    uint32_t layer = 0, q_len = 1;
    std::vector<Slot *> slots;
    mustafar_attend_options options = MUSTAFAR_ATTEND_OPTIONS_INIT;
    std::vector<float> q, sinks; // [caches][q_len][q_heads][d_k], [q_heads]
    int64_t width = 1;           // of the weights
};

// Caches of this layer whose lengths allow q_len queries, one of them the
// operation's own.
void choose_caches(World &world, const Op &op, Call &call) {
    call.slots.push_back(&world.slot(op));
    for (uint32_t more = world.random.below(3); more != 0; --more)
        call.slots.push_back(world.slots[world.random.below(world.slots.size())].get());
    uint32_t shortest = UINT32_MAX;
    for (const Slot *slot : call.slots) {
        shortest = std::min(shortest, slot->model.length(call.layer));
        for (const Head &head : slot->model.layers()[call.layer].heads)
            call.width = std::max(call.width, static_cast<int64_t>(head.rows.size()));
    }
    call.width += world.random.below(3);
    call.q_len = 1 + op.size % 4;
    const bool at = shortest == 0 || world.random.chance(25);
    if (!at) call.q_len = std::min(call.q_len, shortest);
    if (!at) return;
    call.options.flags = MUSTAFAR_ATTEND_AT;
    call.options.q_position = world.random.below(uint64_t{world.config.max_tokens} + 20);
}

void choose_options(World &world, Call &call) {
    Random &random = world.random;
    auto &o = call.options;
    if (random.chance(30)) o.scale = static_cast<float>(random.between(1, 8)) / 32.0F;
    if (random.chance(25)) o.softcap = static_cast<float>(random.between(2, 50));
    if (random.chance(25)) o.sliding_window = random.between(1, 60);
    if (random.chance(20)) o.drop_mass = random.chance(50) ? 0.01F : 0.2F;
    if (random.chance(25))
        for (uint32_t h = 0; h < world.config.geometry.q_heads; ++h)
            call.sinks.push_back(static_cast<float>(2.0 * random.normal()));
}

Query query_of(const World &world, const Call &call, const Slot &slot, uint32_t i,
               uint32_t q_head) {
    Query query;
    const auto &o = call.options;
    query.position = (o.flags & MUSTAFAR_ATTEND_AT) != 0
                         ? o.q_position + i
                         : int64_t{slot.model.length(call.layer)} - call.q_len + i;
    query.scale =
        o.scale != 0.0F ? double{o.scale} : 1.0 / std::sqrt(world.config.d(MUSTAFAR_SIDE_K));
    query.softcap = double{o.softcap};
    query.sliding_window = o.sliding_window;
    if (!call.sinks.empty()) query.sink = double{call.sinks[q_head]};
    return query;
}

// One query head of one query of one cache; `at` is its index in lse and
// dropped.
void check_one(const World &world, const Call &call, const attend_budget &budget,
               const Attention &want, std::size_t at, const float *out, float lse,
               const float *weights, float dropped) {
    const double factor = budget_factor(&budget, want.largest_score);
    const double eps = double{call.options.drop_mass};
    const uint32_t d = world.config.d(MUSTAFAR_SIDE_V);
    for (uint32_t c = 0; c < d; ++c) {
        const double room = out_share(&budget, factor) * want.magnitude[c] + budget.unit +
                            (eps * (1.0 + budget.weight) + budget.tail) * want.largest_v;
        REQUIRE(std::abs(double{out[c]} - want.out[c]) <= room,
                "attend: out[%zu][%u] = %.9g, expected %.9g within %.3g", at, c, double{out[c]},
                want.out[c], room);
    }
    if (std::isinf(want.lse)) {
        REQUIRE(double{lse} == want.lse, "attend: lse[%zu] = %g, expected -inf", at, double{lse});
    } else {
        const double room = lse_room(&budget, want.largest_score, want.lse);
        REQUIRE(std::abs(double{lse} - want.lse) <= room,
                "attend: lse[%zu] = %.9g, expected %.9g within %.3g", at, double{lse}, want.lse,
                room);
    }
    // A fast row's bound holds its own rounding.
    REQUIRE(dropped >= 0.0F && double{dropped} <= eps * (1.0 + budget.weight),
            "attend: dropped[%zu] = %g of %g", at, double{dropped}, eps);
    for (std::size_t r = 0; eps == 0.0 && r < static_cast<std::size_t>(call.width); ++r) {
        const double weight = r < want.weights.size() ? want.weights[r] : 0.0;
        const double room = weight_room(&budget, factor, weight) + 1e-37;
        REQUIRE(std::abs(double{weights[r]} - weight) <= room,
                "attend: weights[%zu][%zu] = %.9g, expected %.9g within %.3g", at, r,
                double{weights[r]}, weight, room);
    }
}

void check_all(World &world, const Call &call, const Array &out, const Array &lse,
               const Array &weights, const Array &dropped) {
    const auto &shape = world.config.geometry;
    const uint32_t group = shape.q_heads / shape.kv_heads, d = shape.head_dim_k;
    std::size_t at = 0;
    for (const Slot *slot : call.slots)
        for (uint32_t i = 0; i < call.q_len; ++i)
            for (uint32_t q_head = 0; q_head < shape.q_heads; ++q_head, ++at) {
                const auto first = call.q.begin() + static_cast<std::ptrdiff_t>(at * d);
                const Attention want =
                    attend(slot->model.head(call.layer, q_head / group), {first, first + d},
                           query_of(world, call, *slot, i, q_head));
                const HeadRecipe *recipe = &world.config.head(call.layer, q_head / group);
                check_one(world, call, world.budget(recipe), want, at,
                          out.f32() + at * shape.head_dim_v, lse.f32()[at],
                          weights.f32() + at * static_cast<std::size_t>(call.width),
                          dropped.f32()[at]);
            }
}

} // namespace

void do_attend(World &world, const Op &op) {
    const auto &shape = world.config.geometry;
    Call call;
    call.layer = world.any_layer();
    choose_caches(world, op, call);
    choose_options(world, call);
    const auto count = static_cast<int64_t>(call.slots.size());
    const mustafar_dtype dtype = world.any_dtype();
    for (int64_t i = 0; i < count * call.q_len * shape.q_heads * shape.head_dim_k; ++i)
        call.q.push_back(round_to(dtype, static_cast<float>(world.random.normal())));
    Array q(dtype, {count, call.q_len, shape.q_heads, shape.head_dim_k}, call.q,
            world.random.next());
    Array sinks(MUSTAFAR_F32, {shape.q_heads}, call.sinks, 0);
    Array out(MUSTAFAR_F32, {count, call.q_len, shape.q_heads, shape.head_dim_v});
    Array lse(MUSTAFAR_F32, {count, call.q_len, shape.q_heads});
    Array dropped(MUSTAFAR_F32, {count, call.q_len, shape.q_heads});
    Array weights(MUSTAFAR_F32, {count, call.q_len, shape.q_heads, call.width});
    std::vector<const mustafar_cache *> caches;
    for (const Slot *slot : call.slots) caches.push_back(slot->library);
    const auto &o = call.options;
    world.say(", layer %u, %zu caches, q_len %u, at %lld, window %u, cap %g, "
              "drop %g, sinks %d",
              call.layer, caches.size(), call.q_len, o.flags != 0 ? (long long)o.q_position : -1LL,
              o.sliding_window, double{o.softcap}, double{o.drop_mass}, !call.sinks.empty());
    const mustafar_status status =
        mustafar_attend(caches.data(), caches.size(), call.layer, q.view(),
                        call.sinks.empty() ? nullptr : sinks.view(), &call.options, out.view(),
                        lse.view(), weights.view(), dropped.view(), &world.error);
    if (!world.done(status, "attend")) return;
    check_all(world, call, out, lse, weights, dropped);
    if (o.flags != 0) world.coverage.count("attend at a position");
    if (o.softcap != 0.0F) world.coverage.count("attend with softcap");
    if (o.sliding_window != 0) world.coverage.count("attend with sliding window");
    if (o.drop_mass != 0.0F) world.coverage.count("attend with drop_mass");
    if (!call.sinks.empty()) world.coverage.count("attend with sinks");
    if (caches.size() > 1) world.coverage.count("attend several caches");
}

} // namespace oracle
