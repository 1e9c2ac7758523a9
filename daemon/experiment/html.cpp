// SPDX-License-Identifier: Apache-2.0
// The report as one HTML file: no network, no script. Pictures are plot_*.cpp, looks are html_style.hpp.
#include <cmath>

#include <fmt/format.h>

#include "experiment/html_style.hpp"
#include "experiment/output.hpp"
#include "experiment/plots.hpp"
#include "experiment/svg.hpp"

namespace mustafar::experiment {

namespace {

std::string figure(const char* style, const std::string& title, const std::string& svg,
                   const std::string& caption) {
    return fmt::format("<figure class=\"{}\"><h3>{}</h3>\n{}<figcaption>{}</figcaption></figure>\n",
                       style, escaped(title), svg, caption);
}

std::string percent(double ratio) {
    return std::isnan(ratio) ? "-" : fmt::format("{:.1f} %", 100 * ratio);
}

std::string table(const std::vector<const char*>& heads, const std::string& body) {
    std::string out = "<div class=\"scroll\"><table><thead><tr>";
    for (const char* head : heads) { out += fmt::format("<th>{}</th>", head); }
    return out + "</tr></thead>\n<tbody>\n" + body + "</tbody></table></div>\n";
}

std::string cells(const std::vector<std::string>& values) {
    std::string out = "<tr>";
    for (const std::string& value : values) { out += "<td>" + escaped(value) + "</td>"; }
    return out + "</tr>\n";
}

std::string facts(const Report& report) {
    std::string kernels;
    for (const Kernel& kernel : report.kernels) {
        kernels += (kernels.empty() ? "" : ", ") + kernel.op + ": " + kernel.name;
    }
    const Settings& s = report.settings;
    std::string out = "<dl>";
    const auto fact = [&](const char* name, const std::string& value) {
        out += fmt::format("<dt>{}</dt><dd>{}</dd>\n", name, escaped(value));
    };
    fact("machine", fmt::format("{}, {} of {} threads, {}", report.machine.cpu,
                                report.machine.threads, report.machine.cores, report.machine.os));
    fact("library", fmt::format("libmustafar {}, ABI {}, commit {}; {}", report.library, report.abi,
                                report.commit, report.build));
    fact("kernels", kernels);
    fact("measure",
         fmt::format("{}; sides {}; drop mass {}; seed {}; {:.0f} s of work", text_of(s.measure),
                     text_of(s.sides), s.drop_mass, s.seed, report.seconds));
    return out + "</dl>\n";
}

std::string error_rows(const Report& report, const TraceInfo& trace) {
    std::string out;
    for (const Row& row : report.rows) {
        if (row.trace != trace.name) { continue; }
        out +=
            cells({row.recipe, whole_number(row.bytes_per_token), whole_number(row.row_bytes_k),
                   whole_number(row.row_bytes_v), percent(row.body_ratio), percent(row.cache_ratio),
                   fmt::format("{}", row.window_bytes), short_number(row.overall.k),
                   short_number(row.overall.v), short_number(row.overall.out),
                   short_number(row.worst), fmt::format("{}", row.worst_layer),
                   short_number(row.overall.out_max), short_number(row.overall.kl)});
    }
    return out;
}

std::string trace_section(const Report& report, const TraceInfo& trace) {
    const Shape& shape = report.shapes[trace.shape];
    std::string out = fmt::format("<h2>{}</h2>\n<p class=\"soft\">{} tokens, {} queries, {} "
                                  "layers, {} query and {} kv heads, head dim "
                                  "{}, {}</p>\n<div class=\"pair\">\n",
                                  escaped(trace.name), trace.tokens, trace.queries, shape.layers,
                                  shape.q_heads, shape.kv_heads, shape.head_dim, shape.dtype);
    out += figure(
        "", "Error against bytes", plot_error_against_bytes(report, trace),
        "Down and left is better. Dot: mean over layers; its line reaches up to the worst layer. "
        "Filled: no other recipe has less error in as few bytes. Errors below the axis stand on "
        "the "
        "axis. Errors do not rank recipes end to end: docs/experiments.md, section 5.");
    out += figure("", "Error of the attention output, per layer", plot_layer_errors(report, trace),
                  "Darker (on dark paper: brighter) is worse, logarithmic. Layers that look far "
                  "back suffer most.");
    out += "</div>\n";
    return out +
           table({"recipe", "B/token", "row K", "row V", "of f16", "cache of f16", "window B",
                  "K error", "V error", "out error", "worst layer", "which", "max", "KL, nats"},
                 error_rows(report, trace));
}

std::string time_rows(const Shape& shape) {
    const double unit = time_unit(shape).ns;
    std::string out;
    for (const Timing& timing : shape.timings) {
        std::vector<std::string> values = {timing.recipe};
        for (const TimedLength& length : timing.lengths) {
            values.push_back(fmt::format("{} [{}..{}]", short_number(length.p50 / unit),
                                         short_number(length.p10 / unit),
                                         short_number(length.p90 / unit)));
        }
        values.push_back(short_number(timing.lengths.back().gigabytes_per_second()));
        for (const auto& length : timing.break_even) {
            values.push_back(length ? fmt::format("{}", *length) : "-");
        }
        out += cells(values);
    }
    return out;
}

std::string time_section(const Shape& shape) {
    if (shape.timings.empty() || shape.timings.front().lengths.empty()) { return ""; }
    std::string out =
        fmt::format("<h2>Time, head dim {}, {} layers, {} query and {} kv heads</h2>\n"
                    "<p class=\"soft\">Data of {}; one query through all layers; recipes "
                    "interleaved in every round, {} rounds at the longest length.</p>\n",
                    shape.head_dim, shape.layers, shape.q_heads, shape.kv_heads,
                    escaped(shape.trace), shape.timings.front().lengths.back().samples.size());
    out += figure(
        "wide", "Time of a decode step against length", plot_time_against_length(shape),
        "Medians, with p10 to p90 as a vertical line. Thick grey: the dense caches that others are "
        "compared with.");
    std::vector<std::string> names;
    for (const TimedLength& length : shape.timings.front().lengths) {
        names.push_back(fmt::format("{} at {} [p10..p90]", time_unit(shape).name, length.tokens));
    }
    std::vector<const char*> heads = {"recipe"};
    for (const std::string& name : names) { heads.push_back(name.c_str()); }
    heads.insert(heads.end(), {"GB/s", "faster than f16 from", "than int8 from", "than int4 from"});
    return out + table(heads, time_rows(shape));
}

} // namespace

std::string html_text(const Report& report) {
    std::string out =
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<title>libmustafar: bytes, error and time</title>\n<style>" +
        std::string(html_style) +
        "</style></head>\n<body>\n<h1>Bytes, error and time of compressed KV caches</h1>\n"
        "<p class=\"soft\">Recorded keys, values and queries, replayed into a cache per recipe and "
        "compared "
        "with float64 attention on the original data.</p>\n";
    out += "<pre><code>" + escaped(report.settings.command) + "</code></pre>\n" + facts(report);
    for (const TraceInfo& trace : report.traces) { out += trace_section(report, trace); }
    for (const Shape& shape : report.shapes) { out += time_section(shape); }
    return out + "<h2>How to read this</h2>\n<p>B/token: bytes of the packed rows of one token, "
                 "all layers and kv "
                 "heads; \"of f16\" is their share. \"cache of f16\" counts everything the cache "
                 "holds: window, "
                 "tables, page padding. Errors are relative Frobenius norms, averaged over layers; "
                 "max is the "
                 "largest difference divided by the largest output. \"faster from\" is the length "
                 "of context from "
                 "which the line fitted to a recipe's medians lies below that of the dense cache; "
                 "- where it never "
                 "does, or not beyond the spread of the samples. Formulas: "
                 "docs/experiments.md.</p>\n</body></html>\n";
}

} // namespace mustafar::experiment
