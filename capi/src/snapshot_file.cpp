// SPDX-License-Identifier: Apache-2.0
#include "snapshot_file.hpp"

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.hpp"

namespace mustafar::capi {
namespace {

[[noreturn]] void fail(const char* what, const std::string& path) {
    const int number = errno;
    throw Error(MUSTAFAR_IO, std::string(what) + " \"" + path + "\": " + std::strerror(number),
                {number, 0, 0, 0});
}

std::string folder_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

constexpr int most_tries = 1000; // each one finds a file that somebody left behind

// "." and six digits or letters: another one at each call and in each process that runs now.
// Others may still hold the name (a crash, a machine that shares the folder); O_EXCL tells.
std::string next_suffix() {
    static std::atomic<std::uint32_t> calls{0};
    const auto process = static_cast<std::uint32_t>(::getpid());
    std::uint32_t number = (process * 0x9E3779B9U) ^ (calls.fetch_add(1) * 0x85EBCA6BU);
    std::string suffix = ".";
    for (int i = 0; i < 6; ++i, number /= 36) {
        suffix += "0123456789abcdefghijklmnopqrstuvwxyz"[number % 36];
    }
    return suffix;
}

} // namespace

NewFile::NewFile(const std::string& path) : path_(path) {
    struct stat info {};
    if (::stat(path.c_str(), &info) == 0 &&
        !S_ISREG(info.st_mode)) { // never rename over a device or a folder
        errno = S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
        fail("cannot write", path_);
    }
    // Created as any new file is, so that the process's umask and the folder's defaults decide who
    // may read it; mkstemp would make it 0600, and asking for the umask means changing it.
    for (int tries = 0; file_ < 0; ++tries) {
        aside_ = path + next_suffix();
        file_ = ::open(aside_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file_ < 0 && (errno != EEXIST || tries == most_tries)) {
            fail("cannot create a file beside", path_);
        }
    }
}

NewFile::~NewFile() {
    if (file_ < 0) { return; }
    ::close(file_);
    ::unlink(aside_.c_str());
}

void NewFile::write(const void* data, std::size_t bytes) {
    const char* at = static_cast<const char*>(data);
    while (bytes > 0) {
        const ssize_t written = ::write(file_, at, bytes);
        if (written < 0 && errno == EINTR) { continue; }
        if (written <= 0) { fail("cannot write to", aside_); }
        at += written;
        bytes -= static_cast<std::size_t>(written);
    }
}

void NewFile::publish() {
    if (::fsync(file_) != 0) { fail("cannot sync", aside_); }
    if (::rename(aside_.c_str(), path_.c_str()) != 0) { fail("cannot rename to", path_); }
    ::close(file_);
    file_ = -1;
    const int folder = ::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) { return; } // the file is whole; only the entry may be lost in a power cut
    ::fsync(folder);
    ::close(folder);
}

ExistingFile::ExistingFile(const std::string& path) : path_(path) {
    file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file_ < 0) { fail("cannot open", path_); }
}

ExistingFile::~ExistingFile() { ::close(file_); }

std::size_t ExistingFile::read(void* data, std::size_t bytes) {
    for (;;) {
        const ssize_t got = ::read(file_, data, bytes);
        if (got < 0 && errno == EINTR) { continue; }
        if (got < 0) { fail("cannot read", path_); }
        offset_ += static_cast<std::uint64_t>(got);
        return static_cast<std::size_t>(got);
    }
}

void ExistingFile::expect_end() {
    char byte = 0;
    const std::uint64_t end = offset_;
    if (read(&byte, 1) == 0) { return; }
    throw Error(MUSTAFAR_CORRUPT,
                "\"" + path_ + "\" goes on behind the snapshot, at byte " + std::to_string(end),
                {static_cast<std::int64_t>(end), 0, 0, 0});
}

} // namespace mustafar::capi
