// SPDX-License-Identifier: Apache-2.0
#include "http/workers.hpp"

#include <cerrno>
#include <new>
#include <system_error>
#include <utility>

#include <sys/eventfd.h>
#include <unistd.h>

namespace mustafar::daemon {

Workers::Workers(std::size_t threads, std::size_t queue_limit,
                 const std::function<Work()>& make_work)
    : queue_limit_(queue_limit), event_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (event_ < 0) { throw std::system_error(errno, std::generic_category(), "eventfd"); }
    if (::sem_init(&wake_, 0, 0) != 0) {
        throw std::system_error(errno, std::generic_category(), "sem_init");
    }
    threads_.reserve(threads);
    for (std::size_t i = 0; i < threads; ++i) {
        threads_.emplace_back([this, make_work] { run(make_work); });
    }
}

Workers::~Workers() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    for (std::size_t i = 0; i < threads_.size(); ++i) { ::sem_post(&wake_); }
    for (std::thread& thread : threads_) { thread.join(); }
    ::sem_destroy(&wake_);
    ::close(event_);
}

bool Workers::submit(std::unique_ptr<Exchange>& exchange) {
    bool wake = false;
    {
        const std::lock_guard lock(mutex_);
        if (queue_.size() >= queue_limit_) { return false; }
        queue_.push_back(std::move(exchange));
        wake = wake_another();
    }
    if (wake) { ::sem_post(&wake_); }
    return true;
}

// Under the lock: whether to notify. Waking everyone for a handful of short requests costs more than they do.
bool Workers::wake_another() {
    if (coming_ || idle_ == 0 || queue_.empty()) { return false; }
    coming_ = true;
    return true;
}

std::size_t Workers::queued() const {
    const std::lock_guard lock(mutex_);
    return queue_.size();
}

std::vector<std::unique_ptr<Exchange>> Workers::take_answered() {
    const std::lock_guard lock(answered_mutex_);
    return std::exchange(answered_, {});
}

void Workers::run(const std::function<Work()>& make_work) {
    const Work work = make_work();
    for (;;) {
        std::unique_ptr<Exchange> exchange;
        bool wake = false;
        {
            std::unique_lock lock(mutex_);
            while (!stopping_ && queue_.empty()) {
                ++idle_;
                lock.unlock();
                while (::sem_wait(&wake_) != 0) {} // EINTR
                lock.lock();
                --idle_;
                coming_ = false;
            }
            if (stopping_) { return; }
            exchange = std::move(queue_.front());
            queue_.pop_front();
            wake = wake_another();
        }
        if (wake) { ::sem_post(&wake_); }
        exchange->started = Clock::now();
        try {
            work(*exchange);
        } catch (const std::bad_alloc&) {
            exchange->head.clear();
        } // nothing can be said: it is closed
        exchange->answered = Clock::now();
        const bool first = hand_back(exchange);
        if (first) { // later ones are taken together with it
            const std::uint64_t one = 1;
            [[maybe_unused]] const ssize_t bytes = ::write(event_, &one, sizeof one);
        }
    }
}

// True where nobody has told the I/O thread yet. It waits for this: it is tried until there is memory.
bool Workers::hand_back(std::unique_ptr<Exchange>& exchange) {
    for (;;) {
        try {
            const std::lock_guard lock(answered_mutex_);
            answered_.push_back(std::move(exchange));
            return answered_.size() == 1;
        } catch (const std::bad_alloc&) {}
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

} // namespace mustafar::daemon
