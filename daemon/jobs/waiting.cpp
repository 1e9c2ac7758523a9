// SPDX-License-Identifier: Apache-2.0
#include "jobs/waiting.hpp"

#include <charconv>

#include "api/shapes.hpp"

namespace mustafar::daemon {

namespace {

class JobLater final : public Later {
  public:
    JobLater(std::shared_ptr<Job> job, std::uint64_t version)
        : job_(std::move(job)), version_(version) {}

    bool ready() override { return job_->version() > version_ || has_ended(job_->state()); }
    Response response() override { return json_response(write_job(job_->record())); }

  private:
    const std::shared_ptr<Job> job_;
    const std::uint64_t version_;
};

class JobStream final : public EventStream {
  public:
    JobStream(const Jobs& jobs, std::shared_ptr<Job> job, StreamPlace place, std::uint64_t last)
        : jobs_(jobs), job_(std::move(job)), place_(std::move(place)), last_(last) {}

    bool pull(std::string& out, std::size_t bytes) override {
        if (!begun_) { out += "retry: 1000\n\n"; } // milliseconds until a client comes back
        begun_ = true;
        if (job_->events(&last_, out, bytes)) { return false; }
        // The running job ends by itself when the server stops; one that waits will not run.
        if (!jobs_.stopping() || job_->state() == JobState::running) { return true; }
        out += ": the server stops\n\n";
        return false;
    }
    std::string_view ping() const override { return ": ping\n\n"; }

  private:
    const Jobs& jobs_;
    const std::shared_ptr<Job> job_;
    const StreamPlace place_;
    std::uint64_t last_;
    bool begun_ = false;
};

} // namespace

std::uint64_t last_event(const Request& request) {
    const std::string* field = request.field("last-event-id");
    if (field == nullptr || field->empty()) { return 0; }
    std::uint64_t number = 0;
    const char* end = field->data() + field->size();
    const auto [at, error] = std::from_chars(field->data(), end, number);
    if (error != std::errc() || at != end) {
        throw Problem(ProblemType::bad_parameter, "Last-Event-ID: the id of an event is expected",
                      {{"parameter", "Last-Event-ID"}});
    }
    return number;
}

std::unique_ptr<Later> wait_for_job(std::shared_ptr<Job> job, std::uint64_t version,
                                    Clock::time_point deadline) {
    auto later = std::make_unique<JobLater>(std::move(job), version);
    later->deadline = deadline;
    return later;
}

std::unique_ptr<EventStream> stream_job(const Jobs& jobs, std::shared_ptr<Job> job,
                                        StreamPlace place, std::uint64_t last) {
    return std::make_unique<JobStream>(jobs, std::move(job), std::move(place), last);
}

} // namespace mustafar::daemon
