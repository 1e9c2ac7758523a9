// SPDX-License-Identifier: Apache-2.0
#include "jobs/history.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

#include "log.hpp"

namespace mustafar::daemon {

namespace {

constexpr const char* schema = R"(
CREATE TABLE jobs (
  number INTEGER PRIMARY KEY AUTOINCREMENT, nonce TEXT NOT NULL, label TEXT NOT NULL, state TEXT NOT NULL,
  version INTEGER NOT NULL, progress REAL NOT NULL, what TEXT NOT NULL, items INTEGER NOT NULL,
  items_done INTEGER NOT NULL, created TEXT NOT NULL, started TEXT NOT NULL, finished TEXT NOT NULL,
  error_type TEXT NOT NULL, error_detail TEXT NOT NULL, request TEXT NOT NULL, recipes TEXT NOT NULL,
  contended INTEGER NOT NULL, key TEXT UNIQUE, digest TEXT NOT NULL) STRICT;
CREATE INDEX jobs_by_state ON jobs (state, number);
CREATE TABLE results (
  number INTEGER PRIMARY KEY AUTOINCREMENT, nonce TEXT NOT NULL,
  job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE, created TEXT NOT NULL, threads INTEGER NOT NULL,
  complete INTEGER NOT NULL, contended INTEGER NOT NULL, recipes TEXT NOT NULL, traces TEXT NOT NULL,
  head TEXT NOT NULL) STRICT;
CREATE INDEX results_by_job ON results (job, number);
CREATE TABLE result_rows (
  result INTEGER NOT NULL REFERENCES results ON DELETE CASCADE, place INTEGER NOT NULL, content TEXT NOT NULL,
  PRIMARY KEY (result, place)) STRICT, WITHOUT ROWID;
)";

constexpr const char* job_columns =
    "SELECT number, nonce, label, state, version, progress, what, items, items_done, created, "
    "started, finished, error_type, error_detail, request, recipes, contended, "
    "(SELECT count(*) FROM result_rows JOIN results ON result = results.number WHERE job = "
    "jobs.number), digest FROM jobs ";

constexpr const char* result_columns =
    "SELECT results.number, results.nonce, jobs.number, jobs.nonce, label, results.created, "
    "threads, complete, results.contended, "
    "(SELECT count(*) FROM result_rows WHERE result = results.number), results.recipes, traces "
    "FROM results JOIN jobs ON job = jobs.number ";

std::string id_of(const char* kind, std::uint64_t number, const std::string& nonce) {
    return std::string(kind) + "-" + std::to_string(number) + "-" + nonce;
}

std::string nonce_of(const std::string& id) { return id.substr(id.rfind('-') + 1); }

ResultRecord read_result(const Query& query) {
    ResultRecord result;
    result.number = query.integer(0);
    result.id = id_of("result", result.number, query.text(1));
    result.job = id_of("job", query.integer(2), query.text(3));
    result.label = query.text(4);
    result.created = query.text(5);
    result.threads = static_cast<std::uint32_t>(query.integer(6));
    result.complete = query.integer(7) != 0;
    result.contended = query.integer(8) != 0;
    result.rows = query.integer(9);
    result.recipes = Json::parse(query.text(10));
    result.traces = Json::parse(query.text(11));
    return result;
}

JobRecord read_job(Database& database, const Query& query) {
    JobRecord job;
    job.number = query.integer(0);
    job.id = id_of("job", job.number, query.text(1));
    job.label = query.text(2);
    job.state = job_state_of(query.text(3)).value_or(JobState::failed);
    job.version = query.integer(4);
    job.progress = query.number(5);
    job.what = query.text(6);
    job.items = static_cast<std::uint32_t>(query.integer(7));
    job.items_done = static_cast<std::uint32_t>(query.integer(8));
    job.created = query.text(9);
    job.started = query.text(10);
    job.finished = query.text(11);
    job.error_type = query.text(12);
    job.error_detail = query.text(13);
    job.request = Json::parse(query.text(14));
    job.recipes = Json::parse(query.text(15));
    job.contended = query.integer(16) != 0;
    job.rows = query.integer(17);
    Query results(database, "SELECT number, nonce FROM results WHERE job = ? ORDER BY number",
                  job.number);
    while (results.step()) {
        job.results.push_back(id_of("result", results.integer(0), results.text(1)));
    }
    return job;
}

// Nobody else's business; SQLite gives its journal the same mode.
void make_file(const std::string& path) {
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0) { throw std::runtime_error("--data-dir: " + path + ": " + std::strerror(errno)); }
    ::close(file);
}

// Under a name that says when; its journal goes with it.
void set_aside(const std::string& path, const char* why) {
    std::string kept = path + ".damaged-" + now_text();
    for (const char* suffix : {"", "-wal", "-shm"}) {
        if (std::rename((path + suffix).c_str(), (kept + suffix).c_str()) != 0 && errno != ENOENT) {
            throw std::runtime_error(path +
                                     ": is damaged and cannot be renamed: " + std::strerror(errno));
        }
    }
    log_error("history set aside", {{"path", path}, {"kept_as", kept}, {"why", why}});
}

} // namespace

