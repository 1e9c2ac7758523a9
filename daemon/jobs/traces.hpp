// SPDX-License-Identifier: Apache-2.0
// Traces by name: files of the folders that --trace-dir names, which are never written, and those of clients.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "experiment/trace.hpp"
#include "problem.hpp"
#include "store/directory.hpp"

namespace mustafar::daemon {

struct TraceInfo {
    FileInfo file;
    std::filesystem::path path;
    bool builtin = false;
    bool good = false;
    std::string reason;      // where it is not
    experiment::Trace trace; // without values
};

Json write_trace(const TraceInfo& info);

// About what a job takes besides its caches: all traces at once, and the exact answers to the largest. `tokens` and
// `queries` are those of the job, 0: all.
double trace_bytes(const experiment::Trace& trace, std::uint32_t tokens, std::uint32_t queries);
double answer_bytes(const experiment::Trace& trace, std::uint32_t tokens, std::uint32_t queries);

// Threads: any but the I/O thread.
class Traces {
  public:
    // `own` may be nullptr: then clients cannot bring theirs. Throws std::runtime_error for a folder that is none.
    Traces(const std::vector<std::string>& folders, const std::string& own_path, Directory* own,
           std::size_t limit);

    std::vector<TraceInfo> list() const; // by name
    std::optional<TraceInfo> find(const std::string& name) const;
    // The trace with its values. Throws Problem not_found, bad_trace.
    experiment::Trace load(const std::string& name) const;
    // True where the name is new. Checked whole before anyone sees it. Throws Problem bad_trace, forbidden (builtin),
    // limit_reached, storage, not_found (no data folder).
    bool put(const std::string& name, std::string_view bytes);
    void remove(const std::string& name); // throws Problem not_found, forbidden

  private:
    TraceInfo look(const std::string& name, const std::filesystem::path& path, bool builtin) const;

    std::map<std::string, std::filesystem::path> builtin_;
    const std::string own_path_;
    Directory* const own_;
    const std::size_t limit_;
    mutable std::mutex mutex_; // of `put` and `remove`: two of one name do not mix
};

} // namespace mustafar::daemon
