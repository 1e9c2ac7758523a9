// SPDX-License-Identifier: Apache-2.0
#include "jobs/job.hpp"

#include <new>

namespace mustafar::daemon {

namespace {

std::string frame_of(std::uint64_t version, const char* event, const Json& data) {
    return "id: " + std::to_string(version) + "\nevent: " + event + "\ndata: " + dump(data) +
           "\n\n";
}

Json progress_of(const JobRecord& job) {
    return {{"progress", job.progress},
            {"what", job.what},
            {"items_done", job.items_done},
            {"items", job.items},
            {"state", text_of(job.state)}};
}

} // namespace

Job::Job(JobRecord record, JobSpec its_spec, const Wake& wake)
    : id(record.id), spec(std::move(its_spec)), wake_(wake), record_(std::move(record)) {
    keep(record_, "progress", progress_of(record_));
}

Job::Job(JobRecord record, const Wake& wake)
    : id(record.id), wake_(wake), record_(std::move(record)) {
    keep(record_, "done", write_job(record_));
}

JobRecord Job::record() const {
    const std::lock_guard lock(mutex_);
    return record_;
}

JobState Job::state() const {
    const std::lock_guard lock(mutex_);
    return record_.state;
}

std::uint64_t Job::version() const {
    const std::lock_guard lock(mutex_);
    return record_.version;
}

void Job::keep(const JobRecord& record, const char* event, const Json& data) {
    events_.push_back({record.version, frame_of(record.version, event, data)});
    if (events_.size() > events_kept) { events_.pop_front(); }
}

void Job::tell(const char* event, const std::function<void(JobRecord&)>& change,
               const std::function<Json(const JobRecord&)>& data) {
    {
        const std::lock_guard lock(mutex_);
        JobRecord next = record_;
        change(next);
        ++next.version;
        try {
            keep(next, event, data(next));
        } catch (const std::bad_alloc&) { events_.clear(); }
        record_ = std::move(next);
    }
    wake_.signal();
}

void Job::end(JobRecord ended) noexcept {
    {
        const std::lock_guard lock(mutex_);
        record_ = std::move(ended);
        try {
            keep(record_, "done", write_job(record_));
        } catch (...) { events_.clear(); }
    }
    wake_.signal();
}

void Job::tell_progress(const std::function<void(JobRecord&)>& change) {
    tell("progress", change, progress_of);
}

bool Job::events(std::uint64_t* last, std::string& out, std::size_t bytes) const {
    const std::lock_guard lock(mutex_);
    const std::uint64_t first = events_.empty() ? record_.version + 1 : events_.front().version;
    const bool ended = has_ended(record_.state);
    if (*last + 1 < first || *last > record_.version) {
        // The last event comes once more behind it where it is the end: that is what readers wait for.
        *last = ended ? record_.version - 1 : record_.version;
        out += frame_of(*last, "reset", write_job(record_));
    }
    if (ended && events_.empty() && *last < record_.version) { // there was no memory to keep it
        out += frame_of(record_.version, "done", write_job(record_));
        *last = record_.version;
    }
    while (*last < record_.version && out.size() < bytes) {
        const std::uint64_t place = *last + 1 - first;
        out += events_[static_cast<std::size_t>(place)].frame;
        ++*last;
    }
    return ended && *last == record_.version;
}

} // namespace mustafar::daemon
