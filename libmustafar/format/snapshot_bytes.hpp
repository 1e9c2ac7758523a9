// SPDX-License-Identifier: Apache-2.0
// The framing of snapshots: little-endian numbers, sections with a tag, an index, a length and a
// checksum.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "format/snapshot.hpp"

namespace mustafar {

static_assert(std::endian::native == std::endian::little,
              "snapshots are little-endian, and so are we");

constexpr char snapshot_magic[8] = {'M', 'U', 'S', 'T', 'A', 'F', 'A', 'R'};
constexpr std::uint32_t endian_mark = 0x01020304;

enum class Section : std::uint32_t { // four letters, in file order
    geometry = 0x4D4F4547,           // "GEOM"
    recipe = 0x49434552,             // "RECI"
    model = 0x4C444F4D,              // "MODL"
    layer = 0x5259414C,              // "LAYR", one per layer
    head = 0x44414548,               // "HEAD", one per layer and kv head
    end = 0x454E4F44,                // "DONE"
};

struct SectionHeader {
    std::uint32_t tag = 0;
    std::uint32_t index = 0;
    std::uint64_t length = 0;   // bytes of the payload
    std::uint64_t checksum = 0; // XXH3-64 of tag, index, length and payload
};
static_assert(sizeof(SectionHeader) == 24);

// What the packed rows of one side of a kv head are; a LAYR section has one per head and side.
struct SideType {
    std::uint8_t tag = 0; // an Encoding
    std::uint8_t bits = 0;
    std::uint16_t keep = 0; // elements of a row, 0 where the data decide
    bool operator==(const SideType&) const = default;
};
static_assert(sizeof(SideType) == 4);
constexpr SideType side_type(const SideSpec& side) {
    return {static_cast<std::uint8_t>(side.encoding), side.bits, side.keep};
}
constexpr bool is_known_tag(std::uint8_t tag) {
    return tag >= static_cast<std::uint8_t>(Encoding::exact) &&
           tag <= static_cast<std::uint8_t>(Encoding::channel);
}

// A payload being written.
class Payload {
  public:
    template <typename T>
    void put(const T& value) {
        append(&value, sizeof(T));
    }
    void append(const void* data, std::size_t bytes) {
        if (bytes == 0) { return; }
        const std::size_t end = bytes_.size();
        bytes_.resize(end + bytes);
        std::memcpy(bytes_.data() + end, data, bytes);
    }
    const std::vector<std::byte>& bytes() const { return bytes_; }
    void clear() { bytes_.clear(); }

  private:
    std::vector<std::byte> bytes_;
};

std::uint64_t section_checksum(const SectionHeader& header, const std::byte* payload);
void write_section(const WriteFn& write, Section tag, std::uint32_t index, const Payload& payload);

// Reads sections in the order they must come and hands out their payload piece by piece, checked.
class SectionReader {
  public:
    explicit SectionReader(const ReadFn& read) : read_(read) {}
    void read_magic();
    // The next section must be this one and hold at most `most` bytes. Memory grows with what
    // really arrives.
    void open(Section tag, std::uint32_t index, std::uint64_t most);
    template <typename T>
    T get(const char* what) {
        T value{};
        std::memcpy(&value, take(sizeof(T), what), sizeof(T));
        return value;
    }
    const std::byte* take(std::uint64_t bytes, const char* what);
    std::uint64_t left() const { return payload_.size() - at_; }
    std::string text() const; // the whole payload
    void close();             // nothing may be left
    [[noreturn]] void corrupt(const std::string& text) const;

  private:
    void read_exactly(void* data, std::size_t bytes, const char* what);

    const ReadFn& read_;
    std::uint64_t offset_ = 0;         // of the next byte to read
    std::uint64_t section_offset_ = 0; // where the open section starts
    std::string section_name_ = "header";
    std::vector<std::byte> payload_;
    std::size_t at_ = 0;
};

} // namespace mustafar
