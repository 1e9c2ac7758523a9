// SPDX-License-Identifier: Apache-2.0
// JSON of a stranger. nlohmann/json alone takes duplicate keys (the last wins), NUL as the end of the input, a
// byte-order mark, any depth, and turns integers beyond 64 bits into doubles; none of that passes here.
#pragma once

#include <string>
#include <string_view>

#include "problem.hpp"

namespace mustafar::daemon {

inline constexpr int json_depth_max = 16;

// Throws Problem bad_body, whose `errors` name a JSON pointer or an offset.
Json parse_json(std::string_view text);

// A problem of one place of a document.
Problem bad_body(const std::string& pointer, const char* code, const std::string& message);

} // namespace mustafar::daemon
