// SPDX-License-Identifier: Apache-2.0
#include "log.hpp"

#include <memory>

#include <spdlog/async.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "http/workers.hpp"
#include "routes.hpp"

namespace mustafar::daemon {

namespace {

constexpr std::size_t lines_waiting_max = 8192;
constexpr double slow_seconds = 1.0;

void write_line(spdlog::level::level_enum level, const char* event, const Json& members) {
    if (!spdlog::should_log(level)) { return; }
    Json line = {{"event", event}};
    line.update(members);
    const std::string text = dump(line);
    // `{"time":...,"level":...,` comes from the pattern; the rest of the object follows its brace.
    spdlog::log(level, "{}", std::string_view(text).substr(1));
}

} // namespace

void start_log(const std::string& level) {
    spdlog::init_thread_pool(lines_waiting_max, 1);
    auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    auto logger =
        std::make_shared<spdlog::async_logger>("mustafard", std::move(sink), spdlog::thread_pool(),
                                               spdlog::async_overflow_policy::overrun_oldest);
    logger->set_pattern(R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v)",
                        spdlog::pattern_time_type::utc);
    logger->set_level(spdlog::level::from_str(level));
    logger->flush_on(spdlog::level::info);
    spdlog::set_default_logger(std::move(logger));
}

void stop_log() { spdlog::shutdown(); }

void log_event(const char* event, const Json& members) {
    write_line(spdlog::level::info, event, members);
}

void log_error(const char* event, const Json& members) {
    write_line(spdlog::level::err, event, members);
}

void log_request(const Exchange& exchange) {
    const Request& request = exchange.request;
    const int status = exchange.response.status;
    const auto seconds = [](Clock::duration time) {
        return std::chrono::duration<double>(time).count();
    };
    const double total = seconds(exchange.answered - request.received);
    const auto level = status >= 500 && status != 503 && status != 507 ? spdlog::level::err
                       : total >= slow_seconds                         ? spdlog::level::warn
                                                                       : spdlog::level::info;
    if (!spdlog::should_log(level)) { return; }
    // No value here can hold a quote: ids, methods and route names come from closed sets of characters.
    spdlog::log(
        level,
        R"("event":"request","id":"{}","method":"{}","route":"{}","resource":"{}","status":{},)"
        R"("request_bytes":{},"response_bytes":{},"receive_seconds":{:.6f},)"
        R"("queue_seconds":{:.6f},"compute_seconds":{:.6f}}})",
        request.id, exchange.method, request.route == nullptr ? "" : request.route->name,
        request.path.empty() ? "" : request.path.front(), status, exchange.body_bytes,
        exchange.response.body().size(), seconds(exchange.queued - request.received),
        seconds(exchange.started - exchange.queued), seconds(exchange.answered - exchange.started));
}

} // namespace mustafar::daemon
