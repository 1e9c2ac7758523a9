// SPDX-License-Identifier: Apache-2.0
// Times one decode step of attend for several recipes at several lengths, interleaved.
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <vector>

#include "experiment/recipes.hpp"
#include "experiment/report.hpp"
#include "experiment/trace.hpp"
#include "experiment/watcher.hpp"

namespace mustafar::experiment {

using Clock = std::chrono::steady_clock;

struct TimingInput {
    mustafar_context* context = nullptr;
    const Trace& trace; // repeated where a length is beyond it
    const std::vector<std::uint32_t>& layers;
    const Settings& settings;
    Watcher& watcher;
    Clock::time_point deadline;           // no further round after it, once there are rounds_min
    std::array<std::size_t, 3> baselines; // which recipes these are
};

constexpr std::uint32_t rounds_min = 3;

// One Timing per recipe, in order, with break-even lengths against the baselines among them.
// All recipes are held at once, so that each round can time each of them. `progress` gets 0 .. 1.
std::vector<Timing> time_recipes(const TimingInput& input,
                                 const std::vector<const LoadedRecipe*>& recipes,
                                 const std::function<void(double)>& progress);

} // namespace mustafar::experiment
