// SPDX-License-Identifier: Apache-2.0
// Allocations that fail: around a handler, behind the HTTP library, in what is told of a job; and memory that is kept
// for reuse, which stays within its limits.
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/staging.hpp"
#include "http/transport.hpp"
#include "jobs/job.hpp"
#include "log.hpp"
#include "routes.hpp"
#include "service.hpp"
#include "slabs.hpp"

namespace {

thread_local int countdown = 0; // the nth allocation of this thread from now on fails; 0: none does

} // namespace

// Not inlined: gcc 12 warns of a free without its malloc where it sees one of the two only.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
    if (countdown > 0 && --countdown == 0) { throw std::bad_alloc(); }
    if (void* data = std::malloc(bytes == 0 ? 1 : bytes)) { return data; }
    throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* data) noexcept { std::free(data); }
[[gnu::noinline]] void operator delete(void* data, std::size_t) noexcept { std::free(data); }

namespace mustafar::daemon {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

Response say_hello(Service&, Request& request) {
    Response response;
    response.type = "text/plain; charset=utf-8; long enough for the heap";
    response.text = "hello " + request.query.at(0).value + ", said at some length";
    response.fields.push_back({"X-Some-Field-With-A-Long-Name", "and with a value of some length"});
    return response;
}

Response fail_secretly(Service&, Request&) { throw std::runtime_error("a secret"); }
Response fail_oddly(Service&, Request&) { throw 7; }

// What a worker does with GET /hello?x=... on that handler.
class Worker {
  public:
    explicit Worker(Handler handler)
        : route_{Method::get, "/hello",      "hello", Scope::read, BodyKind::none,
                 handler,     false,         nullptr, nullptr,     {{"x", "string", true, ""}},
                 {200},       "Says a hello"},
          work_(work_of(service_)()) {}
    Exchange answer(int failing) {
        Exchange exchange;
        exchange.method = "GET";
        exchange.target = "/hello?x=a-name-that-is-longer-than-a-short-string";
        exchange.request.route = &route_;
        exchange.request.id = "an-id-that-is-longer-than-a-short-string";
        countdown = failing;
        work_(exchange);
        reached = countdown == 0;
        countdown = 0;
        return exchange;
    }
    bool reached = false;

