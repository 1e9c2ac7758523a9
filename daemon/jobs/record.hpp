// SPDX-License-Identifier: Apache-2.0
// What is known of a job and of a result, as the history keeps it and as clients see it.
#pragma once

#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include "problem.hpp"
#include "times.hpp"

namespace mustafar::daemon {

enum class JobState { queued, running, done, failed, cancelled, interrupted };
inline constexpr std::size_t job_states = 6;

const char* text_of(JobState state);
std::optional<JobState> job_state_of(std::string_view text);
inline bool has_ended(JobState state) { return state > JobState::running; }

struct JobRecord {
    std::uint64_t number = 0; // in the order of their creation
    std::string id;           // "job-NUMBER-NONCE"
    std::string label;
    JobState state = JobState::queued;
    std::uint64_t version = 0; // events so far
    double progress = 0;       // 0 .. 1
    std::string what;          // it is doing
    std::uint32_t items = 0;   // runs of the engine, one per thread count
    std::uint32_t items_done = 0;
    std::uint64_t rows = 0;
    std::string created; // RFC 3339; empty: not yet
    std::string started;
    std::string finished;
    std::string error_type; // empty: none
    std::string error_detail;
    Json request;                     // as sent, with what was left out
    Json recipes;                     // [{"name", "json"}]: what the names meant when it was sent
    std::vector<std::string> results; // ids, in the order of items
    bool contended = false;
};

struct ResultRecord {
    std::uint64_t number = 0;
    std::string id; // "result-NUMBER-NONCE"
    std::string job;
    std::string label;
    std::string created;
    std::uint32_t threads = 0;
    bool complete = false;
    bool contended = false;
    std::uint64_t rows = 0;
    Json recipes = Json::array(); // names
    Json traces = Json::array();
};

Json write_job(const JobRecord& job);
Json write_result(const ResultRecord& result);

// "job-17-3f9a" -> 17; nullopt for what is no such id.
std::optional<std::uint64_t> number_of(std::string_view id, std::string_view kind);

std::string nonce_text(); // 4 hex digits: ids of another history are not met again

} // namespace mustafar::daemon
