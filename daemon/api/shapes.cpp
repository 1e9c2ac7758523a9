// SPDX-License-Identifier: Apache-2.0
#include "api/shapes.hpp"

#include "api/parameters.hpp"

namespace mustafar::daemon {

namespace {

constexpr std::uint64_t count_max =
    1u << 20; // far above what the library takes; it says what is wrong

std::uint32_t u32(std::uint64_t number) { return static_cast<std::uint32_t>(number); }

Json or_null(const std::optional<double>& number) { return number ? Json(*number) : Json(nullptr); }

std::string wall_clock(Clock::time_point time) {
    const auto ahead = std::chrono::duration_cast<std::chrono::seconds>(time - Clock::now());
    return rfc3339(std::time(nullptr) + static_cast<std::time_t>(ahead.count()));
}

} // namespace

Response json_response(const Json& document, int status) {
    Response response;
    response.status = status;
    response.type = "application/json";
    response.text = dump(document) + "\n";
    return response;
}

Json parse_body(const Request& request) { return parse_json(request.body.view()); }

mustafar_geometry read_geometry(JsonFields fields) {
    auto geometry = sized<mustafar_geometry>();
    geometry.layers = u32(fields.integer("layers", 1, count_max));
    geometry.kv_heads = u32(fields.integer("kv_heads", 1, count_max));
    geometry.q_heads = u32(fields.integer("q_heads", 1, count_max, geometry.kv_heads));
    const bool both = fields.has("head_dim");
    const auto d = both ? fields.integer("head_dim", 1, count_max) : 0;
    geometry.head_dim_k = u32(both ? d : fields.integer("head_dim_k", 1, count_max));
    geometry.head_dim_v = u32(both ? d : fields.integer("head_dim_v", 1, count_max));
    geometry.dtype = fields.word("dtype", {"f16", "bf16"}, 0) == 0 ? MUSTAFAR_F16 : MUSTAFAR_BF16;
    fields.finish();
    return geometry;
}

Json write_geometry(const mustafar_geometry& geometry) {
    return {{"layers", geometry.layers},         {"q_heads", geometry.q_heads},
            {"kv_heads", geometry.kv_heads},     {"head_dim_k", geometry.head_dim_k},
            {"head_dim_v", geometry.head_dim_v}, {"dtype", mustafar_dtype_name(geometry.dtype)}};
}

Json write_bytes(const mustafar_bytes& bytes) {
    return {{"total", bytes.total},   {"values", bytes.values},       {"bitmaps", bytes.bitmaps},
            {"meta", bytes.meta},     {"slack", bytes.slack},         {"window", bytes.window},
            {"tables", bytes.tables}, {"positions", bytes.positions}, {"exact", bytes.exact != 0}};
}

Recipe read_recipe(const Service& service, const Json& value, const std::string& pointer) {
    if (value.is_object()) { return parse_recipe(dump(value)); }
    if (!value.is_string()) {
        throw bad_body(pointer, "type", "a name, a shorthand or an object is expected");
    }
    return service.recipes.parse(value.get<std::string>());
}

Clock::duration lock_time(const Service& service) {
    return std::chrono::duration_cast<Clock::duration>(
        std::chrono::duration<double>(service.config.lock_timeout));
}

Clock::time_point lock_deadline(const Service& service, const Request& request) {
    return request.received + lock_time(service);
}

void check_if_match(const Request& request, const std::string& etag) {
    const std::string* wanted = request.field("if-match");
    if (wanted != nullptr && !etag_listed(*wanted, etag)) {
        throw Problem(ProblemType::precondition_failed,
                      "If-Match does not list the ETag of the cache", {{"etag", etag}});
    }
}

void describe_recipe(CacheShape& shape, const mustafar_recipe* recipe) {
    const Json text = Json::parse(mustafar_recipe_json(recipe));
    shape.recipe_name = text.value("name", "");
    shape.recipe_digest = mustafar_recipe_digest(recipe);
    const Json& window = text.at("window");
    shape.sink = window.at("sink").get<std::uint32_t>();
    shape.recent = window.at("recent").get<std::uint32_t>();
    shape.step = window.at("step").get<std::uint32_t>();
}

Staging reserve_reply(Service& service, std::uint64_t bytes) {
    if (bytes > service.config.body_limit) {
        throw Problem(ProblemType::body_too_large, "the answer would be above the limit of bodies",
                      {{"limit_bytes", service.config.body_limit}, {"actual_bytes", bytes}});
    }
    Staging out = Staging::reserve(service.staging, bytes);
    if (out.empty() && bytes > 0) {
        throw Problem(ProblemType::staging_full, "bodies of other requests take the room",
                      {{"limit_bytes", service.staging.limit()}, {"requested_bytes", bytes}});
    }
    return out;
}

Json write_cache(const std::string& id, const CacheEntry& entry) {
    auto stats = sized<mustafar_cache_stats>();
    auto bytes = sized<mustafar_bytes>();
    call(mustafar_cache_get_stats, entry.cache(), &stats);
    call(mustafar_cache_bytes, entry.cache(), MUSTAFAR_ALL, MUSTAFAR_ALL, &bytes);
    Json lengths = Json::array();
    for (std::uint32_t layer = 0; layer < entry.shape.geometry.layers; ++layer) {
        lengths.push_back(entry.length(layer));
    }
    return {{"id", id},
            {"geometry", write_geometry(entry.shape.geometry)},
            {"recipe", {{"name", entry.shape.recipe_name}, {"digest", entry.shape.recipe_digest}}},
            {"max_tokens", entry.shape.options.max_tokens},
            {"reserve_tokens", entry.shape.options.reserve_tokens},
            {"auto", (entry.shape.options.flags & MUSTAFAR_CACHE_AUTO) != 0},
            {"created", entry.created},
            {"revision", entry.revision()},
            {"lengths", lengths},
            {"bytes", bytes.total},
            {"dense_bytes", stats.dense_bytes},
            {"ttl_seconds", or_null(entry.keeping.ttl_seconds)},
            {"expires", entry.expires() ? Json(wall_clock(*entry.expires())) : Json(nullptr)},
            {"labels", entry.keeping.labels},
            {"pinned", entry.keeping.pinned}};
}

Response publish_cache(Service& service, const std::string& id, const CachePointer& entry) {
    // Described before anyone else can see it.
    Response response = json_response(write_cache(id, *entry), 201);
    response.fields.push_back({"ETag", entry->etag()});
    response.fields.push_back({"Location", "/v1/caches/" + id});
    if (service.caches.add(id, entry)) {
        throw Problem(ProblemType::exists, "there is a cache " + id, {{"cache", id}});
    }
    return response;
}

} // namespace mustafar::daemon
