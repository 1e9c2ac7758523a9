// SPDX-License-Identifier: Apache-2.0
// Every row of op `attend` that this machine can run, against `ref`, within tests/common/budget.h.
#include <limits>
#include <set>

#include "cpu/attend_compare.hpp"
#include "effort.h"

namespace mustafar::test {
namespace {

constexpr std::size_t usual_cases = 220;

std::vector<std::string> fast_backends() {
    std::vector<std::string> names;
    for (const KernelRow& row : kernel_rows()) {
        const bool fast = std::string(row.op) == "attend" && std::string(row.backend) != "ref";
        if (fast) { names.emplace_back(row.backend); }
    }
    return names;
}

const char* what_is_missing(const std::string& backend) {
    for (const KernelRow& row : kernel_rows()) {
        if (std::string(row.op) == "attend" && row.backend == backend) { return row.missing(); }
    }
    return "no such row";
}

class AttendRows : public testing::TestWithParam<std::string> {
  protected:
    void SetUp() override {
        if (const char* missing = what_is_missing(GetParam())) {
            GTEST_SKIP() << GetParam() << " cannot run here: " << missing;
        }
    }
};

void compare_case(const AttendCase& one, const std::string& backend, Worst& worst) {
    const auto ref = backend_context("ref");
    const auto fast = backend_context(backend);
    const auto caches = fill_caches(one, fast);
    const auto ref_caches = copy_caches(caches, ref);
    const Tensor q = queries(one, ref_caches);
    const Attended want = attend_case(one, ref_caches, q);
    const Attended got = attend_case(one, caches, q);
    Comparison comparison(one, ref_caches, q, want, got, backend.c_str());
    const std::string wrong = comparison.check(worst);
    ASSERT_TRUE(wrong.empty()) << backend << ": " << wrong << "\n" << one.text();

    for (const std::uint32_t threads : {2U, 7U}) {
        const auto copies = copy_caches(caches, backend_context(backend, threads));
        const Attended again = attend_case(one, copies, q);
        ASSERT_TRUE(again.lse == got.lse && again.weights == got.weights &&
                    again.dropped == got.dropped && again.out == got.out)
            << backend << " with " << threads << " threads gives other bits\n"
            << one.text();
    }

    Tensor out(one.out,
               {static_cast<std::int64_t>(caches.size()), one.q_len, one.geometry.q_heads,
                one.geometry.head_dim_v},
               one.seed | 1U);
    Tensor rounded(one.out, {static_cast<std::int64_t>(out.count())});
    rounded.fill(got.out);
    attend_case_into(one, caches, q, out);
    ASSERT_EQ(out.all(), rounded.all()) << backend << ": other types and strides, other results\n"
                                        << one.text();
    ASSERT_TRUE(out.gaps_untouched()) << backend << " wrote between the rows\n" << one.text();
}

TEST_P(AttendRows, EveryShapeRecipeAndOption_AgreesWithRefForAnyNumberOfThreads) {
    const char* longer = std::getenv("MUSTAFAR_LONG");
    const std::size_t count = longer == nullptr ? usual_cases / every_nth(3)
                                                : std::strtoull(longer, nullptr, 0) / 100 + 1;
    Worst worst;
    for (const AttendCase& one : attend_cases(count)) {
        const Error error = error_of([&] { compare_case(one, GetParam(), worst); });
        ASSERT_EQ(error.code, MUSTAFAR_OK) << error.text << "\n" << one.text();
        if (HasFatalFailure()) { return; }
    }
    std::printf("%s: at most %.2f of the room of outputs, %.2f of lse, %.2f of weights\n",
                GetParam().c_str(), worst.out, worst.lse, worst.weight);
}

INSTANTIATE_TEST_SUITE_P(Every, AttendRows, testing::ValuesIn(fast_backends()),
                         [](const auto& one) { return one.param; });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(AttendRows);

} // namespace
} // namespace mustafar::test
