// SPDX-License-Identifier: Apache-2.0
// A request and a response as handlers see them. Nothing here knows which HTTP library is used.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/body_hash.hpp"
#include "http/staging.hpp"

namespace mustafar::daemon {

using Clock = std::chrono::steady_clock;

enum class Method { get, put, post, patch, del };
enum class Scope { none, read, write, admin }; // each includes those before it
enum class BodyKind { none, json, octets, safetensors };

struct Field {
    std::string name;
    std::string value;
};
using Fields = std::vector<Field>;

// Fields that handlers may ask for, in lower case; the guard leaves all others behind.
inline constexpr std::string_view request_fields[] = {
    "accept",         "accept-encoding", "if-match",     "if-none-match",
    "content-digest", "idempotency-key", "last-event-id"};

struct Route;

struct Request {
    const Route* route = nullptr;
    std::string id; // X-Request-Id
    std::vector<std::string>
        path;     // values of the {names} of the route, in order; they match the id pattern
    Fields query; // decoded, ordered by name
    // A parameter is empty, stands twice with one value, has a value with '=', or a '%' without two hex digits: `query`
    // is then what the library made of it.
    bool query_malformed = false;
    Fields fields; // those of request_fields, as sent
    Staging body;
    std::optional<BodyHash> hash; // of the whole body, where it was taken as it came
    Scope scope = Scope::none;    // what the caller may do
    Clock::time_point received;   // when the head was complete

    BodyDigest digest() const { return hash ? hash->digest() : body_digest(body.view()); }
    // Value of a field, names in lower case; nullptr where there is none.
    const std::string* field(std::string_view name) const {
        for (const Field& field : fields) {
            if (field.name == name) { return &field.value; }
        }
        return nullptr;
    }
};

struct Response;

// A reply that is not known yet (a long poll). The I/O thread keeps it: no worker waits. It asks when it is woken, at
// the deadline and when the server stops. Calls must neither wait nor take long.
class Later {
  public:
    virtual ~Later() = default;
    virtual bool ready() = 0;        // there is nothing to wait for any more
    virtual Response response() = 0; // what can be said now
    Clock::time_point deadline;
};

// A reply without an end that is known (events). The I/O thread keeps it, and sends what there is as the client takes
// it. Calls must neither wait nor take long.
class EventStream {
  public:
    virtual ~EventStream() = default;
    // Appends what is there, about `bytes` at most. False: that was the end.
    virtual bool pull(std::string& out, std::size_t bytes) = 0;
    virtual std::string_view ping() const = 0; // what is sent when there was nothing for a while
};

struct Response {
    int status = 200;
    std::string type;             // Content-Type; empty without a body
    Fields fields;                // further ones; values are ours, never a client's
    std::string text;             // the body, or
    Staging data;                 // the body, when it is large
    std::unique_ptr<Later> later; // instead of all of the above
    std::unique_ptr<EventStream>
        stream; // instead of a body: it goes until its end, which closes the connection

    std::string_view body() const { return data.empty() ? std::string_view(text) : data.view(); }
};

} // namespace mustafar::daemon
