// SPDX-License-Identifier: Apache-2.0
#include "http/checks.hpp"

#include <algorithm>

namespace mustafar::daemon {

namespace {

// "Name:8080" -> "name"; "[::1]:8080" -> "[::1]"
std::string host_name(std::string_view host) {
    const std::size_t from = host.starts_with('[') ? host.find(']') : 0;
    std::string name(host.substr(0, from == host.npos ? host.npos : host.find(':', from)));
    std::ranges::transform(name, name.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    });
    return name;
}

void check_host(const Head& head, const CheckSettings& settings) {
    const std::string name = host_name(*head.find("host"));
    if (std::ranges::find(settings.hosts, name) == settings.hosts.end()) {
        throw Problem(ProblemType::misdirected,
                      "Host names another server; --allow-host adds a name");
    }
}

// The dashboard may be opened by a link on any site: it holds nothing, and nobody may frame it or read it.
bool opens_page(const Head& head) {
    return head.method == "GET" && (head.path == "/" || head.path == "/dashboard") &&
           head.find("sec-fetch-mode") == "navigate";
}

// A page of another site can make a browser send requests here. They carry these fields.
void check_origin(const Head& head) {
    if (const auto origin = head.find("origin")) {
        if (*origin != "http://" + std::string(*head.find("host"))) {
            throw Problem(ProblemType::foreign_origin, "Origin is not this server");
        }
    }
    if (const auto site = head.find("sec-fetch-site")) {
        if (*site != "same-origin" && *site != "none" && !opens_page(head)) {
            throw Problem(ProblemType::foreign_origin,
                          "Sec-Fetch-Site is neither same-origin nor none");
        }
    }
}

Scope scope_of(const Head& head, const CheckSettings& settings) {
    if (settings.tokens == nullptr) { return Scope::admin; }
    const auto authorization = head.find("authorization");
    constexpr std::string_view scheme = "bearer ";
    if (!authorization || authorization->size() <= scheme.size() ||
        !equal_ignoring_case(authorization->substr(0, scheme.size()), scheme)) {
        return Scope::none;
    }
    return settings.tokens->scope_of(authorization->substr(scheme.size()));
}

void check_scope(Scope has, Scope needs) {
    if (has >= needs) { return; }
    if (has == Scope::none) {
        throw Problem(ProblemType::unauthorized, "send Authorization: Bearer TOKEN");
    }
    throw Problem(ProblemType::forbidden, "the token is not for this method and resource");
}

std::string join(const std::vector<std::string_view>& words) {
    std::string text;
    for (const std::string_view word : words) {
        text += (text.empty() ? "" : ", ") + std::string(word);
    }
    return text;
}

void check_media_type(const Head& head, const Route& route) {
    if (head.find("content-encoding")) {
        throw Problem(ProblemType::media_type, "bodies with a Content-Encoding are not taken");
    }
    if (route.body == BodyKind::none) { return; }
    const auto type = head.find("content-type");
    const char* wanted = media_type(route.body);
    const std::string_view essence = type ? type->substr(0, type->find(';')) : std::string_view();
    const std::string_view trimmed = essence.substr(0, essence.find_last_not_of(" \t") + 1);
    if (!equal_ignoring_case(trimmed, wanted)) {
        std::string detail = std::string("Content-Type must be ") + wanted;
        if (equal_ignoring_case(trimmed, "application/x-www-form-urlencoded")) {
            detail += std::string("; with curl: -H 'Content-Type: ") + wanted + "'";
        }
        throw Problem(ProblemType::media_type, detail);
    }
}

std::uint64_t check_length(const Head& head, const Route& route, const CheckSettings& settings) {
    if (head.transfer_encoding || (!head.content_length && route.body != BodyKind::none)) {
        throw Problem(ProblemType::length_required, "chunked bodies are not taken");
    }
    const std::uint64_t bytes = head.content_length.value_or(0);
    const std::uint64_t limit = route.body == BodyKind::none   ? 0
                                : route.body == BodyKind::json ? settings.json_limit
                                                               : settings.body_limit;
    if (bytes > limit) {
        throw Problem(ProblemType::body_too_large,
                      limit == 0 ? "this resource takes no body" : "the body is above the limit",
                      {{"limit_bytes", limit}, {"actual_bytes", bytes}});
    }
    return bytes;
}

} // namespace

Admission check_head(const Head& head, const CheckSettings& settings) {
    check_host(head, settings);
    check_origin(head);
    Admission admission;
    admission.scope = scope_of(head, settings);
    admission.match = match_route(head.method, head.path);
    // Who may not know anything here does not learn which resources there are.
    const Route* route = admission.match.route;
    check_scope(admission.scope, route == nullptr ? Scope::read : route->scope);
    if (admission.match.allow.empty()) {
        throw Problem(ProblemType::not_found,
                      "no resource has this path; /openapi.json lists them");
    }
    admission.options = head.method == "OPTIONS";
    if (route == nullptr && !admission.options) {
        throw Problem(ProblemType::method_not_allowed, "allowed: " + join(admission.match.allow),
                      {{"allow", admission.match.allow}});
    }
    if (admission.options) {
        if (head.transfer_encoding) {
            throw Problem(ProblemType::length_required, "chunked bodies are not taken");
        }
        if (head.content_length.value_or(0) > 0) {
            throw Problem(ProblemType::body_too_large, "OPTIONS takes no body",
                          {{"limit_bytes", 0}});
        }
        return admission;
    }
    check_media_type(head, *route);
    admission.body_bytes = check_length(head, *route, settings);
    return admission;
}

} // namespace mustafar::daemon
