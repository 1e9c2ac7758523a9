// SPDX-License-Identifier: Apache-2.0
#include "experiment/machine.hpp"

#include <cstdlib>
#include <fstream>
#include <map>
#include <thread>

#include <sys/utsname.h>

#include <fmt/format.h>

namespace mustafar::experiment {

namespace {

std::string trimmed(const std::string& text) {
    const auto begin = text.find_first_not_of(" \t\"");
    const auto end = text.find_last_not_of(" \t\"\r");
    return begin == std::string::npos ? std::string() : text.substr(begin, end - begin + 1);
}

// First value of each key of a file of `key SEPARATOR value` lines.
std::map<std::string, std::string> read_keys(const char* path, char separator) {
    std::map<std::string, std::string> keys;
    std::ifstream stream(path);
    for (std::string line; std::getline(stream, line);) {
        const auto at = line.find(separator);
        if (at != std::string::npos) {
            keys.emplace(trimmed(line.substr(0, at)), trimmed(line.substr(at + 1)));
        }
    }
    return keys;
}

std::string cpu_text() {
    auto keys = read_keys("/proc/cpuinfo", ':');
    const std::string name = keys["model name"];
    if (!name.empty() && name != "unknown") { return name; }
    if (!keys["vendor_id"].empty()) {
        return fmt::format("{} family {} model {}", keys["vendor_id"], keys["cpu family"],
                           keys["model"]);
    }
    if (!keys["CPU part"].empty()) {
        return fmt::format("implementer {} part {}", keys["CPU implementer"], keys["CPU part"]);
    }
    return "unknown";
}

std::string os_text() {
    utsname name{};
    const std::string kernel =
        uname(&name) == 0 ? fmt::format("{} {} {}", name.sysname, name.release, name.machine)
                          : "unknown";
    auto keys = read_keys("/etc/os-release", '=');
    const std::string pretty = keys["PRETTY_NAME"];
    return pretty.empty() ? kernel : fmt::format("{}, {}", pretty, kernel);
}

} // namespace

Machine this_machine() {
    Machine machine;
    machine.cpu = cpu_text();
    machine.os = os_text();
    machine.cores = std::thread::hardware_concurrency();
    return machine;
}

std::string commit_text() {
    const char* commit = std::getenv("MUSTAFAR_COMMIT");
    return commit != nullptr && *commit != '\0' ? commit : "unknown";
}

} // namespace mustafar::experiment
