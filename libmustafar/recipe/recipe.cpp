// SPDX-License-Identifier: Apache-2.0
#include "recipe/recipe.hpp"

#include <xxhash.h>

#include "recipe/document.hpp"
#include "recipe/resolve.hpp"
#include "recipe/text.hpp"

namespace mustafar {

struct Recipe::Document : recipes::Document {};

namespace {

std::string digest_of(const std::string& text) {
    XXH128_canonical_t bytes; // big-endian on every machine
    XXH128_canonicalFromHash(&bytes, XXH3_128bits(text.data(), text.size()));
    std::string hex;
    for (const unsigned char byte : bytes.digest) {
        constexpr std::string_view digits = "0123456789abcdef";
        hex += digits[byte >> 4U];
        hex += digits[byte & 15U];
    }
    return hex;
}

[[noreturn]] void refuse_name(std::string_view text) {
    std::vector<std::string_view> names;
    std::string list;
    for (const NamedRecipe& named : named_recipes()) {
        names.emplace_back(named.name);
        list += recipes::cat(list.empty() ? "" : ", ", named.name);
    }
    const std::string_view guess = recipes::nearest(text, names);
    recipes::refuse("recipe ", recipes::in_quotes(text), ": unknown name; ",
                    guess.empty() ? "" : recipes::cat("did you mean \"", guess, "\"? "),
                    "Known: ", list, "; or a shorthand such as k64i4/v128i2; or JSON");
}

recipes::Document read_shorthand(std::string_view text) {
    const recipes::JsonTree tree = recipes::shorthand_json(text);
    try {
        return recipes::read_document(tree.root());
    } catch (Error& error) { // the path alone would puzzle who wrote no JSON
        error.text = recipes::cat("recipe ", recipes::in_quotes(text), ": ", error.text);
        throw;
    }
}

recipes::Document read_text(std::string_view text) {
    const std::size_t first = text.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos) {
        recipes::refuse(
            "recipe: empty text; give a name, a shorthand such as k64i4/v128i2, or JSON");
    }
    if (text[first] == '{') { return recipes::read_document(recipes::parse_json(text).root()); }
    for (const NamedRecipe& named : named_recipes()) {
        if (text == named.name) {
            return recipes::read_document(recipes::parse_json(named.json).root());
        }
    }
    if (recipes::looks_like_shorthand(text)) { return read_shorthand(text); }
    refuse_name(text);
}

} // namespace

Recipe::Recipe(std::unique_ptr<const Document> document)
    : document_(std::move(document)), json_(recipes::canonical_json(*document_, true)),
      digest_(digest_of(recipes::canonical_json(*document_, false))) {}

Recipe::~Recipe() = default;

std::shared_ptr<const Recipe> Recipe::parse(std::string_view text) {
    auto document = std::make_unique<const Document>(Document{read_text(text)});
    std::shared_ptr<const Recipe> recipe(new Recipe(std::move(document)));
    if (recipe->json().size() > (std::size_t{1} << 20)) { // or nobody could read it back
        recipes::refuse("recipe: its canonical form has ", std::to_string(recipe->json().size()),
                        " bytes; at most 1048576 are read");
    }
    return recipe;
}

const std::string& Recipe::json() const { return json_; }

const std::string& Recipe::digest() const { return digest_; }

ResolvedRecipe Recipe::resolve(const Geometry& geometry) const {
    return recipes::resolve_document(*document_, geometry);
}

} // namespace mustafar
