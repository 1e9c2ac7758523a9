// SPDX-License-Identifier: Apache-2.0
// What POST /v1/jobs asks for, read strictly once and kept with everything that was left out filled in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "experiment/recipes.hpp"
#include "experiment/settings.hpp"
#include "experiment/synthetic.hpp"
#include "json/fields.hpp"

namespace mustafar::daemon {

struct Service;

struct JobSpec {
    std::string label;
    std::vector<std::string> traces; // names; empty: synthetic
    std::optional<experiment::Synthetic> synthetic;
    std::vector<std::uint32_t> threads; // one item each
    experiment::Settings settings;      // without traces, recipes and threads
    Json request;                       // the body, canonical: reads as this spec again
    Json recipes;                       // [{"name", "json"}]
};

// Throws Problem bad_body, and what the library refuses a recipe with.
JobSpec read_spec(const Service& service, const Json& body);

// A spec that was kept: its recipes mean what they meant then.
JobSpec read_kept_spec(const Json& request, const Json& recipes);

// As the engine takes them: changed by "measure" and "sides", with different names.
std::vector<experiment::LoadedRecipe> load_recipes(const JobSpec& spec);

} // namespace mustafar::daemon
