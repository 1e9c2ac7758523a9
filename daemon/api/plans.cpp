// SPDX-License-Identifier: Apache-2.0
// Predicted bytes, without data: recipes x lengths, and the length from which each takes less than dense rows.
#include <vector>

#include "api/handlers.hpp"
#include "api/shapes.hpp"

namespace mustafar::daemon {

namespace {

constexpr std::size_t recipes_max = 32;
constexpr std::size_t lengths_max = 64;
constexpr std::uint32_t tokens_max = 1u << 24;
constexpr std::uint32_t tokens_default = 1u << 20;
// Heads that are planned, over all recipes and lengths: some seconds of one worker at most. A search for the
// length that breaks even counts as 64 lengths.
constexpr std::uint64_t work_max = 1u << 25;

struct Planner {
    mustafar_geometry geometry;
    mustafar_cache_options options;

    mustafar_bytes bytes(const mustafar_recipe* recipe, std::uint32_t tokens) const {
        auto out = sized<mustafar_bytes>();
        call(mustafar_plan, recipe, &geometry, &options, tokens, MUSTAFAR_ALL, &out);
        return out;
    }

    // Tokens from which `recipe` takes less than `dense`; 0: not up to max_tokens. Bytes grow in steps of packed
    // rows alike on both sides, so that the first power of two behind that point is found and then bisected.
    std::uint32_t break_even(const mustafar_recipe* recipe, const mustafar_recipe* dense) const {
        const auto smaller = [&](std::uint32_t tokens) {
            return bytes(recipe, tokens).total < bytes(dense, tokens).total;
        };
        std::uint32_t low = 0;  // not smaller here
        std::uint32_t high = 1; // doubled until it is
        while (!smaller(high)) {
            if (high == options.max_tokens) { return 0; }
            low = high;
            high = high > options.max_tokens / 2 ? options.max_tokens : 2 * high;
        }
        while (high - low > 1) {
            const std::uint32_t middle = low + (high - low) / 2;
            (smaller(middle) ? high : low) = middle;
        }
        return high;
    }
};

std::uint64_t dense_row_bytes(const mustafar_geometry& g, std::uint32_t tokens) {
    return std::uint64_t{2} * g.layers * g.kv_heads * (g.head_dim_k + g.head_dim_v) * tokens;
}

std::vector<std::uint32_t> read_lengths(JsonFields& fields, std::uint32_t high) {
    std::vector<std::uint32_t> lengths;
    const std::string pointer = fields.pointer("lengths");
    for (const Json& value : fields.array("lengths", lengths_max)) {
        lengths.push_back(static_cast<std::uint32_t>(
            integer_of(value, pointer + "/" + std::to_string(lengths.size()), 0, high)));
    }
    return lengths;
}

void check_work(const mustafar_geometry& geometry, std::uint64_t recipes, std::uint64_t lengths) {
    const std::uint64_t work =
        std::uint64_t{geometry.layers} * geometry.kv_heads * recipes * (lengths + 64);
    if (work > work_max) {
        throw Problem(ProblemType::invalid_argument,
                      "layers x kv_heads x recipes x (lengths + 64) = " + std::to_string(work) +
                          " exceeds " + std::to_string(work_max) + "; ask for less at once",
                      {{"limit", work_max}, {"actual", work}});
    }
}

} // namespace

Response post_plans(Service& service, Request& request) {
    const Json body = parse_body(request);
    JsonFields fields(body);
    Planner planner{read_geometry(fields.object("geometry")), MUSTAFAR_CACHE_OPTIONS_INIT};
    planner.options.max_tokens =
        static_cast<std::uint32_t>(fields.integer("max_tokens", 1, tokens_max, tokens_default));
    planner.options.flags = fields.boolean("auto", true) ? MUSTAFAR_CACHE_AUTO : 0;
    const auto lengths = read_lengths(fields, planner.options.max_tokens);
    const Json& recipes = fields.array("recipes", recipes_max);
    const std::string pointer = fields.pointer("recipes");
    fields.finish();
    check_work(planner.geometry, recipes.size(), lengths.size());

    const Recipe dense = parse_recipe("dense");
    Json plans = Json::array();
    for (const Json& value : recipes) {
        const Recipe recipe =
            read_recipe(service, value, pointer + "/" + std::to_string(plans.size()));
        Json rows = Json::array();
        for (const std::uint32_t tokens : lengths) {
            const mustafar_bytes bytes = planner.bytes(recipe.get(), tokens);
            rows.push_back({{"tokens", tokens},
                            {"bytes", write_bytes(bytes)},
                            {"dense_bytes", dense_row_bytes(planner.geometry, tokens)}});
        }
        const std::uint32_t even = planner.break_even(recipe.get(), dense.get());
        plans.push_back({{"recipe", value.is_string() ? value : Json(nullptr)},
                         {"digest", mustafar_recipe_digest(recipe.get())},
                         {"break_even_tokens", even == 0 ? Json(nullptr) : Json(even)},
                         {"rows", std::move(rows)}});
    }
    return json_response(
        {{"geometry", write_geometry(planner.geometry)}, {"plans", std::move(plans)}});
}

} // namespace mustafar::daemon
