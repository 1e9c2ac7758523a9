// SPDX-License-Identifier: Apache-2.0
// Small parts of SVG pictures, and text that is safe inside HTML. Colours are classes (html_style.hpp), so
// that one picture serves light and dark.
#pragma once

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

namespace mustafar::experiment {

std::string escaped(std::string_view text); // & < > " '

// A scale from data to pixels, linear or logarithmic, with ticks at round numbers.
class Scale {
  public:
    Scale(double low, double high, double from, double to, bool logarithmic)
        : low_(low), high_(high), from_(from), to_(to), logarithmic_(logarithmic) {}
    double operator()(double value) const {
        const double part = logarithmic_ ? std::log(value / low_) / std::log(high_ / low_)
                                         : (value - low_) / (high_ - low_);
        return from_ + part * (to_ - from_);
    }
    double low() const { return low_; }
    double high() const { return high_; }
    std::vector<double> ticks() const; // 1 2 5 steps; in logarithmic scales 1 3 10 or 1 10

  private:
    double low_;
    double high_;
    double from_;
    double to_;
    bool logarithmic_;
};

constexpr double letter_width = 6.2; // of the 11 px labels, on average

enum class Anchor { start, middle, end };
std::string svg_text(double x, double y, Anchor anchor, const char* style, std::string_view text);
std::string svg_vertical(double x, double y, const char* style, std::string_view text); // upwards
std::string svg_line(double x1, double y1, double x2, double y2, const char* style);
std::string svg_open(double width, double height, std::string_view title);

} // namespace mustafar::experiment
