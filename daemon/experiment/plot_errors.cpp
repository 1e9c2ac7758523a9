// SPDX-License-Identifier: Apache-2.0
// Error against bytes, one point per recipe; and the heat map of errors per layer.
#include <algorithm>
#include <cmath>

#include "experiment/output.hpp"
#include "experiment/plots.hpp"
#include "experiment/svg.hpp"

namespace mustafar::experiment {

namespace {

constexpr double width = 620;
constexpr double height = 400;
constexpr double left = 62;
constexpr double right = width - 20;
constexpr double top = 16;
constexpr double bottom = height - 46;

struct Box {
    double x1, y1, x2, y2;
    bool meets(const Box& other) const {
        return x1 < other.x2 && other.x1 < x2 && y1 < other.y2 && other.y1 < y2;
    }
};

struct Point {
    const Row* row;
    double x;
    double y;
    double worst;
    bool best = false; // no other recipe has less error at as few bytes
};

bool usable(const Row& row, const TraceInfo& trace) {
    return row.trace == trace.name && std::isfinite(row.body_ratio) &&
           std::isfinite(row.overall.out) && row.body_ratio > 0;
}

// The decade below the smallest error that is one (dense recipes have 1e-8); what is below stands on the axis.
double error_floor(const Report& report, const TraceInfo& trace) {
    double smallest = 0.01;
    for (const Row& row : report.rows) {
        if (usable(row, trace) && row.overall.out > 1e-5) {
            smallest = std::min(smallest, row.overall.out);
        }
    }
    return std::pow(10, std::floor(std::log10(smallest)));
}

// Places each label beside its point, where nothing is yet.
class Labels {
  public:
    explicit Labels(const std::vector<Point>& points) {
        for (const Point& point : points) {
            taken_.push_back({point.x - 5, point.y - 5, point.x + 5, point.y + 5});
        }
    }

    std::string place(const Point& point) {
        const std::string& name = point.row->recipe;
        const double w = letter_width * static_cast<double>(name.size());
        constexpr double shifts[] = {0, -13, 13, -26, 26, -39, 39, -52, 52};
        for (const double dy : shifts) {
            for (const bool to_right : {true, false}) {
                const double x = to_right ? point.x + 8 : point.x - 8 - w;
                const Box box{x - 1, point.y + dy - 6, x + w + 1, point.y + dy + 6};
                if (box.x1 >= left && box.x2 <= width && box.y1 >= 0 && box.y2 <= bottom &&
                    free(box)) {
                    return write(point, name, box, dy, to_right);
                }
            }
        }
        return ""; // the tooltip and the table still have it
    }

  private:
    bool free(const Box& box) const {
        return std::ranges::none_of(taken_, [&](const Box& other) { return box.meets(other); });
    }
    std::string write(const Point& point, const std::string& name, const Box& box, double dy,
                      bool to_right) {
        taken_.push_back(box);
        const double x = to_right ? point.x + 8 : point.x - 8;
        std::string out;
        if (std::abs(dy) > 13) { out = svg_line(point.x, point.y, x, point.y + dy, "leader"); }
        return out + svg_text(x, point.y + dy + 4, to_right ? Anchor::start : Anchor::end,
                              point.best ? "label strong" : "label", name);
    }

