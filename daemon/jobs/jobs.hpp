// SPDX-License-Identifier: Apache-2.0
// Experiments as jobs: a bounded queue, one thread that runs one at a time, and the history of all of them.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "http/wake.hpp"
#include "jobs/history.hpp"
#include "jobs/job.hpp"
#include "jobs/traces.hpp"
#include "memory.hpp"

namespace mustafar::daemon {

struct JobCounts {
    std::array<std::uint64_t, job_states> by_state{};
    std::uint64_t rows = 0;  // measured by this process
    std::uint64_t bytes = 0; // of the quota
    std::uint64_t streams = 0;
};

// What other requests compute, so that results can say whether they had the machine for themselves. Threads: any.
class Activity {
  public:
    void begin() {
        ++running_;
        ++begun_;
    }
    void end() { --running_; }
    std::uint64_t begun() const { return begun_; }
    bool busy() const { return running_ > 0; }

  private:
    std::atomic<std::uint64_t> begun_{0};
    std::atomic<std::uint64_t> running_{0};
};

// One of the --max-streams places, until it goes.
class StreamPlace {
  public:
    explicit StreamPlace(std::atomic<std::uint64_t>& count) : count_(&count) {}
    StreamPlace(StreamPlace&& other) noexcept : count_(std::exchange(other.count_, nullptr)) {}
    StreamPlace& operator=(StreamPlace&&) = delete;
    ~StreamPlace() {
        if (count_ != nullptr) { --*count_; }
    }

  private:
    std::atomic<std::uint64_t>* count_;
};

class Jobs {
  public:
    // What a job runs on; all outlive it.
    struct Needs {
        Traces& traces;
        Memory& memory;
        const Wake& wake;
        std::string backend;
        std::uint64_t job_memory;
        std::uint32_t jobs_limit;
        std::uint32_t streams_limit;
    };

    // Queues what an earlier process has left waiting in `history`.
    Jobs(Needs needs, std::unique_ptr<History> history);
    void start(); // from now on jobs are run
    ~Jobs();      // interrupts the running one

    // Threads: any but the I/O thread.
    // The job of a key that came before is given again. Throws Problem queue_full, idempotency_mismatch, not_found and
    // bad_trace (its traces), invalid_argument, unsupported, quota_exceeded (what it would take), storage.
    JobRecord submit(JobSpec spec, const std::string& key);
    std::optional<JobRecord> find(const std::string& id);
    std::vector<JobRecord> list(std::size_t limit, std::uint64_t before,
                                std::optional<JobState> state);
    std::shared_ptr<Job> follow(const std::string& id); // throws Problem not_found
    JobRecord cancel(const std::string& id);            // throws Problem not_found, job_state
    void remove(const std::string& id);                 // the same
    void check_unused(const std::string& trace);        // throws Problem job_state
    History& history() { return *history_; }
    StreamPlace take_stream(); // throws Problem too_many_streams

    // Threads: any. The running job is interrupted, no other begins, streams end.
    void stop();
    // Gives memory back that was kept for the next job: what has been free since the call before, or all of it.
    void trim(bool all) noexcept { memory_.trim(all); }
    std::uint64_t kept() const { return memory_.kept(); }
    bool stopping() const { return stopping_; }
    JobCounts counts() const;
    Activity activity; // of requests

  private:
    using Pointer = std::shared_ptr<Job>;
    void work();
    Pointer next();
    void keep_recent(const Pointer& job) noexcept; // under the lock
    void tidy();
    Pointer live(const std::string& id) const;
    Pointer take_queued(const std::string& id);
    Pointer cancel_queued(const std::string& id);
    void end_queued(const Pointer& job);
    void check(const JobSpec& spec) const;
    std::optional<JobRecord> made_before(const std::string& key, const std::string& digest);
    void recount();
    void run(Job& job); // run.cpp: on the thread of jobs
    friend class Run;

    const Needs needs_;
    const std::unique_ptr<History> history_;
    std::mutex submit_mutex_; // two submits with one key are one after the other
    mutable std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<Pointer> queue_;
    Pointer running_;
    std::deque<Pointer> recent_; // have ended: who comes back finds their events
    std::array<std::uint64_t, job_states> by_state_{};
    std::atomic<bool> stopping_{false};
    std::atomic<std::uint64_t> rows_{0};
    std::atomic<std::uint64_t> streams_{0};
    Memory memory_;      // of the running job
    std::thread thread_; // last: it uses all of the above
};

} // namespace mustafar::daemon
