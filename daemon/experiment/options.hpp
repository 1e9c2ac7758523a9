// SPDX-License-Identifier: Apache-2.0
// The command line of mustafar-experiment.
#pragma once

#include <optional>
#include <string>

#include "experiment/settings.hpp"

namespace mustafar::experiment {

struct Options {
    Settings settings;
    std::string json; // "" = not wanted, "-" = standard output
    std::string csv;
    std::string html;
    bool verify = false;
    bool list_recipes = false;
    bool backends = false;
};

// Nothing where --help was asked for and printed. Throws Failure{exit_usage} for what it does not
// understand, Failure{exit_data} where there is no trace.
std::optional<Options> parse_options(int argc, const char* const* argv);

} // namespace mustafar::experiment
