// SPDX-License-Identifier: Apache-2.0
// Everything that comes in: heads, bodies, and what nobody wants to have.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <new>
#include <random>

#include <sys/socket.h>

#include "http/guard.hpp"
#include "http/transport.hpp"
#include "log.hpp"
#include "service.hpp"

namespace mustafar::daemon {

namespace {

constexpr std::size_t turn_bytes = 256 << 10; // of one connection, before the others are looked at
// Events of a body that comes fast: one for this much, not one for each segment. The kernel takes the next bytes
// meanwhile: it is more than a turn.
constexpr std::size_t low_water_bytes = 512 << 10;
constexpr double body_bytes_per_second = 64 * 1024;

Clock::duration seconds(double value) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(value));
}

bool is_request_id(std::string_view text) {
    return !text.empty() && text.size() <= 64 && std::ranges::all_of(text, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-';
    });
}

// Their bodies are told from repeated ones.
bool is_append(const Route& route) { return std::string_view(route.path).ends_with("/append"); }

// The client's own, or the process's random number and a count.
std::string request_id(const Head* head) {
    if (head != nullptr) {
        const auto given = head->find("x-request-id");
        if (given && is_request_id(*given)) { return std::string(*given); }
    }
    static const std::string process = [] {
        std::random_device random;
        return std::to_string(random()) + "-";
    }();
    static std::uint64_t count = 0; // the I/O thread's
    return process + std::to_string(++count);
}

} // namespace

std::unique_ptr<Exchange> make_exchange(const Connection& connection, const Head* head,
                                        Clock::time_point now) {
    auto exchange = std::make_unique<Exchange>();
    exchange->connection = connection.serial;
    exchange->request.id = request_id(head);
    exchange->request.received = now;
    if (head != nullptr) {
        exchange->method = head->method;
        exchange->target = head->path;
        if (!head->query.empty()) { exchange->target.append("?").append(head->query); }
        exchange->head_only = head->method == "HEAD";
        exchange->keep_alive = head->keep_alive;
        for (const std::string_view name : request_fields) {
            if (const auto value = head->find(name)) {
                exchange->request.fields.push_back({std::string(name), std::string(*value)});
            }
        }
    }
    return exchange;
}

// Where the machine has no memory left, or something failed that should not, this client goes and the service stays.
void Guard::advance(Connection& connection) {
    const std::uint64_t serial = connection.serial;
    try {
        take_turns(connection);
    } catch (const std::bad_alloc&) { drop(serial); } catch (const std::exception& fault) {
        drop(serial);
        try {
            log_error("fault", {{"connection", serial}, {"what", fault.what()}});
        } catch (const std::bad_alloc&) {} // a line less
    }
}

void Guard::drop(std::uint64_t serial) {
    if (const auto at = connections_.find(serial); at != connections_.end()) { close(*at->second); }
}

// Does what can be done for a connection without waiting; after its turn the others get theirs.
void Guard::take_turns(Connection& connection) {
    const std::uint64_t serial = connection.serial;
    for (int turn = 0; turn < 16; ++turn) {
        bool more = false;
        switch (connection.phase) {
        case Phase::head:
            more = receive_head(connection);
            break;
        case Phase::body:
            more = receive_body(connection);
            break;
        case Phase::sending:
            more = send(connection);
            break;
        case Phase::skip:
        case Phase::linger:
            more = receive_unwanted(connection);
            break;
        case Phase::parked:
            more = ask_later(connection);
            break;
        case Phase::streaming:
            more = send_stream(connection);
            break;
        case Phase::waiting:
            return;
        }
        if (!more || connections_.find(serial) == connections_.end()) { return; }
    }
    again(connection);
}

// Bytes received; 0 where there are none now. Ended connections are told by `ended`.
std::ptrdiff_t Guard::receive(Connection& connection, char* data, std::size_t bytes) {
    if (!connection.readable || connection.ended) { return 0; }
    const ssize_t got = ::recv(connection.socket, data, bytes, 0);
    if (got > 0) {
        // A short read has emptied the socket; the next bytes make a new event.
        const bool emptied = static_cast<std::size_t>(got) < bytes;
        if (emptied && !connection.hung_up) { connection.readable = false; }
        return got;
    }
    if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        connection.ended = true;
        connection.readable = false;
    } else if (errno == EAGAIN) {
        connection.readable = false;
    }
    return 0;
}

