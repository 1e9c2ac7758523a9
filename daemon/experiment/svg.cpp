// SPDX-License-Identifier: Apache-2.0
#include "experiment/svg.hpp"

#include <array>

namespace mustafar::experiment {

std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        switch (c) {
        case '&':
            out += "&amp;";
            break;
        case '<':
            out += "&lt;";
            break;
        case '>':
            out += "&gt;";
            break;
        case '"':
            out += "&quot;";
            break;
        case '\'':
            out += "&#39;";
            break;
        default:
            out += c;
        }
    }
    return out;
}

std::vector<double> Scale::ticks() const {
    std::vector<double> out;
    if (logarithmic_) {
        const bool wide = high_ / low_ > 3e3;
        for (int decade = static_cast<int>(std::floor(std::log10(low_)));
             std::pow(10, decade) <= high_; ++decade) {
            for (const double step : {1.0, 3.0}) {
                const double value = step * std::pow(10, decade);
                if (value >= low_ * 0.999 && value <= high_ * 1.001 && (step == 1.0 || !wide)) {
                    out.push_back(value);
                }
            }
        }
        return out;
    }
    const double rough = (high_ - low_) / 5;
    const double decade = std::pow(10, std::floor(std::log10(rough)));
    double step = 10 * decade;
    for (const double candidate : {5.0, 2.0, 1.0}) {
        step = candidate * decade >= rough ? candidate * decade : step;
    }
    for (double value = std::ceil(low_ / step) * step; value <= high_ * 1.0001; value += step) {
        out.push_back(value);
    }
    return out;
}

std::string svg_text(double x, double y, Anchor anchor, const char* style, std::string_view text) {
    constexpr std::array<const char*, 3> names{"start", "middle", "end"};
    return fmt::format(R"(<text x="{:.1f}" y="{:.1f}" text-anchor="{}" class="{}">{}</text>)", x, y,
                       names[static_cast<std::size_t>(anchor)], style, escaped(text));
}

std::string svg_vertical(double x, double y, const char* style, std::string_view text) {
    return fmt::format(
        "<text transform=\"translate({:.0f} {:.0f}) rotate(-90)\" text-anchor=\"middle\" "
        "class=\"{}\">{}</text>",
        x, y, style, escaped(text));
}

std::string svg_line(double x1, double y1, double x2, double y2, const char* style) {
    return fmt::format(R"(<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>)", x1,
                       y1, x2, y2, style);
}

std::string svg_open(double width, double height, std::string_view title) {
    return fmt::format(R"(<svg viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}">)", width,
                       height, escaped(title)) +
           "\n";
}

} // namespace mustafar::experiment
