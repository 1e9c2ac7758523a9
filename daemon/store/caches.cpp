// SPDX-License-Identifier: Apache-2.0
#include "store/caches.hpp"

#include <random>

namespace mustafar::daemon {

namespace {

std::string random_epoch() {
    std::random_device random;
    const std::uint64_t number = (std::uint64_t{random()} << 32) | random();
    std::string text(16, '0');
    for (std::size_t i = 0; i < text.size(); ++i) {
        text[i] = "0123456789abcdef"[(number >> (4 * i)) & 15];
    }
    return text;
}

Problem in_use() {
    return Problem(ProblemType::locked, "other requests kept the cache for too long");
}

} // namespace

bool CacheShape::same(const CacheShape& other) const {
    const mustafar_geometry& a = geometry;
    const mustafar_geometry& b = other.geometry;
    return a.layers == b.layers && a.q_heads == b.q_heads && a.kv_heads == b.kv_heads &&
           a.head_dim_k == b.head_dim_k && a.head_dim_v == b.head_dim_v && a.dtype == b.dtype &&
           options.max_tokens == other.options.max_tokens &&
           options.reserve_tokens == other.options.reserve_tokens &&
           options.flags == other.options.flags && recipe_digest == other.recipe_digest;
}

CacheEntry::CacheEntry(Cache cache, CacheShape its_shape)
    : shape(std::move(its_shape)), created(now_rfc3339()), last(shape.geometry.layers),
      cache_(std::move(cache)), epoch_(random_epoch()),
      last_use_(Clock::now().time_since_epoch().count()) {}

std::string CacheEntry::etag() const {
    return "\"" + epoch_ + "-" + std::to_string(revision_) + "\"";
}

void CacheEntry::replace(Cache next) {
    auto stats = sized<mustafar_cache_stats>();
    call(mustafar_cache_get_stats, std::as_const(*this).cache(), &stats);
    counted.appended_tokens += stats.appended_tokens;
    counted.packed_rows += stats.packed_rows;
    counted.attend_calls += stats.attend_calls;
    counted.append_ns += stats.append_ns;
    counted.pack_ns += stats.pack_ns;
    counted.attend_ns += stats.attend_ns;
    cache_ = std::move(next);
}

std::uint32_t CacheEntry::length(std::uint32_t layer) const {
    std::uint32_t committed = 0;
    std::uint32_t tentative = 0;
    call(mustafar_cache_length, cache(), layer, &committed, &tentative);
    return committed + tentative;
}

std::optional<Clock::time_point> CacheEntry::expires() const {
    if (!keeping.ttl_seconds || keeping.pinned) { return std::nullopt; }
    return last_use() + std::chrono::duration_cast<Clock::duration>(
                            std::chrono::duration<double>(*keeping.ttl_seconds));
}

std::shared_ptr<const std::string> CacheEntry::made_of(std::uint64_t revision) const {
    const std::lock_guard guard(made_mutex_);
    return made_revision_ == revision ? made_ : nullptr;
}

void CacheEntry::keep_made(std::uint64_t revision, std::string text) {
    const std::lock_guard guard(made_mutex_);
    made_revision_ = revision;
    made_ = std::make_shared<const std::string>(std::move(text));
}

std::shared_ptr<const std::string> CacheEntry::described() const {
    const std::lock_guard guard(made_mutex_);
    return described_;
}

void CacheEntry::keep_described(std::shared_ptr<const std::string> text) {
    const std::lock_guard guard(made_mutex_);
    described_.swap(text); // the old one is freed behind the lock
}

ReadLock::ReadLock(CacheEntry& entry, Clock::time_point deadline) : entry_(entry) {
    if (!entry.lock.lock_shared(deadline)) { throw in_use(); }
}

WriteLock::WriteLock(CacheEntry& entry, Clock::time_point deadline) : entry_(entry) {
    if (!entry.lock.lock(deadline)) { throw in_use(); }
    entry.touch();
    entry.keep_described(nullptr);
}

CachePointer Caches::find(const std::string& id) const {
    const std::shared_lock lock(mutex_);
    const auto at = entries_.find(id);
    return at == entries_.end() ? nullptr : at->second;
}

CachePointer Caches::get(const std::string& id) const {
    CachePointer entry = find(id);
    if (!entry) {
        throw Problem(ProblemType::not_found, "there is no cache " + id, {{"cache", id}});
    }
    return entry;
}

CachePointer Caches::add(const std::string& id, const CachePointer& entry) {
    const std::unique_lock lock(mutex_);
    if (const auto at = entries_.find(id); at != entries_.end()) { return at->second; }
    if (entries_.size() >= limit_) {
        throw Problem(ProblemType::limit_reached, "there are as many caches as there may be",
                      {{"limit_caches", limit_}});
    }
    entries_.emplace(id, entry);
    return nullptr;
}

bool Caches::remove(const std::string& id, const CachePointer& entry) {
    const std::unique_lock lock(mutex_);
    const auto at = entries_.find(id);
    if (at == entries_.end() || at->second != entry) { return false; }
    entries_.erase(at);
    return true;
}

std::vector<std::pair<std::string, CachePointer>> Caches::list(const std::string& after,
                                                               std::size_t count) const {
    std::vector<std::pair<std::string, CachePointer>> found;
    const std::shared_lock lock(mutex_);
    for (auto at = entries_.upper_bound(after); at != entries_.end() && found.size() < count;
         ++at) {
        found.emplace_back(at->first, at->second);
    }
    return found;
}

bool Caches::idle(const CachePointer& entry) {
    if (entry.use_count() > 1) { return false; }
    const auto at_once =
        Clock::time_point::min(); // nobody holds it; the lock orders what they wrote
    if (!entry->lock.lock_shared(at_once)) { return false; }
    const bool pinned = entry->keeping.pinned;
    entry->lock.unlock_shared();
    return !pinned;
}

std::vector<Freed> Caches::take_expired(Clock::time_point now) {
    std::vector<Freed> freed;
    const std::unique_lock lock(mutex_);
    for (auto at = entries_.begin(); at != entries_.end();) {
        const auto one = at++;
        if (!idle(one->second)) { continue; }
        const auto end = one->second->expires();
        if (!end || *end > now) { continue; }
        freed.push_back({one->first, one->second}); // copied: it may throw
        entries_.erase(one);
    }
    return freed;
}

std::optional<Freed> Caches::take_oldest(Clock::time_point before) {
    const std::unique_lock lock(mutex_);
    auto oldest = entries_.end();
    for (auto at = entries_.begin(); at != entries_.end(); ++at) {
        const auto used = at->second->last_use();
        if (used >= before || !idle(at->second)) { continue; }
        if (oldest == entries_.end() || used < oldest->second->last_use()) { oldest = at; }
    }
    if (oldest == entries_.end()) { return std::nullopt; }
    Freed freed{oldest->first, std::move(oldest->second)};
    entries_.erase(oldest);
    return freed;
}

std::size_t Caches::size() const {
    const std::shared_lock lock(mutex_);
    return entries_.size();
}

} // namespace mustafar::daemon
