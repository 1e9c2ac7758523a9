// SPDX-License-Identifier: Apache-2.0
// Builds safetensors files in memory, good and bad ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace mustafar::experiment::tests {

using Bytes = std::vector<std::byte>;

inline void append(Bytes& bytes, std::string_view text) {
    const auto* data = reinterpret_cast<const std::byte*>(text.data());
    bytes.insert(bytes.end(), data, data + text.size());
}

inline Bytes length_field(std::uint64_t length) {
    Bytes bytes(8);
    for (std::size_t i = 0; i < 8; ++i) {
        bytes[i] = static_cast<std::byte>(length >> (8 * i) & 0xff);
    }
    return bytes;
}

// A file with this header text and `data` zero bytes behind it.
inline Bytes file_of(std::string_view header, std::size_t data) {
    Bytes bytes = length_field(header.size());
    append(bytes, header);
    bytes.resize(bytes.size() + data);
    return bytes;
}

} // namespace mustafar::experiment::tests