bool Guard::receive_head(Connection& connection) {
    if (!connection.in.empty() && take_head(connection)) { return true; }
    const std::ptrdiff_t got = receive(connection, scratch_.data(), scratch_.size());
    if (got > 0) {
        if (connection.in.empty()) { connection.deadline = now_ + seconds(config_.head_timeout); }
        connection.in.append(scratch_.data(), static_cast<std::size_t>(got));
        return true;
    }
    if (connection.ended) {
        close(connection);
        return false;
    }
    return connection.readable;
}

// True where the bytes at hand held a head, good or bad: the phase is then another one.
bool Guard::take_head(Connection& connection) {
    Head head;
    const char* why = nullptr;
    switch (parse_head(connection.in, &connection.scanned, &head, &why)) {
    case HeadError::incomplete:
        return false;
    case HeadError::none:
        admit(connection, head);
        return true;
    case HeadError::malformed:
        refuse(connection, Problem(ProblemType::malformed_request, why), nullptr);
        return true;
    case HeadError::target_too_long:
        refuse(connection,
               Problem(
                   ProblemType::target_too_long,
                   "the target is longer than 4096 bytes, or 8192 with its question marks escaped"),
               nullptr);
        return true;
    case HeadError::too_large:
        refuse(connection,
               Problem(ProblemType::head_too_large, "a head has 32 KiB and 64 fields at most"),
               nullptr);
        return true;
    case HeadError::expectation:
        refuse(connection,
               Problem(ProblemType::expectation, "only Expect: 100-continue is understood"),
               nullptr);
        return true;
    case HeadError::version:
        refuse(connection, Problem(ProblemType::http_version, "HTTP/1.1 is spoken here"), nullptr);
        return true;
    }
    return true;
}

void Guard::admit(Connection& connection, const Head& head) {
    Admission admission;
    auto exchange = make_exchange(connection, &head, now_);
    try {
        admission = check_head(head, checks_);
        exchange->request.route = admission.match.route;
        exchange->request.scope = admission.scope;
        for (const std::string_view value : admission.match.parameters) {
            exchange->request.path.emplace_back(value);
        }
        if (admission.body_bytes > 0) {
            exchange->request.body =
                Staging::reserve(service_.staging, static_cast<std::size_t>(admission.body_bytes));
            if (exchange->request.body.empty()) {
                throw Problem(ProblemType::staging_full, "bodies of other requests take the room",
                              {{"limit_bytes", service_.staging.limit()},
                               {"used_bytes", service_.staging.used()},
                               {"requested_bytes", admission.body_bytes}});
            }
        }
    } catch (const Problem& problem) {
        connection.exchange = std::move(exchange);
        refuse(connection, problem, &head);
        return;
    }
    connection.exchange = std::move(exchange);
    connection.close_after = !head.keep_alive || draining_;
    const bool expect = head.expect_continue;
    std::string allow;
    for (const std::string_view method : admission.match.allow) {
        allow += (allow.empty() ? "" : ", ") + std::string(method);
    }
    connection.in.erase(0, head.bytes); // what `head` and `admission` point into is gone
    connection.scanned = 0;

    if (admission.options) {
        Response response;
        response.status = 204;
        response.fields.push_back({"Allow", allow});
        reply(connection, std::move(response));
        return;
    }
    Staging& body = connection.exchange->request.body;
    const std::size_t here = std::min(body.size(), connection.in.size());
    std::memcpy(body.data() == nullptr ? scratch_.data() : body.data(), connection.in.data(), here);
    connection.in.erase(0, here);
    connection.received = here;
    if (connection.in.empty()) { connection.in.shrink_to_fit(); } // idle connections hold nothing
    if (here == body.size()) {
        body_arrived(connection);
        return;
    }
    connection.phase = Phase::body;
    connection.moved = true;
    if (body.size() - here >= 2 * low_water_bytes) {
        wake_at(connection, low_water_bytes);
        if (is_append(*connection.exchange->request.route)) {
            connection.exchange->request.hash.emplace().add(body.data(), here);
        }
    }
    // It must go on, and it must end: who sends nothing holds no memory.
    connection.deadline = now_ + seconds(config_.body_timeout);
    connection.last_call = now_ + seconds(config_.body_timeout +
                                          static_cast<double>(body.size()) / body_bytes_per_second);
    if (expect && here == 0) {
        constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
        // Nothing else is on its way out; where even this does not fit the client sends without it.
        static_cast<void>(::send(connection.socket, go_on.data(), go_on.size(), MSG_NOSIGNAL) == 0);
    }
}

