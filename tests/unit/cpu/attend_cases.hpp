// SPDX-License-Identifier: Apache-2.0
// The list of shapes, recipes, values and options on which every row of op `attend` is compared with
// `ref`: each value of each parameter in turn, in orders that a seed shuffles against each other.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "budget.h"
#include "core/unit_support.hpp"

namespace mustafar::test {

enum class Values { random, constant, huge, tiny, peaked, flat, zero, outliers };

struct AttendCase {
    std::string name;
    Geometry geometry;
    std::string recipe; // JSON
    Window window;
    bool precise = false, automatic = true;
    bool masks[2] = {}; // sides whose survivors the caller gives
    std::uint32_t tokens = 0, q_len = 1, tentative = 0;
    Values values = Values::random;
    mustafar_dtype input = MUSTAFAR_F32, q_input = MUSTAFAR_F32, out = MUSTAFAR_F32;
    bool evicted = false, marked = false; // some rows of the first head
    bool two_caches = false;
    std::optional<std::int64_t> position; // of query 0
    double softcap = 0.0, drop_mass = 0.0;
    std::uint32_t sliding_window = 0;
    bool sinks = false;
    std::uint64_t seed = 0;

    bool codes[2] = {}; // sides of dense rows of 4 or 2 bits with one scale and zero

    std::uint32_t group() const { return geometry.group(); }
    attend_freedom freedom() const {
        return {geometry.store == Dtype::f16 && !precise, codes[0] && !precise,
                codes[1] && !precise};
    }
    std::string text() const;
};

// `count` cases, and those that no shuffling may leave out.
std::vector<AttendCase> attend_cases(std::size_t count);

} // namespace mustafar::test
