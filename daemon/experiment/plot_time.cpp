// SPDX-License-Identifier: Apache-2.0
// Time of a decode step against the length of the cache, one line per recipe.
#include <algorithm>
#include <cmath>

#include "experiment/output.hpp"
#include "experiment/plots.hpp"
#include "experiment/svg.hpp"

namespace mustafar::experiment {

namespace {

constexpr double width = 780;
constexpr double height = 420;
constexpr double left = 62;
constexpr double right = width - 190; // labels stand behind
constexpr double top = 16;
constexpr double bottom = height - 46;
constexpr std::size_t colours = 8;

bool is_baseline(const Timing& timing) {
    return std::ranges::any_of(baselines, [&](const char* name) {
        return timing.recipe.starts_with(name) && (timing.recipe == name || !timing.asked);
    });
}

std::string axes(const Scale& x, const Scale& y, const TimeUnit& unit) {
    std::string out;
    for (const double tick : y.ticks()) {
        out += svg_line(left, y(tick), right, y(tick), "grid");
        out += svg_text(left - 7, y(tick) + 4, Anchor::end, "tick",
                        fmt::format("{:g}", tick / unit.ns));
    }
    for (const double tick : x.ticks()) {
        out += svg_line(x(tick), bottom, x(tick), bottom + 4, "axis");
        out += svg_text(x(tick), bottom + 17, Anchor::middle, "tick", fmt::format("{:g}", tick));
    }
    out += svg_line(left, bottom, right, bottom, "axis");
    out += svg_text((left + right) / 2, height - 8, Anchor::middle, "name", "tokens in the cache");
    out += svg_vertical(14, (top + bottom) / 2, "name",
                        fmt::format("one decode step of attend, {}", unit.name)) +
           "\n";
    return out;
}

std::string line(const Timing& timing, const Scale& x, const Scale& y, const std::string& style) {
    std::string points;
    std::string marks;
    for (const TimedLength& length : timing.lengths) {
        points += fmt::format("{:.1f},{:.1f} ", x(length.tokens), y(length.p50));
        marks += svg_line(x(length.tokens), y(length.p10), x(length.tokens), y(length.p90),
                          ("spread " + style).c_str());
        marks += fmt::format(
            R"(<circle cx="{:.1f}" cy="{:.1f}" r="3" class="mark {}"><title>{}, {} tokens: {} )"
            "[{}..{}]</title></circle>",
            x(length.tokens), y(length.p50), style, escaped(timing.recipe), length.tokens,
            short_time(length.p50), short_time(length.p10), short_time(length.p90));
    }
    return fmt::format(R"(<polyline points="{}" class="line {}"/>)", points, style) + marks + "\n";
}

struct Label {
    const Timing* timing;
    std::string style;
    double at; // where the line ends
    double y;  // where the text stands
};

// Moves labels apart, keeping their order.
void spread(std::vector<Label>& labels) {
    constexpr double pitch = 14;
    std::ranges::sort(labels, {}, &Label::at);
    double next = top + 4;
    for (Label& label : labels) {
        label.y = std::max(label.at, next);
        next = label.y + pitch;
    }
    double limit = std::max(bottom, top + 4 + pitch * static_cast<double>(labels.size() - 1));
    for (auto label = labels.rbegin(); label != labels.rend(); ++label) {
        label->y = std::min(label->y, limit);
        limit = label->y - pitch;
    }
}

} // namespace

std::string plot_time_against_length(const Shape& shape) {
    if (shape.timings.empty() || shape.timings.front().lengths.empty()) { return ""; }
    double slowest = 1.0;
    for (const Timing& timing : shape.timings) {
        slowest = std::max(slowest, timing.lengths.back().p90);
    }
    const TimeUnit unit = time_unit(shape);
    const Scale x(0, shape.timings.front().lengths.back().tokens, left, right, false);
    const Scale y(0, slowest * 1.05, bottom, top, false);
    std::string out = svg_open(width, height, "Time against length") + axes(x, y, unit);
    std::vector<Label> labels;
    std::size_t colour = 0;
    for (const Timing& timing : shape.timings) {
        std::string style = "base";
        if (!is_baseline(timing)) {
            style = fmt::format("c{}{}", colour % colours, colour >= colours ? " dashed" : "");
            ++colour;
        }
        out += line(timing, x, y, style);
        labels.push_back({&timing, style, y(timing.lengths.back().p50), 0});
    }
    spread(labels);
    for (const Label& label : labels) {
        out += fmt::format(
            R"(<polyline points="{:.1f},{:.1f} {:.1f},{:.1f} {:.1f},{:.1f}" class="tie {}"/>)",
            right + 5, label.at, right + 20, label.y, right + 30, label.y, label.style);
        out +=
            svg_text(right + 34, label.y + 4, Anchor::start, "label",
                     label.timing->recipe + "  " + short_time(label.timing->lengths.back().p50)) +
            "\n";
    }
    return out + "</svg>\n";
}

} // namespace mustafar::experiment
