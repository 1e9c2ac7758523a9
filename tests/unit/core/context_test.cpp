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
    ASSERT_EQ(lines.size(), std::size(context.kernels().rows));
    EXPECT_NE(lines[3].find(context.kernels().rows[3].name), std::string::npos) << lines[3];
    EXPECT_TRUE(context.logs(MUSTAFAR_LOG_INFO));
    EXPECT_FALSE(context.logs(MUSTAFAR_LOG_TRACE)) << "finer than asked for";
}

TEST(ContextThreads, ParallelFor_RunsEveryItemOnceWithAnyNumberOfThreads) {
    for (const std::uint32_t threads : {1U, 4U}) {
        Heap heap;
        const auto context = make_context(heap, 0, threads);
        EXPECT_GE(context->threads(), 1U);
        EXPECT_LE(context->threads(), threads) << "never more than asked for";
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

TEST(ContextLeases, AReturnedWorkspace_ServesTheNextCall) {
    Heap heap;
    {
        const auto context = make_context(heap);
        std::byte* first = nullptr;
        {
            Context::Leases leases(*context, 1);
            const Context::Leases::Loan loan(leases);
            first = loan.data();
            EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first) % 64, 0U);
            std::memset(first, 0xFF, work_bytes); // all of it is the caller's
            EXPECT_EQ(context->memory().live(Part::work), work_bytes);
        }
        for (int i = 0; i < 10; ++i) {
            Context::Leases leases(*context, 1);
            const Context::Leases::Loan loan(leases);
            EXPECT_EQ(loan.data(), first);
        }
        EXPECT_EQ(heap.calls(), 1U);
        const Context::Leases a(*context, 1);
        const Context::Leases b(*context, 1);
        EXPECT_EQ(context->memory().live(Part::work), 2 * work_bytes);
    }
    EXPECT_EQ(heap.blocks(), 0U) << "the context gives its workspaces back";
}

TEST(ContextLeases, AreNoMoreThanItemsOrThreads) {
    Heap heap;
    const auto context = make_context(heap);
    { const Context::Leases none(*context, 0); }
    EXPECT_EQ(heap.calls(), 0U);
    { const Context::Leases many(*context, 1000); }
    EXPECT_EQ(heap.calls(), context->threads());
}

TEST(ContextLeases, AWorkspaceBeyondTheQuota_IsRefused) {
    Heap heap;
    const auto context = make_context(heap, work_bytes);
    const Context::Leases first(*context, 1);
    EXPECT_EQ(status_of([&] { const Context::Leases second(*context, 1); }),
              MUSTAFAR_OUT_OF_MEMORY);
}

} // namespace
} // namespace mustafar::test
