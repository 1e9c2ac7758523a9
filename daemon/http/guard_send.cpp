// SPDX-License-Identifier: Apache-2.0
// Everything that goes out: replies of workers, replies of the guard itself, and the end of a connection.
#include <algorithm>
#include <array>
#include <cerrno>

#include <sys/socket.h>
#include <sys/uio.h>

#include "http/guard.hpp"
#include "http/transport.hpp"
#include "log.hpp"
#include "service.hpp"

namespace mustafar::daemon {

namespace {

constexpr std::uint64_t skip_bytes_max = 1 << 20; // a longer refused body costs the connection
constexpr std::uint64_t linger_bytes_max =
    64 << 20; // what a client may still send when it was refused
constexpr auto linger_time = std::chrono::seconds(3);
constexpr std::size_t turn_bytes = 256 << 10; // of one connection, before the others are looked at
constexpr double reply_bytes_per_second = 64 * 1024;

Clock::duration seconds(double value) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(value));
}

} // namespace

// `head` where the request could be read: its connection may then go on, once its body has been skipped.
void Guard::refuse(Connection& connection, const Problem& problem, const Head* head) {
    if (!connection.exchange) { connection.exchange = make_exchange(connection, nullptr, now_); }
    std::uint64_t rest = 0;
    if (head == nullptr) {
        connection.in.clear();
        connection.close_after = true;
    } else {
        rest = head->content_length.value_or(0);
        // A client that waits for 100 may send its body or not: there is no telling where the next request is.
        connection.close_after = !head->keep_alive || head->transfer_encoding || draining_ ||
                                 rest > skip_bytes_max || (head->expect_continue && rest > 0);
        connection.in.erase(0, head->bytes);
    }
    connection.scanned = 0;
    connection.unwanted = connection.close_after ? 0 : rest;
    service_.metrics.rejected(problem_info(problem.type()).slug);
    Response response = problem_response(problem, connection.exchange->request.id);
    if (problem.type() == ProblemType::method_not_allowed) {
        std::string allow;
        for (const auto& method : problem.members().at("allow")) {
            allow += (allow.empty() ? "" : ", ") + method.get<std::string>();
        }
        response.fields.push_back({"Allow", allow});
    }
    reply(connection, std::move(response));
}

// A reply that is made on this thread.
void Guard::reply(Connection& connection, Response response) {
    Exchange& exchange = *connection.exchange;
    exchange.queued = exchange.started = exchange.answered = now_;
    exchange.response = std::move(response);
    exchange.response.fields.push_back({"X-Request-Id", exchange.request.id});
    exchange.head = write_head(exchange.response, !connection.close_after);
    log_request(exchange);
    start_sending(connection);
}

void Guard::start_sending(Connection& connection) {
    const Exchange& exchange = *connection.exchange;
    connection.phase = Phase::sending;
    connection.sent = 0;
    connection.close_after = connection.close_after || draining_;
    connection.deadline = now_ + seconds(config_.write_timeout);
    connection.last_call = now_ + seconds(config_.write_timeout +
                                          static_cast<double>(exchange.response.body().size()) /
                                              reply_bytes_per_second);
    service_.metrics.request(exchange);
}

bool Guard::send(Connection& connection) {
    const Exchange& exchange = *connection.exchange;
    const std::string_view body =
        exchange.head_only ? std::string_view() : exchange.response.body();
    const std::size_t total = exchange.head.size() + body.size();
    if (!connection.writable) { return false; }

    std::array<iovec, 2> parts{};
    std::size_t count = 0;
    std::size_t at = connection.sent;
    for (const std::string_view part : {std::string_view(exchange.head), body}) {
        const std::size_t from = std::min(at, part.size());
        at -= from;
        const std::size_t bytes = std::min(part.size() - from, turn_bytes);
        if (bytes > 0) { parts[count++] = {const_cast<char*>(part.data() + from), bytes}; }
    }
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = count;
    const ssize_t sent = ::sendmsg(connection.socket, &message, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno == EAGAIN) {
            connection.writable = false;
            return false;
        }
        if (errno == EINTR) { return true; }
        close(connection);
        return false;
    }
    connection.sent += static_cast<std::size_t>(sent);
    connection.deadline = now_ + seconds(config_.write_timeout);
    if (connection.sent == total) { finish(connection); }
    return true;
}

void Guard::finish(Connection& connection) {
    connection.exchange.reset();
    connection.last_call = Clock::time_point::max();
    if (connection.close_after) {
        linger(connection);
    } else if (connection.unwanted > 0) {
        connection.phase = Phase::skip;
        connection.deadline = now_ + seconds(config_.body_timeout);
    } else {
        idle(connection);
    }
}

// Closing a socket that holds unread bytes resets it, and the client may lose the reply: so read on for a while.
void Guard::linger(Connection& connection) {
    ::shutdown(connection.socket, SHUT_WR);
    connection.phase = Phase::linger;
    connection.unwanted = linger_bytes_max;
    connection.deadline = now_ + linger_time;
}

// Ready for the next request, of which some may be here already.
void Guard::idle(Connection& connection) {
    connection.phase = Phase::head;
    connection.close_after = false;
    connection.deadline =
        now_ + seconds(connection.in.empty() ? config_.idle_timeout : config_.head_timeout);
}

} // namespace mustafar::daemon
