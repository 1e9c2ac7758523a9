// SPDX-License-Identifier: Apache-2.0
#include "recipe/text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <numeric>
#include <vector>

namespace mustafar::recipes {

namespace {

template <class Number>
std::string shortest(Number value) {
    std::array<char, 64> buffer{};
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
    return {buffer.data(), end};
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i + 1;
        for (std::size_t j = 0; j < b.size(); ++j) {
            const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
            diagonal = row[j + 1];
            row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
        }
    }
    return row[b.size()];
}

} // namespace

std::string number_text(double value) { return value == 0.0 ? "0" : shortest(value); }

std::string number_text(float value) {
    if (value == 0.0F) { return "0"; }
    // Readers go through double, and rounding twice may miss: then the double says it exactly.
    double back = 0.0;
    const std::string text = shortest(value);
    std::from_chars(text.data(), text.data() + text.size(), back);
    return static_cast<float>(back) == value ? text : shortest(static_cast<double>(value));
}

std::string printable(std::string_view text, std::size_t limit) {
    std::string out;
    for (const char c : text.substr(0, limit)) { out += c >= ' ' && c <= '~' ? c : '?'; }
    if (text.size() > limit) { out += "..."; }
    return out;
}

std::string in_quotes(std::string_view text) { return cat("\"", printable(text), "\""); }

std::string_view nearest(std::string_view text, std::span<const std::string_view> candidates) {
    constexpr std::size_t longest =
        64; // names and keys are shorter; hostile texts are not measured
    std::string_view best;
    std::size_t best_distance = 2 + text.size() / 3;
    if (text.size() > longest) { return best; }
    for (const std::string_view candidate : candidates) {
        const std::size_t distance = edit_distance(text, candidate);
        // A distance of the whole word is no resemblance.
        if (distance < best_distance && distance < std::max(text.size(), candidate.size())) {
            best_distance = distance;
            best = candidate;
        }
    }
    return best;
}

} // namespace mustafar::recipes
