// SPDX-License-Identifier: Apache-2.0
#include "service.hpp"

#include <filesystem>
#include <new>

#include "api/parameters.hpp"
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
      caches(config.caches_limit), sweeper(*this) {}

Response run_handler(Service& service, Request& request) {
    try {
        check_digest(request);
        const Parameters known(request); // refuses what the route does not list
        return with_room(service, request.received,
                         [&] { return request.route->handler(service, request); });
    } catch (const Problem& problem) {
        if (problem_info(problem.type()).status == 500) {
            log_error("fault", {{"id", request.id}, {"what", problem.what()}});
        }
        return problem_response(problem, request.id);
    } catch (const std::bad_alloc&) {
        return problem_response(
            Problem(ProblemType::quota_exceeded, "the machine has no memory left"), request.id);
    } catch (const std::exception& fault) { // its text is for the log, never for a client
        log_error("fault", {{"id", request.id}, {"what", fault.what()}});
        return problem_response(Problem(ProblemType::internal, "see the log for this request"),
                                request.id);
    }
}

} // namespace mustafar::daemon
