// SPDX-License-Identifier: Apache-2.0
// The source of the CUDA kernel `attend` as the host runs it, against `ref`: every encoding, shape
// and option that the rows of the processor are tried with, within tests/common/budget.h.
#include "cpu/attend_compare.hpp"
#include "cuda/host_attend.hpp"

namespace mustafar::test {
namespace {

constexpr std::size_t usual_cases = 160;

std::shared_ptr<Context> cuda_context() {
    Kernels kernels = choose_kernels("ref", "test", false);
    kernels.attend = attend_cuda_on_host;
    kernels.attend_in_parts = true;
    kernels.attend_may_fail = true;
    ContextSettings settings;
    settings.threads = 1;
    settings.kernels = &kernels;
    return std::make_shared<Context>(settings);
}

void compare_case(const AttendCase& one, Worst& worst) {
    const auto ref = backend_context("ref");
    const auto caches = fill_caches(one, cuda_context());
    const auto ref_caches = copy_caches(caches, ref);
    const Tensor q = queries(one, ref_caches);
    const Attended want = attend_case(one, ref_caches, q);
    const std::size_t before = parts_beyond_float();
    const Attended got = attend_case(one, caches, q);
    if (one.values != Values::huge || one.geometry.store == Dtype::f16) {
        ASSERT_EQ(parts_beyond_float(), before) << "not finite\n" << one.text();
    }
    Comparison comparison(one, ref_caches, q, want, got, one.precise ? "cuda precise" : "cuda");
    const std::string wrong = comparison.check(worst);
    ASSERT_TRUE(wrong.empty()) << wrong << "\n" << one.text();
}

TEST(CudaAttend, EveryShapeRecipeAndOption_AgreesWithRef) {
    const char* longer = std::getenv("MUSTAFAR_LONG");
    const std::size_t count =
        longer == nullptr ? usual_cases : std::strtoull(longer, nullptr, 0) / 100 + 1;
    Worst worst;
    std::size_t compared = 0;
    for (const AttendCase& one : attend_cases(count)) {
        const Error error = error_of([&] { compare_case(one, worst); });
        ASSERT_EQ(error.code, MUSTAFAR_OK) << error.text << "\n" << one.text();
        if (HasFatalFailure()) { return; }
        ++compared;
    }
    std::printf("%zu cases: at most %.2f of the room of outputs, %.2f of lse, %.2f of weights\n",
                compared, worst.out, worst.lse, worst.weight);
}

} // namespace
} // namespace mustafar::test
