// SPDX-License-Identifier: Apache-2.0
#include "times.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>

namespace mustafar::daemon {

std::string rfc3339(std::time_t time) {
    std::tm parts{};
    gmtime_r(&time, &parts);
    std::array<char, 32> text{};
    std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
    return text.data();
}

std::string now_rfc3339() { return rfc3339(std::time(nullptr)); }

std::string now_text() {
    const auto now = std::chrono::system_clock::now();
    const std::time_t second = std::chrono::system_clock::to_time_t(now);
    const auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(
        now - std::chrono::system_clock::from_time_t(second));
    std::string text = rfc3339(second);
    std::array<char, 8> fraction{};
    std::snprintf(fraction.data(), fraction.size(), ".%03d",
                  std::clamp(static_cast<int>(rest.count()), 0, 999));
    return text.insert(text.size() - 1, fraction.data());
}

} // namespace mustafar::daemon
