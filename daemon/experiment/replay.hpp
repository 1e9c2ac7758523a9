// SPDX-License-Identifier: Apache-2.0
// Replays one trace into a cache of one recipe and compares everything with the original.
#pragma once

#include <functional>
#include <vector>

#include "experiment/capi.hpp"
#include "experiment/oracle.hpp"
#include "experiment/recipes.hpp"
#include "experiment/report.hpp"
#include "experiment/trace.hpp"
#include "experiment/watcher.hpp"

namespace mustafar::experiment {

struct ReplayInput {
    mustafar_context* context = nullptr;
    const Trace& trace;
    const std::vector<OracleLayer>& oracle;
    const std::vector<std::uint32_t>& layers; // to replay; the others stay empty
    const Settings& settings;
    Watcher& watcher;
};

// An empty cache for `tokens` tokens of a trace's shape. Refusals name trace and recipe.
Cache create_cache(mustafar_context* context, const Trace& trace, const LoadedRecipe& recipe,
                   std::uint32_t tokens, bool pack_by_itself);

// Appends rows [begin, end) of the trace to one layer.
void append_rows(mustafar_cache* cache, const Trace& trace, std::uint32_t layer,
                 std::uint32_t begin, std::uint32_t end);

// Queries [first, first + count) of the trace as attend takes them: [1, count, q_heads, head_dim].
mustafar_tensor query_view(const Trace& trace, std::uint32_t layer, std::uint32_t first,
                           std::uint32_t count);

mustafar_attend_options attend_options(const Trace& trace, const Settings& settings);

// Everything but the time of attend. `progress` gets 0 .. 1.
Row replay(const ReplayInput& input, const LoadedRecipe& recipe,
           const std::function<void(double)>& progress);

} // namespace mustafar::experiment
