// SPDX-License-Identifier: Apache-2.0
// Recipes: text in, canonical text and digest out, and their meaning for a geometry.
// This folder is the only place of the library that reads JSON.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "recipe/spec.hpp"

namespace mustafar {

// The meaning of a recipe for one geometry, heads in order layer * kv_heads + head.
struct ResolvedRecipe {
    Window window;
    bool precise = false;
    std::vector<HeadSpec> heads;
    std::vector<float> centres; // centres that came with the recipe
    const HeadSpec& head(std::uint32_t layer, std::uint32_t kv_head, std::uint32_t kv_heads) const {
        return heads[std::size_t{layer} * kv_heads + kv_head];
    }
};

class Recipe {
  public:
    // A built-in name, a shorthand ("k64i4/v128i2") or JSON. Throws Error{INVALID_ARGUMENT} with
    // the path of the key at fault.
    static std::shared_ptr<const Recipe> parse(std::string_view text);

    const std::string& json() const; // canonical
    const std::string&
    digest() const; // 32 hex digits, XXH3-128 of the canonical JSON without name and note

    // Throws Error{UNSUPPORTED} where the recipe does not fit the geometry.
    ResolvedRecipe resolve(const Geometry& geometry) const;

    ~Recipe();
    Recipe(const Recipe&) = delete;
    Recipe& operator=(const Recipe&) = delete;

  private:
    struct Document;
    explicit Recipe(std::unique_ptr<const Document> document);
    std::unique_ptr<const Document> document_;
    std::string json_;
    std::string digest_;
};

struct NamedRecipe {
    const char* name;
    const char* sentence;
    const char* json; // as a user could have written it
};
std::span<const NamedRecipe> named_recipes();

} // namespace mustafar
