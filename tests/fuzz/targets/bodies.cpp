// SPDX-License-Identifier: Apache-2.0
// First byte: an operation; then any bytes as its JSON body, handed to a whole service without sockets. What the service
// accepts, the schema in openapi.json accepts too, by a reader of its own (schema.cpp); replies are of the statuses and
// schemas that are documented; nothing is a fault; and a job that is taken is kept as a request that makes the same job.
#include <algorithm>
#include <cstring>

#include "jobs/spec.hpp"
#include "log.hpp"
#include "openapi.hpp"
#include "routes.hpp"
#include "schema.hpp"
#include "service.hpp"
#include "support.hpp"
#include "json/read.hpp"

using namespace mustafar::daemon;

namespace {

constexpr const char* operations[] = {
    "put_cache",      "post_jobs",      "post_plans",   "explain_recipe",
    "patch_cache",    "commit_cache",   "prune_cache",  "evict_cache",
    "truncate_cache", "compress_cache", "fork_cache",   "put_recipe",
    "reset_cache",    "cancel_job",     "put_snapshot", "restore_snapshot"};

void check(bool good, const std::string& what) {
    if (!good) { mustafar::fuzz::fail(what); }
}

const Route& route_of(std::string_view name) {
    for (const Route& route : routes()) {
        if (name == route.name) { return route; }
    }
    mustafar::fuzz::fail("there is no operation " + std::string(name));
}

Response ask(Service& service, const char* name, std::string_view body,
             const std::vector<std::string>& path) {
    Request request;
    request.route = &route_of(name);
    request.path = path;
    request.id = "fuzz";
    request.scope = Scope::admin;
    request.received = Clock::now();
    request.body = Staging::reserve(service.staging, body.size());
    if (!body.empty()) { std::memcpy(request.body.data(), body.data(), body.size()); }
    return run_handler(service, request);
}

Config small_config() {
    Config config;
    config.memory_quota = 32 << 20;
    config.job_memory = 1 << 20;
    config.caches_limit = 4;
    config.max_jobs = 2;
    config.threads = 1;
    config.backend = "ref";
    return config;
}

// The reply is one that the document knows, and no fault.
void check_reply(const Route& route, const Response& response) {
    const int status = response.status;
    const bool common = status == 400 || status == 503 || status == 507;
    check(common || std::ranges::count(route.statuses, status) == 1,
          std::string(route.name) + " gave " + std::to_string(status) + ": " + response.text);
    if (status == 204) { return; }
    const Json document = Json::parse(response.text);
    const Json schema = {{"$ref", "#/components/schemas/" + std::string(route.response)}};
    if (status < 300) {
        const std::string wrong = mustafar::fuzz::invalid(schema, document);
        check(wrong.empty(), std::string(route.name) + " replies what is not its schema: " + wrong);
    } else {
        check(document.at("status") == status, "a problem with its status");
        check(document.at("instance") == "urn:request:fuzz", "and with its request");
    }
}

// The request of a job makes the same job.
void check_job(Service& service, const Json& job) {
    const std::string id = job.at("id");
    const JobRecord kept = service.jobs.find(id).value();
    const JobSpec again = read_kept_spec(kept.request, kept.recipes);
    const JobSpec fresh = read_spec(service, kept.request);
    check(fresh.request == kept.request, "the request that is kept makes another one");
    check(fresh.recipes == kept.recipes, "with other recipes");
    check(again.threads == fresh.threads && again.traces == fresh.traces, "or other threads");
    check(again.settings.lengths == fresh.settings.lengths, "or other lengths");
    service.jobs.remove(id);
}

void tidy(Service& service) {
    for (const auto& [id, entry] : service.caches.list("", 16)) {
        service.caches.remove(id, entry);
    }
    static_cast<void>(ask(service, "delete_recipe", "", {"mine"}));
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const Config config = [] {
        start_log("off");
        return small_config();
    }();
    static Service service(config);
    if (size == 0) { return 0; }
    const Route& route = route_of(operations[data[0] % std::size(operations)]);
    const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);

    const bool creates = std::strcmp(route.name, "put_cache") == 0;
    const bool recipe = std::strcmp(route.name, "put_recipe") == 0;
    const std::string geometry = R"({"layers":2,"q_heads":4,"kv_heads":2,"head_dim":32})";
    const std::string cache = R"({"geometry":)" + geometry + R"(,"recipe":"lean","max_tokens":64})";
    const auto made = ask(service, "put_cache", cache, {"a"});
    check(made.status == 201, "the cache is made: " + made.text);

    const Response response = ask(service, route.name, body,
                                  {creates  ? "b"
                                   : recipe ? "mine"
                                            : "a"});
    check_reply(route, response);
    if (response.status < 300) {
        const Json document = parse_json(body); // accepted: hence JSON
        const Json schema = {{"$ref", "#/components/schemas/" + std::string(route.request)}};
        const std::string wrong = mustafar::fuzz::invalid(schema, document);
        check(wrong.empty(), std::string(route.name) + " takes what its schema refuses: " + wrong);
        if (std::strcmp(route.name, "post_jobs") == 0) {
            check_job(service, Json::parse(response.text));
        }
        if (creates) { check(ask(service, "put_cache", body, {"b"}).status == 200, "and again"); }
    }
    tidy(service);
    return 0;
}
