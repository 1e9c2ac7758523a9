// SPDX-License-Identifier: Apache-2.0
#include "experiment/experiment.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "experiment/machine.hpp"
#include "experiment/oracle.hpp"
#include "experiment/recipes.hpp"
#include "experiment/replay.hpp"
#include "experiment/setup.hpp"
#include "experiment/timing.hpp"

namespace mustafar::experiment {

namespace {

constexpr double replay_share = 0.75; // of the progress bar; the rest is timing

struct Plan {
    const Settings& settings;
    Watcher& watcher;
    Clock::time_point start = Clock::now();
    std::vector<LoadedRecipe> recipes;
    std::vector<Trace> traces;
    Context context;
    std::vector<LoadedRecipe> extra;                // baselines that nobody asked for
    std::array<std::size_t, 3> baselines{};         // places in recipes, then extra
    std::vector<std::vector<std::uint32_t>> layers; // per trace
    std::vector<std::size_t> shape_trace;           // per shape, the trace that is timed
};

void describe(Plan& plan, Report& report) {
    report.settings = plan.settings;
    report.machine = this_machine();
    report.library = mustafar_version();
    report.abi = mustafar_abi_version();
    report.build = mustafar_build_text();
    report.commit = commit_text();
    auto stats = sized<mustafar_context_stats>();
    call("context", mustafar_context_get_stats, plan.context.get(), &stats);
    report.machine.threads = stats.threads;
    for (std::size_t i = 0; i < mustafar_kernel_count(); ++i) {
        auto row = sized<mustafar_kernel_info>();
        call("kernels", mustafar_kernel_at, i, &row);
        const auto same = [&](const Kernel& kernel) { return kernel.op == row.op; };
        if (std::ranges::none_of(report.kernels, same)) {
            auto chosen = sized<mustafar_kernel_info>();
            call("kernels", mustafar_context_kernel, plan.context.get(), row.op, &chosen);
            report.kernels.push_back({row.op, chosen.name});
        }
    }
}

// Sorts traces into shapes.
void find_shapes(Plan& plan, Report& report) {
    for (std::size_t i = 0; i < plan.traces.size(); ++i) {
        const Trace& trace = plan.traces[i];
        std::size_t shape = 0;
        while (shape < report.shapes.size() &&
               !plan.traces[plan.shape_trace[shape]].same_shape(trace)) {
            ++shape;
        }
        if (shape == report.shapes.size()) {
            plan.shape_trace.push_back(i);
            report.shapes.push_back({trace.name,
                                     static_cast<std::uint32_t>(plan.layers[i].size()),
                                     trace.q_heads,
                                     trace.kv_heads,
                                     trace.head_dim,
                                     mustafar_dtype_name(trace.dtype),
                                     {}});
        }
        report.traces.push_back(
            {trace.name, trace.model, trace.kind, trace.tokens, trace.queries, shape});
    }
}

// The baselines are whole: a recipe of their name with only one side compressed does not count.
void find_baselines(Plan& plan) {
    const bool whole = plan.settings.sides == Sides::both;
    for (std::size_t i = 0; i < baselines.size(); ++i) {
        const auto asked = std::ranges::find(plan.recipes, baselines[i], &LoadedRecipe::name);
        plan.baselines[i] = static_cast<std::size_t>(asked - plan.recipes.begin());
        if (asked == plan.recipes.end() || !whole) {
            plan.baselines[i] = plan.recipes.size() + plan.extra.size();
            plan.extra.push_back(
                change_recipe(load_recipe(baselines[i]), plan.settings.measure, Sides::both));
            plan.extra.back().name += whole ? "" : " (K+V)";
        }
    }
}

void prepare(Plan& plan, Report& report) {
    const Settings& settings = plan.settings;
    for (const Trace& trace : plan.traces) {
        plan.layers.push_back(chosen_layers(settings, trace));
        for (const LoadedRecipe& recipe : plan.recipes) { // refuse now what would be refused later
            create_cache(plan.context.get(), trace, recipe, trace.tokens,
                         settings.measure == Measure::decode);
            if (settings.timing) { create_cache(plan.context.get(), trace, recipe, 1, true); }
        }
    }
    find_baselines(plan);
    describe(plan, report);
    find_shapes(plan, report);
    plan.watcher.begun(report);
}

void replay_all(Plan& plan, Report& report) {
    const double share = plan.settings.timing ? replay_share : 1.0;
    const auto jobs = static_cast<double>(plan.traces.size() * plan.recipes.size());
    for (std::size_t i = 0; i < plan.traces.size(); ++i) {
        const Trace& trace = plan.traces[i];
        plan.watcher.progress(share * static_cast<double>(report.rows.size()) / jobs,
                              "dense float64 attention of " + trace.name);
        const auto oracle =
            attend_dense(trace, plan.layers[i], plan.settings.threads, plan.watcher);
        const ReplayInput input{plan.context.get(), trace,         oracle,
                                plan.layers[i],     plan.settings, plan.watcher};
        for (const LoadedRecipe& recipe : plan.recipes) {
            const auto done = static_cast<double>(report.rows.size());
            const std::string what = fmt::format("{} on {}", recipe.name, trace.name);
            Row row = replay(input, recipe, [&](double part) {
                plan.watcher.progress(share * (done + part) / jobs, what);
            });
            row.shape = report.traces[i].shape;
            report.rows.push_back(std::move(row));
            plan.watcher.row(report, report.rows.size() - 1);
        }
    }
}

void time_all(Plan& plan, Report& report) {
    const auto budget = std::chrono::duration_cast<Clock::duration>(
        std::chrono::duration<double>(plan.settings.budget_seconds));
    const auto deadline = plan.start + budget;
    const auto shapes = static_cast<double>(report.shapes.size());
    std::vector<const LoadedRecipe*> recipes;
    for (const auto* list : {&plan.recipes, &plan.extra}) {
        for (const LoadedRecipe& recipe : *list) { recipes.push_back(&recipe); }
    }
    for (std::size_t i = 0; i < report.shapes.size(); ++i) {
        const std::size_t index = plan.shape_trace[i];
        const Trace& trace = plan.traces[index];
        const auto left = (deadline - Clock::now()) / static_cast<int>(report.shapes.size() - i);
        const TimingInput input{plan.context.get(), trace,        plan.layers[index],
                                plan.settings,      plan.watcher, Clock::now() + left,
                                plan.baselines};
        auto timings = time_recipes(input, recipes, [&](double part) {
            plan.watcher.progress(replay_share + (1.0 - replay_share) *
                                                     (static_cast<double>(i) + part) / shapes,
                                  "time of " + trace.name);
        });
        for (std::size_t r = plan.recipes.size(); r < timings.size(); ++r) {
            timings[r].asked = false;
        }
        report.shapes[i].timings = std::move(timings);
        for (std::size_t r = 0; r < report.rows.size(); ++r) {
            if (report.rows[r].shape == i) { plan.watcher.row(report, r); }
        }
    }
}

} // namespace

void run_experiment(const Settings& settings, Inputs inputs, Watcher& watcher, Report& report) {
    Plan plan{settings,
              watcher,
              Clock::now(),
              std::move(inputs.recipes),
              std::move(inputs.traces),
              std::move(inputs.context),
              {},
              {},
              {},
              {}};
    prepare(plan, report);
    replay_all(plan, report);
    if (settings.timing) { time_all(plan, report); }
    report.seconds = std::chrono::duration<double>(Clock::now() - plan.start).count();
    report.complete = true;
}

void run_experiment(const Settings& settings, Watcher& watcher, Report& report) {
    Inputs inputs;
    inputs.recipes = load_recipes(settings.recipes, settings.measure, settings.sides);
    inputs.context = create_context(settings);
    inputs.traces = load_traces(settings);
    run_experiment(settings, std::move(inputs), watcher, report);
}

} // namespace mustafar::experiment