History::History(const std::string& path, std::uint32_t results_limit)
    : results_limit_(results_limit) {
    if (path.empty()) {
        open(":memory:");
    } else {
        make_file(path);
        try {
            open(path);
        } catch (const DamagedDatabase& damaged) {
            database_.reset();
            set_aside(path, damaged.what());
            make_file(path);
            open(path);
        }
    }
    end_what_ran();
    trim();
}

void History::open(const std::string& path) {
    database_ = std::make_unique<Database>(path);
    Database& database = *database_;
    // FULL: what was answered survives a power cut too.
    database.run("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; "
                 "PRAGMA cache_size = -4096; PRAGMA trusted_schema = OFF");
    Query check(database, "PRAGMA quick_check(1)");
    if (check.step() && check.text(0) != "ok") { throw DamagedDatabase(check.text(0)); }
    Query version(database, "PRAGMA user_version");
    const std::uint64_t found = version.step() ? version.integer(0) : 0;
    if (found > history_schema) {
        throw std::runtime_error(path + ": its schema is version " + std::to_string(found) +
                                 ", this mustafard knows up to " + std::to_string(history_schema) +
                                 ": it was written by a newer one");
    }
    if (found == 0) { create(); }
}

void History::create() {
    Transaction transaction(*database_);
    database_->run(schema);
    database_->run(("PRAGMA user_version = " + std::to_string(history_schema)).c_str());
    transaction.commit();
}

void History::end_what_ran() {
    Query(*database_,
          "UPDATE jobs SET state = 'interrupted', finished = ?, version = version + 1, what = "
          "'the daemon ended while it ran' WHERE state = 'running'",
          now_text())
        .run();
}

void History::add(JobRecord& job, const std::string& key, const std::string& digest) {
    const std::lock_guard lock(mutex_);
    const std::string nonce = nonce_text();
    Query insert(*database_,
                 "INSERT INTO jobs (nonce, label, state, version, progress, what, items, "
                 "items_done, created, started, finished, error_type, error_detail, request, "
                 "recipes, contended, key, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
                 "?, ?, ?, nullif(?, ''), ?)",
                 nonce, job.label, text_of(job.state), job.version, job.progress, job.what,
                 job.items, job.items_done, job.created, job.started, job.finished, job.error_type,
                 job.error_detail, dump(job.request), dump(job.recipes), job.contended, key,
                 digest);
    insert.run();
    job.number = database_->last_row();
    job.id = id_of("job", job.number, nonce);
}

void History::save(const JobRecord& job) {
    const std::lock_guard lock(mutex_);
    Query(*database_,
          "UPDATE jobs SET state = ?, version = ?, progress = ?, what = ?, items_done = ?, started "
          "= ?, finished = ?, error_type = ?, error_detail = ?, contended = ? WHERE number = ?",
          text_of(job.state), job.version, job.progress, job.what, job.items_done, job.started,
          job.finished, job.error_type, job.error_detail, job.contended, job.number)
        .run();
}

std::optional<JobRecord> History::find(const std::string& id) {
    const auto number = number_of(id, "job");
    if (!number) { return std::nullopt; }
    const std::lock_guard lock(mutex_);
    Query query(*database_, (job_columns + std::string("WHERE number = ? AND nonce = ?")).c_str(),
                *number, nonce_of(id));
    if (!query.step()) { return std::nullopt; }
    return read_job(*database_, query);
}

std::optional<KeyedJob> History::find_key(const std::string& key) {
    const std::lock_guard lock(mutex_);
    Query query(*database_, (job_columns + std::string("WHERE key = ?")).c_str(), key);
    if (!query.step()) { return std::nullopt; }
    return KeyedJob{read_job(*database_, query), query.text(18)};
}

std::vector<JobRecord> History::list(std::size_t limit, std::uint64_t before,
                                     std::optional<JobState> state) {
    const std::lock_guard lock(mutex_);
    Query query(*database_,
                (job_columns + std::string("WHERE number < ? AND state GLOB ? "
                                           "ORDER BY number DESC LIMIT ?"))
                    .c_str(),
                before == 0 ? std::uint64_t{INT64_MAX} : before, state ? text_of(*state) : "*",
                std::uint64_t{limit});
    std::vector<JobRecord> jobs;
    while (query.step()) { jobs.push_back(read_job(*database_, query)); }
    return jobs;
}

std::vector<JobRecord> History::queued() {
    const std::lock_guard lock(mutex_);
    Query query(*database_,
                (job_columns + std::string("WHERE state = 'queued' ORDER BY number")).c_str());
    std::vector<JobRecord> jobs;
    while (query.step()) { jobs.push_back(read_job(*database_, query)); }
    return jobs;
}

