// SPDX-License-Identifier: Apache-2.0
// A folder of files that are written whole or not at all. Names come from clients as ids, never as paths; files are
// opened relative to the folder, and links are not followed.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace mustafar::daemon {

struct FileInfo {
    std::string name; // without the suffix
    std::uint64_t bytes = 0;
    std::string modified; // RFC 3339
};

// An open file that is closed when it goes.
class File {
  public:
    explicit File(int descriptor) : descriptor_(descriptor) {}
    File(File&& other) noexcept : descriptor_(other.descriptor_) { other.descriptor_ = -1; }
    File& operator=(File&&) = delete;
    ~File();
    int descriptor() const { return descriptor_; }
    // Throws Problem storage.
    void write(const void* data, std::size_t bytes) const;
    std::size_t read(void* data, std::size_t bytes) const; // 0: the end
    std::uint64_t size() const;

  private:
    int descriptor_;
};

// Threads: any; what happens to one name at once is ordered by the file system.
class Directory {
  public:
    // Creates the folder where it is missing (mode 0700), locks it against a second daemon, removes what a killed
    // one left half written. `suffix` is behind every name (".snap"). Throws std::runtime_error.
    Directory(const std::string& path, std::string suffix);
    ~Directory();
    Directory(const Directory&) = delete;
    Directory& operator=(const Directory&) = delete;

    // Writes aside, syncs, renames, syncs the folder. False: the name is taken and `overwrite` unset. Whatever
    // `write` throws leaves nothing behind. Throws Problem storage.
    bool write(const std::string& name, bool overwrite,
               const std::function<void(const File&)>& write);
    std::optional<File> open(const std::string& name) const;     // nullopt: there is none
    std::optional<FileInfo> info(const std::string& name) const; // nullopt: there is none
    bool remove(const std::string& name);                        // false: there is none
    std::vector<FileInfo> list() const;                          // ascending by name

  private:
    std::string suffix_;
    int folder_ = -1;
    int lock_ = -1;
};

} // namespace mustafar::daemon
