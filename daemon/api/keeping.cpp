// SPDX-License-Identifier: Apache-2.0
// How long a cache stays, and what clients call it.
#include "api/handlers.hpp"
#include "api/parameters.hpp"
#include "api/shapes.hpp"

namespace mustafar::daemon {

namespace {

constexpr std::size_t labels_max = 32;
constexpr std::size_t label_name_max = 64;
constexpr std::size_t label_text_max = 256;
constexpr double ttl_min = 0.001;
constexpr double ttl_max = 1e9;

std::string check_text(const std::string& text, const std::string& pointer, std::size_t max) {
    if (text.size() > max || text.find('\0') != text.npos) {
        throw bad_body(pointer, "range",
                       "at most " + std::to_string(max) + " bytes without NUL are expected");
    }
    return text;
}

void merge_labels(const Json& patch, const std::string& pointer,
                  std::map<std::string, std::string>& labels) {
    if (patch.is_null()) {
        labels.clear();
        return;
    }
    if (!patch.is_object()) { throw bad_body(pointer, "type", "an object is expected"); }
    for (const auto& [name, value] : patch.items()) {
        const std::string at = pointer + "/" + name.substr(0, label_name_max);
        if (name.empty()) { throw bad_body(at, "range", "a label has a name"); }
        check_text(name, at, label_name_max);
        if (value.is_null()) {
            labels.erase(name);
        } else if (value.is_string()) {
            labels[name] = check_text(value.get<std::string>(), at, label_text_max);
        } else {
            throw bad_body(at, "type", "a text or null is expected");
        }
    }
    if (labels.size() > labels_max) {
        throw bad_body(pointer, "range", "there may be " + std::to_string(labels_max) + " labels");
    }
}

} // namespace

Keeping read_keeping(JsonFields& fields, Keeping keeping) {
    if (fields.has("ttl_seconds")) {
        keeping.ttl_seconds =
            fields.any("ttl_seconds").is_null()
                ? std::nullopt
                : std::optional(fields.number("ttl_seconds", ttl_min, ttl_max, 0));
    }
    if (fields.has("labels")) {
        merge_labels(fields.any("labels"), fields.pointer("labels"), keeping.labels);
    }
    keeping.pinned = fields.boolean("pinned", keeping.pinned);
    return keeping;
}

Response patch_cache(Service& service, Request& request) {
    const Json body = parse_body(request);
    const CachePointer entry = service.caches.get(request.path[0]);
    const WriteLock lock(*entry, lock_deadline(service, request));
    check_if_match(request, entry->etag());
    JsonFields fields(body);
    Keeping keeping = read_keeping(fields, entry->keeping);
    fields.finish();
    entry->keeping = std::move(keeping);
    entry->changed(); // a repeated append is still recognized: no row has changed
    Response response = json_response(write_cache(request.path[0], *entry));
    response.fields.push_back({"ETag", entry->etag()});
    return response;
}

} // namespace mustafar::daemon
