// SPDX-License-Identifier: Apache-2.0
#include "http/head.hpp"

#include <algorithm>

namespace mustafar::daemon {

namespace {

constexpr std::size_t method_bytes_max = 16;
constexpr std::size_t length_digits_max = 18; // any such number fits into 63 bits

constexpr char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}
constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_alpha(char c) { return lower(c) >= 'a' && lower(c) <= 'z'; }
constexpr bool is_visible(char c) { return c > 0x20 && c < 0x7f; }
constexpr bool is_blank(char c) { return c == ' ' || c == '\t'; }
// RFC 9110, section 5.6.2, without '_'
constexpr bool is_token(char c) {
    return is_digit(c) || is_alpha(c) ||
           std::string_view("!#$%&'*+-.^`|~").find(c) != std::string_view::npos;
}

// Fields that may stand once only: two of them are two readings of one request.
constexpr std::string_view singletons[] = {
    "host",   "content-length", "content-type",   "content-encoding", "transfer-encoding",
    "expect", "authorization",  "if-match",       "if-none-match",    "origin",
    "range",  "content-digest", "sec-fetch-site", "x-request-id",     "idempotency-key"};

std::string_view trim(std::string_view text) {
    while (!text.empty() && is_blank(text.front())) { text.remove_prefix(1); }
    while (!text.empty() && is_blank(text.back())) { text.remove_suffix(1); }
    return text;
}

struct Parser {
    Head* head;
    const char** why;

    HeadError malformed(const char* text) const {
        *why = text;
        return HeadError::malformed;
    }

    // METHOD SP target SP HTTP/1.x
    HeadError request_line(std::string_view line) const {
        const std::size_t first = line.find(' ');
        if (first == std::string_view::npos || first == 0 || first > method_bytes_max ||
            !std::ranges::all_of(line.substr(0, first), is_alpha)) {
            return malformed("the request line does not start with a method");
        }
        head->method = line.substr(0, first);
        line.remove_prefix(first + 1);
        const std::size_t second = line.find(' ');
        const std::string_view target = line.substr(0, second);
        const auto marks = static_cast<std::size_t>(std::ranges::count(target, '?'));
        const std::size_t escaped = target.size() + 2 * marks; // as the HTTP library needs it
        if (target.size() > target_bytes_max || escaped > 2 * target_bytes_max) {
            return HeadError::target_too_long;
        }
        if (second == std::string_view::npos || target.empty() || target.front() != '/' ||
            !std::ranges::all_of(target, is_visible) || target.find('#') != target.npos) {
            return malformed("the target is not a path of visible ASCII");
        }
        const std::size_t mark = target.find('?');
        head->path = target.substr(0, mark);
        head->query = mark == target.npos ? std::string_view() : target.substr(mark + 1);
        const std::string_view version = line.substr(second + 1);
        if (version == "HTTP/1.1" || version == "HTTP/1.0") {
            head->keep_alive = version.back() == '1';
            return HeadError::none;
        }
        const bool other = version.size() == 8 && version.starts_with("HTTP/") &&
                           is_digit(version[5]) && version[6] == '.' && is_digit(version[7]);
        return other ? HeadError::version : malformed("the request line does not end in a version");
    }

    HeadError field(std::string_view line) const {
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos || colon == 0 ||
            !std::ranges::all_of(line.substr(0, colon), is_token)) {
            return malformed("a field has no name of letters, digits and '-'");
        }
        const HeadField field{line.substr(0, colon), trim(line.substr(colon + 1))};
        if (!std::ranges::all_of(field.value,
                                 [](char c) { return is_visible(c) || is_blank(c); })) {
            return malformed("a field holds bytes that are not visible ASCII");
        }
        if (head->field_count == head_fields_max) { return HeadError::too_large; }
        for (const std::string_view name : singletons) {
            if (equal_ignoring_case(field.name, name) && head->find(name)) {
                return malformed("a field that may stand once stands twice");
            }
        }
        head->fields[head->field_count++] = field;
        return HeadError::none;
    }

