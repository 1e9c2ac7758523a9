// SPDX-License-Identifier: Apache-2.0
#include "experiment/recipes.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace mustafar::experiment {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t recipe_file_max = std::size_t{16} << 20;

Recipe parse(const std::string& subject, const std::string& text) {
    return make<mustafar_recipe>(subject, mustafar_recipe_parse, text.data(), text.size());
}

LoadedRecipe loaded(std::string name, Recipe recipe) {
    LoadedRecipe out{std::move(name), mustafar_recipe_json(recipe.get()),
                     mustafar_recipe_digest(recipe.get()), nullptr};
    out.recipe = std::move(recipe);
    return out;
}

// "name" of the JSON, or what stands instead of it.
std::string name_of(const Recipe& recipe, const std::string& otherwise) {
    const Json json = Json::parse(mustafar_recipe_json(recipe.get()));
    const auto name = json.find("name");
    return name == json.end() ? otherwise : name->get<std::string>();
}

std::string read_text(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    std::string text;
    if (stream) { text.assign(std::istreambuf_iterator<char>(stream), {}); }
    if (!stream || stream.bad()) {
        throw Failure(exit_data,
                      fmt::format("recipe {}: cannot be read: {}", path, std::strerror(errno)));
    }
    if (text.size() > recipe_file_max) {
        throw Failure(exit_data, fmt::format("recipe {}: {} bytes, at most 16 MiB are read", path,
                                             text.size()));
    }
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) {
        text.pop_back(); // a name or shorthand in a file ends in a newline
    }
    return text;
}

LoadedRecipe load_file(const std::string& path) {
    const std::string text = read_text(path);
    try {
        Recipe recipe = parse("recipe " + path, text);
        std::string name = name_of(recipe, std::filesystem::path(path).stem().string());
        return loaded(std::move(name), std::move(recipe));
    } catch (const Refused& refused) { throw Failure(exit_data, refused.what()); }
}

bool is_file(const std::string& text) {
    std::error_code error;
    return std::filesystem::is_regular_file(text, error);
}

// The side that is not measured: whole and exact, in every layer and head.
void make_dense(Json& recipe, const char* side) {
    recipe[side] = {{"method", "none"}, {"bits", 16}};
    if (!recipe.contains("layers")) { return; }
    Json layers = Json::array();
    for (Json layer : recipe["layers"]) {
        layer.erase(side);
        Json heads = Json::array();
        for (Json head : layer.value("heads", Json::array())) {
            head.erase(side);
            if (head.size() > 1) { // more than "at"
                heads.push_back(std::move(head));
            }
        }
        layer.erase("heads");
        if (!heads.empty()) { layer["heads"] = std::move(heads); }
        if (layer.size() > 1) { layers.push_back(std::move(layer)); }
    }
    recipe.erase("layers");
    if (!layers.empty()) { recipe["layers"] = std::move(layers); }
}

} // namespace

std::vector<std::string> default_recipes() {
    return {"dense",
            "int8",
            "int4",
            "int2",
            "mustafar-50",
            "mustafar-70",
            "k50-v70",
            "kivi-4",
            "mustafar-50-int4",
            "mustafar-70-int8",
            "lean",
            "leaner"};
}

std::vector<std::string> split_recipes(const std::string& argument) {
    if (argument.find_first_not_of(" \t\r\n") != std::string::npos &&
        argument[argument.find_first_not_of(" \t\r\n")] == '{') {
        return {argument};
    }
    std::vector<std::string> parts;
    std::size_t begin = 0;
    while (begin <= argument.size()) {
        const std::size_t end = std::min(argument.find(',', begin), argument.size());
        parts.push_back(argument.substr(begin, end - begin));
        if (parts.back().empty()) {
            throw Failure(exit_usage, fmt::format("--recipes \"{}\": an empty name", argument));
        }
        begin = end + 1;
    }
    return parts;
}

LoadedRecipe load_recipe(const std::string& text) {
    if (text.ends_with(".json") || text.starts_with("./") || text.starts_with("/") ||
        text.starts_with("../")) {
        return load_file(text);
    }
    try {
        Recipe recipe = parse("recipe", text);
        const bool is_json = text.find('{') != std::string::npos;
        std::string name = is_json ? name_of(recipe, "json") : text;
        return loaded(std::move(name), std::move(recipe));
    } catch (const Refused& refused) {
        if (is_file(text)) { return load_file(text); }
        const bool ours = refused.code() != MUSTAFAR_INVALID_ARGUMENT;
        throw Failure(
            ours ? exit_refused : exit_usage,
            fmt::format("--recipes: {}; --list-recipes names the built-in ones", refused.what()));
    }
}

LoadedRecipe change_recipe(LoadedRecipe source, Measure measure, Sides sides) {
    if (measure == Measure::decode && sides == Sides::both) { return source; }
    Json json = Json::parse(source.json);
    if (sides != Sides::both) { make_dense(json, sides == Sides::k ? "v" : "k"); }
    if (measure != Measure::decode) {
        json["window"]["recent"] = measure == Measure::window ? measured_window : 0;
        json["window"]["sink"] = 0;
    }
    return loaded(source.name, parse("recipe " + source.name + ", changed", json.dump()));
}

LoadedRecipe parse_named_recipe(const std::string& name, const std::string& text) {
    return loaded(name, parse("recipe " + name, text));
}

void add_recipe(std::vector<LoadedRecipe>& recipes, LoadedRecipe recipe) {
    const auto same_name = [&](const LoadedRecipe& other) { return other.name == recipe.name; };
    const auto twin = std::ranges::find_if(recipes, same_name);
    if (twin != recipes.end() && twin->digest == recipe.digest) { return; }
    for (int i = 2; std::ranges::any_of(recipes, same_name); ++i) {
        recipe.name = fmt::format("{}#{}", recipe.name.substr(0, recipe.name.find('#')), i);
    }
    recipes.push_back(std::move(recipe));
}

std::vector<LoadedRecipe> load_recipes(std::span<const std::string> texts, Measure measure,
                                       Sides sides) {
    std::vector<LoadedRecipe> out;
    for (const std::string& text : texts) {
        add_recipe(out, change_recipe(load_recipe(text), measure, sides));
    }
    return out;
}

} // namespace mustafar::experiment
