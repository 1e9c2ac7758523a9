// SPDX-License-Identifier: Apache-2.0
#include "experiment/timing.hpp"

#include <algorithm>
#include <random>

#include <fmt/format.h>

#include "experiment/capi.hpp"
#include "experiment/metrics.hpp"
#include "experiment/replay.hpp"

namespace mustafar::experiment {

namespace {

constexpr std::uint64_t extrapolation =
    16; // break-even is searched up to so many times the longest length

struct Candidate {
    const LoadedRecipe* recipe;
    Cache cache;
    std::uint32_t held = 0; // tokens
};

class Timer {
  public:
    Timer(const TimingInput& input, const std::vector<const LoadedRecipe*>& recipes)
        : in_(input), order_(input.settings.seed),
          options_(attend_options(input.trace, input.settings)),
          out_(std::size_t{input.trace.q_heads} * input.trace.head_dim) {
        for (const LoadedRecipe* recipe : recipes) {
            candidates_.push_back({recipe, create_cache(input.context, input.trace, *recipe,
                                                        input.settings.lengths.back(), true)});
        }
    }

    std::size_t count() const { return candidates_.size(); }

    // Appends until the cache holds `tokens` tokens; the trace starts again where it ends.
    void extend(std::size_t index, std::uint32_t tokens) {
        Candidate& candidate = candidates_[index];
        while (candidate.held < tokens) {
            const std::uint32_t begin = candidate.held % in_.trace.tokens;
            const std::uint32_t end =
                std::min(in_.trace.tokens, begin + std::min(tokens - candidate.held, 256u));
            for (const std::uint32_t layer : in_.layers) {
                append_rows(candidate.cache.get(), in_.trace, layer, begin, end);
            }
            candidate.held += end - begin;
            in_.watcher.check();
        }
    }

    // ns of one decode step: one query through all layers.
    double step(std::size_t index, std::uint32_t round) {
        in_.watcher.check();
        const Candidate& candidate = candidates_[index];
        const std::uint32_t query = in_.trace.queries - 1 - round % in_.trace.queries;
        const std::int64_t heads = in_.trace.q_heads;
        const mustafar_tensor out = f32_tensor(out_.data(), {1, 1, heads, in_.trace.head_dim});
        const mustafar_tensor* none = nullptr;
        const mustafar_cache* caches[] = {candidate.cache.get()};
        const auto begin = Clock::now();
        for (const std::uint32_t layer : in_.layers) {
            const mustafar_tensor q = query_view(in_.trace, layer, query, 1);
            call(candidate.recipe->name, mustafar_attend, caches, std::size_t{1}, layer, &q, none,
                 &options_, &out, none, none, none);
        }
        return std::chrono::duration<double, std::nano>(Clock::now() - begin).count();
    }

    // Rounds over all recipes, each in another order, until there are enough or time is up. `progress` gets 0 .. 1.
    std::vector<std::vector<double>> rounds(Clock::time_point deadline,
                                            const std::function<void(double)>& progress) {
        std::vector<std::vector<double>> samples(count());
        std::vector<std::size_t> order(count());
        for (std::size_t i = 0; i < count(); ++i) {
            order[i] = i;
            step(i, 0); // not counted: caches and pages are touched for the first time
        }
        for (std::uint32_t round = 0; round < in_.settings.repeats; ++round) {
            if (round >= rounds_min && Clock::now() >= deadline) { break; }
            std::ranges::shuffle(order, order_);
            for (const std::size_t i : order) { samples[i].push_back(step(i, round)); }
            progress(static_cast<double>(round + 1) / in_.settings.repeats);
        }
        return samples;
    }

