// SPDX-License-Identifier: Apache-2.0
// JSON tree to Document: schema version 1 (docs/api.md, "Recipes").
#include <algorithm>
#include <array>

#include "recipe/document.hpp"
#include "recipe/text.hpp"

namespace mustafar::recipes {

namespace {

using namespace std::string_view_literals;

constexpr std::array recipe_keys = {"schema"sv, "version"sv, "name"sv,  "note"sv,
                                    "window"sv, "precise"sv, "k"sv,     "v"sv,
                                    "budget"sv, "protect"sv, "layers"sv};
constexpr std::array window_keys = {"recent"sv, "sink"sv, "step"sv};
constexpr std::array layer_keys = {"at"sv, "k"sv, "v"sv, "budget"sv, "heads"sv};
constexpr std::array head_keys = {"at"sv, "k"sv, "v"sv, "budget"sv};
constexpr std::array<std::uint32_t, 6> steps_allowed = {1, 2, 4, 8, 16, 32};
constexpr std::int64_t window_max = std::int64_t{1} << 20;

// Before anything else is looked at: a later version may have other keys.
void check_identity(const Json& root) {
    if (!root.is_object()) { refuse("recipe = ", shown(root), ": give an object {...}"); }
    const auto schema = root.find("schema");
    const auto* name = schema == root.end() ? nullptr : schema->get_ptr<const std::string*>();
    if (name == nullptr || *name != "mustafar.recipe") {
        refuse("schema", schema == root.end() ? ": missing" : " = " + shown(*schema),
               R"(; give "schema": "mustafar.recipe")");
    }
    const auto version = root.find("version");
    if (version == root.end() || !version->is_number_integer() || *version != 1) {
        refuse("version", version == root.end() ? ": missing" : " = " + shown(*version),
               "; this library reads version 1 of mustafar.recipe; give \"version\": 1");
    }
}

Window read_window(const Json& node) {
    const ObjectReader object(node, "window", window_keys);
    Window window;
    const auto count = [&](std::string_view key, std::uint32_t& out) {
        if (const Json* value = object.find(key)) {
            out = static_cast<std::uint32_t>(
                read_integer(*value, object.path_of(key), 0, window_max));
        }
    };
    count("recent", window.recent);
    count("sink", window.sink);
    if (const Json* value = object.find("step")) {
        window.step = read_one_of(*value, object.path_of("step"), steps_allowed);
    }
    return window;
}

std::uint32_t read_tokens(const Json& value, const std::string& path) {
    return static_cast<std::uint32_t>(read_integer(value, path, 0, tokens_max));
}

Budget read_budget(const Json& value, const std::string& path, bool may_be_array) {
    if (!may_be_array || !value.is_array()) { return {{read_tokens(value, path)}, false}; }
    Budget budget{{}, true};
    for (const Json& item : read_array(value, path, static_cast<std::size_t>(kv_heads_max))) {
        budget.tokens.push_back(read_tokens(item, cat(path, "[", budget.tokens.size(), "]")));
    }
    if (budget.tokens.empty()) { refuse(path, ": empty; give one number, or one per kv head"); }
    return budget;
}

std::vector<std::int32_t> read_protect(const Json& node) {
    std::vector<std::int32_t> layers;
    for (const Json& item : read_array(node, "protect", static_cast<std::size_t>(2 * layers_max))) {
        const std::string path = cat("protect[", layers.size(), "]");
        layers.push_back(
            static_cast<std::int32_t>(read_integer(item, path, -layers_max, layers_max - 1)));
    }
    // In the order the layers have: from the front, then from the end.
    std::sort(layers.begin(), layers.end(),
              [](std::int32_t a, std::int32_t b) { return (a < 0) == (b < 0) ? a < b : b < 0; });
    layers.erase(std::unique(layers.begin(), layers.end()), layers.end());
    return layers;
}

class EntryReader {
  public:
    explicit EntryReader(Document& document) : document_(document) {}

    void read_layers(const Json& node) {
        for (const Json& item : read_array(node, "layers", entries_max)) {
            LayerEntry entry;
            entry.path = cat("layers[", document_.layers.size(), "]");
            const ObjectReader object(item, entry.path, layer_keys);
            read_common(object, entry, layers_max, true);
            if (const Json* heads = object.find("heads")) { read_heads(*heads, entry); }
            document_.layers.push_back(std::move(entry));
        }
    }

  private:
    void read_heads(const Json& node, LayerEntry& layer) {
        const std::string path = layer.path + ".heads";
        for (const Json& item : read_array(node, path, entries_max)) {
            HeadEntry entry;
            entry.path = cat(path, "[", layer.heads.size(), "]");
            read_common(ObjectReader(item, entry.path, head_keys), entry, kv_heads_max, false);
            layer.heads.push_back(std::move(entry));
        }
    }

    void read_common(const ObjectReader& object, HeadEntry& entry, std::int64_t limit, bool array) {
        if (++entries_ > entries_max) {
            refuse(entry.path, ": more than ", entries_max,
                   " entries of layers and heads together; join those that say the same");
        }
        const std::string at = object.path_of("at");
        entry.at = parse_at(read_string(object.require("at"), at), at, limit);
        if (const Json* side = object.find("k")) {
            entry.k = read_side(*side, document_, object.path_of("k"), Side::k);
        }
        if (const Json* side = object.find("v")) {
            entry.v = read_side(*side, document_, object.path_of("v"), Side::v);
        }
        if (const Json* budget = object.find("budget")) {
            entry.budget = read_budget(*budget, object.path_of("budget"), array);
        }
    }

    Document& document_;
    std::size_t entries_ = 0;
};

// Defaults written out, so that equal recipes have equal text; they must make sense on their own,
// whatever the overrides say, for written out there is no telling which of them were given.
void finish_side(SidePatch& side, std::uint32_t origin, const Document& document) {
    fill_defaults(side, origin);
    if (side.method.is(Method::token_topk) && side.keep && side.keep->is_all()) {
        side.method.set(Method::none, origin);
        side.keep.clear();
    }
    SideRules{document.paths, MUSTAFAR_INVALID_ARGUMENT}.check(side, true);
}

} // namespace

Document read_document(const Json& root) {
    check_identity(root);
    const ObjectReader object(root, "", recipe_keys);
    Document document;
    document.paths = {"k", "v"};
    const auto take = [&](std::string_view key, auto&& read) {
        if (const Json* value = object.find(key)) { read(*value); }
    };
    take("name", [&](const Json& value) { document.name = read_string(value, "name"); });
    take("note", [&](const Json& value) { document.note = read_string(value, "note"); });
    take("window", [&](const Json& value) { document.window = read_window(value); });
    take("precise", [&](const Json& value) { document.precise = read_bool(value, "precise"); });
    take("k", [&](const Json& value) { document.k = read_side(value, document, "k", Side::k); });
    take("v", [&](const Json& value) { document.v = read_side(value, document, "v", Side::v); });
    take("budget", [&](const Json& value) {
        document.budget = read_budget(value, "budget", false).tokens.front();
    });
    take("protect", [&](const Json& value) { document.protect = read_protect(value); });
    take("layers", [&](const Json& value) { EntryReader(document).read_layers(value); });
    finish_side(document.k, origin_k, document);
    finish_side(document.v, origin_v, document);
    return document;
}

} // namespace mustafar::recipes
