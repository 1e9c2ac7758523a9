// SPDX-License-Identifier: Apache-2.0
// The dashboard as bytes of this program. embed.cmake writes the definition; README.md says from what.
#pragma once

#include <string_view>

namespace mustafar::daemon {

struct Page {
    std::string_view html;
    std::string_view gzip;   // the same, compressed; empty where there is only the plain page
    std::string_view digest; // SHA-256 of html, hexadecimal
    std::string_view policy; // Content-Security-Policy: allows the one script and style of html
};

extern const Page dashboard_page;

} // namespace mustafar::daemon
