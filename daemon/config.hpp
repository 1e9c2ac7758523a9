// SPDX-License-Identifier: Apache-2.0
// What the command line and the configuration file say. Every limit is here and is reported by /version.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mustafar::daemon {

struct Config {
    std::string host = "127.0.0.1";
    std::uint16_t port = 8642;            // 0 = any that is free
    std::string port_file;                // written when listening
    std::string unix_path;                // instead of host and port
    std::vector<std::string> allow_hosts; // names besides those of the loopback
    std::string token_file;
    std::string data_dir;                // empty: no snapshots, recipes are kept in memory
    std::vector<std::string> trace_dirs; // folders of traces, read only

    std::uint64_t memory_quota = 0; // bytes of all caches; 0 = half of the machine's memory
    std::uint64_t staging_limit = 512ull << 20;
    std::uint64_t body_limit = 256ull << 20;
    std::uint64_t json_limit = 256ull << 10;
    std::uint32_t caches_limit = 256;
    std::uint32_t snapshots_limit = 1024;
    std::uint32_t recipes_limit = 1024;
    std::uint32_t traces_limit = 256;
    std::uint32_t max_jobs = 64;      // that wait
    std::uint32_t max_results = 1000; // older ones are forgotten
    std::uint32_t max_streams = 16;
    std::uint64_t job_memory = 1ull << 30; // of one job, besides its caches
    std::uint32_t connections_limit = 1024;
    std::uint32_t queue_limit = 256;
    std::uint32_t workers = 8;
    std::uint32_t threads = 0; // of the library; 0 = as many as the machine has
    std::string backend;       // of the library; empty = the best there is

    double idle_timeout = 30;  // seconds without a request on a connection
    double head_timeout = 5;   // seconds from the first byte of a head to its last
    double body_timeout = 5;   // seconds for a body, and 1 s more for each 64 KiB of it
    double write_timeout = 5;  // seconds without progress of a reply
    double lock_timeout = 10;  // seconds a request waits for its cache
    double drain_timeout = 10; // seconds from SIGTERM to the end
    bool allow_blind_append = false;
    std::string evict = "none"; // or "lru"
    bool evict_lru() const { return evict == "lru"; }
    std::string log_level = "info";

    bool check_only = false; // --check-config
};

// nullopt where the command line asked only for a text (--help, --version, --print-config), which was printed.
// Throws std::invalid_argument with one line that names the flag.
std::optional<Config> parse_config(int argc, const char* const* argv);

// Refuses what cannot work together; fills memory_quota. Throws std::invalid_argument.
void check_config(Config& config);

bool is_loopback(const std::string& host);

} // namespace mustafar::daemon
