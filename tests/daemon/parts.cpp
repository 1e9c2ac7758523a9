// SPDX-License-Identifier: Apache-2.0
// Problems, JSON, routes, OpenAPI, tokens, locks and files of mustafard, each alone.
#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/handlers.hpp"
#include "api/parameters.hpp"
#include "dashboard/page.hpp"
#include "http/transport.hpp"
#include "library.hpp"
#include "openapi.hpp"
#include "problem.hpp"
#include "routes.hpp"
#include "slabs.hpp"
#include "store/directory.hpp"
#include "store/lock.hpp"
#include "tokens.hpp"
#include "json/fields.hpp"

namespace mustafar::daemon {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Problems, EveryStatusOfTheLibraryHasItsRow) {
    const mustafar_error error = MUSTAFAR_ERROR_INIT;
    int statuses = 0;
    for (mustafar_status status = 1;
         std::string(mustafar_status_name(status)) != "MUSTAFAR_UNKNOWN"; ++status) {
        const Problem problem = problem_of(status, error);
        EXPECT_STRNE(problem.what(), "a status this server does not know")
            << mustafar_status_name(status);
        ++statuses;
    }
    EXPECT_EQ(statuses, MUSTAFAR_INTERNAL);
}

TEST(Dashboard, TakesTheCodingsThatAreAccepted) {
    const auto gzip = [](std::string_view accept) { return takes_coding(accept, "gzip"); };
    const auto identity = [](std::string_view accept) { return takes_coding(accept, "identity"); };
    EXPECT_FALSE(gzip(""));
    EXPECT_TRUE(gzip("gzip"));
    EXPECT_TRUE(gzip("br, gzip;q=0.5"));
    EXPECT_FALSE(gzip("gzip;q=0, *"));
    EXPECT_FALSE(gzip("*, gzip; q=0.000"));
    EXPECT_TRUE(gzip("deflate , *;q=0.1"));
    EXPECT_FALSE(gzip("gzipped,x-gzip"));
    EXPECT_TRUE(identity(""));
    EXPECT_TRUE(identity("gzip"));
    EXPECT_FALSE(identity("gzip, identity;q=0"));
    EXPECT_FALSE(identity("*;q=0"));
    EXPECT_TRUE(identity("identity;q=0.1, *;q=0"));
}

TEST(Dashboard, PageIsEmbeddedWithItsPolicy) {
    EXPECT_THAT(std::string(dashboard_page.html), testing::StartsWith("<!doctype html>"));
    EXPECT_THAT(std::string(dashboard_page.policy),
                testing::StartsWith("default-src 'none'; script-src 'sha256-"));
    EXPECT_EQ(dashboard_page.digest.size(), 64u);
    Response page;
    page.fields = {{"Content-Security-Policy", std::string(dashboard_page.policy)},
                   {"Cache-Control", "no-cache"}};
    int policies = 0;
    for (const Field& field : common_fields(page, true)) {
        policies += field.name == "Content-Security-Policy" || field.name == "Cache-Control";
    }
    EXPECT_EQ(policies, 0) << "those of the page count alone";
}

TEST(Problems, ListIsInTheOrderOfItsTypes) {
    int index = 0;
    for (const ProblemInfo& info : problem_list()) {
        EXPECT_EQ(static_cast<int>(info.type), index++) << info.slug;
    }
}

TEST(Problems, FaultsOfOursAreNotTold) {
    mustafar_error error = MUSTAFAR_ERROR_INIT;
    std::strcpy(error.message, "secret");
    EXPECT_STREQ(problem_of(MUSTAFAR_INTERNAL, error).what(), "MUSTAFAR_INTERNAL");
    error.values[0] = 10;
    const Response response = problem_response(problem_of(MUSTAFAR_OUT_OF_MEMORY, error), "id-1");
    EXPECT_EQ(response.status, 507);
    EXPECT_THAT(response.text, HasSubstr(R"("requested_bytes":10)"));
    EXPECT_THAT(response.text, HasSubstr(R"("instance":"urn:request:id-1")"));
}

std::string refusal(std::string_view text) {
    try {
        parse_json(text);
        return "accepted";
    } catch (const Problem& problem) { return problem.members()["errors"][0]["code"]; }
}

