// SPDX-License-Identifier: Apache-2.0
#include "api/choices.hpp"

#include <charconv>

#include "http/head.hpp"
#include "jobs/record.hpp"

namespace mustafar::daemon {

namespace {

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
        text.remove_prefix(1);
    }
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) { text.remove_suffix(1); }
    return text;
}

// Takes what stands before `separator` off `rest`.
std::string_view next_part(std::string_view& rest, char separator) {
    const std::size_t end = rest.find(separator);
    const std::string_view part = rest.substr(0, end);
    rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
    return trimmed(part);
}

// How closely a range of Accept names `type`: 0 not at all, 1 "*/*", 2 "text/*", 3 itself.
int closeness(std::string_view range, std::string_view type) {
    if (equal_ignoring_case(range, type)) { return 3; }
    if (range == "*/*") { return 1; }
    const std::string_view group = type.substr(0, type.find('/') + 1);
    const bool whole_group = range.size() == group.size() + 1 && range.back() == '*';
    return whole_group && equal_ignoring_case(range.substr(0, group.size()), group) ? 2 : 0;
}

double quality_of(std::string_view parameters) {
    while (!parameters.empty()) {
        const std::string_view one = next_part(parameters, ';');
        if (!one.starts_with("q=") && !one.starts_with("Q=")) { continue; }
        double quality = 0;
        std::from_chars(one.data() + 2, one.data() + one.size(), quality);
        return quality;
    }
    return 1;
}

// What the closest range gives `type` (RFC 9110, section 12.5.1).
double quality_of(std::string_view accept, std::string_view type) {
    int closest = 0;
    double quality = 0;
    while (!accept.empty()) {
        std::string_view parameters = next_part(accept, ',');
        const int close = closeness(next_part(parameters, ';'), type);
        if (close > closest) {
            closest = close;
            quality = quality_of(parameters);
        }
    }
    return quality;
}

} // namespace

std::size_t accepted(const Request& request, std::initializer_list<std::string_view> types) {
    const std::string* accept = request.field("accept");
    if (accept == nullptr) { return 0; }
    std::size_t best = 0;
    double most = 0;
    std::size_t index = 0;
    std::string list;
    for (const std::string_view type : types) {
        const double quality = quality_of(*accept, type);
        if (quality > most) {
            most = quality;
            best = index;
        }
        list += (index++ == 0 ? "" : ", ") + std::string(type);
    }
    if (most == 0) { throw Problem(ProblemType::not_acceptable, "there are: " + list); }
    return best;
}

std::uint64_t page_start(const Parameters& parameters, std::string_view kind) {
    const auto after = parameters.text("after");
    if (!after) { return 0; }
    const auto number = number_of(*after, kind);
    if (!number || *number == 0) {
        throw Problem(ProblemType::bad_parameter,
                      "after: the id of a " + std::string(kind) + " is expected",
                      {{"parameter", "after"}});
    }
    return *number;
}

} // namespace mustafar::daemon
