// SPDX-License-Identifier: Apache-2.0
#include "http/guard.hpp"

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <new>
#include <system_error>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.hpp"
#include "service.hpp"

namespace mustafar::daemon {

namespace {

enum Key : std::uint64_t { key_listener = 1, key_workers = 2, key_signals = 3, key_wake = 4 };

constexpr auto tick = std::chrono::milliseconds(100);
constexpr std::size_t scratch_bytes = 64 * 1024;
constexpr std::uint32_t ends = EPOLLRDHUP | EPOLLHUP | EPOLLERR;

std::system_error failed(const char* call) {
    return std::system_error(errno, std::generic_category(), call);
}

sigset_t stop_signals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    return set;
}

std::atomic<int> signals_spared{0};
static_assert(std::atomic<int>::is_always_lock_free); // a handler of signals uses it

void end_unless_spared(int) {
    if (signals_spared.fetch_sub(1) <= 0) { ::_exit(1); }
}

} // namespace

Guard::Guard(const Config& config, CheckSettings checks, Listener listener, Service& service,
             const std::function<Workers::Work()>& make_work)
    : config_(config), checks_(std::move(checks)), listener_(std::move(listener)),
      service_(service), epoll_(::epoll_create1(EPOLL_CLOEXEC)), now_(Clock::now()),
      scratch_(scratch_bytes), workers_(config.workers, config.queue_limit, make_work) {
    const sigset_t set = stop_signals();
    signals_ = ::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (epoll_ < 0 || signals_ < 0) { throw failed("epoll_create1 or signalfd"); }
    watch(listener_.socket(), EPOLLIN, key_listener);
    // Every write to it is an edge of its own: nobody has to read it, which saves a call for each reply.
    watch(workers_.event(), EPOLLIN | EPOLLET, key_workers);
    watch(signals_, EPOLLIN, key_signals);
    watch(service_.wake.event(), EPOLLIN, key_wake);
}

Guard::~Guard() {
    for (auto& [serial, connection] : connections_) { ::close(connection->socket); }
    ::close(signals_);
    ::close(epoll_);
}

void Guard::watch(int descriptor, std::uint32_t events, std::uint64_t key) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = key;
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event) != 0) { throw failed("epoll_ctl"); }
}

