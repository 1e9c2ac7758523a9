// SPDX-License-Identifier: Apache-2.0
// First byte: a route with parameters; then any bytes as its query, as mustafard reads it: what the head parser lets
// through is split and decoded by the HTTP library. A second reader, below, says of the same bytes what they mean: both
// refuse the same queries, and getters give the same values, in range.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "api/parameters.hpp"
#include "http/head.hpp"
#include "http/transport.hpp"
#include "routes.hpp"
#include "support.hpp"

using namespace mustafar::daemon;

namespace {

constexpr std::uint64_t low = 1;
constexpr std::uint64_t high = std::uint64_t{1} << 40;
constexpr double bound = 1e6;

void check(bool good, const char* what) {
    if (!good) { mustafar::fuzz::fail(what); }
}

int digit(char c) {
    constexpr std::string_view digits = "0123456789abcdef";
    const auto at = digits.find(static_cast<char>(c >= 'A' && c <= 'F' ? c | 0x20 : c));
    return at == digits.npos ? -1 : static_cast<int>(at);
}

// application/x-www-form-urlencoded, strictly; nullopt where it is none.
std::optional<std::string> decoded(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out += text[i] == '+' ? ' ' : text[i];
            continue;
        }
        if (i + 2 >= text.size() || digit(text[i + 1]) < 0 || digit(text[i + 2]) < 0) {
            return std::nullopt;
        }
        out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
        i += 2;
    }
    return out;
}

// Names and values in the order of the names; nullopt: refused whatever the route.
std::optional<Fields> split(std::string_view query) {
    Fields fields;
    while (!query.empty()) {
        const std::string_view pair = query.substr(0, query.find('&'));
        const bool last = pair.size() == query.size();
        query.remove_prefix(pair.size() + (last ? 0 : 1));
        const std::size_t equals = std::min(pair.find('='), pair.size());
        const auto name = decoded(pair.substr(0, equals));
        const auto value = decoded(pair.substr(std::min(pair.size(), equals + 1)));
        const bool twice = std::ranges::count(pair, '=') > 1;
        if (!name || !value || name->empty() || twice || (!last && query.empty())) { return {}; }
        fields.push_back({*name, *value});
    }
    std::ranges::stable_sort(fields, {}, &Field::name);
    const auto same = [](const Field& a, const Field& b) { return a.name == b.name; };
    return std::ranges::adjacent_find(fields, same) == fields.end() ? std::optional(fields)
                                                                    : std::nullopt;
}

bool taken_by(const Route& route, const Fields& fields) {
    const auto has = [&](const QueryParameter& one) {
        return std::ranges::any_of(fields, [&](const Field& f) { return f.name == one.name; });
    };
    const auto known = [&](const Field& field) {
        return std::ranges::any_of(
            route.query, [&](const QueryParameter& one) { return field.name == one.name; });
    };
    return std::ranges::all_of(fields, known) &&
           std::ranges::all_of(route.query,
                               [&](const auto& one) { return !one.required || has(one); });
}

// Digit by digit: no sign, no blanks, no overflow.
std::optional<std::uint64_t> integer_of(const std::string& text) {
    if (text.empty()) { return std::nullopt; }
    std::uint64_t number = 0;
    for (const char c : text) {
        const auto d = static_cast<std::uint64_t>(c - '0');
        if (c < '0' || c > '9' || number > (UINT64_MAX - d) / 10) { return std::nullopt; }
        number = number * 10 + d;
    }
    return number >= low && number <= high ? std::optional(number) : std::nullopt;
}

std::optional<double> number_of(const std::string& text) {
    if (text.empty() || text.find_first_not_of("0123456789.eE+-") != text.npos ||
        text.front() == '+') {
        return std::nullopt;
    }
    char* end = nullptr;
    const double number = std::strtod(text.c_str(), &end);
    const bool whole = end == text.c_str() + text.size();
    return whole && std::abs(number) <= bound ? std::optional(number) : std::nullopt;
}

// nullopt where the getter refuses.
template <class Get>
auto got(const Get& get) -> std::optional<decltype(get())> {
    try {
        return get();
    } catch (const Problem& problem) {
        check(problem.type() == ProblemType::bad_parameter, "one kind of refusal");
        check(problem.members().contains("parameter"), "it names the parameter");
        return std::nullopt;
    }
}

void compare(const Parameters& parameters, const Field& field) {
    const char* name = field.name.c_str();
    const std::string& text = field.value;
    check(parameters.text(name) == text, "the value that was sent");
    const auto integer = got([&] { return parameters.integer(name, low, high).value(); });
    check(integer == integer_of(text), "the integer that was sent");
    const auto number = got([&] { return parameters.number(name, -bound, bound).value(); });
    const auto wanted = number_of(text);
    const bool tiny = wanted && std::abs(*wanted) < 1e-300; // readers differ in what is too small
    check(tiny || number == wanted, "the number that was sent");
    const auto boolean = got([&] { return parameters.boolean(name); });
    check(boolean.has_value() == (text == "true" || text == "false"), "true, false, or refused");
    check(!boolean || *boolean == (text == "true"), "the boolean that was sent");
    const auto dtype = got([&] { return parameters.dtype(name); });
    check(dtype.has_value() == (text == "f16" || text == "bf16" || text == "f32"), "a dtype");
}

void read(const Request& request, std::string_view query) {
    const auto fields = split(query);
    const bool wanted = fields && taken_by(*request.route, *fields);
    const auto parameters = got([&] { return Parameters(request); });
    check(parameters.has_value() == wanted, "two readers differ");
    if (!parameters) { return; }
    for (const Field& field : *fields) { compare(*parameters, field); }
    for (const QueryParameter& one : request.route->query) {
        const bool there =
            std::ranges::any_of(*fields, [&](const Field& f) { return f.name == one.name; });
        check(parameters->text(one.name).has_value() == there, "only what was sent");
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const auto transport = make_transport(1);
    static const std::vector<const Route*> choices = [] {
        std::vector<const Route*> found;
        for (const Route& route : routes()) {
            if (!route.query.empty()) { found.push_back(&route); }
        }
        return found;
    }();
    if (size == 0) { return 0; }
    const std::string query(reinterpret_cast<const char*>(data) + 1, size - 1);
    const std::string target = "/v1/some/path?" + query;
    const std::string text = "GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n";
    Head head;
    std::size_t scanned = 0;
    const char* why = nullptr;
    if (parse_head(text, &scanned, &head, &why) != HeadError::none || head.query != query) {
        return 0; // never comes as far as the library
    }
    Request request;
    request.route = choices[data[0] % choices.size()];
    Response response;
    bool called = false;
    transport->exchange(target, true, request, response, [&] {
        called = true;
        read(request, head.query);
    });
    check(called, "the library takes what the guard takes");
    return 0;
}
