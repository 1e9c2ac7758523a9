// SPDX-License-Identifier: Apache-2.0
#include "format/snapshot_bytes.hpp"

#include <xxhash.h>

namespace mustafar {
namespace {

std::string tag_name(std::uint32_t tag) {
    char letters[5] = {};
    std::memcpy(letters, &tag, 4);
    for (int i = 0; i < 4; ++i) {
        if (letters[i] < 'A' || letters[i] > 'Z') { return std::to_string(tag); }
    }
    return letters;
}

class Hash {
  public:
    Hash() : state_(XXH3_createState()) {
        if (state_ == nullptr) { throw std::bad_alloc(); }
        XXH3_64bits_reset(state_);
    }
    ~Hash() { XXH3_freeState(state_); }
    Hash(const Hash&) = delete;
    Hash& operator=(const Hash&) = delete;
    void add(const void* data, std::size_t bytes) { XXH3_64bits_update(state_, data, bytes); }
    std::uint64_t value() const { return XXH3_64bits_digest(state_); }

  private:
    XXH3_state_t* state_;
};

} // namespace

std::uint64_t section_checksum(const SectionHeader& header, const std::byte* payload) {
    Hash hash;
    hash.add(&header, offsetof(SectionHeader, checksum));
    hash.add(payload, header.length);
    return hash.value();
}

void write_section(const WriteFn& write, Section tag, std::uint32_t index, const Payload& payload) {
    SectionHeader header{static_cast<std::uint32_t>(tag), index, payload.bytes().size(), 0};
    header.checksum = section_checksum(header, payload.bytes().data());
    write(&header, sizeof(header));
    if (!payload.bytes().empty()) { write(payload.bytes().data(), payload.bytes().size()); }
}

void SectionReader::corrupt(const std::string& text) const {
    throw Error(MUSTAFAR_CORRUPT,
                "snapshot, section " + section_name_ + " at byte " +
                    std::to_string(section_offset_) + ": " + text,
                {static_cast<std::int64_t>(section_offset_), 0, 0, 0});
}

void SectionReader::read_exactly(void* data, std::size_t bytes, const char* what) {
    auto* at = static_cast<std::byte*>(data);
    for (std::size_t done = 0; done < bytes;) {
        const std::size_t got = read_(at + done, bytes - done);
        if (got == 0) {
            corrupt(std::string("the data end in its ") + what + ", at byte " +
                    std::to_string(offset_));
        }
        done += got;
        offset_ += got;
    }
}

void SectionReader::read_magic() {
    struct Head {
        char magic[8];
        std::uint32_t version, endian;
    } head{};
    read_exactly(&head, sizeof(head), "first 16 bytes");
    if (std::memcmp(head.magic, snapshot_magic, 8) != 0) {
        corrupt("this is no snapshot: it does not start with \"MUSTAFAR\"");
    }
    if (head.endian != endian_mark) {
        corrupt("the byte order mark is wrong; snapshots are little-endian");
    }
    if (head.version != snapshot_version) {
        throw Error(MUSTAFAR_MISMATCH, "snapshot version " + std::to_string(head.version) +
                                           ", this library reads version " +
                                           std::to_string(snapshot_version));
    }
}

void SectionReader::open(Section tag, std::uint32_t index, std::uint64_t most) {
    section_offset_ = offset_;
    section_name_ = tag_name(static_cast<std::uint32_t>(tag)) + " " + std::to_string(index);
    SectionHeader header;
    read_exactly(&header, sizeof(header), "header");
    if (header.tag != static_cast<std::uint32_t>(tag) || header.index != index) {
        corrupt("found section " + tag_name(header.tag) + " " + std::to_string(header.index) +
                " in its place");
    }
    if (header.length > most) {
        corrupt("length = " + std::to_string(header.length) + " exceeds the " +
                std::to_string(most) + " bytes it can have");
    }
    payload_.clear();
    at_ = 0;
    constexpr std::uint64_t piece = std::uint64_t{1}
                                    << 20; // a false length costs at most one piece
    while (payload_.size() < header.length) {
        const std::size_t old = payload_.size();
        payload_.resize(old + static_cast<std::size_t>(std::min(piece, header.length - old)));
        read_exactly(payload_.data() + old, payload_.size() - old, "payload");
    }
    if (section_checksum(header, payload_.data()) != header.checksum) {
        corrupt("the checksum does not match");
    }
}

const std::byte* SectionReader::take(std::uint64_t bytes, const char* what) {
    if (bytes > left()) {
        corrupt(std::string(what) + " needs " + std::to_string(bytes) + " bytes, " +
                std::to_string(left()) + " are left");
    }
    const std::byte* data = payload_.data() + at_;
    at_ += static_cast<std::size_t>(bytes);
    return data;
}

std::string SectionReader::text() const {
    return {reinterpret_cast<const char*>(payload_.data()), payload_.size()};
}

void SectionReader::close() {
    if (left() != 0) { corrupt(std::to_string(left()) + " bytes are left over"); }
}

} // namespace mustafar
