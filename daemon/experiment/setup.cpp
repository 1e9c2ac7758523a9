// SPDX-License-Identifier: Apache-2.0
#include "experiment/setup.hpp"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

namespace mustafar::experiment {

const char* text_of(Measure measure) {
    return measure == Measure::decode ? "decode" : measure == Measure::window ? "window" : "none";
}

const char* text_of(Sides sides) {
    return sides == Sides::both ? "both" : sides == Sides::k ? "k" : "v";
}

std::vector<Trace> load_traces(const Settings& settings) {
    std::vector<Trace> traces;
    for (const std::filesystem::path& path : settings.traces) {
        Trace trace = load_trace(path);
        const auto same = [&](const Trace& other) { return other.name == trace.name; };
        if (std::ranges::any_of(traces, same)) {
            throw Failure(exit_usage, fmt::format("--trace: two traces are named {}", trace.name));
        }
        trace.keep_last(settings.tokens, settings.queries);
        traces.push_back(std::move(trace));
    }
    return traces;
}

Context create_context(const Settings& settings, const mustafar_allocator* allocator,
                       std::uint64_t quota_bytes) {
    auto options = sized<mustafar_context_options>();
    options.threads = settings.threads;
    options.quota_bytes = quota_bytes;
    if (settings.backend.size() >= sizeof(options.backend)) {
        throw Failure(exit_usage, fmt::format("--backend {}: no such backend", settings.backend));
    }
    std::ranges::copy(settings.backend, options.backend);
    return make<mustafar_context>("context", mustafar_context_create, &options, allocator,
                                  static_cast<mustafar_log_hook*>(nullptr));
}

std::vector<std::uint32_t> chosen_layers(const Settings& settings, const Trace& trace) {
    std::vector<std::uint32_t> layers = settings.layers;
    if (layers.empty()) {
        layers.resize(trace.layers.size());
        std::iota(layers.begin(), layers.end(), 0u);
    }
    if (layers.back() >= trace.layers.size()) {
        throw Failure(exit_usage, fmt::format("--layers: {} has layers 0 to {}, {} was asked for",
                                              trace.name, trace.layers.size() - 1, layers.back()));
    }
    return layers;
}

} // namespace mustafar::experiment