  private:
    const Config config_;
    Service service_{config_};
    const Route route_;
    const Workers::Work work_;
};

void expect_problem(const Exchange& exchange, int status, const char* slug) {
    EXPECT_EQ(exchange.response.status, status);
    EXPECT_THAT(exchange.head,
                AllOf(StartsWith("HTTP/1.1 " + std::to_string(status) + " "),
                      HasSubstr("Content-Type: application/problem+json\r\n"),
                      HasSubstr("X-Request-Id: " + exchange.request.id + "\r\n"),
                      HasSubstr("Content-Length: " + std::to_string(exchange.response.text.size()) +
                                "\r\n"),
                      Not(HasSubstr("EXCEPTION"))));
    EXPECT_THAT(exchange.response.text,
                AllOf(HasSubstr("urn:mustafar:problem:" + std::string(slug) + "\""),
                      HasSubstr("urn:request:" + exchange.request.id), Not(HasSubstr("secret"))));
}

TEST(NoMemory, IsToldWhereverItEndsAroundAHandler) {
    start_log("off");
    Worker worker(say_hello);
    int failing = 0;
    do {
        const Exchange exchange = worker.answer(++failing);
        SCOPED_TRACE("allocation " + std::to_string(failing));
        if (exchange.response.status != 200) {
            expect_problem(exchange, 507, "quota-exceeded");
        } else {
            EXPECT_THAT(exchange.head, StartsWith("HTTP/1.1 200 OK\r\n"));
            EXPECT_THAT(exchange.response.text, HasSubstr("hello a-name-that-is-longer"));
        }
    } while (worker.reached && failing < 10000);
    EXPECT_GT(failing, 20) << "no allocation was reached";
    EXPECT_LT(failing, 10000);
}

TEST(Faults, AreToldWithoutTheirTextWhichIsInTheLog) {
    testing::internal::CaptureStderr();
    start_log("error");
    expect_problem(Worker(fail_secretly).answer(0), 500, "internal");
    expect_problem(Worker(fail_oddly).answer(0), 500, "internal");
    stop_log();
    start_log("off");
    const std::string log = testing::internal::GetCapturedStderr();
    EXPECT_THAT(log, AllOf(HasSubstr("\"what\":\"a secret\""), HasSubstr("no std::exception"),
                           HasSubstr("\"id\":\"an-id-that-is-longer")));
}

TEST(Faults, ComeThroughTheLibrary) {
    const auto transport = make_transport(30);
    Request request;
    Response response;
    const auto ask = [&](const std::function<void()>& handle) {
        return transport->exchange("/a", true, request, response, handle);
    };
    EXPECT_THROW(ask([] { throw std::runtime_error("x"); }), std::runtime_error);
    EXPECT_THROW(ask([] { throw std::bad_alloc(); }), std::bad_alloc);
    EXPECT_THROW(ask([] { throw 7; }), int);
    EXPECT_THAT(ask([] {}), StartsWith("HTTP/1.1 200 OK\r\n")); // and nothing stays behind
}

JobRecord running_job() {
    JobRecord record;
    record.id = "job-1-abcd";
    record.state = JobState::running;
    record.version = 1;
    return record;
}

TEST(JobEvents, ThatCouldNotBeKeptBecomeAReset) {
    const Wake wake;
    Job job(running_job(), JobSpec{}, wake);
    const auto row = [&](bool memory) {
        job.tell(
            "row", [](JobRecord& record) { ++record.rows; },
            [&](const JobRecord& record) -> Json {
                if (!memory) { throw std::bad_alloc(); }
                return {{"rows", record.rows}};
            });
    };
    std::uint64_t last = 1;
    row(false);
    std::string out;
    EXPECT_FALSE(job.events(&last, out, 1 << 20));
    EXPECT_THAT(out, AllOf(StartsWith("id: 2\nevent: reset\n"), HasSubstr("\"rows\":1")));
    row(true);
    row(true);
    out.clear();
    EXPECT_FALSE(job.events(&last, out, 1 << 20));
    EXPECT_THAT(out, AllOf(StartsWith("id: 3\nevent: row\n"), HasSubstr("id: 4\nevent: row\n")));
    EXPECT_THROW(job.tell(
                     "row", [](JobRecord&) { throw std::bad_alloc(); },
                     [](const JobRecord&) { return Json(); }),
                 std::bad_alloc);
    EXPECT_EQ(job.version(), 4u) << "nothing has changed";
}

TEST(JobEvents, TellTheEndWithoutMemoryForIt) {
    const Wake wake;
    for (int failing = 0; failing < 3; ++failing) {
        Job job(running_job(), JobSpec{}, wake);
        std::uint64_t last = 1;
        JobRecord ended = job.record();
        ended.state = JobState::done;
        ++ended.version;
        countdown =
            failing; // the first allocations of the event: those of JSON that may not throw come later
        job.end(std::move(ended));
        countdown = 0;
        std::string out;
        EXPECT_TRUE(job.events(&last, out, 1 << 20));
        EXPECT_THAT(out, AllOf(HasSubstr("id: 2\nevent: done\n"), HasSubstr("\"state\":\"done\"")))
            << failing;
        EXPECT_EQ(last, 2u);
    }
}

TEST(StagingBudget, NeverKeepsMoreThanItsLimit) {
    constexpr std::size_t mib = 1 << 20;
    StagingBudget budget(64 * mib);
    const auto within = [&] { return budget.used() + budget.kept() <= budget.limit(); };
    {
        const Staging one = Staging::reserve(budget, 16 * mib);
        const Staging two = Staging::reserve(budget, 14 * mib);
    }
    EXPECT_EQ(budget.kept(), 30 * mib);
    {
        const Staging large = Staging::reserve(budget, 40 * mib);
        EXPECT_FALSE(large.empty());
        EXPECT_TRUE(within()) << budget.kept();
        const Staging rest = Staging::reserve(budget, 24 * mib);
        EXPECT_FALSE(rest.empty()) << "what is kept refuses nobody";
        EXPECT_EQ(budget.kept(), 0u);
        Staging odd = Staging::reserve(budget, 0);
    }
    Staging full = Staging::reserve(budget, 50 * mib);
    {
        const Staging one = Staging::reserve(budget, 13 * mib);
        EXPECT_FALSE(one.empty());
    }
    EXPECT_TRUE(within()) << "rounded up to large pages, too";
    full = Staging();
    budget.trim();
    budget.trim();
    EXPECT_EQ(budget.kept() + budget.used(), 0u);
}

TEST(Slabs, TellWhatTheyKeepAndGiveItBack) {
    Slabs slabs;
    std::vector<void*> blocks;
    for (int i = 0; i < 1000; ++i) { blocks.push_back(slabs.take(4096)); }
    EXPECT_EQ(slabs.kept(), 0u);
    for (void* block : blocks) { slabs.give(block); }
    EXPECT_EQ(slabs.kept(), 1000u * 4096);
    void* again = slabs.take(4096);
    EXPECT_EQ(slabs.kept(), 999u * 4096);
    slabs.trim(true);
    EXPECT_LT(slabs.kept(), 1u << 20) << "only the region that is in use stays";
    slabs.give(again);
    slabs.trim(true);
    EXPECT_EQ(slabs.kept(), 0u);
    EXPECT_EQ(slabs.reserved(), 0u);
}

} // namespace
} // namespace mustafar::daemon
