// SPDX-License-Identifier: Apache-2.0
// Counters in Prometheus' text format. Labels come from closed sets: routes by name, statuses, reasons, operations.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>

#include "http/message.hpp"

namespace mustafar::daemon {

struct Exchange;
struct Service;

// Operations of the library that are timed.
enum class Op {
    append,
    commit,
    attend,
    prune,
    compress,
    evict,
    truncate,
    fork,
    reset,
    save,
    load,
    merge,
    count
};

// Why a cache was freed without being asked for.
enum class Eviction { ttl, lru, gc, count };
const char* eviction_name(Eviction reason);

class Histogram {
  public:
    void add(double seconds);
    void write(std::string& out, const char* name, const std::string& labels) const;

  private:
    static constexpr std::array<double, 10> bounds = {0.0001, 0.0003, 0.001, 0.003, 0.01,
                                                      0.03,   0.1,    0.3,   1,     10};
    std::array<std::uint64_t, bounds.size() + 1> counts_{};
    double sum_ = 0;
};

// A request that was refused or failed, for people who look at the daemon.
struct RecentError {
    std::string time; // RFC 3339
    std::string id;
    std::string method;
    std::string route;
    int status = 0;
    std::string problem;
};

class Metrics {
  public:
    // Threads: the I/O thread only.
    void request(const Exchange& exchange);
    void rejected(const char* reason); // a static text
    std::string text(const Service& service) const;
    std::size_t connections = 0;
    std::size_t queue_depth = 0;
    std::size_t in_flight = 0; // requests that have arrived and are not answered yet
    std::uint64_t requests_total() const { return requests_total_; }
    const std::map<std::string, std::uint64_t>& rejections() const { return rejected_; }
    const std::deque<RecentError>& recent_errors() const { return recent_errors_; } // newest first

    // Threads: any.
    void op(Op op, Clock::duration time, std::uint64_t bytes);
    void evicted(Eviction reason) { ++evictions_[static_cast<std::size_t>(reason)]; }
    std::atomic<std::uint64_t> tokens_appended{0};

  private:
    struct OpCounts {
        std::atomic<std::uint64_t> calls{0};
        std::atomic<std::uint64_t> nanoseconds{0};
        std::atomic<std::uint64_t> bytes{0};
    };
    std::map<std::pair<const Route*, std::pair<std::string, int>>, std::uint64_t> requests_;
    std::map<std::string, std::uint64_t> rejected_;
    std::uint64_t requests_total_ = 0;
    std::deque<RecentError> recent_errors_;
    std::map<const Route*, Histogram> durations_;
    Histogram queue_wait_;
    std::uint64_t body_bytes_ = 0;
    std::array<OpCounts, static_cast<std::size_t>(Op::count)> ops_;
    std::array<std::atomic<std::uint64_t>, static_cast<std::size_t>(Eviction::count)> evictions_{};
};

} // namespace mustafar::daemon
