// SPDX-License-Identifier: Apache-2.0
// The caches by their ids. An entry that was removed lives until the last request that uses it has ended.
#pragma once

#include <atomic>
#include <cstdint>
#include <ctime>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

#include "http/message.hpp"
#include "library.hpp"
#include "store/lock.hpp"
#include "times.hpp"

namespace mustafar::daemon {

// What makes two caches the same when they are put twice.
struct CacheShape {
    mustafar_geometry geometry = sized<mustafar_geometry>();
    mustafar_cache_options options = MUSTAFAR_CACHE_OPTIONS_INIT;
    std::string recipe_name; // what the recipe calls itself
    std::string recipe_digest;
    std::uint32_t sink = 0; // of the recipe's window
    std::uint32_t recent = 0;
    std::uint32_t step = 0;

    bool same(const CacheShape& other) const;
};

// What a retried append is recognized by.
struct LastAppend {
    std::uint32_t offset = 0; // length before it
    std::uint32_t tokens = 0; // 0: none that could be repeated
    mustafar_dtype dtype = 0;
    bool tentative = false;
    BodyDigest digest{}; // of the body
    bool operator==(const LastAppend&) const = default;
};

// How long a cache stays, and what clients call it.
struct Keeping {
    std::optional<double> ttl_seconds; // since its last use; nullopt: for ever
    std::map<std::string, std::string> labels;
    bool pinned = false; // freed neither by its TTL nor by --evict=lru
};

class CacheEntry {
  public:
    CacheEntry(Cache cache, CacheShape shape);

    const CacheShape shape;
    const std::string created; // RFC 3339

    // Everything below needs the lock: shared to read, alone to change.
    mustafar_cache* cache() { return cache_.get(); }
    const mustafar_cache* cache() const { return cache_.get(); }
    std::string etag() const; // "epoch-revision", in quotes; the epoch is random per entry
    std::uint64_t revision() const { return revision_; }
    void changed() { ++revision_; }
    // Puts another cache of the same shape in its place; what the old one has counted stays in `counted`.
    void replace(Cache next);
    mustafar_cache_stats counted = sized<mustafar_cache_stats>();
    std::uint32_t length(std::uint32_t layer) const; // tentative tokens included
    std::vector<LastAppend> last;                    // by layer
    Keeping keeping;
    // When it may be freed; nullopt: not by time.
    std::optional<Clock::time_point> expires() const;

    // Threads: any, without the lock.
    void touch() { last_use_ = Clock::now().time_since_epoch().count(); }
    Clock::time_point last_use() const { return Clock::time_point(Clock::duration(last_use_)); }
    // A text made of a revision, as long as that is the one.
    std::shared_ptr<const std::string> made_of(std::uint64_t revision) const;
    void keep_made(std::uint64_t revision, std::string text);
    // What clients are told of it (write_cache()), from one reader to the next. To be kept under the lock: whoever
    // locks it alone forgets it. nullptr: none.
    std::shared_ptr<const std::string> described() const;
    void keep_described(std::shared_ptr<const std::string> text);

    TimedLock lock;

  private:
    Cache cache_;
    const std::string epoch_;
    std::uint64_t revision_ = 0;
    std::atomic<Clock::rep> last_use_;
    mutable std::mutex made_mutex_; // innermost
    std::uint64_t made_revision_ = 0;
    std::shared_ptr<const std::string> made_;
    std::shared_ptr<const std::string> described_;
};

using CachePointer = std::shared_ptr<CacheEntry>;

// Holds a cache for a request; throws Problem locked after `deadline`.
class ReadLock {
  public:
    ReadLock(CacheEntry& entry, Clock::time_point deadline);
    ~ReadLock() { entry_.lock.unlock_shared(); }
    ReadLock(const ReadLock&) = delete;
    ReadLock& operator=(const ReadLock&) = delete;

  private:
    CacheEntry& entry_;
};

// It counts as a use.
class WriteLock {
  public:
    WriteLock(CacheEntry& entry, Clock::time_point deadline);
    ~WriteLock() { entry_.lock.unlock(); }
    WriteLock(const WriteLock&) = delete;
    WriteLock& operator=(const WriteLock&) = delete;

  private:
    CacheEntry& entry_;
};

struct Freed {
    std::string id;
    CachePointer entry;
};

// Threads: any.
class Caches {
  public:
    explicit Caches(std::size_t limit) : limit_(limit) {}
    CachePointer find(const std::string& id) const; // nullptr where there is none
    CachePointer get(const std::string& id) const;  // throws not_found
    // Adds `entry` and returns nullptr, or returns who has the id already. Throws limit_reached.
    CachePointer add(const std::string& id, const CachePointer& entry);
    // Removes `entry` if it still has the id.
    bool remove(const std::string& id, const CachePointer& entry);
    // Up to `count` ids behind `after`, ascending.
    std::vector<std::pair<std::string, CachePointer>> list(const std::string& after,
                                                           std::size_t count) const;
    std::size_t size() const;

    // Removes what nobody has in hands and no pin holds: what has expired, or the one that was used least recently
    // and not since `before`. Memory goes with what they return.
    std::vector<Freed> take_expired(Clock::time_point now);
    std::optional<Freed> take_oldest(Clock::time_point before);

  private:
    // Needs mutex_ alone: then nobody can take hold of the entry.
    static bool idle(const CachePointer& entry);

    const std::size_t limit_;
    mutable std::shared_mutex mutex_;
    std::map<std::string, CachePointer> entries_;
};

} // namespace mustafar::daemon
