// SPDX-License-Identifier: Apache-2.0
// What handlers work with. One per process; made by main, outlives the guard and its workers.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "config.hpp"
#include "eviction.hpp"
#include "http/message.hpp"
#include "http/staging.hpp"
#include "http/wake.hpp"
#include "http/workers.hpp"
#include "jobs/jobs.hpp"
#include "library.hpp"
#include "memory.hpp"
#include "metrics.hpp"
#include "store/caches.hpp"
#include "store/recipes.hpp"
#include "store/snapshots.hpp"

namespace mustafar::daemon {

struct Service {
    // Opens the data folder and creates the context. Throws Problem, std::runtime_error.
    explicit Service(const Config& its_config);

    const Config& config;
    StagingBudget staging;
    Metrics metrics;
    Memory memory;
    Context context;                           // behind `memory`, before what lives in it
    std::unique_ptr<Directory> snapshot_files; // nullptr without --data-dir
    std::unique_ptr<Directory> recipe_files;
    Recipes recipes;
    std::unique_ptr<Snapshots> snapshots; // nullptr without --data-dir
    Caches caches;
    Wake wake; // of the I/O thread
    std::unique_ptr<Directory> trace_files;
    Traces traces;
    std::atomic<bool> draining{false};
    std::atomic<bool> drain_asked{false}; // by /v1/admin/drain: `wake` tells
    Jobs jobs;                            // its thread uses what is above
    Sweeper sweeper;                      // the last: it uses the others
};

// Calls the handler of a request; whatever it throws becomes a problem. Never throws but std::bad_alloc.
Response run_handler(Service& service, Request& request);

// What each worker does with a request: its own transport, then run_handler. What fails around the handler is a problem
// too; std::bad_alloc leaves it where there is no memory to say even that.
std::function<Workers::Work()> work_of(Service& service);

} // namespace mustafar::daemon