void Guard::run() {
    std::array<epoll_event, 256> events{};
    Clock::time_point next_check = now_ + tick;
    while (!drained()) {
        const int wait_ms = again_.empty() ? 100 : 0;
        const int count = ::epoll_wait(epoll_, events.data(), events.size(), wait_ms);
        if (count < 0 && errno != EINTR) { throw failed("epoll_wait"); }
        now_ = Clock::now();
        bool accept = false;
        // New sockets last, so that a number that was just closed is not met again among these events.
        for (int i = 0; i < count; ++i) {
            const epoll_event& event = events[static_cast<std::size_t>(i)];
            switch (event.data.u64) {
            case key_listener:
                accept = true;
                break;
            case key_workers:
                take_answers();
                break;
            case key_signals:
                begin_drain(0);
                break;
            case key_wake:
                service_.wake.take();
                // A signal may be on its way beside the request that asked for this: one of them ends nothing.
                if (service_.drain_asked) { begin_drain(1); }
                look_at_kept();
                break;
            default:
                if (const auto at = connections_.find(event.data.u64); at != connections_.end()) {
                    Connection& connection = *at->second;
                    if ((event.events & ~std::uint32_t{EPOLLOUT}) != 0) {
                        connection.readable = true;
                        connection.hung_up = connection.hung_up || (event.events & ends) != 0;
                    }
                    if ((event.events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
                        connection.writable = true;
                    }
                    advance(connection);
                }
            }
        }
        for (const std::uint64_t serial : std::exchange(again_, {})) {
            if (const auto at = connections_.find(serial); at != connections_.end()) {
                at->second->listed = false;
                advance(*at->second);
            }
        }
        if (accept && !draining_) { accept_all(); }
        if (now_ >= next_check) {
            next_check = now_ + tick;
            try {
                check_deadlines();
            } catch (const std::bad_alloc&) {} // the next tick does what this one could not
        }
    }
}

void Guard::accept_all() {
    for (int i = 0; i < 64; ++i) { // the listener is level triggered: the rest comes next time
        const int socket =
            ::accept4(listener_.socket(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (socket < 0) { return; }
        if (connections_.size() >= config_.connections_limit) {
            ::close(socket);
            service_.metrics.rejected("connections");
            continue;
        }
        const int on = 1; // fails on UNIX sockets, which do not wait anyway
        static_cast<void>(::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
        try {
            auto connection = std::make_unique<Connection>();
            connection->serial = next_serial_++;
            connection->socket = socket;
            idle(*connection);
            watch(socket, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, connection->serial);
            connections_.emplace(connection->serial, std::move(connection));
        } catch (const std::bad_alloc&) { ::close(socket); }
    }
}

void Guard::take_answers() {
    for (std::unique_ptr<Exchange>& exchange : workers_.take_answered()) {
        const auto at = connections_.find(exchange->connection);
        if (at == connections_.end()) { continue; } // the client has gone
        Connection& connection = *at->second;
        if (exchange->head.empty()) { // not even a refusal could be written
            close(connection);
            continue;
        }
        connection.exchange = std::move(exchange);
        try {
            const Response& response = connection.exchange->response;
            if (response.later || response.stream) {
                keep(connection);
            } else {
                start_sending(connection);
            }
        } catch (const std::bad_alloc&) {
            close(connection);
            continue;
        }
        advance(connection);
    }
}

void Guard::close(Connection& connection) {
    ::close(connection.socket);
    connections_.erase(connection.serial); // `connection` is gone
}

void Guard::again(Connection& connection) {
    if (!connection.listed) {
        connection.listed = true;
        again_.push_back(connection.serial);
    }
}

// At most 1024 connections: looking at each ten times a second costs less than keeping them in order.
void Guard::check_deadlines() {
    service_.metrics.connections = connections_.size();
    service_.metrics.queue_depth = workers_.queued();
    std::vector<std::uint64_t> late;
    std::size_t in_flight = 0;
    for (const auto& [serial, connection] : connections_) {
        in_flight += connection->exchange ? 1 : 0;
        if (connection->phase == Phase::body && is_slow(*connection)) { continue; }
        if (now_ >= connection->deadline || now_ >= connection->last_call) {
            late.push_back(serial);
        }
    }
    service_.metrics.in_flight = in_flight;
    forget_kept();
    for (const std::uint64_t serial : late) {
        try {
            end_late(serial);
        } catch (const std::bad_alloc&) { drop(serial); } // half of it may have been done
    }
}

// Too late with a head or a body: told. Too late in reading a reply: closed. What is kept may have its turn now.
void Guard::end_late(std::uint64_t serial) {
    Connection& connection = *connections_.at(serial);
    const bool kept = is_kept(connection);
    if (kept && kept_is_late(connection)) {
        if (connections_.contains(serial)) { advance(connection); }
        return;
    }
    const bool began = !connection.in.empty() || connection.phase == Phase::body;
    if (connection.phase == Phase::body || (connection.phase == Phase::head && began)) {
        wake_at(connection, 1);
        connection.exchange.reset();
        refuse(connection, Problem(ProblemType::request_timeout, "the rest did not come in time"),
               nullptr);
        advance(connection);
        return;
    }
    if (connection.phase == Phase::sending || kept) { service_.metrics.rejected("slow-reader"); }
    close(connection);
}

// `signals`: so many more change nothing; the one behind them ends the process at once.
void Guard::begin_drain(int signals) {
    if (draining_) { return; }
    draining_ = true;
    service_.draining = true;
    drain_deadline_ = now_ + std::chrono::duration_cast<Clock::duration>(
                                 std::chrono::duration<double>(config_.drain_timeout));
    ::epoll_ctl(epoll_, EPOLL_CTL_DEL, signals_, nullptr);
    signalfd_siginfo first{};
    if (signals == 0) { static_cast<void>(::read(signals_, &first, sizeof first) == 0); }
    signals_spared = signals;
    std::signal(SIGTERM, end_unless_spared);
    std::signal(SIGINT, end_unless_spared);
    const sigset_t set = stop_signals();
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    try {
        log_event("draining", {{"connections", connections_.size()}});
    } catch (const std::bad_alloc&) {} // a line less

    listener_.close();
    for (auto at = connections_.begin(); at != connections_.end();) {
        Connection& connection = *(at++)->second; // close() erases it
        const bool nothing = connection.phase == Phase::head && connection.in.empty();
        if (nothing || connection.phase == Phase::linger) { close(connection); }
    }
    service_.jobs.stop();
    look_at_kept();
}

bool Guard::drained() const {
    return draining_ && (connections_.empty() || now_ >= drain_deadline_);
}

} // namespace mustafar::daemon
