// SPDX-License-Identifier: Apache-2.0
// Every resource of the daemon in one table: the guard routes by it, /openapi.json is made of it, and tests walk it.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.hpp"

namespace mustafar::daemon {

struct Service;
using Handler = Response (*)(Service&, Request&);

struct QueryParameter {
    const char* name;
    const char* type; // of JSON schema: "integer", "number", "boolean", "string"
    bool required;
    const char* text;
};

struct Route {
    Method method;
    const char* path; // segments are literal or {name}; a {name} takes [a-z0-9][a-z0-9_-]{0,63}
    const char* name; // operationId, and the label in metrics
    Scope scope;
    BodyKind body;
    Handler handler;
    bool on_io_thread;   // answered without a worker: must neither wait nor take long
    const char* request; // names in schemas.cpp; nullptr without
    // nullptr: no body; "octets", "safetensors", "text", "page", "csv", "events": media types without a schema.
    // Several, separated by blanks, where Accept chooses.
    const char* response;
    std::vector<QueryParameter> query;
    std::vector<int> statuses; // of handlers; those of the guard are the same for all (openapi.cpp)
    const char* summary;
};

std::span<const Route> routes();

struct RouteMatch {
    const Route* route = nullptr;             // nullptr: no such path, or not with this method
    std::vector<std::string_view> parameters; // views into the path
    std::vector<std::string_view> allow;      // methods of the path; empty: there is no such path
};

// `method` as sent; HEAD is GET. O(routes).
RouteMatch match_route(std::string_view method, std::string_view path);

const char* method_name(Method method);
const char* media_type(BodyKind kind);
bool is_id(std::string_view text); // [a-z0-9][a-z0-9_-]{0,63}

} // namespace mustafar::daemon
