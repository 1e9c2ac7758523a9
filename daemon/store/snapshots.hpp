// SPDX-License-Identifier: Apache-2.0
// Caches on disk. A snapshot is listed only once it is whole and synced; a bad file is told, never fatal.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "library.hpp"
#include "store/directory.hpp"

namespace mustafar::daemon {

enum class SnapshotState { unchecked, good, corrupt };

struct Snapshot {
    FileInfo file;
    SnapshotState state = SnapshotState::unchecked; // since this process has looked
};

// Threads: any.
class Snapshots {
  public:
    Snapshots(Directory& directory, std::size_t limit) : directory_(directory), limit_(limit) {}

    // Writes `cache`, which nobody may change meanwhile. False: the name is taken. Throws limit_reached, storage.
    bool save(const std::string& name, const mustafar_cache* cache, const std::string& model_id,
              bool overwrite);
    // Writes `content` once it has been loaded aside and found good. False and errors as save() and load().
    bool put(const std::string& name, std::string_view content, mustafar_context* context,
             bool overwrite);
    // Builds a cache aside. Throws not_found, and what the library says: corrupt, mismatch, quota_exceeded.
    Cache load(const std::string& name, mustafar_context* context,
               const std::optional<std::string>& model_id);
    std::optional<File> open(const std::string& name) const { return directory_.open(name); }
    std::optional<Snapshot> find(const std::string& name) const;
    std::vector<Snapshot> list() const;
    bool remove(const std::string& name);

  private:
    void check_room(const std::string& name) const; // throws limit_reached
    void note(const std::string& name, SnapshotState state);
    Snapshot with_state(FileInfo file) const;

    Directory& directory_;
    const std::size_t limit_;
    mutable std::mutex mutex_;
    std::map<std::string, SnapshotState> states_;
};

} // namespace mustafar::daemon
