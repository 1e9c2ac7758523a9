// SPDX-License-Identifier: Apache-2.0
// A lock for one writer or many readers that gives up at a deadline. Waiting writers go before new readers, which
// neither std::shared_timed_mutex nor the rwlock of glibc promises.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace mustafar::daemon {

class TimedLock {
  public:
    using Deadline = std::chrono::steady_clock::time_point;

    bool lock_shared(Deadline deadline) {
        std::unique_lock lock(mutex_);
        if (!readers_go_.wait_until(lock, deadline, [this] { return !writer_ && writers_ == 0; })) {
            return false;
        }
        ++readers_;
        return true;
    }
    void unlock_shared() {
        const std::lock_guard lock(mutex_);
        if (--readers_ == 0) { writer_goes_.notify_one(); }
    }
    bool lock(Deadline deadline) {
        std::unique_lock lock(mutex_);
        ++writers_;
        const bool mine =
            writer_goes_.wait_until(lock, deadline, [this] { return !writer_ && readers_ == 0; });
        --writers_;
        if (mine) {
            writer_ = true;
        } else if (writers_ == 0) {
            readers_go_.notify_all(); // they waited for a writer that has given up
        }
        return mine;
    }
    void unlock() {
        const std::lock_guard lock(mutex_);
        writer_ = false;
        if (writers_ > 0) {
            writer_goes_.notify_one();
        } else {
            readers_go_.notify_all();
        }
    }

  private:
    std::mutex mutex_;
    std::condition_variable readers_go_;
    std::condition_variable writer_goes_;
    unsigned readers_ = 0;
    unsigned writers_ = 0; // that wait
    bool writer_ = false;
};

} // namespace mustafar::daemon
