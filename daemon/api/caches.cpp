// SPDX-License-Identifier: Apache-2.0
// Caches as resources: list, create, describe, delete.
#include "api/handlers.hpp"
#include "api/layers.hpp"
#include "api/parameters.hpp"
#include "api/shapes.hpp"
#include "routes.hpp"

namespace mustafar::daemon {

namespace {

constexpr std::size_t page_max = 256;

CacheShape read_shape(const Service& service, JsonFields& fields, Recipe* recipe) {
    CacheShape shape;
    shape.geometry = read_geometry(fields.object("geometry"));
    shape.options.max_tokens =
        static_cast<std::uint32_t>(fields.integer("max_tokens", 1, INT32_MAX));
    shape.options.reserve_tokens =
        static_cast<std::uint32_t>(fields.integer("reserve_tokens", 0, INT32_MAX, 0));
    shape.options.flags = fields.boolean("auto", true) ? MUSTAFAR_CACHE_AUTO : 0;
    *recipe = read_recipe(service, fields.any("recipe"), fields.pointer("recipe"));
    describe_recipe(shape, recipe->get());
    return shape;
}

// A PUT of what is there already changes nothing.
Response already_there(Service& service, const Request& request, const CachePointer& entry,
                       const CacheShape& wanted) {
    const std::string& id = request.path[0];
    const std::string* none = request.field("if-none-match");
    const ReadLock lock(*entry, lock_deadline(service, request));
    if (none != nullptr && etag_listed(*none, entry->etag())) {
        throw Problem(ProblemType::precondition_failed, "If-None-Match: the cache is there",
                      {{"cache", id}, {"etag", entry->etag()}});
    }
    if (!entry->shape.same(wanted)) {
        throw Problem(ProblemType::exists, "cache " + id + " was made differently",
                      {{"cache", id}});
    }
    Response response = json_response(write_cache(id, *entry));
    response.fields.push_back({"ETag", entry->etag()});
    return response;
}

} // namespace

Response put_cache(Service& service, Request& request) {
    const std::string& id = request.path[0];
    const Json body = parse_body(request);
    JsonFields fields(body);
    Recipe recipe;
    CacheShape shape = read_shape(service, fields, &recipe);
    Keeping keeping = read_keeping(fields);
    fields.finish();
    if (const CachePointer there = service.caches.find(id)) {
        return already_there(service, request, there, shape);
    }
    if (request.field("if-match") != nullptr) {
        throw Problem(ProblemType::precondition_failed, "If-Match: there is no cache " + id);
    }
    Cache cache = make<mustafar_cache>(mustafar_cache_create, service.context.get(),
                                       &shape.geometry, recipe.get(), &shape.options);
    const auto entry = std::make_shared<CacheEntry>(std::move(cache), shape);
    entry->keeping = std::move(keeping);
    Response response = json_response(write_cache(id, *entry), 201);
    response.fields.push_back({"ETag", entry->etag()});
    response.fields.push_back({"Location", "/v1/caches/" + id});
    if (const CachePointer other = service.caches.add(id, entry)) { // at the same time
        return already_there(service, request, other, shape);
    }
    return response;
}

Response list_caches(Service& service, Request& request) {
    const Parameters parameters(request);
    const auto limit = parameters.integer("limit", 1, page_max).value_or(page_max);
    const auto after = parameters.text("after").value_or("");
    if (!after.empty() && !is_id(after)) {
        throw Problem(ProblemType::bad_parameter, "after: an id is expected",
                      {{"parameter", "after"}});
    }
    const auto found = service.caches.list(after, limit + 1);
    Json list = Json::array();
    for (const auto& [id, entry] : found) {
        if (list.size() == limit) { break; }
        const ReadLock lock(*entry, lock_deadline(service, request));
        list.push_back(write_cache(id, *entry));
    }
    const bool more = found.size() > list.size();
    return json_response(
        {{"caches", list}, {"next", more ? Json(found[list.size() - 1].first) : Json(nullptr)}});
}

namespace {

// Pollers ask again and again for what has not changed. What goes by time is said anew.
std::shared_ptr<const std::string> describe(const std::string& id, CacheEntry& entry) {
    const bool lasting = !entry.expires();
    if (auto text = lasting ? entry.described() : nullptr) { return text; }
    auto text = std::make_shared<const std::string>(dump(write_cache(id, entry)) + "\n");
    if (lasting) { entry.keep_described(text); }
    return text;
}

} // namespace

Response get_cache(Service& service, Request& request) {
    const CachePointer entry = service.caches.get(request.path[0]);
    const ReadLock lock(*entry, lock_deadline(service, request));
    const std::string* none = request.field("if-none-match");
    Response response;
    if (none != nullptr && etag_listed(*none, entry->etag())) {
        response.status = 304;
    } else {
        response.type = "application/json";
        response.text = *describe(request.path[0], *entry);
    }
    response.fields.push_back({"ETag", entry->etag()});
    return response;
}

Response delete_cache(Service& service, Request& request) {
    const CachePointer entry = service.caches.get(request.path[0]);
    if (request.field("if-match") != nullptr) {
        const WriteLock lock(*entry, lock_deadline(service, request)); // nothing changes in between
        check_if_match(request, entry->etag());
        service.caches.remove(request.path[0], entry);
    } else {
        service.caches.remove(request.path[0], entry);
    }
    Response response;
    response.status = 204;
    return response;
}

namespace {

Json bytes_of(const CacheEntry& entry, std::uint32_t layer, std::uint32_t head) {
    auto bytes = sized<mustafar_bytes>();
    call(mustafar_cache_bytes, entry.cache(), layer, head, &bytes);
    return write_bytes(bytes);
}

Json layer_stats(const CacheEntry& entry, std::uint32_t layer, bool heads) {
    std::uint32_t committed = 0;
    std::uint32_t tentative = 0;
    call(mustafar_cache_length, entry.cache(), layer, &committed, &tentative);
    Json stats = {{"layer", layer},
                  {"committed", committed},
                  {"tentative", tentative},
                  {"bytes", bytes_of(entry, layer, MUSTAFAR_ALL)}};
    if (!heads) { return stats; }
    Json list = Json::array();
    for (std::uint32_t head = 0; head < entry.shape.geometry.kv_heads; ++head) {
        std::uint32_t rows = 0;
        std::uint32_t body = 0;
        call(mustafar_cache_rows, entry.cache(), layer, head, &rows, &body);
        list.push_back({{"kv_head", head},
                        {"rows", rows},
                        {"body_rows", body},
                        {"bytes", bytes_of(entry, layer, head)}});
    }
    stats["heads"] = std::move(list);
    return stats;
}

} // namespace

Response get_stats(Service& service, Request& request) {
    const Parameters parameters(request);
    const std::string per = parameters.text("per").value_or("cache");
    if (per != "cache" && per != "layer" && per != "head") {
        throw Problem(ProblemType::bad_parameter, "per: cache, layer or head is expected",
                      {{"parameter", "per"}});
    }
    const CachePointer entry = service.caches.get(request.path[0]);
    const Layers page = read_layers(parameters, entry->shape.geometry, per == "head");
    const ReadLock lock(*entry, lock_deadline(service, request));
    auto stats = sized<mustafar_cache_stats>();
    call(mustafar_cache_get_stats, entry->cache(), &stats);
    const mustafar_cache_stats& before = entry->counted;
    const auto seconds = [](std::uint64_t ns) { return static_cast<double>(ns) * 1e-9; };
    Json document = {{"id", request.path[0]},
                     {"revision", entry->revision()},
                     {"longest", stats.longest},
                     {"rows", stats.rows},
                     {"body_rows", stats.body_rows},
                     {"evicted_rows", stats.evicted_rows},
                     {"pages", stats.pages},
                     {"shared_pages", stats.shared_pages},
                     {"bytes", bytes_of(*entry, MUSTAFAR_ALL, MUSTAFAR_ALL)},
                     {"dense_bytes", stats.dense_bytes},
                     {"appended_tokens", stats.appended_tokens + before.appended_tokens},
                     {"packed_rows", stats.packed_rows + before.packed_rows},
                     {"attend_calls", stats.attend_calls + before.attend_calls},
                     {"append_seconds", seconds(stats.append_ns + before.append_ns)},
                     {"pack_seconds", seconds(stats.pack_ns + before.pack_ns)},
                     {"attend_seconds", seconds(stats.attend_ns + before.attend_ns)},
                     {"attend_kernel", stats.attend_kernel},
                     {"pack_kernel", stats.pack_kernel}};
    if (per != "cache") {
        Json layers = Json::array();
        for (std::uint32_t layer = page.from; layer < page.to; ++layer) {
            layers.push_back(layer_stats(*entry, layer, per == "head"));
        }
        document["layers"] = std::move(layers);
        document["next"] = page.next ? Json(*page.next) : Json(nullptr);
    }
    return json_response(document);
}

} // namespace mustafar::daemon
