// SPDX-License-Identifier: Apache-2.0
// Elements that kernels write into tensors have the bits that the core writes.
#include <limits>

#include "core/unit_support.hpp"
#include "cuda/attend_block.hpp"
#include "cuda/host_warp.hpp"

namespace mustafar::test {
namespace {

TEST(CudaElement, OfAnyTypeAndSize_HasTheBitsOfTheCore) {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    std::vector<float> values = {
        0.0F,     -0.0F,     1e-30F,   65504.0F, 65519.0F, 65520.0F,
        65536.0F, 131008.0F, 3.38e38F, 3.4e38F,  infinity, std::numeric_limits<float>::quiet_NaN()};
    for (const float x : Random(1).values(1000, -70000.0F, 70000.0F)) { values.push_back(x); }
    for (const auto& [type, dtype] : {std::pair{cuda::ElementType::f32, MUSTAFAR_F32},
                                      std::pair{cuda::ElementType::f16, MUSTAFAR_F16},
                                      std::pair{cuda::ElementType::bf16, MUSTAFAR_BF16}}) {
        for (const float size : values) {
            for (const float x : {size, -size}) {
                std::uint32_t got = 0, want = 0;
                cuda::store_element<cuda::HostWarp>({&got, 0, 0, 1, type}, 0, x);
                mustafar_tensor tensor{};
                tensor.data = &want;
                tensor.dtype = dtype;
                store_element(tensor, 0, double{x});
                ASSERT_EQ(got, want) << x << " as dtype " << dtype;
            }
        }
    }
}

} // namespace
} // namespace mustafar::test
