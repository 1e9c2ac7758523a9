// SPDX-License-Identifier: Apache-2.0
// One thread owns every socket: it accepts, reads heads and bodies, sends replies, and closes. Workers get requests
// that have fully arrived. So slow clients cost a socket and what they have reserved, and nobody else's time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "config.hpp"
#include "http/checks.hpp"
#include "http/listen.hpp"
#include "http/workers.hpp"

namespace mustafar::daemon {

struct Service;

enum class Phase {
    head,      // between requests, or some of a head is here
    body,      // the body of `exchange` is coming
    waiting,   // with the workers
    parked,    // its reply comes later: a long poll
    streaming, // events are sent as they come
    sending,   // the reply of `exchange` is going out
    skip,      // the rest of a body that was refused
    linger     // closed for writing: the client may still read what was sent
};

// Threads: the I/O thread only.
struct Connection {
    std::uint64_t serial = 0;
    int socket = -1;
    Phase phase = Phase::head;
    bool readable =
        true; // epoll is edge triggered: what it said is kept here until recv or send say otherwise
    bool writable = true;
    bool hung_up = false; // the end is on its way, behind what can still be read
    bool ended = false;   // the client sends no more
    bool close_after = false;
    bool stream_ended = false; // what is in its buffer is the last
    bool listed = false;       // in Guard::again_
    bool moved = false;        // some of its body came since the last tick
    int low_water = 1;         // SO_RCVLOWAT: bytes that are worth an event
    std::string in;            // received and not used yet: of this head, or of requests behind it
    std::size_t scanned = 0;
    std::unique_ptr<Exchange> exchange;
    std::size_t received = 0;   // of its body
    std::size_t sent = 0;       // of its reply, head and body
    std::uint64_t unwanted = 0; // bytes still to be skipped, or allowed while lingering
    Clock::time_point deadline = Clock::time_point::max();
    Clock::time_point last_call = Clock::time_point::max(); // for a reply as a whole
};

// A request that begins; `head` may be nullptr where it could not be read.
std::unique_ptr<Exchange> make_exchange(const Connection& connection, const Head* head,
                                        Clock::time_point now);

class Guard {
  public:
    // Borrows all but the listener. Throws std::system_error.
    Guard(const Config& config, CheckSettings checks, Listener listener, Service& service,
          const std::function<Workers::Work()>& make_work);
    ~Guard();
    // Serves until SIGTERM, SIGINT (both must be blocked in every thread) or Service::drain_asked, and then until what
    // was begun is answered or config.drain_timeout is over. A second signal ends the process with status 1.
    void run();

  private:
    // guard.cpp: the loop
    void watch(int descriptor, std::uint32_t events, std::uint64_t key);
    void accept_all();
    void take_answers();
    void check_deadlines();
    void end_late(std::uint64_t serial);
    void begin_drain(int signals);
    bool drained() const;
    void close(Connection& connection);
    void again(Connection& connection);

    // guard_receive.cpp: each returns false where there is nothing more to do now
    void advance(Connection& connection);
    void take_turns(Connection& connection);
    void drop(std::uint64_t serial);
    bool receive_head(Connection& connection);
    bool receive_body(Connection& connection);
    bool receive_unwanted(Connection& connection);
    bool take_head(Connection& connection);
    void admit(Connection& connection, const Head& head);
    void body_arrived(Connection& connection);
    static void wake_at(Connection& connection, std::size_t bytes);
    static bool is_slow(Connection& connection);
    std::ptrdiff_t receive(Connection& connection, char* data, std::size_t bytes);

    // guard_stream.cpp
    void keep(Connection& connection);
    void look_at_kept();
    void forget_kept();
    static bool is_kept(const Connection& connection);
    bool ask_later(Connection& connection);
    bool send_stream(Connection& connection);
    bool kept_is_late(Connection& connection);

    // guard_send.cpp
    void refuse(Connection& connection, const Problem& problem, const Head* head);
    void reply(Connection& connection, Response response);
    void start_sending(Connection& connection);
    bool send(Connection& connection);
    void finish(Connection& connection);
    void linger(Connection& connection);
    void idle(Connection& connection);

    const Config& config_;
    const CheckSettings checks_;
    Listener listener_;
    Service& service_;
    int epoll_ = -1;
    int signals_ = -1;
    bool draining_ = false;
    Clock::time_point now_;
    Clock::time_point drain_deadline_ = Clock::time_point::max();
    std::uint64_t next_serial_ = 16; // smaller keys are not connections
    std::unordered_map<std::uint64_t, std::unique_ptr<Connection>> connections_;
    std::vector<std::uint64_t> again_;       // have had their turn and could go on
    std::unordered_set<std::uint64_t> kept_; // parked or streaming, or were a moment ago
    std::vector<char> scratch_;
    Workers workers_;
};

} // namespace mustafar::daemon
