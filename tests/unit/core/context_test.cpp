// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <set>

#include "core/context.hpp"
#include "unit_support.hpp"

namespace mustafar::test {
namespace {

// Sets MUSTAFAR_FORCE_BACKEND while it lives.
class Forced {
  public:
    explicit Forced(const char* backend) {
        if (const char* was = std::getenv(name)) { before_ = was; }
        ::setenv(name, backend, 1);
    }
    ~Forced() { before_.empty() ? ::unsetenv(name) : ::setenv(name, before_.c_str(), 1); }
    Forced(const Forced&) = delete;
    Forced& operator=(const Forced&) = delete;

  private:
    static constexpr const char* name = "MUSTAFAR_FORCE_BACKEND";
    std::string before_;
};

TEST(ContextBackend, AForcedUnknownName_FailsAndNamesTheVariable) {
    const Forced forced("avx1024");
    const Error error = error_of([] { Context context{ContextSettings{}}; });
    EXPECT_EQ(error.code, MUSTAFAR_UNSUPPORTED);
    EXPECT_NE(error.text.find("MUSTAFAR_FORCE_BACKEND = \"avx1024\""), std::string::npos)
        << error.text;
}

TEST(ContextBackend, AForcedName_WinsOverTheOption) {
    const Forced forced("ref");
    ContextSettings settings;
    settings.backend = "no such backend";
    const Context context(settings);
    for (const KernelRow& row : context.kernels().rows) { EXPECT_STREQ(row.backend, "ref"); }
}

TEST(ContextBackend, AForcedRef_DoesNotOverruleRefuseRef) {
    const Forced forced("ref");
    ContextSettings settings;
    settings.refuse_ref = true;
    EXPECT_EQ(status_of([&] { const Context context(settings); }), MUSTAFAR_UNSUPPORTED);
}

TEST(ContextBackend, AnEmptyVariable_ForcesNothing) {
    const Forced forced("");
    ContextSettings settings;
    settings.backend = "no such backend";
    EXPECT_EQ(status_of([&] { const Context context(settings); }), MUSTAFAR_UNSUPPORTED);
}

TEST(ContextLog, Creation_SaysWhichRowServesEachOp) {
    std::vector<std::string> lines;
    ContextSettings settings;
    settings.log = {sizeof(mustafar_log_hook), MUSTAFAR_LOG_INFO, &lines,
                    [](void* user, std::int32_t, const char* text) {
                        static_cast<std::vector<std::string>*>(user)->emplace_back(text);
                    }};
    const Context context(settings);
    ASSERT_EQ(lines.size(), 5U);
    EXPECT_NE(lines[3].find(context.kernels().rows[3].name), std::string::npos) << lines[3];
    EXPECT_TRUE(context.logs(MUSTAFAR_LOG_INFO));
    EXPECT_FALSE(context.logs(MUSTAFAR_LOG_TRACE)) << "finer than asked for";
}

TEST(ContextThreads, ParallelFor_RunsEveryItemOnceWithAnyNumberOfThreads) {
    for (const std::uint32_t threads : {1U, 4U}) {
        Heap heap;
        const auto context = make_context(heap, 0, threads);
        EXPECT_EQ(context->threads(), threads);
        std::vector<std::atomic<int>> runs(1000);
        context->parallel_for(runs.size(), [&](std::size_t i) { ++runs[i]; });
        for (const auto& count : runs) { ASSERT_EQ(count, 1); }
        context->parallel_for(0, [](std::size_t) { FAIL(); });
    }
}

TEST(ContextThreads, AnErrorInAnItem_ReachesTheCaller) {
    for (const std::uint32_t threads : {1U, 4U}) {
        Heap heap;
        const auto context = make_context(heap, 0, threads);
        EXPECT_EQ(status_of([&] {
                      context->parallel_for(100, [](std::size_t i) {
                          if (i == 57) { throw Error(MUSTAFAR_CAPACITY, "full"); }
                      });
                  }),
                  MUSTAFAR_CAPACITY);
    }
}

TEST(ContextLease, AReturnedWorkspace_ServesTheNextCall) {
    Heap heap;
    {
        const auto context = make_context(heap);
        std::byte* first = nullptr;
        {
            const Context::Lease lease(*context);
            first = lease.data();
            EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first) % 64, 0U);
            std::memset(first, 0xFF, work_bytes); // all of it is the caller's
            EXPECT_EQ(context->memory().live(Part::work), work_bytes);
        }
        for (int i = 0; i < 10; ++i) {
            const Context::Lease lease(*context);
            EXPECT_EQ(lease.data(), first);
        }
        EXPECT_EQ(heap.calls(), 1U);
        const Context::Lease a(*context);
        const Context::Lease b(*context);
        const Context::Lease c(*context);
        EXPECT_EQ((std::set<std::byte*>{a.data(), b.data(), c.data()}.size()), 3U);
        EXPECT_EQ(context->memory().live(Part::work), 3 * work_bytes);
    }
    EXPECT_EQ(heap.blocks(), 0U) << "the context gives its workspaces back";
}

TEST(ContextLease, AWorkspaceBeyondTheQuota_IsRefused) {
    Heap heap;
    const auto context = make_context(heap, work_bytes);
    const Context::Lease lease(*context);
    EXPECT_EQ(status_of([&] { const Context::Lease second(*context); }), MUSTAFAR_OUT_OF_MEMORY);
}

} // namespace
} // namespace mustafar::test