bool History::remove(const std::string& id) {
    const auto number = number_of(id, "job");
    if (!number) { return false; }
    const std::lock_guard lock(mutex_);
    Query(*database_, "DELETE FROM jobs WHERE number = ? AND nonce = ?", *number, nonce_of(id))
        .run();
    return database_->changes() > 0;
}

void History::add(ResultRecord& result, const Json& head) {
    const auto job = number_of(result.job, "job");
    const std::lock_guard lock(mutex_);
    const std::string nonce = nonce_text();
    Query(*database_,
          "INSERT INTO results (nonce, job, created, threads, complete, contended, recipes, "
          "traces, head) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
          nonce, job.value_or(0), result.created, result.threads, result.complete, result.contended,
          dump(result.recipes), dump(result.traces), dump(head))
        .run();
    result.number = database_->last_row();
    result.id = id_of("result", result.number, nonce);
}

void History::save_row(const ResultRecord& result, std::uint64_t place, const Json& row) {
    const std::lock_guard lock(mutex_);
    Query(*database_,
          "INSERT INTO result_rows (result, place, content) VALUES (?, ?, ?) "
          "ON CONFLICT (result, place) DO UPDATE SET content = excluded.content",
          result.number, place, dump(row))
        .run();
}

void History::save(const ResultRecord& result, const Json& head) {
    const std::lock_guard lock(mutex_);
    Query(*database_, "UPDATE results SET complete = ?, contended = ?, head = ? WHERE number = ?",
          result.complete, result.contended, dump(head), result.number)
        .run();
}

std::optional<ResultRecord> History::find_result(const std::string& id) {
    const auto number = number_of(id, "result");
    if (!number) { return std::nullopt; }
    const std::lock_guard lock(mutex_);
    Query query(
        *database_,
        (result_columns + std::string("WHERE results.number = ? AND results.nonce = ?")).c_str(),
        *number, nonce_of(id));
    if (!query.step()) { return std::nullopt; }
    return read_result(query);
}

Json History::head(const ResultRecord& result) {
    const std::lock_guard lock(mutex_);
    Query query(*database_, "SELECT head FROM results WHERE number = ?", result.number);
    return query.step() ? Json::parse(query.text(0)) : Json::object();
}

std::vector<Json> History::rows(const ResultRecord& result) {
    const std::lock_guard lock(mutex_);
    Query query(*database_, "SELECT content FROM result_rows WHERE result = ? ORDER BY place",
                result.number);
    std::vector<Json> rows;
    while (query.step()) { rows.push_back(Json::parse(query.text(0))); }
    return rows;
}

std::vector<ResultRecord> History::list_results(std::size_t limit, std::uint64_t before,
                                                const std::string& job) {
    const std::lock_guard lock(mutex_);
    const std::uint64_t below = before == 0 ? std::uint64_t{INT64_MAX} : before;
    const auto number = number_of(job, "job");
    if (!job.empty() && !number) { return {}; }
    Query query(*database_,
                (result_columns + std::string("WHERE results.number < ? AND (? = 0 OR jobs.number "
                                              "= ?) ORDER BY results.number DESC LIMIT ?"))
                    .c_str(),
                below, !job.empty(), number.value_or(0), std::uint64_t{limit});
    std::vector<ResultRecord> results;
    while (query.step()) { results.push_back(read_result(query)); }
    return results;
}

bool History::remove_result(const std::string& id) {
    const auto number = number_of(id, "result");
    if (!number) { return false; }
    const std::lock_guard lock(mutex_);
    Query(*database_, "DELETE FROM results WHERE number = ? AND nonce = ?", *number, nonce_of(id))
        .run();
    return database_->changes() > 0;
}

void History::trim() {
    const std::lock_guard lock(mutex_);
    const auto count = [&](const char* sql) {
        Query query(*database_, sql);
        return query.step() ? query.integer(0) : 0;
    };
    constexpr const char* ended =
        "SELECT count(*) FROM jobs WHERE state NOT IN ('queued', 'running')";
    while (count("SELECT count(*) FROM results") > results_limit_ ||
           count(ended) > results_limit_) {
        Query(*database_, "DELETE FROM jobs WHERE number = (SELECT min(number) FROM jobs WHERE "
                          "state NOT IN ('queued', 'running'))")
            .run();
        if (database_->changes() == 0) { return; } // all that is left is in work
    }
}

std::array<std::uint64_t, job_states> History::counts() {
    const std::lock_guard lock(mutex_);
    std::array<std::uint64_t, job_states> counts{};
    Query query(*database_, "SELECT state, count(*) FROM jobs GROUP BY state");
    while (query.step()) {
        if (const auto state = job_state_of(query.text(0))) {
            counts[static_cast<std::size_t>(*state)] = query.integer(1);
        }
    }
    return counts;
}

} // namespace mustafar::daemon
