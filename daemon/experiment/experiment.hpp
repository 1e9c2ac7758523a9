// SPDX-License-Identifier: Apache-2.0
// The experiment as one call, and the smaller questions beside it.
#pragma once

#include <string>
#include <vector>

#include "experiment/capi.hpp"
#include "experiment/recipes.hpp"
#include "experiment/report.hpp"
#include "experiment/settings.hpp"
#include "experiment/trace.hpp"
#include "experiment/watcher.hpp"

namespace mustafar::experiment {

// What an experiment works on, for callers that have it from elsewhere than the files and names in Settings.
struct Inputs {
    std::vector<LoadedRecipe> recipes; // changed by change_recipe, with different names
    std::vector<Trace> traces;         // with different names
    Context context;
};

// Runs it. `report` grows as results come in; after a Failure (Interrupted too) its rows are complete ones.
// Everything that can be refused is refused before the first measurement.
void run_experiment(const Settings& settings, Watcher& watcher, Report& report);
void run_experiment(const Settings& settings, Inputs inputs, Watcher& watcher, Report& report);

// The library's dense attention against the outputs that came with a trace.
struct Verified {
    std::string trace;
    double out = 0.0;        // relative Frobenius, worst layer
    double out_max = 0.0;    // largest difference / largest output, worst layer
    double lse = 0.0;        // largest |difference| / max(1, |lse|)
    double oracle_out = 0.0; // `out` of this program's own float64 attention
    double bound = 0.0;      // by the arithmetic of the row that attends, asked to be precise
    double usual_out = 0.0;  // the same two without being asked: halves may be summed in halves
    double usual_out_max = 0.0;
    bool ok = false; // the three precise ones are within it
};

std::vector<Verified> verify_traces(const Settings& settings, Watcher& watcher);

} // namespace mustafar::experiment
