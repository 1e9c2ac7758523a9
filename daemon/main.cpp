// SPDX-License-Identifier: Apache-2.0
// mustafard: reads the configuration, opens what it needs, and lets the guard serve until it is told to stop.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <memory>
#include <stdexcept>

#include <malloc.h>

#include "config.hpp"
#include "http/guard.hpp"
#include "log.hpp"
#include "service.hpp"

using namespace mustafar::daemon;

namespace {

CheckSettings check_settings(const Config& config, const Tokens* tokens) {
    CheckSettings settings;
    settings.hosts = {"localhost", "127.0.0.1", "[::1]"};
    settings.hosts.insert(settings.hosts.end(), config.allow_hosts.begin(),
                          config.allow_hosts.end());
    if (config.host != "0.0.0.0" && config.host != "::") {
        settings.hosts.push_back(
            config.host.find(':') == std::string::npos ? config.host : "[" + config.host + "]");
    }
    for (std::string& host : settings.hosts) {
        std::ranges::transform(host, host.begin(),
                               [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    }
    settings.tokens = tokens;
    settings.json_limit = config.json_limit;
    settings.body_limit = config.body_limit;
    return settings;
}

void block_stop_signals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, nullptr); // threads inherit it
    std::signal(SIGPIPE, SIG_IGN);
}

void write_port_file(const Config& config, const Listener& listener) {
    if (config.port_file.empty()) { return; }
    // Renamed into place: whoever waits for the file never reads half of it.
    const std::string part = config.port_file + ".part";
    std::ofstream(part) << listener.port() << "\n";
    if (std::rename(part.c_str(), config.port_file.c_str()) != 0) {
        throw std::runtime_error("--port-file " + config.port_file + ": cannot be written");
    }
}

int serve(const Config& config) {
    const auto tokens = config.token_file.empty()
                            ? nullptr
                            : std::make_unique<Tokens>(Tokens::read(config.token_file));
    block_stop_signals();
    start_log(config.log_level);
    Service service(config);
    if (config.check_only) {
        std::puts("the configuration is good");
        return 0;
    }
    Listener listener(config);
    const std::string address = listener.address();
    write_port_file(config, listener);
    Guard guard(config, check_settings(config, tokens.get()), std::move(listener), service,
                work_of(service));
    log_event("listening", {{"address", address}, {"memory_quota_bytes", config.memory_quota}});
    std::printf("mustafard listens on %s\n", address.c_str());
    std::fflush(stdout);
    service.jobs.start();
    guard.run();
    log_event("stopped");
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    // Large buffers come and go with every body: give the kernel back what is not used.
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
    int status = 1;
    try {
        const auto config = parse_config(argc, argv);
        status = config ? serve(*config) : 0;
    } catch (const std::invalid_argument& wrong) {
        std::fprintf(stderr, "mustafard: %s\n", wrong.what());
        status = 2;
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "mustafard: %s\n", failure.what());
    }
    stop_log();
    return status;
}
