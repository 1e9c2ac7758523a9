// SPDX-License-Identifier: Apache-2.0
#include "jobs/spec.hpp"

#include <algorithm>
#include <cfloat>

#include "api/shapes.hpp"
#include "routes.hpp"
#include "service.hpp"

namespace mustafar::daemon {

namespace {

constexpr std::size_t traces_max = 16;
constexpr std::size_t recipes_max = 32;
constexpr std::size_t lengths_max = 16;
constexpr std::size_t threads_max = 8;
constexpr std::uint32_t tokens_max = 1u << 24;
constexpr std::size_t label_bytes_max = 200;

using experiment::Settings;

// Ascending, each once.
std::vector<std::uint32_t> read_numbers(JsonFields& fields, const char* name, std::size_t count_max,
                                        std::uint64_t low, std::uint64_t high,
                                        std::vector<std::uint32_t> otherwise) {
    if (!fields.has(name)) { return otherwise; }
    std::vector<std::uint32_t> numbers;
    std::size_t index = 0;
    for (const Json& value : fields.array(name, count_max)) {
        const std::string place = fields.pointer(name) + "/" + std::to_string(index++);
        numbers.push_back(static_cast<std::uint32_t>(integer_of(value, place, low, high)));
    }
    std::ranges::sort(numbers);
    numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
    return numbers;
}

void read_traces(JsonFields& fields, JobSpec& spec) {
    std::size_t index = 0;
    for (const Json& value : fields.array("traces", traces_max)) {
        const std::string place = fields.pointer("traces") + "/" + std::to_string(index++);
        if (!value.is_string() || !is_id(value.get<std::string>())) {
            throw bad_body(place, "pattern", "the name of a trace is expected");
        }
        const auto name = value.get<std::string>();
        if (std::ranges::count(spec.traces, name) > 0) {
            throw bad_body(place, "duplicate", "is named twice");
        }
        spec.traces.push_back(name);
    }
}

void read_synthetic(JsonFields fields, JobSpec& spec) {
    const std::string pointer = fields.pointer("geometry");
    const mustafar_geometry geometry = read_geometry(fields.object("geometry"));
    if (geometry.head_dim_k != geometry.head_dim_v) {
        throw bad_body(pointer, "range", "K and V of experiments have one head_dim");
    }
    if (geometry.q_heads % geometry.kv_heads != 0) {
        throw bad_body(pointer, "range", "q_heads must be a multiple of kv_heads");
    }
    experiment::Synthetic shape;
    shape.layers = geometry.layers;
    shape.q_heads = geometry.q_heads;
    shape.kv_heads = geometry.kv_heads;
    shape.head_dim = geometry.head_dim_k;
    shape.dtype = geometry.dtype;
    shape.tokens = static_cast<std::uint32_t>(fields.integer("tokens", 1, tokens_max));
    shape.queries = std::min(shape.tokens, 64u);
    shape.seed = fields.integer("seed", 0, INT64_MAX, 1);
    fields.finish();
    spec.synthetic = shape;
}

void read_settings(JsonFields& fields, JobSpec& spec) {
    const auto u32 = [&](const char* name, std::uint64_t high, std::uint32_t otherwise) {
        return static_cast<std::uint32_t>(fields.integer(name, 1, high, otherwise));
    };
    Settings& s = spec.settings;
    s.lengths = read_numbers(fields, "lengths", lengths_max, 1, tokens_max, {256, 1024, 2048});
    s.layers = read_numbers(fields, "layers", 4096, 0, 4095, {});
    s.tokens = u32("tokens", tokens_max, 0);
    s.queries = u32("queries", tokens_max, 0);
    s.repeats = u32("repeats", 1000, 15);
    s.budget_seconds = fields.number("budget_seconds", 0, 1e6, 60);
    s.seed = fields.integer("seed", 0, INT64_MAX, 1);
    s.drop_mass = static_cast<float>(fields.number("drop_mass", 0, 1, 0));
    s.timing = fields.boolean("timing", true);
    constexpr experiment::Measure measures[] = {
        experiment::Measure::decode, experiment::Measure::window, experiment::Measure::none};
    s.measure = measures[fields.word("measure", {"decode", "window", "none"}, 0)];
    constexpr experiment::Sides sides[] = {experiment::Sides::both, experiment::Sides::k,
                                           experiment::Sides::v};
    s.sides = sides[fields.word("sides", {"both", "k", "v"}, 0)];
}

// Everything but recipes.
JobSpec read_what(JsonFields& fields) {
    JobSpec spec;
    spec.label = fields.text("label", label_bytes_max, "");
    if (fields.has("traces") == fields.has("synthetic")) {
        throw bad_body("", "required", "exactly one of traces and synthetic is expected");
    }
    if (fields.has("traces")) {
        read_traces(fields, spec);
    } else {
        read_synthetic(fields.object("synthetic"), spec);
    }
    read_settings(fields, spec);
    spec.threads = read_numbers(fields, "threads", threads_max, 0, 1024, {1});
    return spec;
}

Json write_request(const JobSpec& spec, const Json& recipes) {
    const Settings& s = spec.settings;
    Json out = {{"label", spec.label}};
    if (spec.synthetic) {
        out["synthetic"] = experiment::write_synthetic(*spec.synthetic);
    } else {
        out["traces"] = spec.traces;
    }
    out["recipes"] = recipes;
    out["lengths"] = s.lengths;
    out["threads"] = spec.threads;
    if (s.tokens != 0) { out["tokens"] = s.tokens; }
    if (s.queries != 0) { out["queries"] = s.queries; }
    out["repeats"] = s.repeats;
    out["seed"] = s.seed;
    out["measure"] = text_of(s.measure);
    out["sides"] = text_of(s.sides);
    if (!s.layers.empty()) { out["layers"] = s.layers; }
    out["drop_mass"] = s.drop_mass;
    out["timing"] = s.timing;
    out["budget_seconds"] = s.budget_seconds;
    return out;
}

// What tables call a recipe: as it was sent, or as it calls itself.
std::string shown_name(const Json& value, const mustafar_recipe* recipe) {
    if (value.is_string()) { return value.get<std::string>(); }
    const std::string own = recipe_name(recipe);
    return own.empty() ? "json" : own;
}

// The library's words, without those of the engine around them.
template <class Work>
auto refused_here(const Work& work) {
    try {
        return work();
    } catch (const experiment::Refused& refused) {
        throw Problem(type_of(refused.code()), refused.what());
    }
}

} // namespace

JobSpec read_spec(const Service& service, const Json& body) {
    JsonFields fields(body);
    JobSpec spec = read_what(fields);
    const Json& recipes = fields.array("recipes", recipes_max);
    const std::string pointer = fields.pointer("recipes");
    fields.finish();
    spec.recipes = Json::array();
    for (const Json& value : recipes) {
        const Recipe recipe =
            read_recipe(service, value, pointer + "/" + std::to_string(spec.recipes.size()));
        spec.recipes.push_back({{"name", shown_name(value, recipe.get())},
                                {"json", mustafar_recipe_json(recipe.get())}});
    }
    spec.request = write_request(spec, recipes);
    refused_here([&] { return load_recipes(spec); });
    return spec;
}

JobSpec read_kept_spec(const Json& request, const Json& recipes) {
    JsonFields fields(request);
    JobSpec spec = read_what(fields);
    spec.recipes = recipes;
    spec.request = request;
    return spec;
}

std::vector<experiment::LoadedRecipe> load_recipes(const JobSpec& spec) {
    std::vector<experiment::LoadedRecipe> out;
    for (const Json& recipe : spec.recipes) {
        experiment::add_recipe(
            out, experiment::change_recipe(
                     experiment::parse_named_recipe(recipe.at("name").get<std::string>(),
                                                    recipe.at("json").get<std::string>()),
                     spec.settings.measure, spec.settings.sides));
    }
    return out;
}

} // namespace mustafar::daemon
