// SPDX-License-Identifier: Apache-2.0
#include "eviction.hpp"

#include <chrono>
#include <optional>

#include "library.hpp"
#include "log.hpp"
#include "service.hpp"

namespace mustafar::daemon {

namespace {

// The entry goes with `freed`: nobody else has it any more.
void let_go(Service& service, Freed freed, Eviction reason) {
    auto bytes = sized<mustafar_bytes>();
    call(mustafar_cache_bytes, freed.entry->cache(), MUSTAFAR_ALL, MUSTAFAR_ALL, &bytes);
    const auto unused =
        std::chrono::duration<double>(Clock::now() - freed.entry->last_use()).count();
    service.metrics.evicted(reason);
    log_event("cache freed", {{"cache", freed.id},
                              {"reason", eviction_name(reason)},
                              {"bytes", bytes.total},
                              {"unused_seconds", unused}});
}

} // namespace

std::vector<std::string> free_expired(Service& service, Eviction reason) {
    std::vector<std::string> ids;
    for (Freed& freed : service.caches.take_expired(Clock::now())) {
        ids.push_back(freed.id);
        let_go(service, std::move(freed), reason);
    }
    return ids;
}

void give_back_memory(Service& service, bool all) noexcept {
    service.memory.trim(all);
    service.jobs.trim(all);
    service.staging.trim();
    if (all) { service.staging.trim(); } // the second time frees what the first has marked
}

bool free_oldest(Service& service, Clock::time_point before) {
    if (!service.config.evict_lru()) { return false; }
    std::optional<Freed> oldest = service.caches.take_oldest(before);
    if (!oldest) { return false; }
    let_go(service, std::move(*oldest), Eviction::lru);
    return true;
}

bool could_fit(const Problem& problem) {
    if (problem.type() != ProblemType::quota_exceeded) { return false; }
    const Json& members = problem.members();
    return members.value("requested_bytes", std::uint64_t{0}) <=
           members.value("limit_bytes", UINT64_MAX);
}

Sweeper::Sweeper(Service& service) : service_(service), thread_([this] { run(); }) {}

Sweeper::~Sweeper() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    stop_.notify_one();
    thread_.join();
}

void Sweeper::run() {
    std::unique_lock lock(mutex_);
    while (!stop_.wait_for(lock, std::chrono::seconds(1), [this] { return stopping_; })) {
        try {
            free_expired(service_, Eviction::ttl);
            give_back_memory(service_, false);
        } catch (const std::exception& fault) { // the next second tries again
            log_error("fault", {{"what", fault.what()}});
        }
    }
}

} // namespace mustafar::daemon
