// SPDX-License-Identifier: Apache-2.0
// Jobs, results and their rows in SQLite: DATA_DIR/mustafard.sqlite3, or memory where there is no data folder. What a
// call has written when it returns survives the end of the process.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "jobs/record.hpp"
#include "jobs/sqlite.hpp"

namespace mustafar::daemon {

inline constexpr std::uint32_t history_schema = 1; // user_version of the file

struct KeyedJob {
    JobRecord job;
    std::string digest; // of the body that came with the key
};

// Threads: any but the I/O thread: calls wait for the disk.
class History {
  public:
    // `path` empty: in memory. A damaged file is set aside under another name and told in the log. Throws
    // std::runtime_error for a schema that is newer than ours.
    History(const std::string& path, std::uint32_t results_limit);

    // Gives the job its number and id. `key` may be empty. Throws Problem storage, as all of these.
    void add(JobRecord& job, const std::string& key, const std::string& digest);
    void save(const JobRecord& job);
    std::optional<JobRecord> find(const std::string& id);
    std::optional<KeyedJob> find_key(const std::string& key);
    // Newest first, those with a number below `before` (0: all).
    std::vector<JobRecord> list(std::size_t limit, std::uint64_t before,
                                std::optional<JobState> state);
    std::vector<JobRecord> queued(); // oldest first
    bool remove(const std::string& id);

    // Gives the result its number and id.
    void add(ResultRecord& result, const Json& head);
    void save_row(const ResultRecord& result, std::uint64_t place, const Json& row);
    void save(const ResultRecord& result, const Json& head);
    std::optional<ResultRecord> find_result(const std::string& id);
    Json head(const ResultRecord& result);
    std::vector<Json> rows(const ResultRecord& result);
    std::vector<ResultRecord> list_results(std::size_t limit, std::uint64_t before,
                                           const std::string& job);
    bool remove_result(const std::string& id);

    // Forgets the oldest jobs that have ended while there are more results, or more such jobs, than the limit.
    void trim();
    std::array<std::uint64_t, job_states> counts(); // of jobs, by state

  private:
    void open(const std::string& path);
    void create();
    void end_what_ran(); // when the process before us ended

    std::mutex mutex_;
    const std::uint32_t results_limit_;
    std::unique_ptr<Database> database_;
};

} // namespace mustafar::daemon
