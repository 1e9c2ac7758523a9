// SPDX-License-Identifier: Apache-2.0
#include "jobs/traces.hpp"

#include <algorithm>
#include <span>

#include <sys/stat.h>

#include "experiment/failure.hpp"
#include "jobs/record.hpp"
#include "log.hpp"
#include "mustafar/info.h"
#include "routes.hpp"

namespace mustafar::daemon {

namespace {

namespace fs = std::filesystem;

constexpr const char* suffix = ".safetensors";

// "d128.Text" -> "d128-text"; "" where nothing is left.
std::string id_of(const std::string& stem) {
    std::string id;
    for (const char c : stem) {
        const char small = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
        const bool plain = (small >= 'a' && small <= 'z') || (small >= '0' && small <= '9');
        if (plain || (!id.empty() && (c == '_' || c == '-'))) {
            id += small;
        } else if (!id.empty()) {
            id += '-';
        }
    }
    return id.substr(0, 64);
}

Problem no_trace(const std::string& name) {
    return Problem(ProblemType::not_found, "there is no trace " + name, {{"trace", name}});
}

// Its own words, without where the file lies.
Problem bad_trace(const std::string& name, std::string text, const std::string& path) {
    if (text.starts_with(path)) { text.replace(0, path.size(), name); }
    return Problem(ProblemType::bad_trace, text, {{"trace", name}});
}

double rows_of(std::uint32_t all, std::uint32_t kept) {
    return kept == 0 ? all : std::min(all, kept);
}

} // namespace

Json write_trace(const TraceInfo& info) {
    const experiment::Trace& trace = info.trace;
    Json out = {{"name", info.file.name},
                {"bytes", info.file.bytes},
                {"builtin", info.builtin},
                {"modified", info.file.modified},
                {"model", trace.model},
                {"kind", trace.kind},
                {"tokens", trace.tokens},
                {"queries", trace.queries},
                {"layers", trace.layers.size()},
                {"q_heads", trace.q_heads},
                {"kv_heads", trace.kv_heads},
                {"head_dim", trace.head_dim},
                {"dtype", mustafar_dtype_name(trace.dtype)},
                {"state", info.good ? "good" : "corrupt"}};
    if (!info.good) { out["reason"] = info.reason; }
    return out;
}

double trace_bytes(const experiment::Trace& trace, std::uint32_t tokens, std::uint32_t queries) {
    const double layers = static_cast<double>(trace.layers.size());
    const double rows =
        2.0 * trace.kv_heads * trace.tokens + double{1} * trace.q_heads * trace.queries;
    const double halves = 2.0 * layers * trace.head_dim * rows;
    const double recorded =
        4.0 * layers * trace.q_heads * rows_of(trace.queries, queries) * (trace.head_dim + 1.0);
    return (tokens == 0 ? 2 : 3) * halves + recorded; // the file is read whole before it is cut
}

double answer_bytes(const experiment::Trace& trace, std::uint32_t tokens, std::uint32_t queries) {
    const double heads = static_cast<double>(trace.layers.size()) * trace.q_heads;
    return 8.0 * heads * rows_of(trace.queries, queries) *
           (rows_of(trace.tokens, tokens) + trace.head_dim + 1.0);
}

Traces::Traces(const std::vector<std::string>& folders, const std::string& own_path, Directory* own,
               std::size_t limit)
    : own_path_(own_path), own_(own), limit_(limit) {
    for (const std::string& folder : folders) {
        std::error_code error;
        for (const auto& entry : fs::directory_iterator(folder, error)) {
            const std::string name = id_of(entry.path().stem().string());
            if (entry.path().extension() != suffix || !is_id(name)) { continue; }
            if (!builtin_.emplace(name, entry.path()).second) {
                log_event("trace left out",
                          {{"path", entry.path().string()}, {"why", "the name is taken"}});
            }
        }
        if (error) { throw std::runtime_error("--trace-dir " + folder + ": " + error.message()); }
    }
}

TraceInfo Traces::look(const std::string& name, const fs::path& path, bool builtin) const {
    TraceInfo info;
    info.file.name = name;
    info.path = path;
    info.builtin = builtin;
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0) {
        info.file.bytes = static_cast<std::uint64_t>(status.st_size);
        info.file.modified = rfc3339(status.st_mtime);
    }
    try {
        info.trace = experiment::describe_trace(path);
        info.good = true;
    } catch (const experiment::Failure& failure) {
        info.reason = bad_trace(name, failure.what(), path.string()).what();
    }
    info.trace.name = name;
    return info;
}

std::optional<TraceInfo> Traces::find(const std::string& name) const {
    const auto at = builtin_.find(name);
    if (at != builtin_.end()) {
        return fs::exists(at->second) ? std::optional(look(name, at->second, true)) : std::nullopt;
    }
    if (own_ == nullptr || !is_id(name) || !own_->info(name)) { return std::nullopt; }
    return look(name, own_path_ + "/" + name + suffix, false);
}

std::vector<TraceInfo> Traces::list() const {
    std::vector<TraceInfo> traces;
    for (const auto& [name, path] : builtin_) {
        if (auto info = find(name)) { traces.push_back(std::move(*info)); }
    }
    if (own_ != nullptr) {
        for (const FileInfo& file : own_->list()) {
            if (builtin_.contains(file.name)) { continue; } // hidden by one that came later
            if (auto info = find(file.name)) { traces.push_back(std::move(*info)); }
        }
    }
    std::ranges::sort(traces, {}, [](const TraceInfo& info) { return info.file.name; });
    return traces;
}

experiment::Trace Traces::load(const std::string& name) const {
    const auto info = find(name);
    if (!info) { throw no_trace(name); }
    try {
        experiment::Trace trace = experiment::load_trace(info->path);
        trace.name = name;
        return trace;
    } catch (const experiment::Failure& failure) {
        throw bad_trace(name, failure.what(), info->path.string());
    }
}

bool Traces::put(const std::string& name, std::string_view bytes) {
    if (builtin_.contains(name)) {
        throw Problem(ProblemType::forbidden, "traces of the server stay", {{"trace", name}});
    }
    if (own_ == nullptr) {
        throw Problem(ProblemType::not_found, "traces need --data-dir, which was not given");
    }
    try {
        experiment::check_trace(std::as_bytes(std::span(bytes)), name);
    } catch (const experiment::Failure& failure) { throw bad_trace(name, failure.what(), name); }
    const std::lock_guard lock(mutex_);
    const bool is_new = !own_->info(name).has_value();
    if (is_new && own_->list().size() >= limit_) {
        throw Problem(ProblemType::limit_reached, "there are as many traces as there may be",
                      {{"limit_traces", limit_}});
    }
    own_->write(name, true, [&](const File& file) { file.write(bytes.data(), bytes.size()); });
    return is_new;
}

void Traces::remove(const std::string& name) {
    if (builtin_.contains(name)) {
        throw Problem(ProblemType::forbidden, "traces of the server stay", {{"trace", name}});
    }
    const std::lock_guard lock(mutex_);
    if (own_ == nullptr || !own_->remove(name)) { throw no_trace(name); }
}

} // namespace mustafar::daemon
