// SPDX-License-Identifier: Apache-2.0
// A strict reader of the safetensors format over a buffer in memory. Hostile bytes are expected: whatever
// does not follow every rule below is refused, nothing is guessed, memory used is a small multiple of the
// header. Depends on nothing else of this program, so that a fuzzer can call it.
//
//   file    = length (u64, little endian) header buffer
//   header  = JSON object, `length` bytes, at most 1 MiB, starts with '{'; may end in spaces
//   entry   = "name": {"dtype": D, "shape": [n, ...], "data_offsets": [begin, end]}, these keys exactly
//   "__metadata__" (at most once, anywhere) maps strings to strings
//   Names are unique. Entries stand in the order of their bytes: the first begins at 0, each next one where
//   the one before ends, the last ends with the file. end - begin = elements * size of D.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace mustafar::experiment {

constexpr std::uint64_t safetensors_header_max = std::uint64_t{1} << 20;
constexpr std::size_t safetensors_rank_max = 8;

class SafetensorsError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

struct SafetensorsEntry {
    std::string name;
    std::string dtype; // "F16", ...
    std::vector<std::uint64_t> shape;
    std::span<const std::byte> data; // into the buffer given; aligned to nothing
};

struct Safetensors {
    std::map<std::string, std::string> metadata;
    std::vector<SafetensorsEntry> entries; // in the order of their bytes

    const SafetensorsEntry* find(std::string_view name) const; // nullptr where there is none
};

// Throws SafetensorsError with the rule that is broken and where. The result points into `file`.
Safetensors parse_safetensors(std::span<const std::byte> file);

// The same from the start of a file, as long as its header is in it, and the size of the whole: entries have no data.
Safetensors parse_safetensors_start(std::span<const std::byte> start, std::uint64_t file_bytes);

// Bytes of one element; 0 for a type that this reader does not know.
std::uint64_t safetensors_dtype_bytes(std::string_view dtype);

} // namespace mustafar::experiment
