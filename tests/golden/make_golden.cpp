// SPDX-License-Identifier: Apache-2.0
// make_golden <folder>: writes the golden files of the snapshot version that the library writes. It never
// overwrites: a file that is there must be what would be written now, anything else is reported and left alone.
// Prints manifest lines for what it made (README.md says what to do with them).
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "cases.hpp"
#include "sections.hpp"

using namespace mustafar::golden;

namespace {

int failures = 0;

void keep(const std::string& path, const void* data, std::size_t bytes) {
    if (!std::filesystem::exists(path)) { return write_new_file(path, data, bytes); }
    const auto* at = static_cast<const unsigned char*>(data);
    if (read_file(path) == Bytes(at, at + bytes)) { return; }
    std::fprintf(stderr, "DIFFERS %s: left as it is\n", path.c_str());
    ++failures;
}

// -1 where the error names no byte.
std::int64_t place_of(const BadCase& bad, const Bytes& file) {
    if (bad.section == "-") { return -1; }
    if (bad.section.empty()) { return 0; }
    const std::string tag = bad.section;
    for (std::size_t at = file_head_bytes; at + 4 <= file.size(); ++at) {
        if (std::equal(tag.begin(), tag.end(), file.begin() + static_cast<std::ptrdiff_t>(at))) {
            return static_cast<std::int64_t>(at);
        }
    }
    return -2; // the section that is missing or in another place: see the check
}

} // namespace

int main(int count, char** arguments) {
    if (count != 2) {
        std::fprintf(stderr, "usage: make_golden <folder>\n");
        return 2;
    }
    const std::string folder = std::string(arguments[1]) + "/";
    const ContextPtr context = make_context();
    std::map<std::string, Bytes> made;
    for (const GoodCase& good : good_cases()) {
        const CachePtr cache = good.make(context.get());
        const Bytes file = save(cache.get(), good.model_id);
        const std::string text = describe(cache.get(), good.model_id);
        keep(folder + good.name + ".snap", file.data(), file.size());
        keep(folder + good.name + ".txt", text.data(), text.size());
        made[good.name] = file;
        std::printf("%s.snap OK - %s\n", good.name.c_str(), good.why.c_str());
    }
    for (const BadCase& bad : bad_cases()) {
        const Bytes file = bad.damage(made.at(bad.base));
        Outcome outcome;
        const CachePtr cache = load(context.get(), file, outcome);
        const std::string says = outcome.error.message;
        const std::int64_t place = place_of(bad, file);
        const bool named =
            bad.status != MUSTAFAR_CORRUPT || place == -2 || outcome.error.values[0] == place;
        if (outcome.status != bad.status || says.find(bad.says) == std::string::npos || !named) {
            std::fprintf(stderr, "NOT AS MEANT  %s: %s at %lld (meant %s at %lld, \"%s\"): %s\n",
                         bad.name.c_str(), mustafar_status_name(outcome.status),
                         static_cast<long long>(outcome.error.values[0]),
                         mustafar_status_name(bad.status), static_cast<long long>(place),
                         bad.says.c_str(), says.c_str());
            ++failures;
            continue;
        }
        keep(folder + "bad/" + bad.name + ".snap", file.data(), file.size());
        const std::string at =
            bad.status == MUSTAFAR_CORRUPT ? std::to_string(outcome.error.values[0]) : "-";
        std::printf("bad/%s.snap %s %s %s\n", bad.name.c_str(),
                    mustafar_status_name(bad.status) + sizeof("MUSTAFAR"), at.c_str(),
                    bad.says.empty() ? "..." : bad.says.c_str());
    }
    return failures == 0 ? 0 : 1;
}