TEST(JsonText, RefusesWhatTheParserWouldTake) {
    EXPECT_EQ(refusal(R"({"a":[1,-1,1.5,"x",null,{"b":true}]})"), "accepted");
    EXPECT_EQ(refusal(std::string_view("{}\0", 3)), "syntax");
    EXPECT_EQ(refusal("\xef\xbb\xbf{}"), "syntax");
    EXPECT_EQ(refusal("{} x"), "syntax");
    EXPECT_EQ(refusal("{\"\xff\":1}"), "syntax");
    EXPECT_EQ(refusal(R"({"a":1,"a":1})"), "duplicate");
    EXPECT_EQ(refusal(R"([{"a":{"b":1,"b":2}}])"), "duplicate");
    EXPECT_EQ(refusal("18446744073709551616"), "range");
    EXPECT_EQ(refusal("-9223372036854775809"), "range");
    EXPECT_EQ(refusal("1e999"), "syntax");
    EXPECT_EQ(refusal(std::string(json_depth_max, '[') + std::string(json_depth_max, ']')),
              "accepted");
    EXPECT_EQ(refusal(std::string(json_depth_max + 1, '[') + std::string(json_depth_max + 1, ']')),
              "depth");
    EXPECT_EQ(refusal(std::string(1000000, '[')), "depth");
}

TEST(JsonText, NamesThePlace) {
    try {
        parse_json(R"({"a":[0,{"b/c":1,"b/c":2}]})");
        FAIL();
    } catch (const Problem& problem) {
        EXPECT_EQ(problem.members()["errors"][0]["pointer"], "/a/1/b~1c");
    }
}

TEST(Routes, MatchByMethodAndSegments) {
    const RouteMatch append = match_route("POST", "/v1/caches/a-1/layers/12/append");
    ASSERT_NE(append.route, nullptr);
    EXPECT_STREQ(append.route->name, "append_rows");
    EXPECT_THAT(append.parameters, ElementsAre("a-1", "12"));
    EXPECT_STREQ(match_route("HEAD", "/healthz").route->name, "get_healthz");
    EXPECT_THAT(match_route("POST", "/v1/caches/a").allow,
                ElementsAre("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"));
    EXPECT_EQ(match_route("POST", "/v1/caches/a").route, nullptr);
    for (const char* path :
         {"//", "/healthz/", "/healthz/x", "/v1/caches/", "/v1/caches/A", "/v1/caches/-a",
          "/v1/caches/..", "/v1/caches/a%20b", "/v1//caches", "/V1/caches"}) {
        EXPECT_TRUE(match_route("GET", path).allow.empty()) << path;
    }
    EXPECT_TRUE(match_route("GET", "/v1/caches/" + std::string(65, 'a')).allow.empty());
}

TEST(Routes, EveryRowIsSound) {
    std::set<std::string> operations;
    for (const Route& route : routes()) {
        EXPECT_TRUE(operations.insert(route.name).second) << route.name;
        EXPECT_FALSE(route.statuses.empty()) << route.name;
        EXPECT_EQ(route.body == BodyKind::none, route.request == nullptr) << route.name;
        for (const char* contents : {route.request, route.response}) {
            std::istringstream names(contents == nullptr ? "octets" : contents);
            for (std::string name; names >> name;) {
                const bool raw = name == "octets" || name == "safetensors" || name == "text" ||
                                 name == "page" || name == "csv" || name == "events";
                EXPECT_TRUE(raw || schemas().contains(name)) << route.name << " " << name;
            }
        }
        const std::string_view name = route.name;
        const bool asks =
            name == "post_plans" || name == "explain_recipe"; // bodies too long for a query
        const bool changes = route.method != Method::get && route.body != BodyKind::octets &&
                             route.body != BodyKind::safetensors;
        if (changes && !asks) { EXPECT_GE(route.scope, Scope::write) << route.name; }
    }
}

TEST(OpenApi, IsTheCommittedOne) {
    std::ifstream file(MUSTAFAR_SOURCE_DIR "/daemon/openapi.json");
    std::stringstream committed;
    committed << file.rdbuf();
    EXPECT_EQ(openapi_text(), committed.str())
        << "if this is meant: build/bin/mustafard --print-openapi > daemon/openapi.json";
}

TEST(OpenApi, EveryReferenceLeadsSomewhere) {
    const Json document = Json::parse(openapi_text());
    const std::string text = document.dump();
    const std::string prefix = "#/components/schemas/";
    for (std::size_t at = text.find(prefix); at != text.npos; at = text.find(prefix, at + 1)) {
        const std::string name =
            text.substr(at + prefix.size(), text.find('"', at) - at - prefix.size());
        EXPECT_TRUE(document["components"]["schemas"].contains(name)) << name;
    }
}

