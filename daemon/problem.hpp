// SPDX-License-Identifier: Apache-2.0
// Errors as clients see them: problem+json (RFC 9457) with types from one closed list.
#pragma once

#include <cstdint>
#include <exception>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "http/message.hpp"
#include "mustafar/types.h"

namespace mustafar::daemon {

using Json = nlohmann::ordered_json;

enum class ProblemType {
    malformed_request,
    bad_parameter,
    body_size,
    digest_mismatch,
    unauthorized,
    forbidden,
    foreign_origin,
    not_found,
    method_not_allowed,
    not_acceptable,
    request_timeout,
    exists,
    length_mismatch,
    bad_state,
    not_exact,
    capacity,
    job_state,
    length_required,
    precondition_failed,
    body_too_large,
    target_too_long,
    media_type,
    expectation,
    misdirected,
    bad_body,
    invalid_argument,
    unsupported,
    non_finite,
    corrupt,
    mismatch,
    bad_trace,
    idempotency_mismatch,
    precondition_required,
    head_too_large,
    internal,
    device,
    busy,
    staging_full,
    locked,
    draining,
    queue_full,
    too_many_streams,
    http_version,
    quota_exceeded,
    limit_reached,
    storage
};

struct ProblemInfo {
    ProblemType type;
    const char* slug; // "urn:mustafar:problem:" + slug
    int status;
    const char* title;
};

std::span<const ProblemInfo> problem_list(); // in the order of ProblemType
const ProblemInfo& problem_info(ProblemType type);

// What a handler throws. `members` go into the document beside type, title, status, detail and instance.
class Problem : public std::exception {
  public:
    Problem(ProblemType type, std::string detail, Json members = Json::object())
        : type_(type), detail_(std::move(detail)), members_(std::move(members)) {}
    ProblemType type() const { return type_; }
    const Json& members() const { return members_; }
    const char* what() const noexcept override { return detail_.c_str(); }

  private:
    ProblemType type_;
    std::string detail_;
    Json members_;
};

// The reply that tells a problem; `request_id` becomes its instance.
Response problem_response(const Problem& problem, std::string_view request_id);

// The problem of a status that is not OK. Every status of the library has its row.
Problem problem_of(mustafar_status status, const mustafar_error& error);

ProblemType type_of(mustafar_status status);

// Text of any bytes: what is not UTF-8 is replaced.
std::string dump(const Json& document);

} // namespace mustafar::daemon
