// SPDX-License-Identifier: Apache-2.0
// A row of op `attend` that fails half-way, as a device can: the call throws what the row threw and
// has written nothing, whichever part it was; the next call works.
#include <atomic>

#include "cpu/attend_compare.hpp"
#include "cuda/host_attend.hpp"

namespace mustafar::test {
namespace {

constexpr float unwritten = -7776.0F;    // f16 can hold it; no result is so large
std::atomic<std::int64_t> parts_left{0}; // until a part fails; below 0: none does

void attend_that_fails(const AttendArgs& args) {
    if (parts_left.fetch_sub(1) == 0) { throw Error(MUSTAFAR_DEVICE, "the device is gone"); }
    attend_cuda_on_host(args);
}

std::shared_ptr<Context> failing_context(std::uint32_t threads) {
    Kernels kernels = choose_kernels("ref", "test", false);
    kernels.attend = attend_that_fails;
    kernels.attend_in_parts = true;
    kernels.attend_may_fail = true;
    ContextSettings settings;
    settings.threads = threads;
    settings.kernels = &kernels;
    return std::make_shared<Context>(settings);
}

// All outputs of a call, in tensors with gaps, with what no call writes.
struct Outputs {
    std::vector<Tensor> tensors; // out, lse, weights, dropped
    Outputs(const AttendCase& one, const std::vector<Cache::Handle>& caches) {
        const auto n = static_cast<std::int64_t>(caches.size());
        const std::int64_t heads = one.geometry.q_heads, q_len = one.q_len;
        tensors.emplace_back(one.out, std::vector{n, q_len, heads, std::int64_t{64}}, 3);
        tensors.emplace_back(MUSTAFAR_F32, std::vector{n, q_len, heads}, 4);
        tensors.emplace_back(MUSTAFAR_F32, std::vector{n, q_len, heads, weight_width(caches)}, 5);
        tensors.emplace_back(MUSTAFAR_F32, std::vector{n, q_len, heads}, 6);
        for (Tensor& tensor : tensors) {
            for (std::size_t i = 0; i < tensor.count(); ++i) { tensor.set(i, unwritten); }
        }
    }
    void give(AttendRequest& request) const {
        request.args.out = &tensors[0].view();
        request.args.lse = &tensors[1].view();
        request.args.weights = &tensors[2].view();
        request.args.dropped = &tensors[3].view();
    }
    std::size_t untouched() const {
        std::size_t count = 0;
        for (const Tensor& tensor : tensors) {
            for (const float x : tensor.all()) { count += x == unwritten ? 1 : 0; }
        }
        return count;
    }
    std::size_t count() const {
        std::size_t all = 0;
        for (const Tensor& tensor : tensors) { all += tensor.count(); }
        return all;
    }
};

AttendCase case_of(std::uint32_t q_len, mustafar_dtype out) {
    AttendCase one;
    one.seed = 11;
    one.geometry = {1, 4, 2, 64, 64, Dtype::f16};
    one.recipe = R"({"schema":"mustafar.recipe","version":1,"k":{"keep":24},"v":{"bits":4}})";
    one.tokens = 150;
    one.q_len = q_len;
    one.out = out;
    one.two_caches = true;
    return one;
}

void try_every_part(const AttendCase& one, std::uint32_t threads) {
    const auto context = failing_context(threads);
    const auto caches = fill_caches(one, context);
    std::vector<const Cache*> list;
    for (const auto& cache : caches) { list.push_back(cache.get()); }
    const Tensor q = queries(one, caches);
    AttendRequest request;
    request.caches = list;
    request.args.q_len = one.q_len;
    request.args.scale = scale_of(one);
    request.args.q = &q.view();
    bool failed = true;
    for (std::int64_t part = 0; failed; ++part) {
        Outputs outputs(one, caches);
        outputs.give(request);
        parts_left = part;
        const Error error = error_of([&] { attend(request); });
        failed = error.code != MUSTAFAR_OK;
        ASSERT_LT(part, 1000) << "it fails for ever";
        for (const Tensor& tensor : outputs.tensors) { ASSERT_TRUE(tensor.gaps_untouched()); }
        if (!failed) {
            EXPECT_GE(part, 4) << "two kv heads of two caches are four parts or more";
            EXPECT_EQ(outputs.untouched(), 0U) << "a call that works writes every element";
            break;
        }
        EXPECT_EQ(error.code, MUSTAFAR_DEVICE);
        EXPECT_EQ(error.text, "the device is gone");
        ASSERT_EQ(outputs.untouched(), outputs.count()) << "part " << part << " failed";
    }
}

TEST(CudaAttendFailure, OfAnyPart_LeavesEveryOutputAsItWas) {
    for (const std::uint32_t q_len : {1U, 40U}) { // split by tokens; by queries
        for (const mustafar_dtype out : {MUSTAFAR_F32, MUSTAFAR_F16}) {
            for (const std::uint32_t threads : {1U, 3U}) {
                SCOPED_TRACE(std::to_string(q_len) + " queries, " + std::to_string(threads) +
                             " threads");
                try_every_part(case_of(q_len, out), threads);
                if (HasFatalFailure()) { return; }
            }
        }
    }
}

} // namespace
} // namespace mustafar::test
