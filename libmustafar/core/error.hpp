// SPDX-License-Identifier: Apache-2.0
// The one way to fail inside the library: throw Error; capi's guard turns it into a status.
#pragma once

#include <array>
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

} // namespace mustafar
