// SPDX-License-Identifier: Apache-2.0
// How other threads tell the I/O thread that replies it keeps (Later, EventStream) may have something to say.
#pragma once

#include <cerrno>
#include <cstdint>
#include <system_error>

#include <sys/eventfd.h>
#include <unistd.h>

namespace mustafar::daemon {

// Threads: any. Calls between two takes are one.
class Wake {
  public:
    Wake() : event_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
        if (event_ < 0) { throw std::system_error(errno, std::generic_category(), "eventfd"); }
    }
    ~Wake() { ::close(event_); }
    Wake(const Wake&) = delete;
    Wake& operator=(const Wake&) = delete;

    void signal() const {
        const std::uint64_t one = 1;
        [[maybe_unused]] const ssize_t bytes = ::write(event_, &one, sizeof one);
    }
    void take() const {
        std::uint64_t count = 0;
        [[maybe_unused]] const ssize_t bytes = ::read(event_, &count, sizeof count);
    }
    int event() const { return event_; } // readable when there is something to look at

  private:
    const int event_;
};

} // namespace mustafar::daemon
