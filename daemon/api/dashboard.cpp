// SPDX-License-Identifier: Apache-2.0
// The dashboard: one page, the same for everyone, whose script asks for the rest with the reader's token.
#include <algorithm>
#include <cstdlib>

#include "api/handlers.hpp"
#include "api/parameters.hpp"
#include "dashboard/page.hpp"

namespace mustafar::daemon {

namespace {

std::string_view trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(" \t");
    if (first == text.npos) { return {}; }
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// "q=0", "q=0.000": RFC 9110, section 12.4.2. Anything else is wanted.
bool refused(std::string_view weight) {
    weight = trimmed(weight);
    return weight.size() > 2 && (weight[0] == 'q' || weight[0] == 'Q') && weight[1] == '=' &&
           weight.substr(2).find_first_not_of("0.") == weight.npos;
}

} // namespace

// RFC 9110, section 12.5.3: a coding that is named by itself counts before *; identity is taken unless it is refused.
bool takes_coding(std::string_view accept_encoding, std::string_view coding) {
    bool named = false;
    bool taken = coding == "identity";
    while (!accept_encoding.empty()) {
        const auto comma = accept_encoding.find(',');
        std::string_view item = accept_encoding.substr(0, comma);
        accept_encoding.remove_prefix(comma == accept_encoding.npos ? accept_encoding.size()
                                                                    : comma + 1);
        const auto mark = item.find(';');
        const std::string_view weight =
            mark == item.npos ? std::string_view() : item.substr(mark + 1);
        item = trimmed(item.substr(0, mark));
        if (item == coding) {
            named = true;
            taken = !refused(weight);
        } else if (item == "*" && !named) {
            taken = !refused(weight);
        }
    }
    return taken;
}

Response get_dashboard(Service&, Request& request) {
    const std::string* accepted = request.field("accept-encoding");
    const std::string_view accept = accepted == nullptr ? "" : std::string_view(*accepted);
    const bool gzip = !dashboard_page.gzip.empty() && takes_coding(accept, "gzip");
    if (!gzip && !takes_coding(accept, "identity")) {
        throw Problem(ProblemType::not_acceptable, "the page is there as gzip or as it is");
    }
    // Another ETag for each coding, as they are other bytes.
    const std::string etag =
        "\"" + std::string(dashboard_page.digest.substr(0, 32)) + (gzip ? "-gzip\"" : "\"");
    Response response;
    response.fields = {{"ETag", etag},
                       {"Vary", "Accept-Encoding"},
                       {"Cache-Control", "no-cache"},
                       {"Content-Security-Policy", std::string(dashboard_page.policy)},
                       {"Referrer-Policy", "no-referrer"},
                       {"Cross-Origin-Resource-Policy", "same-origin"}};
    const std::string* none = request.field("if-none-match");
    if (none != nullptr && etag_listed(*none, etag)) {
        response.status = 304;
        return response;
    }
    response.type = "text/html; charset=utf-8";
    if (gzip) { response.fields.push_back({"Content-Encoding", "gzip"}); }
    response.text = gzip ? dashboard_page.gzip : dashboard_page.html;
    return response;
}

} // namespace mustafar::daemon
