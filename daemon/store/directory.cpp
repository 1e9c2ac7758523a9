// SPDX-License-Identifier: Apache-2.0
#include "store/directory.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "problem.hpp"
#include "routes.hpp"
#include "times.hpp"

namespace mustafar::daemon {

namespace {

constexpr std::string_view part_suffix = ".part";

Problem storage(const char* what) {
    const int error = errno;
    return Problem(ProblemType::storage, std::string(what) + ": " + std::strerror(error),
                   {{"errno", error}});
}

// Every name in the folder.
std::vector<std::string> names_in(int folder) {
    std::vector<std::string> names;
    const int again = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR* stream = again < 0 ? nullptr : ::fdopendir(again);
    if (stream == nullptr) {
        if (again >= 0) { ::close(again); }
        throw storage("the data folder cannot be read");
    }
    while (const dirent* entry = ::readdir(stream)) { names.emplace_back(entry->d_name); }
    ::closedir(stream);
    return names;
}

} // namespace

File::~File() {
    if (descriptor_ >= 0) { ::close(descriptor_); }
}

void File::write(const void* data, std::size_t bytes) const {
    const char* at = static_cast<const char*>(data);
    while (bytes > 0) {
        const ssize_t written = ::write(descriptor_, at, bytes);
        if (written < 0 && errno != EINTR) { throw storage("write"); }
        if (written > 0) {
            at += written;
            bytes -= static_cast<std::size_t>(written);
        }
    }
}

std::size_t File::read(void* data, std::size_t bytes) const {
    for (;;) {
        const ssize_t got = ::read(descriptor_, data, bytes);
        if (got >= 0) { return static_cast<std::size_t>(got); }
        if (errno != EINTR) { throw storage("read"); }
    }
}

std::uint64_t File::size() const {
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0) { throw storage("fstat"); }
    return static_cast<std::uint64_t>(status.st_size);
}

Directory::Directory(const std::string& path, std::string suffix) : suffix_(std::move(suffix)) {
    const auto failed = [&](const char* what) {
        return std::runtime_error("--data-dir: " + path + ": " + what + ": " +
                                  std::strerror(errno));
    };
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) { throw failed("mkdir"); }
    folder_ = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_ < 0) { throw failed("open"); }
    lock_ = ::openat(folder_, ".lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock_ < 0 || ::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
        const auto error =
            errno == EWOULDBLOCK
                ? std::runtime_error("--data-dir: " + path + ": another daemon uses it")
                : failed("lock");
        if (lock_ >= 0) { ::close(lock_); }
        ::close(folder_);
        throw error;
    }
    for (const std::string& name : names_in(folder_)) {
        if (name.ends_with(part_suffix)) { ::unlinkat(folder_, name.c_str(), 0); }
    }
}

Directory::~Directory() {
    ::close(lock_);
    ::close(folder_);
}

bool Directory::write(const std::string& name, bool overwrite,
                      const std::function<void(const File&)>& write) {
    static std::atomic<std::uint64_t> count{0};
    const std::string part = "." + name + "." + std::to_string(::getpid()) + "-" +
                             std::to_string(count++) + std::string(part_suffix);
    const std::string final_name = name + suffix_;
    const int descriptor =
        ::openat(folder_, part.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (descriptor < 0) { throw storage("a new file"); }
    try {
        const File file(descriptor);
        write(file);
        if (::fsync(file.descriptor()) != 0) { throw storage("fsync"); }
        if (::renameat2(folder_, part.c_str(), folder_, final_name.c_str(),
                        overwrite ? 0u : static_cast<unsigned>(RENAME_NOREPLACE)) != 0) {
            if (errno != EEXIST) { throw storage("rename"); }
            ::unlinkat(folder_, part.c_str(), 0);
            return false;
        }
    } catch (...) {
        ::unlinkat(folder_, part.c_str(), 0);
        throw;
    }
    if (::fsync(folder_) != 0) { throw storage("fsync of the folder"); }
    return true;
}

std::optional<File> Directory::open(const std::string& name) const {
    const int descriptor =
        ::openat(folder_, (name + suffix_).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (descriptor >= 0) { return File(descriptor); }
    if (errno == ENOENT) { return std::nullopt; }
    throw storage("open");
}

std::optional<FileInfo> Directory::info(const std::string& name) const {
    struct stat status {};
    if (::fstatat(folder_, (name + suffix_).c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(status.st_mode)) {
        return std::nullopt;
    }
    return FileInfo{name, static_cast<std::uint64_t>(status.st_size), rfc3339(status.st_mtime)};
}

bool Directory::remove(const std::string& name) {
    if (::unlinkat(folder_, (name + suffix_).c_str(), 0) != 0) {
        if (errno == ENOENT) { return false; }
        throw storage("unlink");
    }
    ::fsync(folder_);
    return true;
}

std::vector<FileInfo> Directory::list() const {
    std::vector<FileInfo> files;
    for (const std::string& file : names_in(folder_)) {
        if (!file.ends_with(suffix_)) { continue; }
        const std::string name = file.substr(0, file.size() - suffix_.size());
        if (!is_id(name)) { continue; }
        if (auto found = info(name)) { files.push_back(std::move(*found)); }
    }
    std::ranges::sort(files, {}, &FileInfo::name);
    return files;
}

} // namespace mustafar::daemon