    std::vector<Box> taken_;
};

std::string axes(const Scale& x, const Scale& y) {
    std::string out;
    for (const double tick : y.ticks()) {
        out += svg_line(left, y(tick), right, y(tick), "grid");
        out += svg_text(left - 7, y(tick) + 4, Anchor::end, "tick", fmt::format("{:g}", tick));
    }
    for (const double tick : {0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0}) {
        if (tick >= x.low() && tick <= x.high()) {
            out += svg_line(x(tick), bottom, x(tick), bottom + 4, "axis");
            out += svg_text(x(tick), bottom + 17, Anchor::middle, "tick",
                            fmt::format("{:.0f} %", 100 * tick));
        }
    }
    out += svg_line(left, bottom, right, bottom, "axis");
    out += svg_text((left + right) / 2, height - 8, Anchor::middle, "name",
                    "bytes of a body row, share of f16 (logarithmic)");
    out += svg_vertical(14, (top + bottom) / 2, "name", "error of the attention output, relative") +
           "\n";
    return out;
}

void mark_best(std::vector<Point>& points) {
    for (Point& point : points) {
        point.best = std::ranges::none_of(points, [&](const Point& other) {
            const Row& a = *other.row;
            const Row& b = *point.row;
            return a.body_ratio <= b.body_ratio && a.overall.out <= b.overall.out &&
                   (a.body_ratio < b.body_ratio || a.overall.out < b.overall.out);
        });
    }
}

std::string draw(const Point& point, const Scale& y) {
    const Row& row = *point.row;
    std::string out =
        svg_line(point.x, point.y, point.x, std::max(point.worst, y(y.high())), "whisker");
    out += fmt::format(
        R"(<circle cx="{:.1f}" cy="{:.1f}" r="4.5" class="{}"><title>{}: {:.1f} % of f16, error {}, )"
        "worst layer {} ({})</title></circle>\n",
        point.x, point.y, point.best ? "dot best" : "dot", escaped(row.recipe),
        100 * row.body_ratio, short_number(row.overall.out), short_number(row.worst),
        row.worst_layer);
    return out;
}

} // namespace

std::string plot_error_against_bytes(const Report& report, const TraceInfo& trace) {
    const double floor = error_floor(report, trace);
    double smallest = 1.0;
    double largest = 0.3;
    for (const Row& row : report.rows) {
        if (usable(row, trace)) {
            smallest = std::min(smallest, row.body_ratio);
            largest = std::max(largest, row.worst);
        }
    }
    const Scale x(smallest * 0.9, 1.12, left, right, true);
    const Scale y(floor, std::min(largest, 1e3) * 1.15, bottom, top, true);
    std::vector<Point> points;
    for (const Row& row : report.rows) {
        if (usable(row, trace)) {
            points.push_back({&row, x(std::min(row.body_ratio, 1.12)),
                              y(std::clamp(row.overall.out, floor, y.high())),
                              y(std::clamp(row.worst, floor, y.high()))});
        }
    }
    mark_best(points);
    std::string out = svg_open(width, height, "Error against bytes, " + trace.name) + axes(x, y);
    for (const Point& point : points) { out += draw(point, y); }
    std::ranges::stable_sort(points,
                             [](const Point& a, const Point& b) { return a.best > b.best; });
    Labels labels(points);
    for (const Point& point : points) { out += labels.place(point) + "\n"; }
    return out + "</svg>\n";
}

std::string plot_layer_errors(const Report& report, const TraceInfo& trace) {
    std::vector<const Row*> rows;
    const double floor = error_floor(report, trace);
    double largest = floor * 10;
    std::size_t longest = 6;
    for (const Row& row : report.rows) {
        if (row.trace == trace.name) {
            rows.push_back(&row);
            largest = std::max(largest, std::isfinite(row.worst) ? row.worst : 0.0);
            longest = std::max(longest, row.recipe.size());
        }
    }
    if (rows.empty()) { return ""; }
    const double names = letter_width * static_cast<double>(longest) + 14;
    const double cell = (width - names - 8) / static_cast<double>(rows.front()->layers.size());
    constexpr double line = 26;
    const Scale opacity(floor, largest, 0.04, 1.0, true);
    std::string out = svg_open(width, 40 + line * static_cast<double>(rows.size()),
                               "Error of the attention output per layer, " + trace.name);
    double y = 22;
    for (const LayerErrors& layer : rows.front()->layers) {
        const double x = names + cell * static_cast<double>(&layer - rows.front()->layers.data());
        out += svg_text(x + cell / 2, 14, Anchor::middle, "tick",
                        fmt::format("layer {}", layer.layer));
    }
    for (const Row* row : rows) {
        out += svg_text(names - 8, y + line / 2 + 4, Anchor::end, "label", row->recipe);
        double x = names;
        for (const LayerErrors& layer : row->layers) {
            const double shade = opacity(std::clamp(layer.out, floor, largest));
            out += fmt::format(
                R"(<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="2" class="heat" )"
                R"(fill-opacity="{:.2f}"><title>{}, layer {}: {}</title></rect>)",
                x, y, cell - 2, line - 2, shade, escaped(row->recipe), layer.layer,
                short_number(layer.out));
            if (cell >= 34) {
                out += svg_text(x + cell / 2 - 1, y + line / 2 + 4, Anchor::middle,
                                shade > 0.6 ? "cell dark" : "cell", short_number(layer.out));
            }
            x += cell;
        }
        out += "\n";
        y += line;
    }
    return out + "</svg>\n";
}

} // namespace mustafar::experiment
