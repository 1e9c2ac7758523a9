// SPDX-License-Identifier: Apache-2.0
// Random programs: made from a seed, run, and shrunk when they fail.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "world.hpp"

namespace oracle {

struct Program {
    Config config;
    std::vector<Op> ops;
};

Program random_program(uint64_t seed);

// The first failure: what was wrong, and at which operation.
struct Outcome {
    std::string what;
    std::size_t at = 0;
    std::vector<std::string> log; // one line per operation that ran
};
std::optional<Outcome> run(const Program &program, Coverage &coverage);

// The smallest program found that still fails like `what`.
Program shrink(Program program, const std::string &what, std::size_t attempts);

} // namespace oracle
