// SPDX-License-Identifier: Apache-2.0
// Traces: those of the server, and those that clients bring.
#include "api/handlers.hpp"
#include "api/shapes.hpp"

namespace mustafar::daemon {

Response list_traces(Service& service, Request&) {
    Json list = Json::array();
    for (const TraceInfo& trace : service.traces.list()) { list.push_back(write_trace(trace)); }
    return json_response({{"traces", std::move(list)}});
}

Response put_trace(Service& service, Request& request) {
    const std::string& name = request.path[0];
    service.jobs.check_unused(name);
    const bool is_new = service.traces.put(name, request.body.view());
    const auto trace = service.traces.find(name);
    if (!trace) { // deleted meanwhile
        throw Problem(ProblemType::not_found, "there is no trace " + name, {{"trace", name}});
    }
    Response response = json_response(write_trace(*trace), is_new ? 201 : 200);
    if (is_new) { response.fields.push_back({"Location", "/v1/traces/" + name}); }
    return response;
}

Response get_trace(Service& service, Request& request) {
    const auto trace = service.traces.find(request.path[0]);
    if (!trace) {
        throw Problem(ProblemType::not_found, "there is no trace " + request.path[0],
                      {{"trace", request.path[0]}});
    }
    return json_response(write_trace(*trace));
}

Response delete_trace(Service& service, Request& request) {
    service.jobs.check_unused(request.path[0]);
    service.traces.remove(request.path[0]);
    Response response;
    response.status = 204;
    return response;
}

} // namespace mustafar::daemon