    // What the fields say about the message itself.
    HeadError framing() const {
        if (!head->find("host")) { return malformed("there is no Host"); }
        if (const auto length = head->find("content-length")) {
            if (length->empty() || length->size() > length_digits_max ||
                !std::ranges::all_of(*length, is_digit)) {
                return malformed("Content-Length is not a plain number");
            }
            std::uint64_t value = 0;
            for (const char c : *length) {
                value = value * 10 + static_cast<std::uint64_t>(c - '0');
            }
            head->content_length = value;
        }
        head->transfer_encoding = head->find("transfer-encoding").has_value();
        if (head->transfer_encoding && (head->content_length || !head->keep_alive)) {
            return malformed("Transfer-Encoding with Content-Length or in HTTP/1.0");
        }
        for (std::size_t i = 0; i < head->field_count; ++i) {
            if (equal_ignoring_case(head->fields[i].name, "connection")) {
                connection(head->fields[i].value);
            }
        }
        if (const auto expect = head->find("expect")) {
            if (!equal_ignoring_case(*expect, "100-continue")) { return HeadError::expectation; }
            head->expect_continue = true;
        }
        return HeadError::none;
    }

    void connection(std::string_view options) const {
        bool close = false;
        while (!options.empty()) {
            const std::size_t comma = options.find(',');
            const std::string_view option = trim(options.substr(0, comma));
            close = close || equal_ignoring_case(option, "close");
            if (equal_ignoring_case(option, "keep-alive") && !close) { head->keep_alive = true; }
            options.remove_prefix(comma == options.npos ? options.size() : comma + 1);
        }
        if (close) { head->keep_alive = false; }
    }
};

// End of the head, or 0. Faults that no later byte can mend are told at once.
std::size_t find_end(std::string_view bytes, std::size_t* scanned, const char** why) {
    for (std::size_t i = *scanned; i < bytes.size(); ++i) {
        const char c = bytes[i];
        const bool after_cr = i > 0 && bytes[i - 1] == '\r';
        if (c == '\0') { *why = "a NUL in the head"; }
        if (c == '\n' && !after_cr) { *why = "a line that ends without CR"; }
        if (c != '\n' && after_cr) { *why = "a CR that ends no line"; }
        if (*why != nullptr) { return 0; }
        if (c == '\n' && (i == 1 || (i >= 3 && bytes[i - 2] == '\n'))) { return i + 1; }
    }
    *scanned = bytes.size();
    return 0;
}

} // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

std::optional<std::string_view> Head::find(std::string_view name) const {
    for (std::size_t i = 0; i < field_count; ++i) {
        if (equal_ignoring_case(fields[i].name, name)) { return fields[i].value; }
    }
    return std::nullopt;
}

HeadError parse_head(std::string_view bytes, std::size_t* scanned, Head* head, const char** why) {
    *why = nullptr;
    const bool cut = bytes.size() > head_bytes_max;
    const std::size_t end = find_end(bytes.substr(0, head_bytes_max), scanned, why);
    if (*why != nullptr) { return HeadError::malformed; }
    if (end == 0) {
        const std::size_t line = bytes.find("\r\n");
        const std::size_t first = line == bytes.npos ? bytes.size() : line;
        if (first > method_bytes_max + target_bytes_max + sizeof "  HTTP/1.1") {
            return HeadError::target_too_long;
        }
        return cut || bytes.size() == head_bytes_max ? HeadError::too_large : HeadError::incomplete;
    }

    head->field_count = 0;
    head->content_length.reset();
    head->keep_alive = head->expect_continue = head->transfer_encoding = false;
    head->bytes = end;
    const Parser parser{head, why};
    std::string_view rest = bytes.substr(0, end - 2);
    bool first = true;
    while (first || !rest.empty()) {
        const std::size_t line_end = rest.find("\r\n");
        const std::string_view line = rest.substr(0, line_end);
        const HeadError error = first ? parser.request_line(line) : parser.field(line);
        if (error != HeadError::none) { return error; }
        rest.remove_prefix(line_end == rest.npos ? rest.size() : line_end + 2);
        first = false;
    }
    return parser.framing();
}

} // namespace mustafar::daemon
