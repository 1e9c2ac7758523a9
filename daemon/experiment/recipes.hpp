// SPDX-License-Identifier: Apache-2.0
// Recipes of the command line: found, parsed, and changed to what is to be measured.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "experiment/capi.hpp"
#include "experiment/settings.hpp"

namespace mustafar::experiment {

struct LoadedRecipe {
    std::string name;   // for tables: its name, shorthand, or file name
    std::string json;   // canonical, after changes
    std::string digest; // of that
    Recipe recipe;
};

// What runs when nobody says which: a dozen of the built-in ones.
std::vector<std::string> default_recipes();

// One argument of --recipes: a list with commas, or one JSON text.
std::vector<std::string> split_recipes(const std::string& argument);

// A built-in name, a shorthand, JSON, or a file that holds one of these. Throws Failure: exit_usage for a name
// nobody knows, exit_data for a file that is missing or wrong.
LoadedRecipe load_recipe(const std::string& text);

// A name or shorthand of the library, or JSON; never a file. `name` is for tables. Throws Refused.
LoadedRecipe parse_named_recipe(const std::string& name, const std::string& text);

// Appends `recipe` unless it is there already; one of the same name gets "#2", "#3", ...
void add_recipe(std::vector<LoadedRecipe>& recipes, LoadedRecipe recipe);

// All of `texts`, each once, with different names, and changed by change_recipe.
std::vector<LoadedRecipe> load_recipes(std::span<const std::string> texts, Measure measure,
                                       Sides sides);

// The recipe with only one side compressed, and with the window that `measure` asks for.
LoadedRecipe change_recipe(LoadedRecipe loaded, Measure measure, Sides sides);

constexpr unsigned measured_window = 32; // newest tokens kept dense by Measure::window

} // namespace mustafar::experiment
