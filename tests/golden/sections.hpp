// SPDX-License-Identifier: Apache-2.0
// A snapshot taken apart into its sections and put together again with lengths and checksums that fit.
// Written from docs/format.md, section 5, not from the library.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "library.hpp"

namespace mustafar::golden {

struct Section {
    std::uint32_t tag = 0;
    std::uint32_t index = 0;
    Bytes payload;
    std::size_t offset = 0; // of its header in the file it was taken from
};

struct Sections {
    Bytes head; // magic, version, byte order mark
    std::vector<Section> list;
    Section& find(std::string_view name, std::size_t which = 0);
};

constexpr std::size_t file_head_bytes = 16;
constexpr std::size_t section_head_bytes = 24;

Sections split(const Bytes& file); // of a well-formed file
Bytes join(const Sections& sections);
std::uint32_t tag_of(std::string_view name);

// Makes lengths and checksums of a damaged file fit again: a section reaches to the next four letters that
// name one. With `canonical`, a recipe that parses is replaced by its canonical text.
Bytes repair(const Bytes& file, bool canonical);

template <class T>
T get(const Bytes& bytes, std::size_t at) {
    T value{};
    for (std::size_t i = sizeof(T); i-- > 0;) {
        value = static_cast<T>(static_cast<std::uint64_t>(value) << 8 | bytes.at(at + i));
    }
    return value;
}
template <class T>
void put(Bytes& bytes, std::size_t at, T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        bytes.at(at + i) =
            static_cast<unsigned char>(static_cast<std::uint64_t>(value) >> (8 * i) & 0xFF);
    }
}

} // namespace mustafar::golden
