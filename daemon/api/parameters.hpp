// SPDX-License-Identifier: Apache-2.0
// Query parameters and fields of one request, strictly: no duplicates, none that the route does not list.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "http/message.hpp"
#include "mustafar/types.h"
#include "problem.hpp"

namespace mustafar::daemon {

// Borrows the request. Throws Problem bad_parameter, which names the parameter.
class Parameters {
  public:
    explicit Parameters(
        const Request& request); // refuses duplicates and what the route does not list
    std::optional<std::uint64_t> integer(const char* name, std::uint64_t low,
                                         std::uint64_t high) const;
    std::uint64_t required_integer(const char* name, std::uint64_t low, std::uint64_t high) const;
    std::optional<double> number(const char* name, double low, double high) const;
    bool boolean(const char* name) const; // false where it is not there
    std::optional<std::string> text(const char* name) const;
    mustafar_dtype dtype(const char* name, std::optional<mustafar_dtype> otherwise = {}) const;

  private:
    const std::string* find(const char* name) const;
    const Request& request_;
};

std::size_t dtype_bytes(mustafar_dtype dtype);

// The value of the nth {name} of the path as a layer or another index; throws not_found.
std::uint32_t path_index(const Request& request, std::size_t n, std::uint32_t count);

// Value of a Content-Digest (RFC 9530, sha-256) of `body`.
std::string digest_of(std::string_view body);

// Verifies Content-Digest (RFC 9530, sha-256) where it was sent. Throws digest_mismatch.
void check_digest(const Request& request);

// "a", "b" of an If-Match or If-None-Match against one ETag; "*" matches.
bool etag_listed(const std::string& list, const std::string& etag);

} // namespace mustafar::daemon
