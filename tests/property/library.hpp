// SPDX-License-Identifier: Apache-2.0
// Helpers around the C API: a counting allocator that can refuse, tensors of
// odd strides, failures.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "mustafar/mustafar.h"
#include "numbers.hpp"

namespace oracle {

// Thrown by every check; the runner shrinks the program and prints the text.
struct Failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

[[noreturn]] __attribute__((format(printf, 1, 2))) void fail(const char *format, ...);
#define REQUIRE(condition, ...)                                                                    \
    do {                                                                                           \
        if (!(condition)) ::oracle::fail(__VA_ARGS__);                                             \
    } while (false)

// Counts what the library holds, checks what it gives back, and refuses the
// n-th call when told to.
class Heap {
  public:
    ~Heap();
    mustafar_allocator hook();
    void refuse_after(int64_t calls) { countdown_ = calls; } // -1: never
    bool refused() const { return refused_; }
    void calm() { countdown_ = -1, refused_ = false; }
    uint64_t live() const { return live_; }
    uint64_t blocks() const { return blocks_.size(); }
    uint64_t granted() const { return granted_; } // calls that were not refused
    const std::string &complaint() const { return complaint_; }

  private:
    struct Block {
        size_t bytes, alignment;
    };
    static void *allocate(void *user, size_t bytes, size_t alignment);
    static void release(void *user, void *data, size_t bytes, size_t alignment);
    std::mutex mutex_;
    std::unordered_map<void *, Block> blocks_;
    uint64_t live_ = 0, granted_ = 0;
    int64_t countdown_ = -1;
    bool refused_ = false;
    std::string complaint_; // a wrong release, reported by the next check
};

// Values in an array of any dtype and layout, owned here, and the view the
// library gets.
class Array {
  public:
    // An input of this shape holding `values` (row-major), laid out by `layout`
    // (0 = contiguous).
    Array(mustafar_dtype dtype, const std::vector<int64_t> &shape, const std::vector<float> &values,
          uint64_t layout);
    // A contiguous output, filled with a pattern.
    Array(mustafar_dtype dtype, const std::vector<int64_t> &shape);
    mustafar_tensor *view() { return &view_; }
    const float *f32() const { return reinterpret_cast<const float *>(bytes_.data()); }
    std::size_t count() const;

  private:
    std::vector<std::byte> bytes_;
    mustafar_tensor view_{};
};

// Random values with what breaks codecs: ties, constants, zeros of both signs,
// outliers, denormals, offsets per channel. [rows][d], each exactly
// representable in `dtype`.
std::vector<float> random_values(Random &random, mustafar_dtype dtype, std::size_t rows,
                                 uint32_t d);

// A snapshot in memory.
struct Bytes {
    std::vector<std::byte> data;
    std::size_t at = 0;
    std::size_t most = SIZE_MAX; // bytes given per read
};
int32_t write_bytes(void *user, const void *data, size_t bytes);
int32_t read_bytes(void *user, void *data, size_t bytes, size_t *got);

} // namespace oracle
