// SPDX-License-Identifier: Apache-2.0
// Geometries, recipes, options and bytes between JSON and the library, and the small things all handlers share.
#pragma once

#include "http/message.hpp"
#include "library.hpp"
#include "service.hpp"
#include "json/fields.hpp"

namespace mustafar::daemon {

Response json_response(const Json& document, int status = 200);
Json parse_body(const Request& request);

mustafar_geometry
read_geometry(JsonFields fields); // {"layers", "q_heads", "kv_heads", "head_dim", ...}
Json write_geometry(const mustafar_geometry& geometry);
Json write_bytes(const mustafar_bytes& bytes);

// "recipe" of a body: a name, a shorthand, or a recipe as JSON.
Recipe read_recipe(const Service& service, const Json& value, const std::string& pointer);

Clock::duration lock_time(const Service& service); // --lock-timeout
Clock::time_point lock_deadline(const Service& service, const Request& request);

// Refuses with 412 where If-Match is there and does not list `etag`.
void check_if_match(const Request& request, const std::string& etag);

// What a recipe says of itself and of its window.
void describe_recipe(CacheShape& shape, const mustafar_recipe* recipe);

// "ttl_seconds", "labels", "pinned" of a body, over what there was: a merge patch (RFC 7396).
Keeping read_keeping(JsonFields& fields, Keeping keeping = {});

// Room for a reply; throws body_too_large, staging_full.
Staging reserve_reply(Service& service, std::uint64_t bytes);

// What GET, PUT, restore and fork say of a cache. Needs its lock.
Json write_cache(const std::string& id, const CacheEntry& entry);

// Adds a cache under an id that must be free: 201 with Location, or throws exists.
Response publish_cache(Service& service, const std::string& id, const CachePointer& entry);

} // namespace mustafar::daemon
