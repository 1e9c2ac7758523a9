// SPDX-License-Identifier: Apache-2.0
// Files that are either whole or not there: written beside the target, synced, renamed over it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace mustafar::capi {

class NewFile {
  public:
    explicit NewFile(const std::string& path);
    ~NewFile(); // removes what was not published
    NewFile(const NewFile&) = delete;
    NewFile& operator=(const NewFile&) = delete;
    void write(const void* data, std::size_t bytes);
    void publish();

  private:
    std::string path_;
    std::string aside_;
    int file_ = -1;
};

class ExistingFile {
  public:
    explicit ExistingFile(const std::string& path);
    ~ExistingFile();
    ExistingFile(const ExistingFile&) = delete;
    ExistingFile& operator=(const ExistingFile&) = delete;
    std::size_t read(void* data, std::size_t bytes); // 0 = end
    void expect_end();

  private:
    std::string path_;
    int file_ = -1;
    std::uint64_t offset_ = 0;
};

} // namespace mustafar::capi
