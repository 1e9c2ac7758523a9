// SPDX-License-Identifier: Apache-2.0
// Caches that go without being asked for: those whose time is over, and with --evict=lru the one that has not been
// used for longest, where there is no room. Never one that is pinned, or that a request has in its hands.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "http/message.hpp"
#include "metrics.hpp"
#include "problem.hpp"

namespace mustafar::daemon {

struct Service;

// Frees what has expired and returns its ids. `reason` goes into log and metrics.
std::vector<std::string> free_expired(Service& service, Eviction reason);

// Gives to the machine what is kept for reuse: what nobody has taken since the call before, or all of it.
void give_back_memory(Service& service, bool all) noexcept;

// Frees the cache that was used least recently, and not since `before`. False: none may go.
bool free_oldest(Service& service, Clock::time_point before);

// Whether other caches would have to go for what was refused: it is no more than there could ever be.
bool could_fit(const Problem& problem);

// Runs `work`, and again for each cache that was freed where the quota refused it. A refusal has changed nothing.
template <class Work>
auto with_room(Service& service, Clock::time_point begin, const Work& work) {
    for (;;) {
        try {
            return work();
        } catch (const Problem& problem) {
            if (!could_fit(problem) || !free_oldest(service, begin)) { throw; }
        }
    }
}

// Frees what has expired, and memory that was kept for reuse and not used, once a second.
class Sweeper {
  public:
    explicit Sweeper(Service& service);
    ~Sweeper();

  private:
    void run();
    Service& service_;
    std::mutex mutex_;
    std::condition_variable stop_;
    bool stopping_ = false;
    std::thread thread_;
};

} // namespace mustafar::daemon
