// SPDX-License-Identifier: Apache-2.0
#include "jobs/jobs.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "library.hpp"
#include "log.hpp"
#include "tokens.hpp"

namespace mustafar::daemon {

namespace {

constexpr std::size_t recent_max = 16;

std::string digest_of(const Json& document) {
    std::string text;
    for (const unsigned char byte : sha256(dump(document))) {
        constexpr const char* digits = "0123456789abcdef";
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

Problem no_job(const std::string& id) {
    return Problem(ProblemType::not_found, "there is no job " + id, {{"job", id}});
}

Problem wrong_state(const JobRecord& job, const char* why) {
    return Problem(ProblemType::job_state, job.id + " is " + text_of(job.state) + why,
                   {{"job", job.id}, {"state", text_of(job.state)}});
}

// What the library says of a recipe on a geometry, before anything is computed.
void check_recipe(const experiment::LoadedRecipe& recipe, const mustafar_geometry& geometry,
                  std::uint32_t tokens) {
    mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
    options.max_tokens = tokens;
    auto bytes = sized<mustafar_bytes>();
    call(mustafar_plan, recipe.recipe.get(), &geometry, &options, tokens, MUSTAFAR_ALL, &bytes);
}

mustafar_geometry geometry_of(const experiment::Synthetic& shape) {
    auto geometry = sized<mustafar_geometry>();
    geometry.layers = shape.layers;
    geometry.q_heads = shape.q_heads;
    geometry.kv_heads = shape.kv_heads;
    geometry.head_dim_k = geometry.head_dim_v = shape.head_dim;
    geometry.dtype = shape.dtype;
    return geometry;
}

void check_choice(const experiment::Settings& settings, const experiment::Trace& trace) {
    if (!settings.layers.empty() && settings.layers.back() >= trace.layers.size()) {
        throw Problem(ProblemType::invalid_argument,
                      "layers: " + trace.name + " has " + std::to_string(trace.layers.size()),
                      {{"limit", trace.layers.size() - 1}, {"actual", settings.layers.back()}});
    }
    const std::uint32_t queries =
        settings.queries == 0 ? trace.queries : std::min(trace.queries, settings.queries);
    if (settings.tokens != 0 && settings.tokens < queries) {
        throw Problem(ProblemType::invalid_argument,
                      "tokens: each of " + std::to_string(queries) + " queries of " + trace.name +
                          " needs its token; \"queries\" takes fewer");
    }
}

} // namespace

Jobs::Jobs(Needs needs, std::unique_ptr<History> history)
    : needs_(std::move(needs)), history_(std::move(history)),
      memory_(needs_.memory.quota(), &needs_.memory) {
    for (JobRecord& record : history_->queued()) {
        try {
            JobSpec spec = read_kept_spec(record.request, record.recipes);
            queue_.push_back(std::make_shared<Job>(record, std::move(spec), needs_.wake));
        } catch (const Problem& problem) { // one of another version: never fatal
            record.state = JobState::failed;
            record.finished = now_text();
            record.error_type =
                std::string("urn:mustafar:problem:") + problem_info(problem.type()).slug;
            record.error_detail = problem.what();
            history_->save(record);
            log_error("job ended",
                      {{"job", record.id}, {"state", "failed"}, {"error", problem.what()}});
        }
    }
    recount();
}

void Jobs::start() {
    thread_ = std::thread([this] { work(); });
}

Jobs::~Jobs() {
    stop();
    if (thread_.joinable()) { thread_.join(); }
}

void Jobs::stop() {
    stopping_ = true;
    wake_.notify_all();
    needs_.wake.signal();
}

Jobs::Pointer Jobs::next() {
    std::unique_lock lock(mutex_);
    while (!stopping_ && queue_.empty()) {
        // Not for ever: glibc before 2.41 can lose a wakeup (its bug 25847).
        wake_.wait_for(lock, std::chrono::milliseconds(200));
    }
    if (stopping_) { return nullptr; }
    running_ = queue_.front();
    queue_.pop_front();
    return running_;
}

void Jobs::work() {
    while (const Pointer job = next()) {
        run(*job);
        {
            const std::lock_guard lock(mutex_);
            const bool deleted = std::exchange(running_, nullptr) == nullptr;
            if (!deleted) { keep_recent(job); }
        }
        tidy();
    }
}

// A job that has ended: who comes back finds its events for a while. Without memory for that, its end in the history.
void Jobs::keep_recent(const Pointer& job) noexcept {
    if (recent_.size() >= recent_max) { recent_.pop_front(); }
    try {
        recent_.push_back(job);
    } catch (const std::bad_alloc&) {}
}

void Jobs::tidy() {
    try {
        history_->trim();
        recount();
    } catch (const std::bad_alloc&) { // the next job's end does it
    } catch (const std::exception& fault) { log_error("history fault", {{"what", fault.what()}}); }
}

void Jobs::recount() {
    const auto counts = history_->counts();
    const std::lock_guard lock(mutex_);
    by_state_ = counts;
}

JobCounts Jobs::counts() const {
    JobCounts counts;
    counts.rows = rows_;
    counts.bytes = memory_.used();
    counts.streams = streams_;
    const std::lock_guard lock(mutex_);
    counts.by_state = by_state_;
    return counts;
}

// Refuses now what would be refused later.
void Jobs::check(const JobSpec& spec) const {
    const auto recipes = load_recipes(spec);
    std::vector<experiment::Trace> traces;
    for (const std::string& name : spec.traces) {
        const auto info = needs_.traces.find(name);
        if (!info) {
            throw Problem(ProblemType::not_found, "there is no trace " + name, {{"trace", name}});
        }
        if (!info->good) { throw Problem(ProblemType::bad_trace, info->reason, {{"trace", name}}); }
        traces.push_back(info->trace);
    }
    for (const auto& recipe : recipes) {
        if (spec.synthetic) {
            check_recipe(recipe, geometry_of(*spec.synthetic), spec.synthetic->tokens);
        }
        for (const auto& trace : traces) { check_recipe(recipe, trace.geometry(), trace.tokens); }
    }
    if (spec.synthetic) { traces.push_back(experiment::describe_synthetic(*spec.synthetic)); }
    const experiment::Settings& settings = spec.settings;
    double bytes = 0;
    double answers = 0;
    for (const auto& trace : traces) {
        check_choice(settings, trace);
        bytes += trace_bytes(trace, settings.tokens, settings.queries);
        answers = std::max(answers, answer_bytes(trace, settings.tokens, settings.queries));
    }
    bytes += answers;
    if (bytes > static_cast<double>(needs_.job_memory)) {
        throw Problem(
            ProblemType::quota_exceeded,
            "traces and exact answers would take more than --job-memory; fewer or shorter "
            "traces, tokens or queries take less",
            {{"limit_bytes", needs_.job_memory},
             {"requested_bytes", static_cast<std::uint64_t>(std::min(bytes, 9e18))}});
    }
}

// The job that a key has made; nullopt: none has.
std::optional<JobRecord> Jobs::made_before(const std::string& key, const std::string& digest) {
    if (key.empty()) { return std::nullopt; }
    const auto before = history_->find_key(key);
    if (!before) { return std::nullopt; }
    if (before->digest != digest) {
        throw Problem(ProblemType::idempotency_mismatch,
                      "the key came with another body; it made " + before->job.id,
                      {{"job", before->job.id}});
    }
    const auto now = find(before->job.id);
    return now ? *now : before->job;
}

JobRecord Jobs::submit(JobSpec spec, const std::string& key) {
    const std::string digest = key.empty() ? "" : digest_of(spec.request);
    if (const auto before = made_before(key, digest)) { return *before; }
    check(spec); // may take seconds: others go on
    const std::lock_guard one_at_a_time(submit_mutex_);
    if (const auto before = made_before(key, digest)) { return *before; }
    {
        const std::lock_guard lock(mutex_);
        if (queue_.size() >= needs_.jobs_limit) {
            throw Problem(ProblemType::queue_full, "as many jobs wait as may",
                          {{"limit_jobs", needs_.jobs_limit}});
        }
    }
    JobRecord record;
    record.label = spec.label;
    record.version = 1;
    record.what = "waits";
    record.items = static_cast<std::uint32_t>(spec.threads.size());
    record.created = now_text();
    record.request = spec.request;
    record.recipes = spec.recipes;
    history_->add(record, key, digest);
    log_event("job queued", {{"job", record.id}, {"label", record.label}});
    {
        const std::lock_guard lock(mutex_);
        queue_.push_back(std::make_shared<Job>(record, std::move(spec), needs_.wake));
    }
    wake_.notify_all();
    tidy(); // a fault of the disk does not undo what was queued
    return record;
}

Jobs::Pointer Jobs::live(const std::string& id) const {
    const std::lock_guard lock(mutex_);
    const auto same = [&](const Pointer& job) { return job->id == id; };
    if (running_ && same(running_)) { return running_; }
    for (const auto* jobs : {&queue_, &recent_}) {
        const auto at = std::ranges::find_if(*jobs, same);
        if (at != jobs->end()) { return *at; }
    }
    return nullptr;
}

std::optional<JobRecord> Jobs::find(const std::string& id) {
    if (const Pointer job = live(id)) { return job->record(); }
    return history_->find(id);
}

std::vector<JobRecord> Jobs::list(std::size_t limit, std::uint64_t before,
                                  std::optional<JobState> state) {
    std::vector<JobRecord> jobs = history_->list(limit, before, state);
    for (JobRecord& job : jobs) {
        if (has_ended(job.state)) { continue; }
        if (const Pointer now = live(job.id)) { job = now->record(); }
    }
    return jobs;
}

std::shared_ptr<Job> Jobs::follow(const std::string& id) {
    if (Pointer job = live(id)) { return job; }
    auto record = history_->find(id);
    if (!record) { throw no_job(id); }
    return std::make_shared<Job>(std::move(*record), needs_.wake);
}

// One that was taken out of the queue.
void Jobs::end_queued(const Pointer& job) {
    JobRecord ended = job->record();
    ended.state = JobState::cancelled;
    ended.what = "cancelled while it waited";
    ended.finished = now_text();
    ++ended.version; // as telling does
    history_->save(ended);
    job->end(std::move(ended));
    log_event("job ended", {{"job", job->id}, {"state", "cancelled"}});
    {
        const std::lock_guard lock(mutex_);
        keep_recent(job);
    }
    tidy();
}

Jobs::Pointer Jobs::take_queued(const std::string& id) {
    const std::lock_guard lock(mutex_);
    const auto at = std::ranges::find_if(queue_, [&](const Pointer& job) { return job->id == id; });
    if (at == queue_.end()) { return nullptr; }
    Pointer job = *at;
    queue_.erase(at);
    return job;
}

// The job, where it waited; it does so no more.
Jobs::Pointer Jobs::cancel_queued(const std::string& id) {
    const Pointer job = take_queued(id);
    if (!job) { return nullptr; }
    try {
        end_queued(job);
    } catch (...) { // it could not be written down: it waits as before
        if (!has_ended(job->state())) {
            const std::lock_guard lock(mutex_);
            queue_.push_front(job);
            wake_.notify_all();
        }
        throw;
    }
    return job;
}

JobRecord Jobs::cancel(const std::string& id) {
    if (const Pointer job = cancel_queued(id)) { return job->record(); }
    {
        const std::lock_guard lock(mutex_);
        if (running_ && running_->id == id && !has_ended(running_->state())) {
            running_->cancelled = true;
            return running_->record();
        }
    }
    const auto record = find(id);
    if (!record) { throw no_job(id); }
    throw wrong_state(*record, ": there is nothing to cancel");
}

void Jobs::remove(const std::string& id) {
    cancel_queued(id);
    const auto record = find(id);
    if (!record) { throw no_job(id); }
    {
        const std::lock_guard lock(mutex_);
        const bool runs = running_ && running_->id == id && !has_ended(running_->state());
        if (runs) { throw wrong_state(*record, ": cancel it first"); }
        if (running_ && running_->id == id) { running_ = nullptr; } // it has ended a moment ago
        std::erase_if(recent_, [&](const Pointer& job) { return job->id == id; });
    }
    history_->remove(id);
    tidy();
}

void Jobs::check_unused(const std::string& trace) {
    const std::lock_guard lock(mutex_);
    std::vector<Pointer> jobs(queue_.begin(), queue_.end());
    if (running_) { jobs.push_back(running_); }
    for (const Pointer& job : jobs) {
        const bool ended = has_ended(job->state());
        if (!ended && std::ranges::count(job->spec.traces, trace) > 0) {
            throw wrong_state(job->record(), (" and needs trace " + trace).c_str());
        }
    }
}

StreamPlace Jobs::take_stream() {
    if (++streams_ > needs_.streams_limit) {
        --streams_;
        throw Problem(ProblemType::too_many_streams, "as many clients follow events as may",
                      {{"limit_streams", needs_.streams_limit}});
    }
    return StreamPlace(streams_);
}

} // namespace mustafar::daemon
