// SPDX-License-Identifier: Apache-2.0
// What the daemon says of itself.
#include <malloc.h>

#include "api/handlers.hpp"
#include "api/shapes.hpp"
#include "http/head.hpp"
#include "http/transport.hpp"
#include "openapi.hpp"

namespace mustafar::daemon {

Response get_healthz(Service&, Request&) { return json_response({{"status", "ok"}}); }

Response get_readyz(Service& service, Request&) {
    Json reasons = Json::array();
    if (service.draining) { reasons.push_back("draining"); }
    if (service.memory.used() >= service.memory.quota()) { reasons.push_back("quota"); }
    const bool ready = reasons.empty();
    Response response = json_response({{"ready", ready}, {"reasons", reasons}}, ready ? 200 : 503);
    if (!ready) { response.fields.push_back({"Retry-After", "1"}); }
    return response;
}

namespace {

Json limits_of(const Config& config) {
    return {{"memory_quota_bytes", config.memory_quota},
            {"staging_bytes", config.staging_limit},
            {"body_bytes", config.body_limit},
            {"json_body_bytes", config.json_limit},
            {"json_depth", json_depth_max},
            {"head_bytes", head_bytes_max},
            {"target_bytes", target_bytes_max},
            {"head_fields", head_fields_max},
            {"caches", config.caches_limit},
            {"snapshots", config.snapshots_limit},
            {"recipes", config.recipes_limit},
            {"traces", config.traces_limit},
            {"jobs", config.max_jobs},
            {"results", config.max_results},
            {"streams", config.max_streams},
            {"job_memory_bytes", config.job_memory},
            {"connections", config.connections_limit},
            {"queue", config.queue_limit},
            {"workers", config.workers},
            {"idle_timeout_seconds", config.idle_timeout},
            {"head_timeout_seconds", config.head_timeout},
            {"body_timeout_seconds", config.body_timeout},
            {"write_timeout_seconds", config.write_timeout},
            {"lock_timeout_seconds", config.lock_timeout},
            {"drain_timeout_seconds", config.drain_timeout}};
}

Json kernels() {
    Json rows = Json::array();
    for (std::size_t i = 0; i < mustafar_kernel_count(); ++i) {
        auto info = sized<mustafar_kernel_info>();
        call(mustafar_kernel_at, i, &info);
        Json row = {{"op", info.op},
                    {"backend", info.backend},
                    {"name", info.name},
                    {"available", info.available != 0}};
        if (info.available == 0) { row["reason"] = info.reason; }
        rows.push_back(std::move(row));
    }
    return rows;
}

} // namespace

Response get_version(Service& service, Request&) {
    auto stats = sized<mustafar_context_stats>();
    auto attend = sized<mustafar_kernel_info>();
    call(mustafar_context_get_stats, service.context.get(), &stats);
    call(mustafar_context_kernel, service.context.get(), "attend", &attend);
    return json_response({{"daemon", MUSTAFAR_VERSION},
                          {"library", mustafar_version()},
                          {"abi", mustafar_abi_version()},
                          {"build", mustafar_build_text()},
                          {"transport", transport_name()},
                          {"snapshots", service.snapshots != nullptr},
                          {"history", !service.config.data_dir.empty()},
                          {"evict", service.config.evict},
                          {"threads", stats.threads},
                          {"attend_kernel", attend.name},
                          {"kernels", kernels()},
                          {"limits", limits_of(service.config)}});
}

Response get_backends(Service& service, Request&) {
    auto attend = sized<mustafar_kernel_info>();
    call(mustafar_context_kernel, service.context.get(), "attend", &attend);
    return json_response({{"attend_kernel", attend.name}, {"kernels", kernels()}});
}

Response post_gc(Service& service, Request& request) {
    const Json body = parse_body(request);
    JsonFields(body).finish();
    const auto freed = free_expired(service, Eviction::gc);
    give_back_memory(service, true);
    ::malloc_trim(0);
    return json_response({{"freed", freed}, {"memory_used_bytes", service.memory.used()}});
}

// As SIGTERM does, but no signal: one that comes beside it is the first.
Response post_drain(Service& service, Request& request) {
    const Json body = parse_body(request);
    JsonFields(body).finish();
    service.drain_asked = true;
    service.wake.signal();
    return json_response({{"draining", true}}, 202);
}

Response get_metrics(Service& service, Request&) {
    Response response;
    response.type = "text/plain; version=0.0.4; charset=utf-8";
    response.text = service.metrics.text(service);
    return response;
}

Response get_openapi(Service&, Request&) {
    static const std::string text = openapi_text();
    Response response;
    response.type = "application/json";
    response.text = text;
    return response;
}

} // namespace mustafar::daemon
