// SPDX-License-Identifier: Apache-2.0
#include "store/snapshots.hpp"

#include <exception>

namespace mustafar::daemon {

namespace {

// Exceptions do not cross the library: they are kept here and thrown behind it.
struct Stream {
    const File& file;
    std::exception_ptr failure;
};

std::int32_t write_some(void* user, const void* data, std::size_t bytes) {
    Stream& stream = *static_cast<Stream*>(user);
    try {
        stream.file.write(data, bytes);
        return 0;
    } catch (...) {
        stream.failure = std::current_exception();
        return 1;
    }
}

std::int32_t read_some(void* user, void* data, std::size_t bytes, std::size_t* got) {
    Stream& stream = *static_cast<Stream*>(user);
    try {
        *got = stream.file.read(data, bytes);
        return 0;
    } catch (...) {
        stream.failure = std::current_exception();
        return 1;
    }
}

// `user` is a std::string_view: what is left of a snapshot in memory.
std::int32_t read_view(void* user, void* data, std::size_t bytes, std::size_t* got) {
    std::string_view& rest = *static_cast<std::string_view*>(user);
    *got = rest.copy(static_cast<char*>(data), bytes);
    rest.remove_prefix(*got);
    return 0;
}

Cache load_from(mustafar_read_fn read, void* user, mustafar_context* context,
                const std::optional<std::string>& model_id) {
    const mustafar_geometry* any_geometry = nullptr;
    const mustafar_recipe* any_recipe = nullptr;
    const mustafar_cache_options* any_options = nullptr;
    const char* model = model_id ? model_id->c_str() : nullptr;
    return make<mustafar_cache>(mustafar_cache_load, context, any_geometry, any_recipe, model,
                                any_options, read, user);
}

Problem bytes_behind() {
    return Problem(ProblemType::corrupt, "there are bytes behind the snapshot");
}

} // namespace

void Snapshots::check_room(const std::string& name) const {
    if (!directory_.info(name) && directory_.list().size() >= limit_) {
        throw Problem(ProblemType::limit_reached, "there are as many snapshots as there may be",
                      {{"limit_snapshots", limit_}});
    }
}

bool Snapshots::save(const std::string& name, const mustafar_cache* cache,
                     const std::string& model_id, bool overwrite) {
    check_room(name);
    const bool written = directory_.write(name, overwrite, [&](const File& file) {
        Stream stream{file, nullptr};
        try {
            call(mustafar_cache_save, cache, model_id.c_str(), &write_some,
                 static_cast<void*>(&stream));
        } catch (const Problem&) {
            if (stream.failure) { std::rethrow_exception(stream.failure); }
            throw;
        }
    });
    if (written) { note(name, SnapshotState::good); }
    return written;
}

bool Snapshots::put(const std::string& name, std::string_view content, mustafar_context* context,
                    bool overwrite) {
    check_room(name);
    std::string_view rest = content;
    const Cache aside = load_from(&read_view, &rest, context, std::nullopt);
    if (!rest.empty()) { throw bytes_behind(); }
    const bool written = directory_.write(
        name, overwrite, [&](const File& file) { file.write(content.data(), content.size()); });
    if (written) { note(name, SnapshotState::good); }
    return written;
}

Cache Snapshots::load(const std::string& name, mustafar_context* context,
                      const std::optional<std::string>& model_id) {
    const auto file = directory_.open(name);
    if (!file) {
        throw Problem(ProblemType::not_found, "there is no snapshot " + name, {{"snapshot", name}});
    }
    Stream stream{*file, nullptr};
    try {
        Cache cache = load_from(&read_some, &stream, context, model_id);
        char more = 0;
        if (file->read(&more, 1) != 0) { throw bytes_behind(); }
        note(name, SnapshotState::good);
        return cache;
    } catch (const Problem& problem) {
        if (stream.failure) { std::rethrow_exception(stream.failure); }
        if (problem.type() == ProblemType::corrupt) { note(name, SnapshotState::corrupt); }
        throw;
    }
}

std::optional<Snapshot> Snapshots::find(const std::string& name) const {
    auto file = directory_.info(name);
    return file ? std::optional(with_state(std::move(*file))) : std::nullopt;
}

std::vector<Snapshot> Snapshots::list() const {
    std::vector<Snapshot> snapshots;
    for (FileInfo& file : directory_.list()) { snapshots.push_back(with_state(std::move(file))); }
    return snapshots;
}

bool Snapshots::remove(const std::string& name) {
    const bool removed = directory_.remove(name);
    const std::lock_guard lock(mutex_);
    states_.erase(name);
    return removed;
}

void Snapshots::note(const std::string& name, SnapshotState state) {
    const std::lock_guard lock(mutex_);
    states_[name] = state;
}

Snapshot Snapshots::with_state(FileInfo file) const {
    const std::lock_guard lock(mutex_);
    const auto at = states_.find(file.name);
    const SnapshotState state = at == states_.end() ? SnapshotState::unchecked : at->second;
    return {std::move(file), state};
}

} // namespace mustafar::daemon
