// SPDX-License-Identifier: Apache-2.0
// What experiments have found, as JSON or CSV.
#include "api/choices.hpp"
#include "api/handlers.hpp"
#include "api/shapes.hpp"
#include "experiment/json.hpp"

namespace mustafar::daemon {

namespace {

constexpr std::size_t page_max = 256;

Problem no_result(const std::string& id) {
    return Problem(ProblemType::not_found, "there is no result " + id, {{"result", id}});
}

ResultRecord get_record(Service& service, const std::string& id) {
    const auto result = service.jobs.history().find_result(id);
    if (!result) { throw no_result(id); }
    return *result;
}

// Members of the record first, then those of the document that mustafar-experiment writes.
Json document_of(History& history, const ResultRecord& result) {
    Json out = {{"id", result.id},
                {"job", result.job},
                {"label", result.label},
                {"created", result.created},
                {"contended", result.contended}};
    const Json head = history.head(result);
    for (const auto& [name, value] : head.items()) { out[name] = value; }
    out["rows"] = history.rows(result);
    return out;
}

} // namespace

Response list_results(Service& service, Request& request) {
    const Parameters parameters(request);
    const auto limit = parameters.integer("limit", 1, page_max).value_or(page_max);
    const std::uint64_t before = page_start(parameters, "result");
    const auto job = parameters.text("job").value_or("");
    const auto found = service.jobs.history().list_results(limit + 1, before, job);
    Json list = Json::array();
    for (const ResultRecord& result : found) {
        if (list.size() < limit) { list.push_back(write_result(result)); }
    }
    const bool more = found.size() > list.size();
    return json_response(
        {{"results", list}, {"next", more ? Json(found[list.size() - 1].id) : Json(nullptr)}});
}

Response get_result(Service& service, Request& request) {
    const bool csv = accepted(request, {"application/json", "text/csv"}) == 1;
    const ResultRecord result = get_record(service, request.path[0]);
    History& history = service.jobs.history();
    if (!csv) { return json_response(document_of(history, result)); }
    Response response;
    response.type = "text/csv; charset=utf-8";
    response.text = experiment::csv_of(history.rows(result));
    response.fields.push_back(
        {"Content-Disposition", "attachment; filename=\"" + result.id + ".csv\""});
    return response;
}

Response delete_result(Service& service, Request& request) {
    if (!service.jobs.history().remove_result(request.path[0])) {
        throw no_result(request.path[0]);
    }
    Response response;
    response.status = 204;
    return response;
}

} // namespace mustafar::daemon
