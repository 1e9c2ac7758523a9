// SPDX-License-Identifier: Apache-2.0
// The head of a request, read strictly: a pure function of bytes, so that it can be tested and fuzzed alone.
//
// What is refused although some servers take it: bare CR or LF, folded lines, white space before a colon, names
// with '_' (a proxy may read them as '-'), bytes outside of visible ASCII, a target that is not an absolute path,
// two fields of one singleton, Content-Length that is not plain digits or comes with Transfer-Encoding.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace mustafar::daemon {

inline constexpr std::size_t head_bytes_max = 32 * 1024; // request line, fields and the empty line
inline constexpr std::size_t target_bytes_max = 4 * 1024;
inline constexpr std::size_t head_fields_max = 64;

struct HeadField {
    std::string_view name;  // as sent
    std::string_view value; // without white space around it
};

// Views into the bytes that were parsed.
struct Head {
    std::string_view method;
    std::string_view path;  // of the target, not decoded
    std::string_view query; // behind '?', not decoded
    bool keep_alive = false;
    bool expect_continue = false;
    bool transfer_encoding = false;
    std::optional<std::uint64_t> content_length;
    std::array<HeadField, head_fields_max> fields;
    std::size_t field_count = 0;
    std::size_t bytes = 0; // of the head, its empty line included

    // Value of a field, names compared without regard to case; nullopt where there is none.
    std::optional<std::string_view> find(std::string_view name) const;
};

enum class HeadError {
    none,
    incomplete,      // no fault yet: more bytes are needed
    malformed,       // 400
    target_too_long, // 414
    expectation,     // 417
    too_large,       // 431: bytes or fields
    version          // 505
};

// Reads one head at the start of `bytes`. `*scanned` remembers how far earlier calls for the same head have
// looked, so that a head that comes byte by byte costs what one in a piece costs; start with 0. On `malformed`,
// `*why` is a static text. O(bytes that are new) while incomplete.
HeadError parse_head(std::string_view bytes, std::size_t* scanned, Head* head, const char** why);

bool equal_ignoring_case(std::string_view a, std::string_view b);

} // namespace mustafar::daemon
