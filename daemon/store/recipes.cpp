// SPDX-License-Identifier: Apache-2.0
#include "store/recipes.hpp"

#include <mutex>

#include "log.hpp"

namespace mustafar::daemon {

namespace {

constexpr std::size_t file_bytes_max = 1 << 20;

std::optional<std::string> read_all(const File& file) {
    std::string text(file_bytes_max + 1, '\0');
    std::size_t bytes = 0;
    while (bytes < text.size()) {
        const std::size_t got = file.read(text.data() + bytes, text.size() - bytes);
        if (got == 0) { break; }
        bytes += got;
    }
    if (bytes > file_bytes_max) { return std::nullopt; }
    text.resize(bytes);
    return text;
}

} // namespace

Recipe parse_recipe(const std::string& text) {
    return make<mustafar_recipe>(mustafar_recipe_parse, text.data(), text.size());
}

RecipeText text_of(const mustafar_recipe* recipe) {
    return {mustafar_recipe_json(recipe), mustafar_recipe_digest(recipe)};
}

bool is_builtin_recipe(const std::string& name) {
    for (std::size_t i = 0; i < mustafar_recipe_count(); ++i) {
        if (name == mustafar_recipe_name(i)) { return true; }
    }
    return false;
}

Recipes::Recipes(Directory* directory, std::size_t limit) : directory_(directory), limit_(limit) {
    if (directory_ == nullptr) { return; }
    for (const FileInfo& info : directory_->list()) {
        try {
            const auto file = directory_->open(info.name);
            const auto text = file ? read_all(*file) : std::nullopt;
            if (!text) { throw Problem(ProblemType::corrupt, "cannot be read"); }
            recipes_[info.name] = text_of(parse_recipe(*text).get());
        } catch (const Problem& problem) { // never fatal: the others are of use
            log_event("recipe left out", {{"name", info.name}, {"why", problem.what()}});
        }
    }
}

bool Recipes::put(const std::string& name, const RecipeText& recipe) {
    if (is_builtin_recipe(name)) {
        throw Problem(ProblemType::exists, "the library has a recipe of this name",
                      {{"recipe", name}});
    }
    const std::unique_lock lock(mutex_);
    const bool is_new = !recipes_.contains(name);
    if (is_new && recipes_.size() >= limit_) {
        throw Problem(ProblemType::limit_reached, "there are as many recipes as there may be",
                      {{"limit_recipes", limit_}});
    }
    if (directory_ != nullptr) {
        directory_->write(name, true, [&](const File& file) {
            file.write(recipe.json.data(), recipe.json.size());
        });
    }
    recipes_[name] = recipe;
    return is_new;
}

bool Recipes::remove(const std::string& name) {
    const std::unique_lock lock(mutex_);
    if (!recipes_.contains(name)) { return false; }
    if (directory_ != nullptr) { directory_->remove(name); }
    recipes_.erase(name);
    return true;
}

std::optional<RecipeText> Recipes::find(const std::string& name) const {
    const std::shared_lock lock(mutex_);
    const auto at = recipes_.find(name);
    return at == recipes_.end() ? std::nullopt : std::optional(at->second);
}

std::vector<std::pair<std::string, RecipeText>> Recipes::list() const {
    const std::shared_lock lock(mutex_);
    return {recipes_.begin(), recipes_.end()};
}

Recipe Recipes::parse(const std::string& text) const {
    const auto own = find(text);
    return parse_recipe(own ? own->json : text);
}

} // namespace mustafar::daemon
