// SPDX-License-Identifier: Apache-2.0
#include "experiment/output.hpp"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

#include "experiment/failure.hpp"

namespace mustafar::experiment {

namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& path, const char* what) {
    const int error = errno;
    throw Failure(exit_output, fmt::format("{}: {}: {}", path == "-" ? "standard output" : path,
                                           what, std::strerror(error)));
}

// A file descriptor and, for a temporary file, its name: removed unless it was kept.
class Descriptor {
  public:
    Descriptor(int number, std::string name) : number_(number), name_(std::move(name)) {}
    ~Descriptor() {
        if (number_ > STDERR_FILENO) { ::close(number_); }
        if (!name_.empty()) { ::unlink(name_.c_str()); }
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;

    int number() const { return number_; }
    int close() {
        const int status = ::close(number_);
        number_ = -1;
        return status;
    }
    void keep() { name_.clear(); }

  private:
    int number_;
    std::string name_;
};

void write_all(int descriptor, const std::string& text, const std::string& path) {
    std::size_t done = 0;
    while (done < text.size()) {
        const ssize_t count = ::write(descriptor, text.data() + done, text.size() - done);
        if (count < 0 && errno == EINTR) { continue; }
        if (count <= 0) { fail(path, "cannot be written"); }
        done += static_cast<std::size_t>(count);
    }
}

// The file itself where `path` is a link to one, so that the link stays.
fs::path target_of(const std::string& path) {
    std::error_code error;
    const fs::path real = fs::canonical(path, error);
    return error ? fs::path(path) : real;
}

bool is_special(const fs::path& path) {
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    return fs::exists(status) && !fs::is_regular_file(status) && !fs::is_directory(status);
}

fs::path folder_of(const fs::path& path) {
    return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

} // namespace

void check_output(const std::string& path) {
    if (path == "-") { return; }
    const fs::path target = target_of(path);
    if (is_special(target)) { return; }
    std::error_code error;
    if (fs::is_directory(target, error)) {
        errno = EISDIR;
        fail(path, "cannot be written");
    }
    if (::access(folder_of(target).c_str(), W_OK | X_OK) != 0) {
        fail(path, "cannot be written there");
    }
}

void write_output(const std::string& path, const std::string& text) {
    if (path == "-") {
        write_all(STDOUT_FILENO, text, path);
        return;
    }
    const fs::path target = target_of(path);
    if (is_special(target)) {
        Descriptor file(::open(target.c_str(), O_WRONLY | O_CLOEXEC), "");
        if (file.number() < 0) { fail(path, "cannot be opened"); }
        write_all(file.number(), text, path);
        return;
    }
    const std::string beside =
        folder_of(target) / fmt::format(".{}.{}.tmp", target.filename().string(), ::getpid());
    const int number = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (number < 0) { fail(path, "cannot be written there"); }
    Descriptor file(number, beside);
    write_all(number, text, path);
    if (::fsync(number) != 0 || file.close() != 0) { fail(path, "cannot be written"); }
    if (::rename(beside.c_str(), target.c_str()) != 0) { fail(path, "cannot be put in its place"); }
    file.keep();
}

} // namespace mustafar::experiment
