// SPDX-License-Identifier: Apache-2.0
// The threads that compute. They take requests that have fully arrived from a bounded queue and leave replies for
// the I/O thread: they never touch a socket, hence never wait for a client.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <semaphore.h>

#include "http/message.hpp"

namespace mustafar::daemon {

// One request on its way: made by the I/O thread, owned by whoever has it at the moment.
struct Exchange {
    std::uint64_t connection = 0; // serial number: the connection may be gone when the reply comes
    int socket = -1;
    std::string method;
    std::string target;
    bool head_only = false; // HEAD
    bool keep_alive = false;
    Request request;
    std::size_t body_bytes = 0; // of the request; its staging may be gone
    Clock::time_point queued;
    Clock::time_point started;
    Clock::time_point answered;
    Response response;
    std::string head; // of the reply
};

class Workers {
  public:
    // `work` is made once per thread, on that thread, and then called for each exchange; it must not throw.
    using Work = std::function<void(Exchange&)>;
    Workers(std::size_t threads, std::size_t queue_limit, const std::function<Work()>& make_work);
    ~Workers(); // finishes what was started, drops what was queued

    // False where the queue is full; `exchange` is then still the caller's.
    bool submit(std::unique_ptr<Exchange>& exchange);
    std::vector<std::unique_ptr<Exchange>> take_answered();
    int event() const { return event_; } // each write to it: there is something to take
    std::size_t queued() const;

  private:
    void run(const std::function<Work()>& make_work);
    bool wake_another();
    bool hand_back(std::unique_ptr<Exchange>& exchange);

    const std::size_t queue_limit_;
    const int event_; // eventfd
    mutable std::mutex mutex_;
    sem_t
        wake_; // counts: unlike the condition variable of glibc before 2.41 (its bug 25847) it loses no wakeup
    std::deque<std::unique_ptr<Exchange>> queue_;
    bool stopping_ = false;
    std::size_t idle_ = 0; // workers that wait
    bool coming_ =
        false; // one of them has been woken and is on its way: one at a time is enough, since
               // it wakes the next where there is more to do
    std::mutex answered_mutex_;
    std::vector<std::unique_ptr<Exchange>> answered_;
    std::vector<std::thread> threads_;
};

} // namespace mustafar::daemon
