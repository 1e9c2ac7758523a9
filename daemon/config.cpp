// SPDX-License-Identifier: Apache-2.0
#include "config.hpp"

#include <algorithm>
#include <cstdio>
#include <sstream>
#include <stdexcept>

#include <CLI/CLI.hpp>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "mustafar/info.h"
#include "openapi.hpp"

namespace mustafar::daemon {

namespace {

constexpr const char* description =
    R"(mustafard serves compressed KV caches over HTTP: create one from a geometry and a recipe, append keys and
values, attend on them, and see what they take. It listens on the loopback or a UNIX socket; any other address
needs a token file.)";

constexpr const char* footer = R"(Configuration file
  --config FILE reads the same names without dashes, one per line, as TOML: port=9000. The command line wins.
  --print-config writes one with every value in use; --check-config reads everything and starts nothing.

Token file
  Mode 0600. Lines "read TOKEN", "write TOKEN" or "admin TOKEN" (16 to 256 visible characters), # starts a comment.
  Clients send "Authorization: Bearer TOKEN".

Files below --data-dir
  snapshots/NAME.snap, recipes/NAME.json, traces/NAME.safetensors, and mustafard.sqlite3: jobs and their results.
  Without it there are no snapshots and no traces of clients; recipes, jobs and results end with the process.

Experiments
  POST /v1/jobs runs what mustafar-experiment runs, one job at a time, on traces of --trace-dir, of clients (PUT
  /v1/traces/NAME) or on generated data. GET /v1/jobs/ID/events tells how it goes. A job that runs when the daemon
  ends is interrupted and keeps its rows; those that wait are run by the next one with the same --data-dir.

Signals
  SIGTERM, SIGINT  stop listening, answer what was begun (--drain-timeout), end with status 0; a second one ends
                   the process at once with status 1.

Status: 0 done; 1 could not start, or stopped by a second signal; 2 wrong command line.

Examples
  mustafard --port 0 --port-file port
      any free port of the loopback, written to the file when it listens
  mustafard --unix /run/mustafard.sock --data-dir /var/lib/mustafard
  mustafard --host 0.0.0.0 --token-file tokens --allow-host gpu3.example.org)";

const auto not_negative = CLI::Range(0.0, 86400.0);

void add_where(CLI::App& app, Config& config) {
    const char* group = "Where it listens";
    app.add_option("--host", config.host, "address, or localhost")
        ->group(group)
        ->type_name("ADDRESS");
    app.add_option("--port", config.port, "0: any that is free")->group(group)->type_name("N");
    app.add_option("--port-file", config.port_file, "gets the port when it listens")
        ->group(group)
        ->type_name("FILE");
    app.add_option("--unix", config.unix_path, "a UNIX socket instead")
        ->group(group)
        ->type_name("PATH");
    app.add_option("--allow-host", config.allow_hosts, "a further name that Host may have")
        ->group(group)
        ->type_name("NAME");
    app.add_option("--token-file", config.token_file, "who may do what")
        ->group(group)
        ->type_name("FILE");
}

void add_work(CLI::App& app, Config& config) {
    const char* group = "Work";
    app.add_option("--data-dir", config.data_dir, "where everything is kept")
        ->group(group)
        ->type_name("DIR");
    app.add_option("--trace-dir", config.trace_dirs, "traces (*.safetensors) that jobs may name")
        ->group(group)
        ->type_name("DIR");
    app.add_option("--workers", config.workers, "requests computed at once")
        ->group(group)
        ->check(CLI::Range(1u, 256u));
    app.add_option("--threads", config.threads, "threads of the library, 0: all there are")
        ->group(group)
        ->check(CLI::Range(0u, 4096u));
    app.add_option("--backend", config.backend, "kernels to use (./dev info)")->group(group);
    app.add_flag("--allow-blind-append", config.allow_blind_append, "append without expect=")
        ->group(group);
    app.add_option("--evict", config.evict,
                   "lru: where the quota is full, free the cache that was used least recently")
        ->group(group)
        ->check(CLI::IsMember({"none", "lru"}));
    app.add_option("--log-level", config.log_level, "JSON lines on standard error")
        ->group(group)
        ->check(CLI::IsMember({"debug", "info", "warning", "error", "off"}));
}

void add_limits(CLI::App& app, Config& config) {
    const char* group = "Limits (bytes take k, m, g)";
    const auto bytes = [&](const char* name, std::uint64_t& value, const char* text) {
        app.add_option(name, value, text)
            ->group(group)
            ->type_name("BYTES")
            ->transform(CLI::AsSizeValue(false));
    };
    const auto count = [&](const char* name, std::uint32_t& value, const char* text) {
        app.add_option(name, value, text)
            ->group(group)
            ->type_name("N")
            ->check(CLI::Range(1u, 1u << 20));
    };
    bytes("--memory-quota", config.memory_quota,
          "of all caches together; 0: half of the machine's");
    bytes("--staging-limit", config.staging_limit, "of bodies on their way in or out");
    bytes("--body-limit", config.body_limit, "of one octet-stream body");
    bytes("--json-limit", config.json_limit, "of one JSON body");
    count("--caches-limit", config.caches_limit, "caches");
    count("--snapshots-limit", config.snapshots_limit, "snapshots");
    count("--recipes-limit", config.recipes_limit, "recipes of clients");
    count("--traces-limit", config.traces_limit, "traces of clients");
    count("--max-jobs", config.max_jobs, "experiments that wait");
    count("--max-results", config.max_results, "results that are kept; the oldest go");
    count("--max-streams", config.max_streams, "clients that follow events");
    bytes("--job-memory", config.job_memory,
          "of a running experiment besides its caches: traces, exact answers");
    count("--connections-limit", config.connections_limit, "open connections");
    count("--queue-limit", config.queue_limit, "requests that wait for a worker");
}