TEST(TokenFile, GivesEachTokenItsScope) {
    const Tokens tokens =
        Tokens::parse("# all\nread 0123456789abcdef\n\nadmin  fedcba9876543210 # me\r\n", "t");
    EXPECT_EQ(tokens.scope_of("0123456789abcdef"), Scope::read);
    EXPECT_EQ(tokens.scope_of("fedcba9876543210"), Scope::admin);
    EXPECT_EQ(tokens.scope_of("0123456789abcdeg"), Scope::none);
    EXPECT_EQ(tokens.scope_of(""), Scope::none);
    for (const char* text : {"", "# nothing", "read", "read short", "root 0123456789abcdef",
                             "read 0123456789abcde\x01"}) {
        EXPECT_THROW(Tokens::parse(text, "t"), std::invalid_argument) << text;
    }
}

TEST(ReplyHead, OfLibraryAndGuardSayTheSame) {
    const auto transport = make_transport(30);
    for (const ProblemInfo& info : problem_list()) {
        Request request;
        Response response;
        const auto handle = [&] { response = problem_response(Problem(info.type, "x"), "id"); };
        const std::string theirs =
            transport->exchange("/a?b=c&d=%20", false, request, response, handle);
        const std::string start = "HTTP/1.1 " + std::to_string(info.status) + " ";
        EXPECT_TRUE(theirs.starts_with(start)) << theirs;
        EXPECT_TRUE(write_head(response, false).starts_with(start));
        for (const Field& field : common_fields(response, false)) {
            EXPECT_THAT(theirs, HasSubstr(field.name + ": ")) << info.slug;
        }
        ASSERT_EQ(request.query.size(), 2u);
        EXPECT_EQ(request.query[1].value, " ");
    }
}

TEST(ReplyHead, MalformedQueriesAreSeen) {
    const auto transport = make_transport(30);
    for (const auto& [target, repeats] : {std::pair("/a", false),
                                          {"/a?", false},
                                          {"/a?b=1&c=1", false},
                                          {"/a?b=1&b=2", false},
                                          {"/a?b=1&b=1", true},
                                          {"/a?b=1&&c=1", true},
                                          {"/a?b=1&", true},
                                          {"/a?b=%20%4a%4A", false},
                                          {"/a?b=%u0041", true},
                                          {"/a?b=%4", true},
                                          {"/a?b=%zz", true},
                                          {"/a?b=%", true},
                                          {"/a?b=1=2", true},
                                          {"/a?=b", true}}) {
        Request request;
        Response response;
        transport->exchange(target, true, request, response, [] {});
        EXPECT_EQ(request.query_malformed, repeats) << target;
    }
}

TEST(EntityTags, AreFoundInLists) {
    EXPECT_TRUE(etag_listed("*", "\"a\""));
    EXPECT_TRUE(etag_listed("\"b\" ,\t\"a\"", "\"a\""));
    EXPECT_FALSE(etag_listed("\"ab\"", "\"a\""));
    EXPECT_FALSE(etag_listed("", "\"a\""));
}

TEST(Lock, WaitingWritersGoBeforeNewReaders) {
    TimedLock lock;
    const auto now = [] { return std::chrono::steady_clock::now(); };
    const auto soon = std::chrono::milliseconds(20);
    ASSERT_TRUE(lock.lock_shared(now() + soon));
    ASSERT_TRUE(lock.lock_shared(now() + soon)); // readers share
    EXPECT_FALSE(lock.lock(now() + soon));
    ASSERT_TRUE(lock.lock_shared(now() + soon)); // the writer has given up
    std::thread writer([&] {
        EXPECT_TRUE(lock.lock(now() + std::chrono::seconds(20)));
        lock.unlock();
    });
    while (lock.lock_shared(now())) { // until the writer waits: then nobody new gets in
        lock.unlock_shared();
        std::this_thread::yield();
    }
    for (int i = 0; i < 3; ++i) { lock.unlock_shared(); }
    writer.join();
    EXPECT_TRUE(lock.lock(now() + soon));
    EXPECT_FALSE(lock.lock_shared(now() + soon));
    lock.unlock();
}