bool Guard::receive_body(Connection& connection) {
    Staging& body = connection.exchange->request.body;
    const std::size_t turn = std::min(body.size() - connection.received, turn_bytes);
    const std::ptrdiff_t got = receive(connection, body.data() + connection.received, turn);
    if (got > 0) {
        std::optional<BodyHash>& hash = connection.exchange->request.hash;
        if (hash) { hash->add(body.data() + connection.received, static_cast<std::size_t>(got)); }
        connection.received += static_cast<std::size_t>(got);
        connection.deadline = now_ + seconds(config_.body_timeout);
        connection.moved = true;
    }
    if (connection.received == body.size()) {
        wake_at(connection, 1);
        body_arrived(connection);
        return true;
    }
    if (connection.ended) {
        close(connection);
        return false;
    }
    const std::size_t rest = body.size() - connection.received;
    const bool fast = static_cast<std::size_t>(got) >= turn_bytes / 4 || connection.low_water > 1;
    if (fast) { wake_at(connection, std::min(rest, low_water_bytes)); }
    return connection.readable;
}

// The kernel makes an event at once where as much is here already, and sooner where its buffer is full.
void Guard::wake_at(Connection& connection, std::size_t bytes) {
    const int value = static_cast<int>(bytes);
    if (connection.low_water == value) { return; }
    connection.low_water = value;
    static_cast<void>(
        ::setsockopt(connection.socket, SOL_SOCKET, SO_RCVLOWAT, &value, sizeof value));
}

// Once a tick: true where less than the low-water mark may have come for a whole tick. Each byte is an event again,
// and what is here is taken before anybody calls this client late.
bool Guard::is_slow(Connection& connection) {
    if (std::exchange(connection.moved, false) || connection.low_water == 1) { return false; }
    wake_at(connection, 1);
    return true;
}

void Guard::body_arrived(Connection& connection) {
    Exchange& exchange = *connection.exchange;
    exchange.body_bytes = exchange.request.body.size();
    const Route& route = *exchange.request.route;
    if (route.on_io_thread) {
        reply(connection, run_handler(service_, exchange.request));
        return;
    }
    connection.phase = Phase::waiting;
    connection.deadline = Clock::time_point::max();
    connection.last_call = Clock::time_point::max();
    exchange.keep_alive = !connection.close_after && !draining_;
    exchange.queued = now_;
    if (!workers_.submit(connection.exchange)) {
        reply(connection, problem_response(Problem(ProblemType::busy, "the queue is full",
                                                   {{"limit_requests", config_.queue_limit}}),
                                           exchange.request.id));
        service_.metrics.rejected("busy");
    }
}

// Reads and forgets. Skipping ends with the next request, lingering with the end of the connection.
bool Guard::receive_unwanted(Connection& connection) {
    const bool skip = connection.phase == Phase::skip;
    const std::size_t here =
        skip ? std::min<std::uint64_t>(connection.unwanted, connection.in.size())
             : connection.in.size();
    connection.in.erase(0, here);
    connection.unwanted -= std::min<std::uint64_t>(connection.unwanted, here);
    if (skip && connection.unwanted == 0) {
        idle(connection);
        return true;
    }
    const std::size_t room = std::min<std::uint64_t>(connection.unwanted, scratch_.size());
    const std::ptrdiff_t got = room == 0 ? 0 : receive(connection, scratch_.data(), room);
    connection.unwanted -= static_cast<std::uint64_t>(got);
    if (connection.ended || room == 0) {
        close(connection);
        return false;
    }
    return got > 0 || connection.readable;
}

} // namespace mustafar::daemon
