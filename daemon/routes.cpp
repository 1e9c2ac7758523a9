// SPDX-License-Identifier: Apache-2.0
#include "routes.hpp"

#include <algorithm>

#include "api/handlers.hpp"

namespace mustafar::daemon {

namespace {

using enum Scope;
constexpr auto no_body = BodyKind::none;
constexpr auto json = BodyKind::json;
constexpr auto octets = BodyKind::octets;
constexpr auto tensors = BodyKind::safetensors;
constexpr auto get = Method::get;
constexpr auto put = Method::put;
constexpr auto post = Method::post;
constexpr auto patch = Method::patch;
constexpr auto del = Method::del;

const std::vector<QueryParameter> append_query = {
    {"dtype", "string", true, "f16, bf16 or f32: what the body holds"},
    {"tokens", "integer", true, "Rows of each block"},
    {"expect", "integer", false,
     "Length of the layer before; required unless --allow-blind-append"},
    {"tentative", "boolean", false, "Packed only after commit"}};
const std::vector<QueryParameter> attend_query = {
    {"dtype", "string", true, "f16, bf16 or f32: what the body holds"},
    {"q_tokens", "integer", true, "Queries"},
    {"out_dtype", "string", false, "f16, bf16 or f32; as dtype unless given"},
    {"sinks", "boolean", false, "f32 [q_heads] behind the queries: learned sinks"},
    {"lse", "boolean", false, "f32 [q_tokens, q_heads] behind the output"},
    {"weights", "integer", false,
     "Columns N, at least the rows of any kv head: f32 [q_tokens, q_heads, N] behind those"},
    {"dropped", "boolean", false,
     "f32 [q_tokens, q_heads] behind all: what drop_mass left out, at most"},
    {"scale", "number", false, "0: 1 / sqrt(head_dim_k)"},
    {"softcap", "number", false, "0: none"},
    {"sliding_window", "integer", false, "Positions a query sees"},
    {"drop_mass", "number", false, "0: exact"},
    {"q_position", "integer", false,
     "Position of query 0; without it the queries are the last tokens"}};
const std::vector<QueryParameter> list_query = {
    {"limit", "integer", false, "1 to 256"}, {"after", "string", false, "Continue behind this id"}};
const std::vector<QueryParameter> append_all_query = {
    {"expect", "integer", false,
     "Length of every layer before; required unless --allow-blind-append"},
    {"tentative", "boolean", false, "Packed only after commit"}};
const std::vector<QueryParameter> batch_append_query = {
    {"tentative", "boolean", false, "Packed only after commit"}};
const std::vector<QueryParameter> batch_attend_query = {
    {"layer", "integer", true, "Of all the caches"},
    {"out_dtype", "string", false, "f16, bf16 or f32; as the queries unless given"},
    {"lse", "boolean", false, "<cache>.lse, f32 [q_tokens, q_heads], behind the outputs"},
    {"scale", "number", false, "0: 1 / sqrt(head_dim_k)"},
    {"softcap", "number", false, "0: none"},
    {"sliding_window", "integer", false, "Positions a query sees"},
    {"drop_mass", "number", false, "0: exact"},
    {"q_position", "integer", false,
     "Position of query 0 in every cache; without it the queries are the last tokens"}};
const std::vector<QueryParameter> tensor_query = {
    {"side", "string", true, "k or v"},
    {"kv_head", "integer", false, "0 unless given"},
    {"from", "integer", false, "First row; 0 unless given"},
    {"to", "integer", false, "Row behind the last; all of them unless given"},
    {"out_dtype", "string", false, "f16, bf16 or f32, which is the default"}};
const std::vector<QueryParameter> upload_query = {
    {"overwrite", "boolean", false, "Replace the snapshot of this name"}};
const std::vector<QueryParameter> bitmap_query = {
    {"side", "string", true, "k or v"},
    {"kv_head", "integer", false, "0 unless given"},
    {"from", "integer", false, "First row; 0 unless given"},
    {"to", "integer", false, "Row behind the last; all of them unless given"},
    {"bin_tokens", "integer", false, "Rows of a cell; chosen unless given"},
    {"bin_channels", "integer", false, "Channels of a cell; chosen unless given"}};
const std::vector<QueryParameter> stats_query = {
    {"per", "string", false, "cache, layer or head"},
    {"from", "integer", false, "First layer listed: next of the reply before; 0 unless given"}};
const std::vector<QueryParameter> density_query = {
    {"from", "integer", false, "First layer: next of the reply before; 0 unless given"}};
const std::vector<QueryParameter> verify_query = {
    {"verify", "boolean", false, "Load it aside first; the state then is good or corrupt"}};
const std::vector<QueryParameter> jobs_query = {
    {"limit", "integer", false, "1 to 256"},
    {"after", "string", false, "Continue behind this id"},
    {"state", "string", false, "Only those in this state"}};
const std::vector<QueryParameter> job_query = {
    {"wait", "number", false, "Seconds, up to 60, to wait for a change"},
    {"version", "integer", false, "What the client knows; the present one unless given"}};
const std::vector<QueryParameter> results_query = {
    {"job", "string", false, "Only those of this job"},
    {"limit", "integer", false, "1 to 256"},
    {"after", "string", false, "Continue behind this id"}};

// clang-format off
const Route table[] = {
    // method path  operation, scope, body, handler, on the I/O thread, request, response, query, statuses, summary
    {get, "/healthz", "get_healthz", none, no_body, get_healthz, true, nullptr, "status", {}, {200}, "The process is alive"},
    {get, "/readyz", "get_readyz", none, no_body, get_readyz, true, nullptr, "ready", {}, {200, 503}, "Work is accepted"},
    {get, "/metrics", "get_metrics", read, no_body, get_metrics, true, nullptr, "text", {}, {200}, "Counters for Prometheus"},
    {get, "/version", "get_version", read, no_body, get_version, false, nullptr, "version", {}, {200}, "Versions, kernels and limits"},
    {get, "/openapi.json", "get_openapi", read, no_body, get_openapi, false, nullptr, "openapi", {}, {200}, "This document"},
    {get, "/", "get_page", none, no_body, get_dashboard, true, nullptr, "page", {}, {200, 304, 406}, "The dashboard"},
    {get, "/dashboard", "get_dashboard", none, no_body, get_dashboard, true, nullptr, "page", {}, {200, 304, 406}, "The dashboard"},
    {get, "/v1/backends", "get_backends", read, no_body, get_backends, false, nullptr, "backends", {}, {200}, "Kernels, and what keeps them from running"},
    {post, "/v1/admin/gc", "post_gc", admin, json, post_gc, false, "empty-object", "collected", {}, {200, 422}, "Free what has expired, now"},
    {post, "/v1/admin/drain", "post_drain", admin, json, post_drain, false, "empty-object", "draining", {}, {202, 422}, "Stop as SIGTERM does: answer what was begun, then end"},
    {post, "/v1/plans", "post_plans", read, json, post_plans, false, "plan-request", "plans", {}, {200, 422, 507}, "Predict bytes without data"},
    {post, "/v1/explain", "explain_recipe", read, json, explain_recipe, false, "explain-request", "explained", {}, {200, 422, 507}, "What a recipe says, and what it means for one kv head of a geometry"},
    {get, "/v1/recipes", "list_recipes", read, no_body, list_recipes, false, nullptr, "recipes", {}, {200}, "Recipes by name"},
    {get, "/v1/recipes/{name}", "get_recipe", read, no_body, get_recipe, false, nullptr, "recipe", {}, {200, 404}, "One recipe, canonical"},
    {put, "/v1/recipes/{name}", "put_recipe", write, json, put_recipe, false, "any-object", "recipe", {}, {200, 201, 409, 422, 507}, "Keep a recipe"},
    {del, "/v1/recipes/{name}", "delete_recipe", write, no_body, delete_recipe, false, nullptr, nullptr, {}, {204, 403, 404, 507}, "Forget a recipe"},
    {get, "/v1/caches", "list_caches", read, no_body, list_caches, false, nullptr, "caches", list_query, {200, 503}, "Caches, a page at a time"},
    {get, "/v1/caches/{id}", "get_cache", read, no_body, get_cache, false, nullptr, "cache", {}, {200, 304, 404, 503}, "One cache"},
    {put, "/v1/caches/{id}", "put_cache", write, json, put_cache, false, "cache-request", "cache", {}, {200, 201, 409, 412, 422, 503, 507}, "Create a cache"},
    {del, "/v1/caches/{id}", "delete_cache", write, no_body, delete_cache, false, nullptr, nullptr, {}, {204, 404, 412, 503}, "Drop a cache"},
    {patch, "/v1/caches/{id}", "patch_cache", write, json, patch_cache, false, "keeping", "cache", {}, {200, 404, 412, 422, 503}, "TTL, labels, pinned: a merge patch"},
    {get, "/v1/caches/{id}/density", "get_density", read, no_body, get_density, false, nullptr, "density", density_query, {200, 404, 503}, "Share of elements kept, by layer and head"},
    {get, "/v1/caches/{id}/layers/{layer}/bitmap", "get_bitmap", read, no_body, get_bitmap, false, nullptr, "bitmap octets", bitmap_query, {200, 404, 413, 503}, "Survivors of one head: counted in cells, or as they are (Accept: application/octet-stream, head_dim / 8 bytes a row)"},
    {get, "/v1/caches/{id}/layers/{layer}/tensor", "get_tensor", read, no_body, get_tensor, false, nullptr, "octets", tensor_query, {200, 404, 413, 503}, "Rows [to - from, head_dim] of one head as attend sees them"},
    {post, "/v1/caches/{id}/append", "append_layers", write, tensors, append_layers, false, "safetensors", "appended-all", append_all_query, {200, 404, 409, 412, 413, 422, 428, 503, 507}, "layers.<n>.k and layers.<n>.v [tokens, kv_heads, head_dim] of every layer: all or none"},
    {post, "/v1/append", "append_caches", write, tensors, append_caches, false, "safetensors", "appended-batch", batch_append_query, {200, 404, 409, 412, 413, 422, 428, 503, 507}, "<cache>.layers.<n>.k and .v for several caches, all or none; __metadata__ holds expect.<cache>, the length before"},
    {post, "/v1/attend", "attend_caches", read, tensors, attend_caches, false, "safetensors", "safetensors", batch_attend_query, {200, 404, 409, 413, 422, 503, 507}, "<cache>.q [q_tokens, q_heads, head_dim_k], all of one shape and dtype, in; <cache>.out, and <cache>.lse, out"},
    {post, "/v1/merge", "merge_parts", read, tensors, merge_parts, false, "safetensors", "safetensors", {}, {200, 413, 422, 503, 507}, "out_a, lse_a, out_b, lse_b of disjoint rows in; out, lse of all of them out"},
    {get, "/v1/caches/{id}/stats", "get_stats", read, no_body, get_stats, false, nullptr, "stats", stats_query, {200, 404, 503}, "Rows, bytes by part, operations"},
    {post, "/v1/caches/{id}/layers/{layer}/append", "append_rows", write, octets, append_rows, false, "octets", "appended", append_query, {200, 404, 409, 412, 422, 428, 503, 507}, "K block, then V block: [tokens, kv_heads, head_dim] each"},
    {post, "/v1/caches/{id}/layers/{layer}/attend", "attend_rows", read, octets, attend_rows, false, "octets", "octets", attend_query, {200, 404, 409, 413, 422, 503, 507}, "Q [q_tokens, q_heads, head_dim_k] in, output [q_tokens, q_heads, head_dim_v] out"},
    {post, "/v1/caches/{id}/commit", "commit_cache", write, json, commit_cache, false, "layer-request", "cache", {}, {200, 404, 409, 412, 422, 503, 507}, "Tentative tokens become committed"},
    {post, "/v1/caches/{id}/prune", "prune_cache", write, json, prune_cache, false, "prune-request", "cache", {}, {200, 404, 409, 412, 422, 503, 507}, "Mark survivors in dense rows"},
    {post, "/v1/caches/{id}/compress", "compress_cache", write, json, compress_cache, false, "layer-request", "cache", {}, {200, 404, 409, 412, 422, 503, 507}, "Pack what is outside the window"},
    {post, "/v1/caches/{id}/evict", "evict_cache", write, json, evict_cache, false, "evict-request", "cache", {}, {200, 404, 409, 412, 422, 503, 507}, "Remove rows of one head"},
    {post, "/v1/caches/{id}/truncate", "truncate_cache", write, json, truncate_cache, false, "truncate-request", "cache", {}, {200, 404, 409, 412, 422, 503}, "Roll back to a length"},
    {post, "/v1/caches/{id}/reset", "reset_cache", write, json, reset_cache, false, "empty-object", "cache", {}, {200, 404, 412, 422, 503}, "Empty a cache"},
    {post, "/v1/caches/{id}/fork", "fork_cache", write, json, fork_cache, false, "to-request", "cache", {}, {201, 404, 409, 412, 422, 503, 507}, "A second cache that shares pages"},
    {get, "/v1/snapshots", "list_snapshots", read, no_body, list_snapshots, false, nullptr, "snapshots", {}, {200, 404, 507}, "Snapshots on disk"},
    {get, "/v1/snapshots/{name}", "get_snapshot", read, no_body, get_snapshot, false, nullptr, "snapshot", verify_query, {200, 404, 422, 507}, "One snapshot"},
    {put, "/v1/snapshots/{name}", "put_snapshot", write, json, put_snapshot, false, "snapshot-request", "snapshot", {}, {200, 201, 404, 409, 422, 503, 507}, "Save a cache"},
    {del, "/v1/snapshots/{name}", "delete_snapshot", write, no_body, delete_snapshot, false, nullptr, nullptr, {}, {204, 404, 507}, "Delete a snapshot"},
    {get, "/v1/snapshots/{name}/content", "get_snapshot_content", read, no_body, get_snapshot_content, false, nullptr, "octets", {}, {200, 404, 413, 503, 507}, "The file of a snapshot, with its Content-Digest"},
    {put, "/v1/snapshots/{name}/content", "put_snapshot_content", write, octets, put_snapshot_content, false, "octets", "snapshot", upload_query, {200, 201, 404, 409, 422, 503, 507}, "Upload a snapshot; it is loaded aside before it is kept"},
    {post, "/v1/snapshots/{name}/restore", "restore_snapshot", write, json, restore_snapshot, false, "restore-request", "cache", {}, {201, 404, 409, 422, 507}, "Load a snapshot as a new cache"},

    {get, "/v1/traces", "list_traces", read, no_body, list_traces, false, nullptr, "traces", {}, {200, 507}, "Recorded keys, values and queries that jobs may name"},
    {get, "/v1/traces/{name}", "get_trace", read, no_body, get_trace, false, nullptr, "trace", {}, {200, 404}, "One trace"},
    {put, "/v1/traces/{name}", "put_trace", write, octets, put_trace, false, "octets", "trace", {}, {200, 201, 403, 404, 409, 422, 507}, "Keep a trace: a safetensors file as in docs/experiments.md, section 2"},
    {del, "/v1/traces/{name}", "delete_trace", write, no_body, delete_trace, false, nullptr, nullptr, {}, {204, 403, 404, 409, 507}, "Forget a trace"},
    {post, "/v1/jobs", "post_jobs", write, json, post_jobs, false, "job-request", "job", {}, {202, 404, 422, 503, 507}, "Start an experiment; field Idempotency-Key: once only"},
    {get, "/v1/jobs", "list_jobs", read, no_body, list_jobs, false, nullptr, "jobs", jobs_query, {200, 507}, "Jobs, newest first"},
    {get, "/v1/jobs/{id}", "get_job", read, no_body, get_job, false, nullptr, "job", job_query, {200, 404, 507}, "One job; with wait= when it has changed"},
    {get, "/v1/jobs/{id}/events", "follow_job", read, no_body, follow_job, false, nullptr, "events", {}, {200, 404, 503, 507}, "Its events as they come: progress, row, result, done, reset; field Last-Event-ID: those behind"},
    {post, "/v1/jobs/{id}/cancel", "cancel_job", write, json, cancel_job, false, "empty-object", "job", {}, {202, 404, 409, 422, 507}, "End a job; what it has found stays"},
    {del, "/v1/jobs/{id}", "delete_job", write, no_body, delete_job, false, nullptr, nullptr, {}, {204, 404, 409, 507}, "Forget a job and its results"},
    {get, "/v1/results", "list_results", read, no_body, list_results, false, nullptr, "results", results_query, {200, 507}, "Results, newest first"},
    {get, "/v1/results/{id}", "get_result", read, no_body, get_result, false, nullptr, "result csv", {}, {200, 404, 406, 507}, "One result, as JSON or text/csv"},
    {del, "/v1/results/{id}", "delete_result", write, no_body, delete_result, false, nullptr, nullptr, {}, {204, 404, 507}, "Forget a result"},
    {get, "/v1/activity", "get_activity", read, no_body, get_activity, true, nullptr, "activity", {}, {200}, "What goes on, and what was refused of late"},
};
// clang-format on

// Takes the next segment off `path`.
std::string_view next_segment(std::string_view& path) {
    path.remove_prefix(1);
    const std::string_view segment = path.substr(0, path.find('/'));
    path.remove_prefix(segment.size());
    return segment;
}

bool matches(const Route& route, std::string_view path, std::vector<std::string_view>* parameters) {
    std::string_view pattern = route.path;
    parameters->clear();
    while (!pattern.empty() && !path.empty()) {
        const std::string_view want = next_segment(pattern);
        const std::string_view have = next_segment(path);
        if (want.starts_with('{')) {
            if (!is_id(have)) { return false; }
            parameters->push_back(have);
        } else if (want != have) {
            return false;
        }
    }
    return pattern.empty() && path.empty();
}

} // namespace

std::span<const Route> routes() { return table; }

const char* method_name(Method method) {
    switch (method) {
    case Method::get:
        return "GET";
    case Method::put:
        return "PUT";
    case Method::post:
        return "POST";
    case Method::patch:
        return "PATCH";
    case Method::del:
        return "DELETE";
    }
    return "";
}

const char* media_type(BodyKind kind) {
    switch (kind) {
    case BodyKind::octets:
        return "application/octet-stream";
    case BodyKind::safetensors:
        return "application/vnd.safetensors";
    case BodyKind::json:
    case BodyKind::none:
        break;
    }
    return "application/json";
}

bool is_id(std::string_view text) {
    const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
    return !text.empty() && text.size() <= 64 && plain(text.front()) &&
           std::ranges::all_of(text, [&](char c) { return plain(c) || c == '_' || c == '-'; });
}

RouteMatch match_route(std::string_view method, std::string_view path) {
    RouteMatch match;
    std::vector<std::string_view> parameters;
    for (const Route& route : table) {
        if (!matches(route, path, &parameters)) { continue; }
        const std::string_view name = method_name(route.method);
        match.allow.push_back(name);
        if (name == "GET") { match.allow.push_back("HEAD"); }
        if (name == method || (name == "GET" && method == "HEAD")) {
            match.route = &route;
            match.parameters = parameters;
        }
    }
    if (!match.allow.empty()) { match.allow.push_back("OPTIONS"); }
    return match;
}

} // namespace mustafar::daemon