void add_times(CLI::App& app, Config& config) {
    const char* group = "Times, in seconds";
    const auto time = [&](const char* name, double& value, const char* text) {
        app.add_option(name, value, text)->group(group)->type_name("S")->check(not_negative);
    };
    time("--idle-timeout", config.idle_timeout, "a connection without a request");
    time("--head-timeout", config.head_timeout, "from the first byte of a head to its last");
    time("--body-timeout", config.body_timeout,
         "between two parts of a body; of all of it, and 1 more for each 64 KiB");
    time("--write-timeout", config.write_timeout, "without progress of a reply");
    time("--lock-timeout", config.lock_timeout, "a request waits for its cache");
    time("--drain-timeout", config.drain_timeout, "from SIGTERM to the end");
}

// Descriptors for every connection, and some for files.
void raise_descriptor_limit(std::uint32_t connections) {
    rlimit limit{};
    const rlim_t wanted = connections + 64;
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) { return; }
    limit.rlim_cur = std::min(wanted, limit.rlim_max);
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted) {
        throw std::invalid_argument("--connections-limit " + std::to_string(connections) +
                                    ": the process may open " + std::to_string(limit.rlim_cur) +
                                    " files");
    }
}

// CLI11 writes a list without elements as name="[]", which it does not read again: such lines go.
std::string readable(const std::string& config) {
    std::istringstream lines(config);
    std::string text;
    for (std::string line; std::getline(lines, line);) {
        if (!line.ends_with("=\"[]\"")) { text += line + "\n"; }
    }
    return text;
}

} // namespace

bool is_loopback(const std::string& host) {
    return host == "localhost" || host == "::1" ||
           (host.starts_with("127.") && host.find(':') == host.npos);
}

std::optional<Config> parse_config(int argc, const char* const* argv) {
    Config config;
    CLI::App app{description, "mustafard"};
    app.footer(footer);
    app.get_formatter()->column_width(30);
    app.option_defaults()->always_capture_default();
    app.set_help_flag("-h,--help", "this text");
    app.set_version_flag("--version", std::string("mustafard ") + mustafar_version());
    add_where(app, config);
    add_work(app, config);
    add_limits(app, config);
    add_times(app, config);
    bool print = false;
    app.add_flag("--check-config", config.check_only, "read everything, start nothing")
        ->configurable(false);
    app.add_flag("--print-config", print, "write a configuration file with every value in use")
        ->configurable(false);
    bool openapi = false;
    app.add_flag("--print-openapi", openapi, "write the OpenAPI document of the API")
        ->configurable(false);
    app.set_config("--config", "", "a configuration file");
    app.allow_config_extras(CLI::config_extras_mode::error);
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& text) { // --help, --version
        app.exit(text);
        return std::nullopt;
    } catch (const CLI::ParseError& error) {
        std::string text = error.what();
        std::ranges::replace(text, '\n', ' ');
        throw std::invalid_argument(text + " (--help explains)");
    }
    if (openapi) {
        std::fputs(openapi_text().c_str(), stdout);
        return std::nullopt;
    }
    check_config(config);
    if (print) {
        std::fputs(readable(app.config_to_str(true, false)).c_str(), stdout);
        return std::nullopt;
    }
    return config;
}

void check_config(Config& config) {
    const auto wrong = [](const std::string& text) { throw std::invalid_argument(text); };
    if (!config.unix_path.empty() && !config.port_file.empty()) {
        wrong("--port-file: a UNIX socket has no port");
    }
    if (config.unix_path.empty() && !is_loopback(config.host) && config.token_file.empty()) {
        wrong("--host " + config.host + ": only the loopback is served without --token-file");
    }
    if (config.body_limit > config.staging_limit || config.json_limit > config.staging_limit) {
        wrong("--body-limit, --json-limit: above --staging-limit, no such body could ever arrive");
    }
    if (config.backend.size() > 31) { wrong("--backend " + config.backend + ": there is none"); }
    if (config.memory_quota == 0) {
        struct sysinfo info {};
        if (::sysinfo(&info) != 0) {
            wrong("--memory-quota: the machine does not tell its memory");
        }
        config.memory_quota = std::uint64_t{info.totalram} * info.mem_unit / 2;
    }
    raise_descriptor_limit(config.connections_limit);
}

} // namespace mustafar::daemon
