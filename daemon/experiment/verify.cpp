// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <numeric>
#include <string_view>

#include <fmt/format.h>

#include "experiment/experiment.hpp"
#include "experiment/metrics.hpp"
#include "experiment/oracle.hpp"
#include "experiment/recipes.hpp"
#include "experiment/replay.hpp"
#include "experiment/setup.hpp"

namespace mustafar::experiment {

namespace {

struct Attended {
    std::vector<float> out; // [queries][q_heads][head_dim]
    std::vector<float> lse; // [queries][q_heads]
};

Attended attend_layer(mustafar_cache* cache, const Trace& trace, std::uint32_t layer,
                      const Settings& settings) {
    const std::int64_t heads = trace.q_heads;
    const std::int64_t queries = trace.queries;
    Attended result;
    result.lse.resize(static_cast<std::size_t>(queries * heads));
    result.out.resize(result.lse.size() * trace.head_dim);
    append_rows(cache, trace, layer, 0, trace.tokens);
    const mustafar_tensor q = query_view(trace, layer, 0, trace.queries);
    const mustafar_tensor out =
        f32_tensor(result.out.data(), {1, queries, heads, std::int64_t{trace.head_dim}});
    const mustafar_tensor lse = f32_tensor(result.lse.data(), {1, queries, heads});
    const mustafar_attend_options options = attend_options(trace, settings);
    const mustafar_cache* caches[] = {cache};
    const mustafar_tensor* none = nullptr;
    call("dense on " + trace.name, mustafar_attend, caches, std::size_t{1}, layer, &q, none,
         &options, &out, &lse, none, none);
    return result;
}

// The larger of both; a NaN stays, and then nothing is below the bound.
void raise(double& largest, double value) { largest = value <= largest ? largest : value; }

void compare(const Trace& trace, const TraceLayer& recorded, const OracleLayer& oracle,
             const Attended& attended, Verified& verified) {
    ErrorSum ours;
    ErrorSum own;
    for (std::uint32_t head = 0; head < trace.q_heads; ++head) {
        for (std::uint32_t j = 0; j < trace.queries; ++j) {
            const std::size_t should = trace.query(head, j);
            const std::size_t is = std::size_t{j} * trace.q_heads + head;
            for (std::size_t c = 0; c < trace.head_dim; ++c) {
                ours.add(attended.out[is * trace.head_dim + c], recorded.out[should + c]);
                own.add(oracle.out[should + c], recorded.out[should + c]);
            }
            const double lse = recorded.lse[std::size_t{head} * trace.queries + j];
            raise(verified.lse, std::abs(attended.lse[is] - lse) / std::max(1.0, std::abs(lse)));
        }
    }
    raise(verified.out, ours.relative());
    raise(verified.out_max, ours.relative_max());
    raise(verified.oracle_out, own.relative());
}

// `ref` rounds its outputs alone; others compute in fp32 where the recipe asks for precise.
double bound_of(mustafar_context* context) {
    mustafar_kernel_info row{};
    row.struct_size = sizeof row;
    call("kernel of attend", mustafar_context_kernel, context, "attend", &row);
    return std::string_view(row.backend) == "ref" ? 1e-6 : 1e-5;
}

struct Dense {
    LoadedRecipe precise =
        load_recipe(R"({"schema": "mustafar.recipe", "version": 1, "precise": true})");
    LoadedRecipe usual = load_recipe("dense"); // a row may sum halves in halves
};

Verified verify_trace(mustafar_context* context, const Dense& dense, const Trace& trace,
                      const Settings& settings, Watcher& watcher) {
    Verified verified;
    verified.trace = trace.name;
    const std::vector<std::uint32_t> layers = chosen_layers(settings, trace);
    for (const std::uint32_t layer : layers) {
        if (trace.layers[layer].out.empty() || trace.layers[layer].lse.empty()) {
            throw Failure(
                exit_data,
                fmt::format("{}: tensors \"layers.{}.out\" and \"layers.{}.lse\" are needed "
                            "for --verify",
                            trace.name, layer, layer));
        }
    }
    const auto oracle = attend_dense(trace, layers, settings.threads, watcher);
    const auto compare_all = [&](const LoadedRecipe& recipe, Verified& with) {
        const Cache cache = create_cache(context, trace, recipe, trace.tokens, true);
        for (const std::uint32_t layer : layers) {
            watcher.check();
            compare(trace, trace.layers[layer], oracle[layer],
                    attend_layer(cache.get(), trace, layer, settings), with);
        }
    };
    compare_all(dense.precise, verified);
    Verified usual;
    compare_all(dense.usual, usual);
    verified.usual_out = usual.out;
    verified.usual_out_max = usual.out_max;
    verified.bound = bound_of(context);
    verified.ok = verified.out <= verified.bound && verified.out_max <= verified.bound &&
                  verified.lse <= verified.bound;
    return verified;
}

} // namespace

std::vector<Verified> verify_traces(const Settings& settings, Watcher& watcher) {
    if (settings.tokens != 0) {
        throw Failure(exit_usage, "--verify needs whole traces: leave out --tokens (and --quick)");
    }
    const Dense dense;
    const Context context = create_context(settings);
    std::vector<Verified> results;
    const std::vector<Trace> traces = load_traces(settings);
    for (const Trace& trace : traces) {
        watcher.progress(static_cast<double>(results.size()) / static_cast<double>(traces.size()),
                         "verify " + trace.name);
        results.push_back(verify_trace(context.get(), dense, trace, settings, watcher));
    }
    return results;
}

} // namespace mustafar::experiment
