// SPDX-License-Identifier: Apache-2.0
#include "openapi.hpp"

#include <algorithm>
#include <set>
#include <sstream>

#include "http/transport.hpp"
#include "mustafar/info.h"
#include "routes.hpp"

namespace mustafar::daemon {

namespace {

// What the guard may answer anyone, whatever the route; 507 also where the machine has no memory left.
constexpr int guard_statuses[] = {400, 401, 403, 405, 408, 411, 413, 414,
                                  415, 417, 421, 431, 500, 503, 505, 507};

// Fields of single operations; those of all of them (Accept, If-Match, ...) are HTTP's.
struct HeaderField {
    const char* route;
    const char* name;
    const char* text;
};
constexpr HeaderField header_fields[] = {
    {"post_jobs", "Idempotency-Key",
     "With the key of a job that is there, that job is the reply; 1 to 255 visible characters"},
    {"follow_job", "Last-Event-ID", "Events behind this one; those that are gone become a reset"}};

Json reference(const std::string& name) { return {{"$ref", "#/components/schemas/" + name}}; }

// What handlers take of a query parameter, where that is less than its type; a name means the same everywhere.
Json parameter_schema(const QueryParameter& one) {
    static const Json narrower = Json::parse(R"({
"dtype": {"enum": ["f16", "bf16", "f32"]}, "out_dtype": {"enum": ["f16", "bf16", "f32"]},
"per": {"enum": ["cache", "layer", "head"]}, "side": {"enum": ["k", "v"]},
"limit": {"minimum": 1, "maximum": 256}, "after": {"pattern": "^([a-z0-9][a-z0-9_-]{0,63})?$"},
"tokens": {"minimum": 1, "maximum": 16777216}, "q_tokens": {"minimum": 1, "maximum": 16777216},
"weights": {"minimum": 1, "maximum": 16777216}, "expect": {"minimum": 0, "maximum": 2147483647},
"sliding_window": {"minimum": 1, "maximum": 2147483647}, "q_position": {"minimum": 0, "maximum": 1099511627776},
"kv_head": {"minimum": 0}, "from": {"minimum": 0}, "to": {"minimum": 0},
"scale": {"minimum": -1000000, "maximum": 1000000}, "softcap": {"minimum": 0, "maximum": 1000000},
"drop_mass": {"minimum": 0, "maximum": 1}})");
    Json schema = {{"type", one.type}};
    if (narrower.contains(one.name)) { schema.update(narrower[one.name]); }
    return schema;
}

Json parameters_of(const Route& route) {
    Json list = Json::array();
    std::string_view path = route.path;
    for (std::size_t at = path.find('{'); at != path.npos; at = path.find('{')) {
        const std::size_t end = path.find('}');
        const std::string name(path.substr(at + 1, end - at - 1));
        const Json schema = name == "layer" ? reference("number") : reference("id");
        list.push_back({{"name", name}, {"in", "path"}, {"required", true}, {"schema", schema}});
        path.remove_prefix(end + 1);
    }
    for (const QueryParameter& one : route.query) {
        list.push_back({{"name", one.name},
                        {"in", "query"},
                        {"required", one.required},
                        {"description", one.text},
                        {"schema", parameter_schema(one)}});
    }
    for (const HeaderField& one : header_fields) {
        if (std::string_view(route.name) != one.route) { continue; }
        list.push_back({{"name", one.name},
                        {"in", "header"},
                        {"required", false},
                        {"description", one.text},
                        {"schema", {{"type", "string"}}}});
    }
    return list;
}

// Contents without a schema, beside raw bodies.
const char* plain_type(const std::string& name) {
    if (name == "text") { return "text/plain"; }
    if (name == "page") { return "text/html"; }
    if (name == "csv") { return "text/csv"; }
    return name == "events" ? "text/event-stream" : nullptr;
}

// Contents by their names, separated by blanks.
Json content_of(const std::string& names) {
    Json content = Json::object();
    std::istringstream list(names);
    for (std::string name; list >> name;) {
        // A raw body has no schema in 3.1.
        if (name == "octets") {
            content[media_type(BodyKind::octets)] = Json::object();
        } else if (name == "safetensors") {
            content[media_type(BodyKind::safetensors)] = Json::object();
        } else if (const char* type = plain_type(name); type != nullptr) {
            content[type] = Json::object();
        } else {
            content[media_type(BodyKind::json)] = {{"schema", reference(name)}};
        }
    }
    return content;
}

Json responses_of(const Route& route) {
    std::set<int> statuses(route.statuses.begin(), route.statuses.end());
    statuses.insert(std::begin(guard_statuses), std::end(guard_statuses));
    // A segment that is no id: the path is that of no resource.
    if (std::string_view(route.path).find('{') != std::string_view::npos) { statuses.insert(404); }
    Json responses = Json::object();
    for (const int status : statuses) {
        const char* text = status_text(status);
        Json response = {
            {"description", *text == '\0' ? std::to_string(status) : std::string(text)}};
        const bool own = std::ranges::count(route.statuses, status) > 0;
        if (status >= 400) {
            response["content"] = {
                {"application/problem+json", {{"schema", reference("problem")}}}};
            // /readyz says with 503 what it says with 200.
            if (own && std::string_view(route.name) == "get_readyz") {
                response["content"].update(content_of(route.response));
            }
        } else if (route.response != nullptr && status != 304) {
            response["content"] = content_of(route.response);
        }
        responses[std::to_string(status)] = std::move(response);
    }
    return responses;
}

Json operation_of(const Route& route) {
    Json operation = {{"operationId", route.name}, {"summary", route.summary}};
    operation["parameters"] = parameters_of(route);
    if (route.request != nullptr) {
        operation["requestBody"] = {{"required", true}, {"content", content_of(route.request)}};
    }
    operation["responses"] = responses_of(route);
    if (route.scope == Scope::none) {
        operation["security"] = Json::array();
    } else {
        operation["x-scope"] = route.scope == Scope::read    ? "read"
                               : route.scope == Scope::write ? "write"
                                                             : "admin";
    }
    return operation;
}

Json problem_schema() {
    Json types = Json::array();
    for (const ProblemInfo& info : problem_list()) {
        types.push_back(std::string("urn:mustafar:problem:") + info.slug);
    }
    return {{"type", "object"},
            {"description", "RFC 9457. Numbers behind the text are members beside these"},
            {"required", {"type", "title", "status", "detail", "instance"}},
            {"properties",
             {{"type", {{"enum", types}}},
              {"title", {{"type", "string"}}},
              {"status", {{"type", "integer"}}},
              {"detail", {{"type", "string"}}},
              {"instance", {{"type", "string"}}}}}};
}

std::string lower(std::string text) {
    std::ranges::transform(text, text.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    });
    return text;
}

} // namespace

std::string openapi_text() {
    Json paths = Json::object();
    for (const Route& route : routes()) {
        paths[route.path][lower(method_name(route.method))] = operation_of(route);
    }
    Json components = {{"schemas", schemas()}};
    components["schemas"]["problem"] = problem_schema();
    components["securitySchemes"] = {{"token", {{"type", "http"}, {"scheme", "bearer"}}}};
    const Json document = {{"openapi", "3.1.0"},
                           {"info",
                            {{"title", "mustafard"},
                             {"version", MUSTAFAR_VERSION},
                             {"license", {{"name", "Apache-2.0"}, {"identifier", "Apache-2.0"}}}}},
                           {"security", Json::array({{{"token", Json::array()}}, Json::object()})},
                           {"paths", std::move(paths)},
                           {"components", std::move(components)}};
    return document.dump(1) + "\n";
}

} // namespace mustafar::daemon
