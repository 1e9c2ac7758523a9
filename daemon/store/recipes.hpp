// SPDX-License-Identifier: Apache-2.0
// Recipes by name: those of the library, and those that clients have put, kept as files where there is a data folder.
#pragma once

#include <map>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

#include "library.hpp"
#include "store/directory.hpp"

namespace mustafar::daemon {

struct RecipeText {
    std::string json;   // canonical
    std::string digest; // 32 hex digits
};

// Threads: any.
class Recipes {
  public:
    // `directory` may be nullptr: then they are kept in memory only. Files that hold no recipe are left out.
    Recipes(Directory* directory, std::size_t limit);
    // True where the name is new. Throws exists for a name of the library's, limit_reached, storage.
    bool put(const std::string& name, const RecipeText& recipe);
    bool remove(const std::string& name);                          // false: there is none
    std::optional<RecipeText> find(const std::string& name) const; // of clients
    std::vector<std::pair<std::string, RecipeText>> list() const;  // of clients

    // A name (a client's or the library's) or a shorthand. Throws what the library refuses it with.
    Recipe parse(const std::string& text) const;

  private:
    Directory* directory_;
    const std::size_t limit_;
    mutable std::shared_mutex mutex_;
    std::map<std::string, RecipeText> recipes_;
};

RecipeText text_of(const mustafar_recipe* recipe);
Recipe parse_recipe(const std::string& text);
bool is_builtin_recipe(const std::string& name);

} // namespace mustafar::daemon
