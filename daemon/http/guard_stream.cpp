// SPDX-License-Identifier: Apache-2.0
// Replies that come later or bit by bit: long polls and events. Their connections are kept here, so that no worker
// waits. What a client has not taken yet is one buffer of some KiB, here and in the kernel.
#include <cerrno>

#include <sys/socket.h>

#include "http/guard.hpp"
#include "http/transport.hpp"
#include "log.hpp"
#include "service.hpp"

namespace mustafar::daemon {

namespace {

constexpr std::size_t chunk_bytes = 16 << 10; // pulled at a time
constexpr int socket_buffer_bytes = 64 << 10;
constexpr auto ping_time = std::chrono::seconds(15);

Clock::duration seconds(double value) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(value));
}

} // namespace

// `connection.exchange` holds a reply that is not to be sent at once.
void Guard::keep(Connection& connection) {
    Exchange& exchange = *connection.exchange;
    kept_.insert(connection.serial);
    if (exchange.response.later) {
        connection.phase = Phase::parked;
        connection.deadline = exchange.response.later->deadline;
        return;
    }
    connection.close_after = true; // nothing else tells the end of a stream
    exchange.head = write_head(exchange.response, false);
    log_request(exchange);
    service_.metrics.request(exchange);
    connection.phase = Phase::streaming;
    connection.sent = 0;
    connection.stream_ended = exchange.head_only;
    connection.deadline = now_ + seconds(config_.write_timeout);
    connection.last_call = Clock::time_point::max();
    // The kernel would buffer megabytes for a reader that has stopped.
    static_cast<void>(::setsockopt(connection.socket, SOL_SOCKET, SO_SNDBUF, &socket_buffer_bytes,
                                   sizeof socket_buffer_bytes));
}

// Somebody who knows said that there may be something new.
void Guard::look_at_kept() {
    const std::vector<std::uint64_t> serials(kept_.begin(), kept_.end());
    for (const std::uint64_t serial : serials) {
        const auto at = connections_.find(serial);
        if (at != connections_.end() && is_kept(*at->second)) { advance(*at->second); }
    }
}

bool Guard::is_kept(const Connection& connection) {
    return connection.phase == Phase::parked || connection.phase == Phase::streaming;
}

void Guard::forget_kept() {
    std::erase_if(kept_, [&](std::uint64_t serial) {
        const auto at = connections_.find(serial);
        return at == connections_.end() || !is_kept(*at->second);
    });
}

// A long poll: true where its reply is on its way now.
bool Guard::ask_later(Connection& connection) {
    if (connection.hung_up) { // nobody reads the reply
        close(connection);
        return false;
    }
    auto later = std::move(connection.exchange->response.later);
    if (!later->ready() && now_ < connection.deadline && !draining_) {
        connection.exchange->response.later = std::move(later);
        return false;
    }
    connection.close_after = connection.close_after || draining_;
    reply(connection, later->response());
    return true;
}

bool Guard::send_stream(Connection& connection) {
    Exchange& exchange = *connection.exchange;
    if (connection.hung_up) {
        close(connection);
        return false;
    }
    if (!connection.writable) { return false; }
    std::string& out = exchange.head; // and what came behind it
    if (connection.sent == out.size()) {
        const bool idle = out.empty(); // since the last time, too: the ping is due from then on
        out.clear();
        connection.sent = 0;
        if (connection.stream_ended) {
            connection.exchange.reset();
            linger(connection);
            return true;
        }
        connection.stream_ended = !exchange.response.stream->pull(out, chunk_bytes);
        if (!out.empty()) {
            connection.deadline = now_ + seconds(config_.write_timeout);
        } else {
            if (!idle) { connection.deadline = now_ + ping_time; }
            return connection.stream_ended;
        }
    }
    const ssize_t sent = ::send(connection.socket, out.data() + connection.sent,
                                out.size() - connection.sent, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno == EINTR) { return true; }
        connection.writable = false;
        if (errno != EAGAIN) { close(connection); }
        return false;
    }
    connection.sent += static_cast<std::size_t>(sent);
    connection.deadline = now_ + seconds(config_.write_timeout);
    return true;
}

// The deadline of a connection that is kept: false where it is to be closed.
bool Guard::kept_is_late(Connection& connection) {
    if (connection.phase == Phase::parked) {
        ask_later(connection);
        return true;
    }
    Exchange& exchange = *connection.exchange;
    if (connection.sent != exchange.head.size()) { return false; } // it does not read
    exchange.head = exchange.response.stream->ping();
    connection.sent = 0;
    connection.deadline = now_ + seconds(config_.write_timeout);
    return true;
}

} // namespace mustafar::daemon
