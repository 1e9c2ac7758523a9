// SPDX-License-Identifier: Apache-2.0
// Every golden file: good ones load, give the stored values and save to the same bytes; bad ones are refused with
// the stored status, for the stored reason, at the stored place, and leave nothing behind.
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include <gtest/gtest.h>
#include <unistd.h>

#include "cases.hpp"
#include "library.hpp"

namespace mustafar::golden {

const std::string folder = MUSTAFAR_SOURCE_DIR "/tests/golden/v1/";

struct Entry {
    std::string name, status, offset, says; // a line of the manifest
};

void PrintTo(const Entry& entry, std::ostream* out) { *out << entry.name; } // for GoogleTest

std::vector<Entry> manifest() {
    std::vector<Entry> out;
    std::ifstream in(folder + "manifest.txt");
    for (std::string line; std::getline(in, line);) {
        std::istringstream words(line);
        Entry entry;
        words >> entry.name >> entry.status >> entry.offset >> std::ws;
        std::getline(words, entry.says);
        out.push_back(entry);
    }
    return out;
}

class Golden : public testing::TestWithParam<Entry> {
  protected:
    ContextPtr context = make_context();
    Bytes file = read_file(folder + GetParam().name);

    std::uint64_t live() const {
        mustafar_context_stats stats{};
        stats.struct_size = sizeof(stats);
        mustafar_error error = MUSTAFAR_ERROR_INIT;
        must(mustafar_context_get_stats(context.get(), &stats, &error), error);
        return stats.live_bytes - stats.work_bytes;
    }
};

TEST_P(Golden, File) {
    Outcome outcome;
    std::size_t taken = 0;
    const CachePtr cache = load(context.get(), file, outcome, &taken);
    EXPECT_STREQ(mustafar_status_name(outcome.status) + sizeof("MUSTAFAR"),
                 GetParam().status.c_str())
        << outcome.error.message;
    if (GetParam().status != "OK") {
        const std::string says = GetParam().says == "..." ? "" : GetParam().says;
        EXPECT_NE(std::string(outcome.error.message).find(says), std::string::npos)
            << outcome.error.message;
        if (GetParam().offset != "-") {
            EXPECT_EQ(std::to_string(outcome.error.values[0]), GetParam().offset);
        }
        EXPECT_EQ(cache, nullptr);
        EXPECT_EQ(live(), 0U);
        return;
    }
    ASSERT_NE(cache, nullptr);
    EXPECT_EQ(taken, file.size());
    const Bytes stored =
        read_file(folder + GetParam().name.substr(0, GetParam().name.size() - 5) + ".txt");
    const std::string expected(stored.begin(), stored.end());
    const std::size_t model = expected.find("\nmodel ") + 7;
    const std::string model_id = expected.substr(model, expected.find('\n', model) - model);
    EXPECT_EQ(describe(cache.get(), model_id), expected);
    EXPECT_EQ(save(cache.get(), model_id), file);
}

INSTANTIATE_TEST_SUITE_P(V1, Golden, testing::ValuesIn(manifest()), [](const auto& item) {
    std::string name = item.param.name.substr(0, item.param.name.find('.'));
    for (char& c : name) {
        if (c == '-' || c == '/') { c = '_'; }
    }
    return name;
});

// The same rows through the library of today: packing gives the same bytes, and what it saves it also loads.
TEST(GoldenCases, PackToTheStoredBytes) {
    const ContextPtr context = make_context();
    for (const GoodCase& good : good_cases()) {
        const Bytes now = save(good.make(context.get()).get(), good.model_id);
        EXPECT_EQ(now, read_file(folder + good.name + ".snap")) << good.name << ": " << good.why;
        Outcome outcome;
        EXPECT_NE(load(context.get(), now, outcome), nullptr)
            << good.name << ": " << outcome.error.message;
    }
}

TEST(GoldenFolder, HoldsWhatTheManifestLists) {
    std::set<std::string> listed;
    for (const Entry& entry : manifest()) { listed.insert(entry.name); }
    std::set<std::string> present;
    for (const auto& item : std::filesystem::recursive_directory_iterator(folder)) {
        if (item.path().extension() != ".snap") { continue; }
        present.insert(std::filesystem::relative(item.path(), folder).string());
    }
    EXPECT_EQ(present, listed);
    EXPECT_FALSE(listed.empty());
}

// Snapshots may follow each other in a stream, but a file holds one.
TEST(GoldenFolder, BytesBehindASnapshot) {
    const ContextPtr context = make_context();
    Bytes file = read_file(folder + "exact-i4-i8.snap");
    const std::size_t size = file.size();
    file.push_back(0);
    Outcome outcome;
    std::size_t taken = 0;
    EXPECT_NE(load(context.get(), file, outcome, &taken), nullptr);
    EXPECT_EQ(taken, size);

    const std::string path = testing::TempDir() + "mustafar-golden-" + std::to_string(getpid());
    write_new_file(path, file.data(), file.size());
    mustafar_cache* cache = nullptr;
    const mustafar_status status = mustafar_cache_load_file(
        context.get(), nullptr, nullptr, nullptr, nullptr, path.c_str(), &cache, &outcome.error);
    std::filesystem::remove(path);
    mustafar_cache_destroy(cache);
    EXPECT_EQ(status, MUSTAFAR_CORRUPT) << outcome.error.message;
}

} // namespace mustafar::golden
