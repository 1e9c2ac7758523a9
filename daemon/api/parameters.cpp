// SPDX-License-Identifier: Apache-2.0
#include "api/parameters.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <openssl/evp.h>

#include "routes.hpp"
#include "tokens.hpp"

namespace mustafar::daemon {

namespace {

constexpr std::string_view digest_prefix = "sha-256=:";

Problem wrong(const std::string& name, const std::string& text) {
    return Problem(ProblemType::bad_parameter, name + ": " + text, {{"parameter", name}});
}

// All of `text`, in plain decimal.
template <class Number>
std::optional<Number> plain(const std::string& text) {
    Number number{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) { return std::nullopt; }
    return number;
}

} // namespace

Parameters::Parameters(const Request& request) : request_(request) {
    const auto& known = request.route->query;
    if (request.query_malformed) {
        throw wrong("query", "a parameter is empty, stands twice, has a value with '=', or a '%' "
                             "without two hex digits");
    }
    const std::string* last = nullptr;
    for (const Field& field : request.query) {
        const auto same = [&](const QueryParameter& one) { return field.name == one.name; };
        if (std::ranges::find_if(known, same) == known.end()) {
            throw wrong(field.name.substr(0, 64), "is not a parameter of this resource");
        }
        if (last != nullptr && *last == field.name) { throw wrong(field.name, "stands twice"); }
        last = &field.name; // the query is ordered by name
    }
    for (const QueryParameter& one : known) {
        if (one.required && find(one.name) == nullptr) { throw wrong(one.name, "is missing"); }
    }
}

const std::string* Parameters::find(const char* name) const {
    for (const Field& field : request_.query) {
        if (field.name == name) { return &field.value; }
    }
    return nullptr;
}

std::optional<std::uint64_t> Parameters::integer(const char* name, std::uint64_t low,
                                                 std::uint64_t high) const {
    const std::string* text = find(name);
    if (text == nullptr) { return std::nullopt; }
    const auto number = plain<std::uint64_t>(*text);
    if (!number || *number < low || *number > high) {
        throw wrong(name, "an integer from " + std::to_string(low) + " to " + std::to_string(high) +
                              " is expected");
    }
    return number;
}

std::uint64_t Parameters::required_integer(const char* name, std::uint64_t low,
                                           std::uint64_t high) const {
    const auto number = integer(name, low, high);
    if (!number) { throw wrong(name, "is missing"); }
    return *number;
}

std::optional<double> Parameters::number(const char* name, double low, double high) const {
    const std::string* text = find(name);
    if (text == nullptr) { return std::nullopt; }
    const auto number = plain<double>(*text);
    if (!number || !(*number >= low && *number <= high)) {
        throw wrong(name, "a number is expected, and in range");
    }
    return number;
}

bool Parameters::boolean(const char* name) const {
    const std::string* text = find(name);
    if (text != nullptr && *text != "true" && *text != "false") {
        throw wrong(name, "true or false is expected");
    }
    return text != nullptr && *text == "true";
}

std::optional<std::string> Parameters::text(const char* name) const {
    const std::string* text = find(name);
    return text == nullptr ? std::nullopt : std::optional(*text);
}

mustafar_dtype Parameters::dtype(const char* name, std::optional<mustafar_dtype> otherwise) const {
    const std::string* text = find(name);
    if (text == nullptr && otherwise) { return *otherwise; }
    if (text != nullptr && *text == "f16") { return MUSTAFAR_F16; }
    if (text != nullptr && *text == "bf16") { return MUSTAFAR_BF16; }
    if (text != nullptr && *text == "f32") { return MUSTAFAR_F32; }
    throw wrong(name, "f16, bf16 or f32 is expected");
}

std::size_t dtype_bytes(mustafar_dtype dtype) { return dtype == MUSTAFAR_F32 ? 4 : 2; }

std::uint32_t path_index(const Request& request, std::size_t n, std::uint32_t count) {
    const auto number = plain<std::uint32_t>(request.path[n]);
    if (!number || *number >= count) {
        throw Problem(ProblemType::not_found, "there is no layer " + request.path[n] +
                                                  "; there are " + std::to_string(count));
    }
    return *number;
}

std::string digest_of(std::string_view body) {
    const Sha256 hash = sha256(body);
    unsigned char base64[64] = {};
    EVP_EncodeBlock(base64, hash.data(), static_cast<int>(hash.size()));
    return std::string(digest_prefix) + reinterpret_cast<const char*>(base64) + ":";
}

void check_digest(const Request& request) {
    const std::string* field = request.field("content-digest");
    if (field == nullptr) { return; }
    if (!field->starts_with(digest_prefix)) {
        throw Problem(ProblemType::digest_mismatch, "only one digest, sha-256, is understood");
    }
    const std::string expected = digest_of(request.body.view());
    if (*field != expected) {
        throw Problem(ProblemType::digest_mismatch, "the body has another SHA-256",
                      {{"actual", expected}});
    }
}

bool etag_listed(const std::string& list, const std::string& etag) {
    std::string_view rest = list;
    while (!rest.empty()) {
        const std::size_t comma = rest.find(',');
        std::string_view one = rest.substr(0, comma);
        rest.remove_prefix(comma == rest.npos ? rest.size() : comma + 1);
        while (!one.empty() && (one.front() == ' ' || one.front() == '\t')) {
            one.remove_prefix(1);
        }
        while (!one.empty() && (one.back() == ' ' || one.back() == '\t')) { one.remove_suffix(1); }
        if (one == "*" || one == etag) { return true; }
    }
    return false;
}

} // namespace mustafar::daemon
