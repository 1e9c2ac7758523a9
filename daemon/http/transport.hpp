// SPDX-License-Identifier: Apache-2.0
// The seam to the HTTP library. A worker hands over the target of a request that the guard has checked; the library
// splits and decodes its query, calls `handle` once, and writes the head of the reply. Bodies never pass through
// here (the guard receives and sends them), nor do fields (0.11.4 decodes '%' in their values; handlers get them as
// they were sent). One file implements it per library: transport_httplib.cpp.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "http/message.hpp"

namespace mustafar::daemon {

class Transport {
  public:
    virtual ~Transport() = default;
    // Sets `request.query` from `target`, calls `handle` and returns the head of what that left in `response`.
    // Throws std::runtime_error where the library does not take the target: it and the guard then differ.
    // Threads: one call at a time on one object; each worker has its own.
    virtual std::string exchange(const std::string& target, bool keep_alive, Request& request,
                                 Response& response, const std::function<void()>& handle) = 0;
};

// `idle_seconds`: how long a connection may wait for its next request, as replies tell.
std::unique_ptr<Transport> make_transport(double idle_seconds);
const char* transport_name(); // "cpp-httplib 0.11.4"

// Head of a reply that needs no library: what the guard says on its own.
std::string write_head(const Response& response, bool keep_alive);

// Fields that every reply carries, whoever writes it: length, connection, and what browsers are told.
Fields common_fields(const Response& response, bool keep_alive);

const char* status_text(int status);

} // namespace mustafar::daemon
