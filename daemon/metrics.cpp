// SPDX-License-Identifier: Apache-2.0
#include "metrics.hpp"

#include <cstdio>

#include <fmt/format.h>
#include <unistd.h>

#include "http/workers.hpp"
#include "jobs/jobs.hpp"
#include "library.hpp"
#include "routes.hpp"
#include "service.hpp"

namespace mustafar::daemon {

namespace {

constexpr const char* op_names[] = {"append",   "commit", "attend", "prune", "compress", "evict",
                                    "truncate", "fork",   "reset",  "save",  "load",     "merge"};
static_assert(std::size(op_names) == static_cast<std::size_t>(Op::count));
constexpr const char* eviction_names[] = {"ttl", "lru", "gc"};
static_assert(std::size(eviction_names) == static_cast<std::size_t>(Eviction::count));

constexpr std::size_t recent_errors_max = 64;

// What stands behind urn:mustafar:problem: in a document of ours; "" in others.
std::string problem_slug(const std::string& text) {
    const std::string_view mark = "urn:mustafar:problem:";
    const std::size_t at = text.find(mark);
    if (at == text.npos) { return {}; }
    return text.substr(at + mark.size(), text.find('"', at) - at - mark.size());
}

double seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

void head(std::string& out, const char* name, const char* type, const char* help) {
    out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

template <class Value>
void one(std::string& out, const char* name, const char* type, const char* help, Value value) {
    head(out, name, type, help);
    out += fmt::format("{} {}\n", name, value);
}

const char* label_of(const Route* route) { return route == nullptr ? "none" : route->name; }

std::uint64_t resident_bytes() {
    unsigned long long total = 0;
    unsigned long long resident = 0;
    if (std::FILE* file = std::fopen("/proc/self/statm", "re")) {
        if (std::fscanf(file, "%llu %llu", &total, &resident) != 2) { resident = 0; }
        std::fclose(file);
    }
    return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

void write_memory(std::string& out, const Service& service) {
    auto stats = sized<mustafar_context_stats>();
    call(mustafar_context_get_stats, service.context.get(), &stats);
    one(out, "mustafard_caches", "gauge", "Caches that can be asked for.", service.caches.size());
    head(out, "mustafard_cache_bytes", "gauge", "Bytes of all caches, by part.");
    for (const auto& [part, bytes] : {std::pair("pages", stats.page_bytes),
                                      {"tables", stats.cache_bytes},
                                      {"workspace", stats.work_bytes}}) {
        out += fmt::format("mustafard_cache_bytes{{part=\"{}\"}} {}\n", part, bytes);
    }
    one(out, "mustafard_memory_used_bytes", "gauge", "What the library holds of the quota.",
        service.memory.used());
    head(out, "mustafard_memory_kept_bytes", "gauge",
         "Freed and kept for reuse, beside what is used.");
    for (const auto& [what, bytes] : {std::pair("pages", service.memory.kept()),
                                      {"jobs", service.jobs.kept()},
                                      {"bodies", std::uint64_t{service.staging.kept()}}}) {
        out += fmt::format("mustafard_memory_kept_bytes{{of=\"{}\"}} {}\n", what, bytes);
    }
    one(out, "mustafard_quota_bytes", "gauge", "The memory quota.", service.memory.quota());
    one(out, "mustafard_inflight_bytes", "gauge", "Bodies on their way in or out.",
        service.staging.used());
    one(out, "process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes());
}

void write_jobs(std::string& out, const Service& service) {
    const JobCounts counts = service.jobs.counts();
    head(out, "mustafard_jobs", "gauge", "Experiments that are kept, by state.");
    for (std::size_t i = 0; i < job_states; ++i) {
        out += fmt::format("mustafard_jobs{{state=\"{}\"}} {}\n", text_of(static_cast<JobState>(i)),
                           counts.by_state[i]);
    }
    one(out, "mustafard_job_rows_total", "counter", "Rows that experiments have measured.",
        counts.rows);
    one(out, "mustafard_job_bytes", "gauge", "What the running experiment holds of the quota.",
        counts.bytes);
    one(out, "mustafard_streams", "gauge", "Clients that follow the events of a job.",
        counts.streams);
}

} // namespace

const char* eviction_name(Eviction reason) {
    return eviction_names[static_cast<std::size_t>(reason)];
}

void Histogram::add(double value) {
    std::size_t i = 0;
    while (i < bounds.size() && value > bounds[i]) { ++i; }
    ++counts_[i];
    sum_ += value;
}

void Histogram::write(std::string& out, const char* name, const std::string& labels) const {
    const std::string comma = labels.empty() ? "" : labels + ",";
    const std::string braces = labels.empty() ? "" : "{" + labels + "}";
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < bounds.size(); ++i) {
        total += counts_[i];
        out += fmt::format("{}_bucket{{{}le=\"{}\"}} {}\n", name, comma, bounds[i], total);
    }
    total += counts_.back();
    out += fmt::format("{}_bucket{{{}le=\"+Inf\"}} {}\n", name, comma, total);
    out += fmt::format("{}_sum{} {:.6f}\n{}_count{} {}\n", name, braces, sum_, name, braces, total);
}

void Metrics::request(const Exchange& exchange) {
    const Route* route = exchange.request.route;
    // Methods of strangers are not labels.
    const std::string method = route == nullptr ? "other" : exchange.method;
    ++requests_[{route, {method, exchange.response.status}}];
    durations_[route].add(seconds(exchange.answered - exchange.request.received));
    queue_wait_.add(seconds(exchange.started - exchange.queued));
    body_bytes_ += exchange.body_bytes;
    ++requests_total_;
    if (exchange.response.status >= 400) {
        recent_errors_.push_front({now_text(), exchange.request.id, method, label_of(route),
                                   exchange.response.status, problem_slug(exchange.response.text)});
        if (recent_errors_.size() > recent_errors_max) { recent_errors_.pop_back(); }
    }
}

void Metrics::rejected(const char* reason) { ++rejected_[reason]; }

void Metrics::op(Op op, Clock::duration time, std::uint64_t bytes) {
    OpCounts& counts = ops_[static_cast<std::size_t>(op)];
    counts.calls.fetch_add(1, std::memory_order_relaxed);
    counts.bytes.fetch_add(bytes, std::memory_order_relaxed);
    counts.nanoseconds.fetch_add(static_cast<std::uint64_t>(std::chrono::nanoseconds(time).count()),
                                 std::memory_order_relaxed);
}

std::string Metrics::text(const Service& service) const {
    std::string out;
    head(out, "mustafard_build_info", "gauge", "Versions, as labels.");
    out += fmt::format("mustafard_build_info{{version=\"{}\",abi=\"{}\"}} 1\n", mustafar_version(),
                       mustafar_abi_version());
    head(out, "mustafard_http_requests_total", "counter", "Requests answered.");
    for (const auto& [key, count] : requests_) {
        out += fmt::format(
            "mustafard_http_requests_total{{method=\"{}\",route=\"{}\",code=\"{}\"}} {}\n",
            key.second.first, label_of(key.first), key.second.second, count);
    }
    head(out, "mustafard_http_request_duration_seconds", "histogram",
         "From a whole head to its reply.");
    for (const auto& [route, histogram] : durations_) {
        histogram.write(out, "mustafard_http_request_duration_seconds",
                        fmt::format("route=\"{}\"", label_of(route)));
    }
    head(out, "mustafard_queue_wait_seconds", "histogram", "Time a request waited for a worker.");
    queue_wait_.write(out, "mustafard_queue_wait_seconds", "");
    head(out, "mustafard_http_rejected_total", "counter",
         "Requests and connections refused by the guard.");
    for (const auto& [reason, count] : rejected_) {
        out += fmt::format("mustafard_http_rejected_total{{reason=\"{}\"}} {}\n", reason, count);
    }
    one(out, "mustafard_http_request_body_bytes_total", "counter", "Bytes of bodies received.",
        body_bytes_);
    one(out, "mustafard_connections", "gauge", "Open connections.", connections);
    one(out, "mustafard_queue_depth", "gauge", "Requests that wait for a worker.", queue_depth);
    write_jobs(out, service);
    one(out, "mustafard_tokens_appended_total", "counter", "Tokens appended, per layer.",
        tokens_appended.load());
    for (const auto& [name, help, value] :
         {std::tuple("mustafard_op_calls_total", "Calls of the library.", 0),
          {"mustafard_op_duration_seconds_total", "Time in the library.", 1},
          {"mustafard_op_bytes_total", "Bytes given to and taken from the library.", 2}}) {
        head(out, name, "counter", help);
        for (std::size_t i = 0; i < ops_.size(); ++i) {
            const std::uint64_t number = value == 0   ? ops_[i].calls.load()
                                         : value == 1 ? ops_[i].nanoseconds.load()
                                                      : ops_[i].bytes.load();
            const std::string shown =
                value == 1 ? fmt::format("{:.6f}", static_cast<double>(number) * 1e-9)
                           : fmt::format("{}", number);
            out += fmt::format("{}{{op=\"{}\"}} {}\n", name, op_names[i], shown);
        }
    }
    head(out, "mustafard_evictions_total", "counter", "Caches freed without being asked for.");
    for (std::size_t i = 0; i < evictions_.size(); ++i) {
        out += fmt::format("mustafard_evictions_total{{reason=\"{}\"}} {}\n", eviction_names[i],
                           evictions_[i].load());
    }
    write_memory(out, service);
    return out;
}

} // namespace mustafar::daemon
