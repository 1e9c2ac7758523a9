// SPDX-License-Identifier: Apache-2.0
// A job of this process: what is known of it, and its newest events. Whoever follows one holds it, so that it lives
// until its last reader has gone.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <mutex>
#include <string>

#include "http/wake.hpp"
#include "jobs/record.hpp"
#include "jobs/spec.hpp"

namespace mustafar::daemon {

inline constexpr std::size_t events_kept = 256;

// Threads: any. Its lock is held for moments: the I/O thread takes it.
class Job {
  public:
    Job(JobRecord record, JobSpec spec, const Wake& wake);
    // One that has ended before: there is only its last event.
    Job(JobRecord record, const Wake& wake);

    const std::string id;
    const JobSpec spec;
    std::atomic<bool> cancelled{false};

    JobRecord record() const;
    JobState state() const;
    std::uint64_t version() const;
    // Changes what is known, and tells it as one event. `data` is asked for under the lock, with the record changed.
    // Where `change` throws nothing has changed; where there is no memory for the event, readers get the whole job.
    void tell(const char* event, const std::function<void(JobRecord&)>& change,
              const std::function<Json(const JobRecord&)>& data);
    void tell_progress(const std::function<void(JobRecord&)>& change);
    // Its last event; `ended` is of the version behind the present one. Told whatever happens: with no memory for the
    // event, readers find the end in the record.
    void end(JobRecord ended) noexcept;

    // Appends the frames behind event `*last`, about `bytes` at most, and moves `*last`. What is no longer kept is
    // stood for by a frame `reset`. True: there is an end, and it was appended.
    bool events(std::uint64_t* last, std::string& out, std::size_t bytes) const;

  private:
    struct Event {
        std::uint64_t version;
        std::string frame;
    };
    void keep(const JobRecord& record, const char* event, const Json& data);

    const Wake& wake_;
    mutable std::mutex mutex_;
    JobRecord record_;
    std::deque<Event>
        events_; // ascending versions, without gaps, up to the one of the record; or none
};

} // namespace mustafar::daemon
