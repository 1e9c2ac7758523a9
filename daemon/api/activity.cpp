// SPDX-License-Identifier: Apache-2.0
// What the daemon is doing at the moment, and what it has refused of late.
#include "api/handlers.hpp"
#include "api/shapes.hpp"

namespace mustafar::daemon {

Response get_activity(Service& service, Request&) {
    const Metrics& metrics = service.metrics;
    Json rejected = Json::object();
    for (const auto& [reason, count] : metrics.rejections()) { rejected[reason] = count; }
    Json errors = Json::array();
    for (const RecentError& error : metrics.recent_errors()) {
        errors.push_back({{"time", error.time},
                          {"id", error.id},
                          {"method", error.method},
                          {"route", error.route},
                          {"status", error.status},
                          {"problem", error.problem}});
    }
    return json_response({{"requests_total", metrics.requests_total()},
                          {"rejected", std::move(rejected)},
                          {"queue_depth", metrics.queue_depth},
                          {"in_flight", metrics.in_flight},
                          {"connections", metrics.connections},
                          {"recent_errors", std::move(errors)}});
}

} // namespace mustafar::daemon
