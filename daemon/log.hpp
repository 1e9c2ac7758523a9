// SPDX-License-Identifier: Apache-2.0
// One JSON object per line on standard error, written by a thread of its own: a reader that has stopped costs lines,
// never a request. Tokens, bodies and query strings are never written.
#pragma once

#include <string>

#include "problem.hpp"

namespace mustafar::daemon {

struct Exchange;

// `level`: debug, info, warning, error, off. To be called once, before any line.
void start_log(const std::string& level);
void stop_log(); // writes what is left

void log_event(const char* event, const Json& members = Json::object()); // info
void log_error(const char* event, const Json& members = Json::object());
void log_request(
    const Exchange& exchange); // info; warning from 1 s on, error from status 500 but 503 and 507

} // namespace mustafar::daemon
