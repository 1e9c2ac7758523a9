// SPDX-License-Identifier: Apache-2.0
// The one way to fail inside the library: throw Error; capi's guard turns it into a status.
#pragma once

#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>

#include "mustafar/types.h"

namespace mustafar {

struct Error {
    mustafar_status code;
    std::string text; // "argument = value, limit, way out"; the guard puts the call's name in front
    std::array<std::int64_t, 4> values{};

    Error(mustafar_status status, std::string message, std::array<std::int64_t, 4> numbers = {})
        : code(status), text(std::move(message)), values(numbers) {}
};

// A number as an error text shows it: the shortest decimal that reads back as the same float.
inline std::string shown(float value) {
    if (std::isnan(value)) { return "nan"; } // whatever its sign
    char text[32];
    const std::to_chars_result end = std::to_chars(text, text + sizeof(text), value);
    return {text, end.ptr};
}

} // namespace mustafar
