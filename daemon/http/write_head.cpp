// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <ctime>

#include "http/transport.hpp"

namespace mustafar::daemon {

namespace {

// RFC 9110, section 5.6.7; made once a second and thread.
const std::string& date_text() {
    thread_local std::time_t second = 0;
    thread_local std::string text;
    const std::time_t now = std::time(nullptr);
    if (now != second) {
        std::tm parts{};
        gmtime_r(&now, &parts);
        std::array<char, 64> buffer{};
        std::strftime(buffer.data(), buffer.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
        text = buffer.data();
        second = now;
    }
    return text;
}

bool has_no_body(int status) { return status < 200 || status == 204 || status == 304; }

} // namespace

const char* status_text(int status) {
    switch (status) {
    case 200:
        return "OK";
    case 201:
        return "Created";
    case 202:
        return "Accepted";
    case 204:
        return "No Content";
    case 304:
        return "Not Modified";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 406:
        return "Not Acceptable";
    case 408:
        return "Request Timeout";
    case 411:
        return "Length Required";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 415:
        return "Unsupported Media Type";
    case 417:
        return "Expectation Failed";
    case 421:
        return "Misdirected Request";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 503:
        return "Service Unavailable";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "";
    }
}

Fields common_fields(const Response& response, bool keep_alive) {
    Fields fields = {{"Date", date_text()},
                     {"X-Content-Type-Options", "nosniff"},
                     {"Cache-Control", "no-store"},
                     {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"},
                     {"Connection", keep_alive ? "keep-alive" : "close"}};
    // A page has a policy and a life of its own; two policies at once would allow only what both do.
    std::erase_if(fields, [&](const Field& field) {
        return std::ranges::any_of(response.fields,
                                   [&](const Field& own) { return own.name == field.name; });
    });
    if (!has_no_body(response.status) && !response.stream) {
        fields.push_back({"Content-Length", std::to_string(response.body().size())});
    }
    if (!response.type.empty()) { fields.push_back({"Content-Type", response.type}); }
    return fields;
}

std::string write_head(const Response& response, bool keep_alive) {
    std::string head =
        "HTTP/1.1 " + std::to_string(response.status) + " " + status_text(response.status) + "\r\n";
    const auto append = [&head](const Fields& fields) {
        for (const Field& field : fields) { head += field.name + ": " + field.value + "\r\n"; }
    };
    append(common_fields(response, keep_alive));
    append(response.fields);
    return head + "\r\n";
}

} // namespace mustafar::daemon