TEST(Files, AreWrittenWholeOrNotAtAll) {
    const std::string path = testing::TempDir() + "mustafard-files-" + std::to_string(::getpid());
    Directory directory(path, ".x");
    EXPECT_THROW(Directory(path, ".x"), std::runtime_error); // one daemon at a time
    const auto write = [](const char* text) {
        return [text](const File& file) { file.write(text, std::strlen(text)); };
    };
    EXPECT_TRUE(directory.write("a", false, write("one")));
    EXPECT_FALSE(directory.write("a", false, write("two")));
    EXPECT_THROW(directory.write("a", true, [](const File&) { throw std::runtime_error("no"); }),
                 std::runtime_error);
    char text[8] = {};
    EXPECT_EQ(directory.open("a")->read(text, sizeof text), 3u);
    EXPECT_STREQ(text, "one");
    EXPECT_TRUE(directory.write("a", true, write("three")));
    EXPECT_EQ(directory.info("a")->bytes, 5u);
    EXPECT_EQ(directory.list().size(), 1u);
    EXPECT_TRUE(directory.remove("a"));
    EXPECT_FALSE(directory.remove("a"));
    EXPECT_FALSE(directory.open("a").has_value());
}

TEST(Slabs, BlocksAreApartAndComeBack) {
    Slabs slabs;
    std::set<char*> seen;
    std::vector<std::pair<char*, std::size_t>> live;
    std::uint32_t random = 1;
    for (int round = 0; round < 8000; ++round) {
        random = random * 1664525u + 1013904223u;
        if (live.empty() || (random >> 16) % 3 != 0) {
            const std::size_t bytes = (random >> 20) % 2 != 0 ? 3136 : 16448;
            auto* block = static_cast<char*>(slabs.take(bytes));
            ASSERT_EQ(reinterpret_cast<std::uintptr_t>(block) % Slabs::alignment, 0u);
            std::memset(block, static_cast<int>(live.size() % 251), bytes);
            live.push_back({block, bytes});
        } else {
            const std::size_t which = (random >> 8) % live.size();
            const auto [block, bytes] = live[which];
            const char first = block[0];
            const bool whole =
                std::all_of(block, block + bytes, [&](char c) { return c == first; });
            ASSERT_TRUE(whole) << "a block was written by the owner of another";
            slabs.give(block);
            live[which] = live.back();
            live.pop_back();
        }
    }
    std::sort(live.begin(), live.end());
    for (std::size_t i = 1; i < live.size(); ++i) {
        ASSERT_LE(live[i - 1].first + live[i - 1].second, live[i].first);
    }
    const std::uint64_t most = slabs.reserved();
    std::uint64_t used = 0;
    for (const auto& [block, bytes] : live) { used += bytes; }
    EXPECT_LT(most, 2 * used + (2 << 20));
    slabs.trim();
    slabs.trim();
    for (const auto& [block, bytes] : live) { slabs.give(block); }
    EXPECT_EQ(slabs.reserved(), most) << "what is free may come again";
    slabs.trim();
    EXPECT_EQ(slabs.reserved(), most);
    slabs.trim();
    EXPECT_EQ(slabs.reserved(), 0u);
}

TEST(Slabs, ThreadsShareThem) {
    Slabs slabs;
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
        threads.emplace_back([&slabs, thread] {
            std::vector<void*> mine;
            for (int i = 0; i < 2000; ++i) {
                void* block = slabs.take(4096);
                std::memset(block, thread, 4096);
                mine.push_back(block);
                if (i % 3 == 0) {
                    slabs.give(mine.front());
                    mine.erase(mine.begin());
                }
                if (i % 500 == 0) { slabs.trim(); }
            }
            for (void* block : mine) {
                EXPECT_EQ(static_cast<char*>(block)[4095], static_cast<char>(thread));
                slabs.give(block);
            }
        });
    }
    for (std::thread& thread : threads) { thread.join(); }
    slabs.trim();
    slabs.trim();
    EXPECT_EQ(slabs.reserved(), 0u);
}

TEST(StagingBudget, KeepsALargeBufferForTheNextBodyAndLetsItGo) {
    constexpr std::size_t bytes = 8 << 20;
    StagingBudget budget(64 << 20);
    char* first = nullptr;
    {
        Staging one = Staging::reserve(budget, bytes);
        first = one.data();
        EXPECT_EQ(budget.used(), bytes);
    }
    EXPECT_EQ(budget.used(), 0u);
    {
        const Staging again = Staging::reserve(budget, bytes - 100);
        EXPECT_EQ(again.data(), first);
        EXPECT_EQ(again.size(), bytes - 100);
    }
    const Staging small = Staging::reserve(budget, 1000);
    EXPECT_NE(small.data(), first);
    budget.trim();
    budget.trim(); // now it is gone: the address sanitizer sees the leak where it is not
    EXPECT_TRUE(Staging::reserve(budget, 65 << 20).empty());
}

} // namespace
} // namespace mustafar::daemon
