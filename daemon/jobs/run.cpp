// SPDX-License-Identifier: Apache-2.0
// One job on the engine: its items one after the other, rows kept as they come.
#include <chrono>
#include <cmath>
#include <exception>
#include <new>
#include <thread>

#include "experiment/experiment.hpp"
#include "experiment/json.hpp"
#include "experiment/setup.hpp"
#include "jobs/jobs.hpp"
#include "log.hpp"
#include "mustafar/info.h"

namespace mustafar::daemon {

namespace {

constexpr auto progress_time = std::chrono::milliseconds(100); // between two events

using experiment::Report;

} // namespace

// One item: watches the engine, keeps what it finds.
class Run final : public experiment::Watcher {
  public:
    Run(Jobs& jobs, Job& job, std::size_t item) : jobs_(jobs), job_(job), item_(item) {}

    void run() {
        const std::uint64_t begun = jobs_.activity.begun();
        disturbed_ = jobs_.activity.busy();
        Report report;
        try {
            experiment::run_experiment(settings(), inputs(), *this, report);
        } catch (...) {
            finish(report, begun);
            throw;
        }
        finish(report, begun);
    }

    bool stop() override { return job_.cancelled || jobs_.stopping(); }

    void progress(double done, std::string_view what) override {
        const auto now = Clock::now();
        if (now - last_ < progress_time) { return; }
        last_ = now;
        job_.tell_progress([&](JobRecord& record) {
            record.progress = share(done);
            record.what = what;
        });
    }

    void begun(const Report& report) override {
        result_.job = job_.id;
        result_.label = job_.spec.label;
        result_.created = now_text();
        result_.threads = job_.spec.threads[item_];
        for (const auto& recipe : job_.spec.recipes) { result_.recipes.push_back(recipe["name"]); }
        for (const auto& trace : report.traces) { result_.traces.push_back(trace.name); }
        jobs_.history().add(result_, head(report));
        job_.tell(
            "result", [&](JobRecord& record) { record.results.push_back(result_.id); },
            [&](const JobRecord&) {
                Json data;
                data["result"] = result_.id;
                return data;
            });
    }

    void row(const Report& report, std::size_t index) override {
        const experiment::Row& row = report.rows[index];
        jobs_.history().save_row(result_, index, experiment::full_row(report, row));
        const bool is_new = index >= rows_;
        if (is_new) {
            rows_ = index + 1;
            ++jobs_.rows_;
        }
        job_.tell(
            "row", [&](JobRecord& record) { record.rows += is_new ? 1 : 0; },
            [&](const JobRecord&) {
                Json data;
                data["result"] = result_.id;
                data["row"] = experiment::flat_row(report, row);
                data["row"]["threads"] = result_.threads;
                return data;
            });
    }

  private:
    experiment::Settings settings() const {
        experiment::Settings settings = job_.spec.settings;
        settings.threads = job_.spec.threads[item_];
        settings.backend = jobs_.needs_.backend;
        settings.command = "POST /v1/jobs " + dump(job_.spec.request);
        return settings;
    }

    experiment::Inputs inputs() {
        experiment::Inputs inputs;
        inputs.recipes = load_recipes(job_.spec);
        const mustafar_allocator hook = jobs_.memory_.hook();
        inputs.context = experiment::create_context(settings(), &hook, jobs_.memory_.quota());
        if (job_.spec.synthetic) {
            inputs.traces.push_back(experiment::make_trace(*job_.spec.synthetic, *this));
        }
        for (const std::string& name : job_.spec.traces) {
            check();
            inputs.traces.push_back(jobs_.needs_.traces.load(name));
        }
        for (experiment::Trace& trace : inputs.traces) {
            trace.keep_last(job_.spec.settings.tokens, job_.spec.settings.queries);
        }
        return inputs;
    }

    Json head(const Report& report) const {
        Json head = experiment::head_json(report);
        const auto& synthetic = job_.spec.synthetic;
        head["synthetic"] = synthetic ? experiment::write_synthetic(*synthetic) : Json(nullptr);
        return head;
    }

    // The result says what it is, whatever ended it.
    void finish(const Report& report, std::uint64_t begun) {
        if (result_.id.empty()) { return; }
        result_.complete = report.complete;
        result_.contended = disturbed_ || jobs_.activity.begun() != begun;
        jobs_.history().save(result_, head(report));
        job_.tell_progress([&](JobRecord& record) {
            record.contended = record.contended || result_.contended;
            if (report.complete) {
                ++record.items_done;
                record.progress = share(1);
            }
        });
    }

