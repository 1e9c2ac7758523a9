// SPDX-License-Identifier: Apache-2.0
// Small text helpers of the recipe module: error texts and number forms.
#pragma once

#include <concepts>
#include <span>
#include <string>
#include <string_view>

#include "core/error.hpp"

namespace mustafar::recipes {

inline void append_piece(std::string& out, std::string_view piece) { out += piece; }
void append_piece(std::string& out, std::integral auto number) { out += std::to_string(number); }

// std::format is missing in g++ 12.
template <class... Pieces>
std::string cat(const Pieces&... pieces) {
    std::string out;
    (append_piece(out, pieces), ...);
    return out;
}

template <class... Pieces>
[[noreturn]] void refuse(const Pieces&... pieces) {
    throw Error(MUSTAFAR_INVALID_ARGUMENT, cat(pieces...));
}

// Shortest decimal that reads back as the same number; valid JSON; -0 becomes 0.
std::string number_text(double value);
std::string number_text(float value);

// Printable ASCII only and at most `limit` characters: error texts never carry hostile bytes on.
std::string printable(std::string_view text, std::size_t limit = 40);
std::string in_quotes(std::string_view text);

// The candidate with the smallest edit distance, or "" if none is near enough to be a slip of the
// pen.
std::string_view nearest(std::string_view text, std::span<const std::string_view> candidates);

} // namespace mustafar::recipes
