// SPDX-License-Identifier: Apache-2.0
// What experiment.cpp and verify.cpp both start with.
#pragma once

#include <vector>

#include "experiment/capi.hpp"
#include "experiment/settings.hpp"
#include "experiment/trace.hpp"

namespace mustafar::experiment {

std::vector<Trace> load_traces(const Settings& settings);
// `allocator` may be nullptr; `quota` 0: none.
Context create_context(const Settings& settings, const mustafar_allocator* allocator = nullptr,
                       std::uint64_t quota_bytes = 0);

// Layers of `trace` that the settings name, all if none; a layer that is not there is exit_usage.
std::vector<std::uint32_t> chosen_layers(const Settings& settings, const Trace& trace);

} // namespace mustafar::experiment
