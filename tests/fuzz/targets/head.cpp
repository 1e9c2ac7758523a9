// SPDX-License-Identifier: Apache-2.0
// Any bytes as the head of a request: in a piece, and byte by byte, with one result; and what is accepted holds to
// the rules of daemon/http/head.hpp by another reading of the same bytes.
#include "http/head.hpp"

#include <cstring>

#include "support.hpp"

using namespace mustafar::daemon;

namespace {

void check(bool good, const char* what) {
    if (!good) { mustafar::fuzz::fail(what); }
}

void check_accepted(std::string_view bytes, const Head& head) {
    const std::string_view text = bytes.substr(0, head.bytes);
    check(head.bytes <= bytes.size() && text.ends_with("\r\n\r\n"),
          "the head ends with an empty line");
    check(text.find("\r\n\r\n") + 4 == head.bytes, "the first empty line ends it");
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto c = static_cast<unsigned char>(text[i]);
        check(c >= 0x20 ? c < 0x7f : c == '\r' || c == '\n' || c == '\t',
              "a byte that is none of a head");
        check(c != '\n' || (i > 0 && text[i - 1] == '\r'), "LF without CR");
        check(c != '\r' || text[i + 1] == '\n', "CR without LF");
    }
    std::size_t hosts = 0;
    std::size_t lengths = 0;
    for (std::size_t i = 0; i < head.field_count; ++i) {
        const std::string_view name = head.fields[i].name;
        check(!name.empty() && name.find_first_of("_ \t:") == name.npos, "name of a field");
        hosts += equal_ignoring_case(name, "host") ? 1 : 0;
        lengths += equal_ignoring_case(name, "content-length") ? 1 : 0;
    }
    check(hosts == 1 && lengths <= 1, "one Host, one Content-Length at most");
    check((lengths == 1) == head.content_length.has_value(), "Content-Length was read");
    check(!(head.transfer_encoding && head.content_length), "two lengths of one body");
    check(head.path.starts_with('/'), "the path is absolute");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    Head head;
    std::size_t scanned = 0;
    const char* why = nullptr;
    const HeadError whole = parse_head(bytes, &scanned, &head, &why);
    check((whole == HeadError::malformed) == (why != nullptr), "a reason for malformed ones");
    if (whole == HeadError::none) { check_accepted(bytes, head); }

    Head other;
    scanned = 0;
    HeadError parts = HeadError::incomplete;
    for (std::size_t end = 0; end <= size && parts == HeadError::incomplete;
         end += end < 64 ? 1 : 97) {
        parts = parse_head(bytes.substr(0, end), &scanned, &other, &why);
    }
    if (parts == HeadError::incomplete) { parts = parse_head(bytes, &scanned, &other, &why); }
    // Faults further on are not seen when the bytes before them are refused already.
    if (whole == HeadError::none) {
        check(parts == whole && other.bytes == head.bytes, "in parts as in a piece");
    }
    if (parts == HeadError::none) { check(whole == HeadError::none, "in a piece as in parts"); }
    return 0;
}
