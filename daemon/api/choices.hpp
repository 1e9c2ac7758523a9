// SPDX-License-Identifier: Apache-2.0
// What a client chooses of a resource: its form, and where a page of a list begins.
#pragma once

#include <initializer_list>
#include <string_view>

#include "api/parameters.hpp"

namespace mustafar::daemon {

// Index of the media type that Accept likes best; the first where there is no Accept, and among equals. Throws Problem
// not_acceptable.
std::size_t accepted(const Request& request, std::initializer_list<std::string_view> types);

// Number of the job or result that "after" names; 0 without it. `kind` is "job" or "result".
std::uint64_t page_start(const Parameters& parameters, std::string_view kind);

} // namespace mustafar::daemon
