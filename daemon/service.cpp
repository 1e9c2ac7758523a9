// SPDX-License-Identifier: Apache-2.0
#include "service.hpp"

#include <filesystem>
#include <new>

#include "api/parameters.hpp"
#include "http/transport.hpp"
#include "log.hpp"
#include "routes.hpp"

namespace mustafar::daemon {

namespace {

Context make_context(const Config& config, Memory& memory) {
    mustafar_context_options options = MUSTAFAR_CONTEXT_OPTIONS_INIT;
    options.threads = config.threads;
    options.quota_bytes = config.memory_quota; // so that its errors carry the numbers
    config.backend.copy(options.backend, sizeof options.backend - 1);
    const mustafar_allocator hook = memory.hook();
    const mustafar_log_hook* silence = nullptr;
    return make<mustafar_context>(mustafar_context_create, &options, &hook, silence);
}

std::unique_ptr<Directory> open_folder(const Config& config, const char* name, const char* suffix) {
    if (config.data_dir.empty()) { return nullptr; }
    std::error_code error;
    std::filesystem::create_directories(config.data_dir, error); // Directory tells what is wrong
    return std::make_unique<Directory>(config.data_dir + "/" + name, suffix);
}

// Behind the folders: their locks keep a second daemon away.
std::unique_ptr<History> open_history(const Config& config) {
    const bool kept = !config.data_dir.empty();
    return std::make_unique<History>(kept ? config.data_dir + "/mustafard.sqlite3" : "",
                                     config.max_results);
}

// Whether requests of a route take so much of the machine that an experiment beside them is slower.
bool computes(const Route& route) {
    const std::string_view path = route.path;
    const auto below = [&](std::string_view prefix) { return path.starts_with(prefix); };
    if (below("/v1/jobs") || below("/v1/results") || below("/v1/recipes")) { return false; }
    const bool data = path.ends_with("/tensor") || path.ends_with("/bitmap") ||
                      path.ends_with("/density") || path.ends_with("/content");
    return route.method != Method::get || data;
}

class Computing {
  public:
    Computing(Activity& activity, bool counts) : activity_(counts ? &activity : nullptr) {
        if (activity_ != nullptr) { activity_->begin(); }
    }
    ~Computing() {
        if (activity_ != nullptr) { activity_->end(); }
    }
    Computing(const Computing&) = delete;
    Computing& operator=(const Computing&) = delete;

  private:
    Activity* activity_;
};

// What the exception that is being handled is on HTTP.
Response fault_response(const std::string& id) {
    const auto internal = [&](const char* what) { // its text is for the log, never for a client
        log_error("fault", {{"id", id}, {"what", what}});
        return problem_response(Problem(ProblemType::internal, "see the log for this request"), id);
    };
    try {
        throw;
    } catch (const Problem& problem) {
        if (problem_info(problem.type()).status == 500) {
            log_error("fault", {{"id", id}, {"what", problem.what()}});
        }
        return problem_response(problem, id);
    } catch (const std::bad_alloc&) {
        return problem_response(
            Problem(ProblemType::quota_exceeded, "the machine has no memory left"), id);
    } catch (const std::exception& fault) { return internal(fault.what()); } catch (...) {
        return internal("something that is no std::exception");
    }
}

// A reply that is ready is sent, whether or not there is memory for its line.
void log_without_memory(const Exchange& exchange) {
    try {
        log_request(exchange);
    } catch (const std::bad_alloc&) {}
}

} // namespace

Service::Service(const Config& its_config)
    : config(its_config), staging(config.staging_limit), memory(config.memory_quota),
      context(make_context(config, memory)),
      snapshot_files(open_folder(config, "snapshots", ".snap")),
      recipe_files(open_folder(config, "recipes", ".json")),
      recipes(recipe_files.get(), config.recipes_limit),
      snapshots(snapshot_files
                    ? std::make_unique<Snapshots>(*snapshot_files, config.snapshots_limit)
                    : nullptr),
      caches(config.caches_limit), trace_files(open_folder(config, "traces", ".safetensors")),
      traces(config.trace_dirs, config.data_dir + "/traces", trace_files.get(),
             config.traces_limit),
      jobs({traces, memory, wake, config.backend, config.job_memory, config.max_jobs,
            config.max_streams},
           open_history(config)),
      sweeper(*this) {}

Response run_handler(Service& service, Request& request) {
    try {
        check_digest(request);
        const Parameters known(request); // refuses what the route does not list
        const Computing computing(service.jobs.activity, computes(*request.route));
        if (request.route->method == Method::get) { // who only looks ends nobody's cache
            return request.route->handler(service, request);
        }
        return with_room(service, request.received,
                         [&] { return request.route->handler(service, request); });
    } catch (...) { return fault_response(request.id); }
}

std::function<Workers::Work()> work_of(Service& service) {
    return [&service]() -> Workers::Work {
        return [&service, transport = std::shared_ptr<Transport>(
                              make_transport(service.config.idle_timeout))](Exchange& exchange) {
            Request& request = exchange.request;
            const auto handle = [&] {
                exchange.response = run_handler(service, request);
                exchange.response.fields.push_back({"X-Request-Id", request.id});
            };
            try {
                exchange.head = transport->exchange(exchange.target, exchange.keep_alive, request,
                                                    exchange.response, handle);
            } catch (...) {
                exchange.response = fault_response(request.id);
                exchange.response.fields.push_back({"X-Request-Id", request.id});
                exchange.head = write_head(exchange.response, exchange.keep_alive);
            }
            request.body = Staging(); // as soon as nobody needs it
            exchange.answered = Clock::now();
            const bool now = !exchange.response.later && !exchange.response.stream;
            if (now) { log_without_memory(exchange); } // others are told by the guard
        };
    };
}

} // namespace mustafar::daemon