    // What one step has to read: packed rows as they are, dense rows at 16 bits.
    std::uint64_t read_bytes(std::size_t index) const {
        const Candidate& candidate = candidates_[index];
        std::uint64_t sum = 0;
        for (const std::uint32_t layer : in_.layers) {
            auto bytes = sized<mustafar_bytes>();
            call(candidate.recipe->name, mustafar_cache_bytes, candidate.cache.get(), layer,
                 MUSTAFAR_ALL, &bytes);
            sum += bytes.values + bytes.bitmaps + bytes.meta;
            for (std::uint32_t head = 0; head < in_.trace.kv_heads; ++head) {
                std::uint32_t rows = 0;
                std::uint32_t body = 0;
                call(candidate.recipe->name, mustafar_cache_rows, candidate.cache.get(), layer,
                     head, &rows, &body);
                sum += std::uint64_t{rows - body} * in_.trace.head_dim * 4;
            }
        }
        return sum;
    }

  private:
    const TimingInput& in_;
    std::mt19937_64 order_;
    mustafar_attend_options options_;
    std::vector<float> out_;
    std::vector<Candidate> candidates_;
};

TimedLength summary(std::uint32_t tokens, std::uint64_t read_bytes, std::vector<double> samples) {
    TimedLength out;
    out.tokens = tokens;
    out.read_bytes = read_bytes;
    out.p10 = quantile(samples, 0.1);
    out.p50 = quantile(samples, 0.5);
    out.p90 = quantile(samples, 0.9);
    out.samples = std::move(samples);
    return out;
}

std::optional<Line> line_of(const Timing& timing) {
    std::vector<std::pair<double, double>> points;
    for (const TimedLength& length : timing.lengths) {
        points.emplace_back(length.tokens, length.p50);
    }
    return fit_line(points);
}

double half_spread(const Timing& timing) {
    return (timing.lengths.back().p90 - timing.lengths.back().p10) / 2;
}

void find_break_even(std::vector<Timing>& timings, const TimingInput& input) {
    const std::uint64_t longest = input.settings.lengths.back();
    for (std::size_t i = 0; i < input.baselines.size(); ++i) {
        const Timing& against = timings[input.baselines[i]];
        const auto base = line_of(against);
        for (Timing& timing : timings) {
            const auto line = line_of(timing);
            if (!line || !base || &timing == &against) { continue; }
            // A gain inside the spread is no gain.
            const double gained = (base->b - line->b) * static_cast<double>(longest);
            if (gained > std::max(half_spread(timing), half_spread(against))) {
                timing.break_even[i] = break_even(*line, *base, extrapolation * longest);
            }
        }
    }
}

} // namespace

std::vector<Timing> time_recipes(const TimingInput& input,
                                 const std::vector<const LoadedRecipe*>& recipes,
                                 const std::function<void(double)>& progress) {
    Timer timer(input, recipes);
    std::vector<Timing> timings;
    for (const LoadedRecipe* recipe : recipes) { timings.push_back({recipe->name, true, {}, {}}); }
    const std::vector<std::uint32_t>& lengths = input.settings.lengths;
    for (std::size_t n = 0; n < lengths.size(); ++n) {
        for (std::size_t i = 0; i < timer.count(); ++i) {
            timer.extend(i, lengths[n]);
            progress((static_cast<double>(n) +
                      static_cast<double>(i) / static_cast<double>(2 * timer.count())) /
                     static_cast<double>(lengths.size()));
        }
        const auto left = (input.deadline - Clock::now()) / static_cast<int>(lengths.size() - n);
        auto samples = timer.rounds(Clock::now() + left, [&](double part) {
            progress((static_cast<double>(n) + 0.5 + part / 2) /
                     static_cast<double>(lengths.size()));
        });
        for (std::size_t i = 0; i < timer.count(); ++i) {
            timings[i].lengths.push_back(
                summary(lengths[n], timer.read_bytes(i), std::move(samples[i])));
        }
        progress(static_cast<double>(n + 1) / static_cast<double>(lengths.size()));
    }
    find_break_even(timings, input);
    return timings;
}

} // namespace mustafar::experiment
