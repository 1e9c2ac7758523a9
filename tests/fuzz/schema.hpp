// SPDX-License-Identifier: Apache-2.0
// A reader of the JSON schemas of openapi.json that shares nothing with the readers of the daemon: what says no here must
// not be said yes to there.
#pragma once

#include <string>

#include "problem.hpp"

namespace mustafar::fuzz {

// "" where `value` is valid, or what is wrong. A keyword that is not known ends the program.
std::string invalid(const daemon::Json& schema, const daemon::Json& value);

} // namespace mustafar::fuzz