    double share(double done) const {
        const auto items = static_cast<double>(job_.spec.threads.size());
        return std::round((static_cast<double>(item_) + done) / items * 1e4) / 1e4;
    }

    Jobs& jobs_;
    Job& job_;
    const std::size_t item_;
    ResultRecord result_;
    std::size_t rows_ = 0;
    bool disturbed_ = false;
    Clock::time_point last_{};
};

namespace {

// What went wrong, as the job says it.
struct Fault {
    ProblemType type;
    std::string detail;
};

// What can be made once there is memory: the end of a job is told, however long that takes.
template <class Make>
auto until_made(const Make& make) {
    for (;;) {
        try {
            return make();
        } catch (const std::bad_alloc&) {}
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
}

// nullopt: it was told to stop.
std::optional<Fault> describe(const std::exception_ptr& caught) {
    try {
        std::rethrow_exception(caught);
    } catch (const experiment::Interrupted&) {
        return std::nullopt;
    } catch (const experiment::Refused& refused) {
        return Fault{type_of(refused.code()), refused.what()};
    } catch (const experiment::Failure& failure) {
        return Fault{failure.status() == experiment::exit_data ? ProblemType::bad_trace
                                                               : ProblemType::invalid_argument,
                     failure.what()};
    } catch (const Problem& problem) {
        return Fault{problem.type(), problem.what()};
    } catch (const std::bad_alloc&) {
        return Fault{ProblemType::quota_exceeded, "the machine has no memory left"};
    } catch (const std::exception& fault) { // its text is for the log
        log_error("fault", {{"what", fault.what()}});
        return Fault{ProblemType::internal, "see the log for this job"};
    }
}

// Runs `work`; nullopt: it has ended well, or was told to stop.
template <class Work>
std::optional<Fault> fault_of(const Work& work) {
    std::exception_ptr caught;
    try {
        work();
        return std::nullopt;
    } catch (...) { caught = std::current_exception(); }
    return until_made([&] { return describe(caught); });
}

void log_end(const JobRecord& record, double seconds) noexcept {
    try {
        log_event("job ended", {{"job", record.id},
                                {"state", text_of(record.state)},
                                {"seconds", seconds},
                                {"rows", record.rows},
                                {"error", record.error_detail}});
    } catch (const std::bad_alloc&) {} // a line less
}

// What `job` is now that it has ended.
JobRecord ended_record(const Job& job, const std::optional<Fault>& fault) {
    JobRecord record = job.record();
    const bool whole = record.items_done == job.spec.threads.size();
    record.state = fault           ? JobState::failed
                   : whole         ? JobState::done
                   : job.cancelled ? JobState::cancelled
                                   : JobState::interrupted;
    record.what = text_of(record.state);
    record.finished = now_text();
    if (whole) { record.progress = 1; }
    if (fault) {
        record.error_type = std::string("urn:mustafar:problem:") + problem_info(fault->type).slug;
        record.error_detail = fault->detail;
    }
    ++record.version; // as telling does
    return record;
}

} // namespace

void Jobs::run(Job& job) {
    const auto start = Clock::now();
    auto fault = fault_of([&] {
        job.tell_progress([](JobRecord& record) {
            record.state = JobState::running;
            record.what = "starts";
            record.started = now_text();
        });
        const JobRecord record = job.record();
        log_event("job started", {{"job", record.id}, {"label", record.label}});
        history_->save(record);
        recount();
        for (std::size_t item = 0; item < job.spec.threads.size(); ++item) {
            if (job.cancelled || stopping_) { break; }
            Run(*this, job, item).run();
            history_->save(job.record());
        }
    });
    // What is told is what was kept: a client that saw the end finds it after a restart too.
    JobRecord record = until_made([&] { return ended_record(job, fault); });
    const auto unsaved = fault_of([&] { history_->save(record); });
    if (unsaved) {
        until_made([&] {
            log_error("history fault", {{"job", record.id}, {"what", unsaved->detail}});
        });
    }
    log_end(record, std::chrono::duration<double>(Clock::now() - start).count());
    job.end(std::move(record));
}

} // namespace mustafar::daemon
