// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "experiment/output.hpp"

namespace mustafar::experiment {

namespace {

constexpr std::size_t name_width = 17;

// Names that do not fit lose their middle.
std::string fitted(const std::string& name) {
    if (name.size() <= name_width) { return name; }
    return name.substr(0, name_width - 7) + ".." + name.substr(name.size() - 5);
}

std::string percent(double ratio) {
    return std::isnan(ratio) ? "-" : fmt::format("{:.1f}%", 100 * ratio);
}

std::string heading(const Report& report) {
    std::string kernels;
    for (const Kernel& kernel : report.kernels) {
        kernels += (kernels.empty() ? "" : " ") + kernel.name;
    }
    const Settings& s = report.settings;
    return fmt::format(
        "machine  {}, {} of {} threads; {}\n"
        "library  {} ({}); kernels {}\n"
        "measure  {}, sides {}{}, seed {}\n",
        report.machine.cpu, report.machine.threads, report.machine.cores, report.machine.os,
        report.library, report.build, kernels, text_of(s.measure), text_of(s.sides),
        s.drop_mass > 0.0F ? fmt::format(", drop mass {}", s.drop_mass) : "", s.seed);
}

std::string error_line(const Row& row) {
    return fmt::format(
        "{:<{}} {:>7} {:>5} {:>5} {:>6} {:>6} {:>6} {:>6} {:>7} {:>7} @{:<2} {:>6} {:>7}\n",
        fitted(row.recipe), name_width, whole_number(row.bytes_per_token),
        whole_number(row.row_bytes_k), whole_number(row.row_bytes_v), percent(row.body_ratio),
        percent(row.cache_ratio), short_number(row.overall.k), short_number(row.overall.v),
        short_number(row.overall.out), short_number(row.worst), row.worst_layer,
        short_number(row.overall.out_max), short_number(row.overall.kl));
}

// Size and error of every recipe on one trace.
std::string error_table(const Report& report, const TraceInfo& trace) {
    const Shape& shape = report.shapes[trace.shape];
    std::string text =
        fmt::format("\n{}: {} tokens, {} queries; {} layers, {} kv heads, d {}\n"
                    "{:<{}} {:>7} {:>5} {:>5} {:>6} {:>6} {:>6} {:>6} {:>7} {:>11} {:>6} {:>7}\n",
                    trace.name, trace.tokens, trace.queries, shape.layers, shape.kv_heads,
                    shape.head_dim, "recipe", name_width, "B/token", "row K", "row V", "of f16",
                    "cache", "K err", "V err", "out err", "worst layer", "max", "KL");
    std::size_t lines = 0;
    for (const Row& row : report.rows) {
        if (row.trace == trace.name) {
            text += error_line(row);
            ++lines;
        }
    }
    return lines == 0 ? "" : text;
}

std::string even_text(const Timing& timing, std::size_t baseline, const char* name) {
    if (timing.recipe.starts_with(name)) { return "="; }
    const auto& length = timing.break_even[baseline];
    return length ? fmt::format("{}", *length) : "-";
}

double pack_time(const Report& report, std::size_t shape, const std::string& recipe) {
    for (const Row& row : report.rows) {
        if (row.shape == shape && row.recipe == recipe) { return row.pack_ns_per_token / 1e3; }
    }
    return not_measured;
}

// The last three; the report and the JSON have all of them.
std::vector<std::size_t> shown_lengths(std::size_t count) {
    std::vector<std::size_t> shown;
    for (std::size_t i = count > 3 ? count - 3 : 0; i < count; ++i) { shown.push_back(i); }
    return shown;
}

std::string time_line(const Report& report, std::size_t index, const Timing& timing) {
    const double unit = time_unit(report.shapes[index]).ns;
    std::string text = fmt::format("{:<{}} {:>7}", fitted(timing.recipe), name_width,
                                   short_number(pack_time(report, index, timing.recipe)));
    for (const std::size_t i : shown_lengths(timing.lengths.size())) {
        text += fmt::format(" {:>7}", short_number(timing.lengths[i].p50 / unit));
    }
    const TimedLength& last = timing.lengths.back();
    text += fmt::format(
        " {:>16} {:>6}",
        fmt::format("[{}..{}]", short_number(last.p10 / unit), short_number(last.p90 / unit)),
        short_number(last.gigabytes_per_second()));
    for (std::size_t i = 0; i < baselines.size(); ++i) {
        text += fmt::format(" {:>7}", even_text(timing, i, baselines[i]));
    }
    return text + "\n";
}

// Time of every recipe on one shape.
std::string time_table(const Report& report, std::size_t index) {
    const Shape& shape = report.shapes[index];
    if (shape.timings.empty() || shape.timings.front().lengths.empty()) { return ""; }
    const auto& lengths = shape.timings.front().lengths;
    std::string text =
        fmt::format("\ntime in {}; {} layers, {} q and {} kv heads, d {}; {} rounds, interleaved\n",
                    time_unit(shape).name, shape.layers, shape.q_heads, shape.kv_heads,
                    shape.head_dim, lengths.back().samples.size());
    std::string head = fmt::format("{:<{}} {:>7}", "recipe", name_width, "pack us");
    for (const std::size_t i : shown_lengths(lengths.size())) {
        head += fmt::format(" {:>7}", fmt::format("@{}", lengths[i].tokens));
    }
    head += fmt::format(" {:>16} {:>6} {:>7} {:>7} {:>7}\n", "[p10..p90]", "GB/s", ">f16", ">int8",
                        ">int4");
    text += head;
    for (const Timing& timing : shape.timings) { text += time_line(report, index, timing); }
    return text;
}

} // namespace

std::string short_number(double value) {
    if (std::isnan(value)) { return "-"; }
    const double size = std::abs(value);
    if (size == 0.0) { return "0"; }
    if (size < 1e-4) { return fmt::format("{:.0e}", value); }
    if (size >= 99999.5) { return fmt::format("{:.2e}", value); }
    const int digits = size >= 99.95     ? 0
                       : size >= 9.995   ? 1
                       : size >= 0.9995  ? 2
                       : size >= 0.00995 ? 3
                                         : 4;
    return fmt::format("{:.{}f}", value, digits);
}

std::string whole_number(double value) {
    if (std::isnan(value)) { return "-"; }
    return fmt::format("{:.{}f}", value, value == std::floor(value) ? 0 : 1);
}

TimeUnit time_unit(const Shape& shape) {
    double slowest = 0.0;
    for (const Timing& timing : shape.timings) {
        slowest = std::max(slowest, timing.lengths.back().p90);
    }
    return slowest < 2e7 ? TimeUnit{1e3, "us"} : TimeUnit{1e6, "ms"};
}

std::string short_time(double ns) {
    return ns < 1e3   ? short_number(ns) + " ns"
           : ns < 1e6 ? short_number(ns / 1e3) + " us"
                      : short_number(ns / 1e6) + " ms";
}

std::string table_text(const Report& report) {
    std::string text = heading(report);
    for (const TraceInfo& trace : report.traces) { text += error_table(report, trace); }
    text += "\nB/token: body rows, all layers and kv heads; of f16: their share; cache: whole "
            "cache, window and\n"
            "tables included. err: relative Frobenius, mean over layers; max: largest / largest; "
            "KL in nats.\n";
    bool timed = false;
    for (std::size_t i = 0; i < report.shapes.size(); ++i) {
        const std::string table = time_table(report, i);
        timed = timed || !table.empty();
        text += table;
    }
    if (timed) {
        text += "\npack us: per token; @N: one decode step of attend through all layers, N tokens "
                "held, p50; [p10..p90]\n"
                "and GB/s at the last N. >f16, >int8, >int4: tokens from which the recipe attends "
                "faster than that\n"
                "dense cache, by lines fitted to the medians; - where it never does, or not beyond "
                "the spread.\n";
    }
    return text;
}

std::string verified_text(const std::vector<Verified>& verified) {
    std::string text = fmt::format("dense attention against the outputs that came with the traces\n"
                                   "{:<32} {:>9} {:>9} {:>9} {:>12} {:>9} {:>8} {:>10} {:>10}\n",
                                   "trace", "out", "out max", "lse", "own float64", "bound", "",
                                   "usual out", "usual max");
    for (const Verified& v : verified) {
        text += fmt::format("{:<32} {:>9.1e} {:>9.1e} {:>9.1e} {:>12.1e} {:>9.0e} {:>8} {:>10.1e} "
                            "{:>10.1e}\n",
                            v.trace, v.out, v.out_max, v.lse, v.oracle_out, v.bound,
                            v.ok ? "ok" : "DIFFERS", v.usual_out, v.usual_out_max);
    }
    text += "out, out max, lse: of a recipe that asks for precise sums, which the bound holds for; "
            "usual: without.\n";
    return text;
}

} // namespace mustafar::experiment
