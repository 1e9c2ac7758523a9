// SPDX-License-Identifier: Apache-2.0
// Times as replies tell them: RFC 3339, UTC.
#pragma once

#include <ctime>
#include <string>

namespace mustafar::daemon {

std::string rfc3339(std::time_t time);
std::string now_rfc3339();
std::string now_text(); // with milliseconds

} // namespace mustafar::daemon
