// SPDX-License-Identifier: Apache-2.0
// Values that leave a cache in a type that cannot hold them: a scale rounds up, so a packed value can
// read as a little more than the largest half, which is what was stored.
#include "unit_support.hpp"

namespace mustafar::test {
namespace {

TEST(Export, ValuesBeyondTheCallersType_AreItsLargestNumberNotInfinity) {
    Heap heap;
    const auto context = make_context(heap);
    // 15 steps of f16(131008 / 15) = 8736 from -65504 end at 65536.
    const auto recipe = recipe_of(R"("k":{},"v":{"bits":4})", {0, 0, 32});
    const auto cache = Cache::create(context, {1, 1, 1, 32, 32, Dtype::f16}, recipe, {64, 0, true});
    Array k({32, 1, 32}), v({32, 1, 32}, 65504.0F);
    for (std::size_t i = 0; i < v.values.size(); i += 2) { v.values[i] = -65504.0F; }
    cache->append(0, k.view(), v.view(), false);
    ASSERT_EQ(cache->head(0, 0).body_rows, 32U);
    EXPECT_EQ(rows_of(*cache, 0, 0, Side::v).values[1], 65536.0F) << "nothing is hidden in f32";

    std::vector<std::uint16_t> halves(std::size_t{32} * 32);
    mustafar_tensor tensor = Array({32, 32}).view();
    tensor.data = halves.data();
    tensor.dtype = MUSTAFAR_F16;
    cache->export_rows(0, 0, Side::v, 0, 32, tensor, nullptr);
    for (std::size_t i = 0; i < halves.size(); ++i) {
        ASSERT_EQ(halves[i], i % 2 == 0 ? 0xFBFF : 0x7BFF) << i; // -65504, 65504
    }
}

TEST(Export, AttentionOnThem_IsFiniteInF16Too) {
    Heap heap;
    const auto context = make_context(heap);
    const auto recipe = recipe_of(R"("k":{},"v":{"bits":4})", {0, 0, 32});
    const auto cache = Cache::create(context, {1, 1, 1, 32, 32, Dtype::f16}, recipe, {64, 0, true});
    Array k({32, 1, 32}), v({32, 1, 32}, 65504.0F), q({1, 1, 1, 32});
    for (std::size_t i = 0; i < v.values.size(); i += 2) { v.values[i] = -65504.0F; }
    cache->append(0, k.view(), v.view(), false);
    std::uint16_t halves[32] = {};
    mustafar_tensor out = q.view();
    out.data = halves;
    out.dtype = MUSTAFAR_F16;
    const mustafar_tensor queries = q.view();
    const Cache* caches[] = {cache.get()};
    AttendRequest request;
    request.caches = caches;
    request.args.q_len = 1;
    request.args.q = &queries;
    request.args.out = &out;
    attend(request);
    for (std::size_t c = 0; c < 32; ++c) { EXPECT_EQ(halves[c], c % 2 == 0 ? 0xFBFF : 0x7BFF); }
}

} // namespace
} // namespace mustafar::test
