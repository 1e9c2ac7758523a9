// SPDX-License-Identifier: Apache-2.0
// Experiments as jobs: start one, follow it, end it.
#include <algorithm>

#include "api/choices.hpp"
#include "api/handlers.hpp"
#include "api/shapes.hpp"
#include "jobs/waiting.hpp"

namespace mustafar::daemon {

namespace {

constexpr std::size_t page_max = 256;
constexpr std::size_t key_bytes_max = 255;
constexpr double wait_seconds_max = 60;

Response no_content() {
    Response response;
    response.status = 204;
    return response;
}

// A string of RFC 9651 ("key"), or the bare text that many send. Empty: there is none.
std::string idempotency_key(const Request& request) {
    const std::string* field = request.field("idempotency-key");
    if (field == nullptr) { return {}; }
    std::string_view key = *field;
    if (key.size() >= 2 && key.front() == '"' && key.back() == '"') {
        key = key.substr(1, key.size() - 2);
    }
    const bool plain = std::ranges::all_of(
        key, [](char c) { return c > ' ' && c <= '~' && c != '"' && c != '\\'; });
    if (key.empty() || key.size() > key_bytes_max || !plain) {
        throw Problem(ProblemType::bad_parameter,
                      "Idempotency-Key: 1 to 255 visible characters are expected",
                      {{"parameter", "Idempotency-Key"}});
    }
    return std::string(key);
}

} // namespace

Response post_jobs(Service& service, Request& request) {
    const std::string key = idempotency_key(request);
    JobSpec spec = read_spec(service, parse_body(request));
    const JobRecord job = service.jobs.submit(std::move(spec), key);
    Response response = json_response(write_job(job), 202);
    response.fields.push_back({"Location", "/v1/jobs/" + job.id});
    return response;
}

Response list_jobs(Service& service, Request& request) {
    const Parameters parameters(request);
    const auto limit = parameters.integer("limit", 1, page_max).value_or(page_max);
    const std::uint64_t before = page_start(parameters, "job");
    std::optional<JobState> state;
    if (const auto text = parameters.text("state")) {
        state = job_state_of(*text);
        if (!state) {
            throw Problem(ProblemType::bad_parameter, "state: the state of a job is expected",
                          {{"parameter", "state"}});
        }
    }
    const auto found = service.jobs.list(limit + 1, before, state);
    Json list = Json::array();
    for (const JobRecord& job : found) {
        if (list.size() < limit) { list.push_back(write_job(job)); }
    }
    const bool more = found.size() > list.size();
    return json_response(
        {{"jobs", list}, {"next", more ? Json(found[list.size() - 1].id) : Json(nullptr)}});
}

Response get_job(Service& service, Request& request) {
    const Parameters parameters(request);
    const auto wait = parameters.number("wait", 0, wait_seconds_max).value_or(0);
    const auto version = parameters.integer("version", 0, INT64_MAX);
    const auto job = service.jobs.follow(request.path[0]);
    const JobRecord record = job->record();
    const std::uint64_t known = version.value_or(record.version);
    if (wait == 0 || record.version > known || has_ended(record.state)) {
        return json_response(write_job(record));
    }
    Response response;
    response.later = wait_for_job(job, known,
                                  request.received + std::chrono::duration_cast<Clock::duration>(
                                                         std::chrono::duration<double>(wait)));
    return response;
}

Response follow_job(Service& service, Request& request) {
    const std::uint64_t last = last_event(request);
    auto job = service.jobs.follow(request.path[0]);
    Response response;
    response.type = "text/event-stream";
    response.stream = stream_job(service.jobs, std::move(job), service.jobs.take_stream(), last);
    return response;
}

Response cancel_job(Service& service, Request& request) {
    const Json body = parse_body(request);
    JsonFields(body).finish();
    return json_response(write_job(service.jobs.cancel(request.path[0])), 202);
}

Response delete_job(Service& service, Request& request) {
    service.jobs.remove(request.path[0]);
    return no_content();
}

} // namespace mustafar::daemon
