// SPDX-License-Identifier: Apache-2.0
// What a well-formed head must pass before its body is taken, in one fixed order, so that each request has one
// answer: Host, Origin, token, route and method, media type and encoding, length, size.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "http/head.hpp"
#include "http/message.hpp"
#include "problem.hpp"
#include "routes.hpp"
#include "tokens.hpp"

namespace mustafar::daemon {

struct CheckSettings {
    std::vector<std::string>
        hosts; // served names, in lower case, without port; [::1] with brackets
    const Tokens* tokens = nullptr; // nullptr: everyone may do everything
    std::uint64_t json_limit = 0;
    std::uint64_t body_limit = 0;
};

struct Admission {
    RouteMatch match;
    Scope scope = Scope::none;
    std::uint64_t body_bytes = 0;
    bool options = false; // OPTIONS: answered with what `match.allow` says
};

// Throws Problem. Threads: any; it keeps nothing.
Admission check_head(const Head& head, const CheckSettings& settings);

} // namespace mustafar::daemon
