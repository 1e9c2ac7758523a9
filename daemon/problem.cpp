// SPDX-License-Identifier: Apache-2.0
#include "problem.hpp"

#include "mustafar/info.h"

namespace mustafar::daemon {

namespace {

using enum ProblemType;

constexpr ProblemInfo problems[] = {
    {malformed_request, "malformed-request", 400, "The request is not well-formed HTTP"},
    {bad_parameter, "bad-parameter", 400, "A query parameter is unknown, missing or wrong"},
    {body_size, "body-size", 400, "The body has another size than the parameters say"},
    {digest_mismatch, "digest-mismatch", 400, "The body does not match its Content-Digest"},
    {unauthorized, "unauthorized", 401, "A valid token is required"},
    {forbidden, "forbidden", 403, "The token does not permit this"},
    {foreign_origin, "foreign-origin", 403, "Requests of other web sites are refused"},
    {not_found, "not-found", 404, "There is no such resource"},
    {method_not_allowed, "method-not-allowed", 405, "The resource has no such method"},
    {not_acceptable, "not-acceptable", 406, "The resource has no form that Accept lists"},
    {request_timeout, "request-timeout", 408, "The request did not arrive in time"},
    {exists, "exists", 409, "The name is taken"},
    {length_mismatch, "length-mismatch", 409, "The layer has another length"},
    {bad_state, "bad-state", 409, "The call does not fit the state of the cache"},
    {not_exact, "not-exact", 409, "The roll-back would not be exact"},
    {capacity, "capacity", 409, "The cache holds as many tokens as it may"},
    {job_state, "job-state", 409, "The call does not fit the state of a job"},
    {length_required, "length-required", 411, "Content-Length is required"},
    {precondition_failed, "precondition-failed", 412, "The resource has changed"},
    {body_too_large, "body-too-large", 413, "The body is larger than this resource takes"},
    {target_too_long, "target-too-long", 414, "The target is too long"},
    {media_type, "media-type", 415, "The body has a media type or encoding that is not taken here"},
    {expectation, "expectation", 417, "Only 100-continue can be expected"},
    {misdirected, "misdirected", 421, "This Host is not served here"},
    {bad_body, "bad-body", 422, "The body is not what the schema asks for"},
    {invalid_argument, "invalid-argument", 422, "An argument is wrong"},
    {unsupported, "unsupported", 422, "Well-formed, but not served here"},
    {non_finite, "non-finite", 422, "A value is not finite or cannot be stored"},
    {corrupt, "corrupt", 422, "The snapshot is damaged"},
    {mismatch, "mismatch", 422, "The snapshot is of something else"},
    {bad_trace, "bad-trace", 422, "The trace is damaged or contradictory"},
    {idempotency_mismatch, "idempotency-mismatch", 422,
     "The Idempotency-Key came with another body before"},
    {precondition_required, "precondition-required", 428, "The request must be conditional"},
    {head_too_large, "head-too-large", 431, "The head of the request is too large"},
    {internal, "internal", 500, "A fault of the server"},
    {device, "device", 500, "The device failed"},
    {busy, "busy", 503, "The queue is full"},
    {staging_full, "staging-full", 503, "There is no room for bodies at the moment"},
    {locked, "locked", 503, "The cache is in use"},
    {draining, "draining", 503, "The server is stopping"},
    {queue_full, "queue-full", 503, "As many jobs wait as may"},
    {too_many_streams, "too-many-streams", 503, "As many clients follow events as may"},
    {http_version, "http-version", 505, "Only HTTP/1.0 and HTTP/1.1 are served"},
    {quota_exceeded, "quota-exceeded", 507, "The memory quota does not allow this"},
    {limit_reached, "limit-reached", 507, "There are as many of these as there may be"},
    {storage, "storage", 507, "The file system refused"},
};
static_assert(std::size(problems) == static_cast<std::size_t>(storage) + 1);

// The only place that says what a library status is on HTTP.
constexpr struct {
    mustafar_status status;
    ProblemType type;
} statuses[] = {
    {MUSTAFAR_INVALID_ARGUMENT, invalid_argument},
    {MUSTAFAR_UNSUPPORTED, unsupported},
    {MUSTAFAR_OUT_OF_MEMORY, quota_exceeded},
    {MUSTAFAR_CAPACITY, capacity},
    {MUSTAFAR_BAD_STATE, bad_state},
    {MUSTAFAR_NON_FINITE, non_finite},
    {MUSTAFAR_NOT_EXACT, not_exact},
    {MUSTAFAR_CORRUPT, corrupt},
    {MUSTAFAR_MISMATCH, mismatch},
    {MUSTAFAR_IO, storage},
    {MUSTAFAR_DEVICE, device},
    {MUSTAFAR_INTERNAL, internal},
};

Json numbers_of(mustafar_status status, const mustafar_error& error) {
    const auto& v = error.values;
    switch (status) {
    case MUSTAFAR_OUT_OF_MEMORY:
        return {{"requested_bytes", v[0]}, {"used_bytes", v[1]}, {"limit_bytes", v[2]}};
    case MUSTAFAR_CAPACITY:
        return {{"requested_tokens", v[0]}, {"held_tokens", v[1]}, {"limit_tokens", v[2]}};
    case MUSTAFAR_NON_FINITE:
        return {{"index", Json::array({v[0], v[1], v[2], v[3]})}};
    case MUSTAFAR_NOT_EXACT:
        return {{"smallest_exact_length", v[0]}};
    case MUSTAFAR_CORRUPT:
        return {{"offset_bytes", v[0]}};
    default:
        return Json::object();
    }
}

} // namespace

std::span<const ProblemInfo> problem_list() { return problems; }

const ProblemInfo& problem_info(ProblemType type) {
    return problems[static_cast<std::size_t>(type)];
}

std::string dump(const Json& document) {
    return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Response problem_response(const Problem& problem, std::string_view request_id) {
    const ProblemInfo& info = problem_info(problem.type());
    Json document = {{"type", std::string("urn:mustafar:problem:") + info.slug},
                     {"title", info.title},
                     {"status", info.status},
                     {"detail", problem.what()},
                     {"instance", "urn:request:" + std::string(request_id)}};
    document.update(problem.members());
    Response response;
    response.status = info.status;
    response.type = "application/problem+json";
    response.text = dump(document) + "\n";
    if (info.status == 401) { response.fields.push_back({"WWW-Authenticate", "Bearer"}); }
    if (info.status == 503) { response.fields.push_back({"Retry-After", "1"}); }
    return response;
}

ProblemType type_of(mustafar_status status) {
    for (const auto& row : statuses) {
        if (row.status == status) { return row.type; }
    }
    return internal;
}

Problem problem_of(mustafar_status status, const mustafar_error& error) {
    for (const auto& row : statuses) {
        if (row.status != status) { continue; }
        // What failed inside is for the log; clients get its name only.
        if (row.type == internal || row.type == device) {
            return Problem(row.type, mustafar_status_name(status));
        }
        return Problem(row.type, error.message, numbers_of(status, error));
    }
    return Problem(internal, "a status this server does not know");
}

} // namespace mustafar::daemon
