// SPDX-License-Identifier: Apache-2.0
#include "core/geometry.hpp"
#include "unit_support.hpp"

namespace mustafar::test {
namespace {

constexpr Geometry good{4, 8, 2, 128, 64, Dtype::bf16};

mustafar_status check(std::uint32_t Geometry::*field, std::uint32_t value) {
    Geometry geometry = good;
    geometry.*field = value;
    return status_of([&] { check_geometry(geometry); });
}

TEST(Geometry, HeadDims32To256InStepsOf8_AreServedAndNoOthers) {
    for (const auto field : {&Geometry::head_dim_k, &Geometry::head_dim_v}) {
        for (std::uint32_t d = 0; d <= 600; ++d) {
            const bool served = d >= 32 && d <= 256 && d % 8 == 0;
            ASSERT_EQ(check(field, d), served ? MUSTAFAR_OK : MUSTAFAR_UNSUPPORTED) << d;
        }
    }
}

TEST(Geometry, RefusedHeadDims_NameTheFieldItsValueAndTheWayOut) {
    Geometry geometry = good;
    geometry.head_dim_v = 100;
    const Error error = error_of([&] { check_geometry(geometry); });
    for (const char* part : {"head_dim_v = 100", "32..256", "zeros to 104", "1/sqrt(100)"}) {
        EXPECT_NE(error.text.find(part), std::string::npos) << part << " in: " << error.text;
    }
    geometry.head_dim_v = 576;
    const Error latent = error_of([&] { check_geometry(geometry); });
    EXPECT_NE(latent.text.find("MLA"), std::string::npos) << latent.text;
    EXPECT_EQ(latent.text.find("pad"), std::string::npos) << "nothing to pad to: " << latent.text;
}

TEST(Geometry, LayersAndHeads_HaveTheirRanges) {
    EXPECT_EQ(check(&Geometry::layers, 0), MUSTAFAR_INVALID_ARGUMENT);
    EXPECT_EQ(check(&Geometry::layers, 1), MUSTAFAR_OK);
    EXPECT_EQ(check(&Geometry::layers, 4096), MUSTAFAR_OK);
    EXPECT_EQ(check(&Geometry::layers, 4097), MUSTAFAR_INVALID_ARGUMENT);
    EXPECT_EQ(check(&Geometry::kv_heads, 0), MUSTAFAR_INVALID_ARGUMENT);
    EXPECT_EQ(check(&Geometry::q_heads, 0), MUSTAFAR_INVALID_ARGUMENT);
    Geometry wide = good;
    wide.kv_heads = wide.q_heads = 1024;
    EXPECT_EQ(status_of([&] { check_geometry(wide); }), MUSTAFAR_OK);
    wide.kv_heads = wide.q_heads = 1025;
    EXPECT_EQ(status_of([&] { check_geometry(wide); }), MUSTAFAR_INVALID_ARGUMENT);
}

TEST(Geometry, QueryHeads_AreAMultipleOfKvHeads) {
    EXPECT_EQ(check(&Geometry::q_heads, 9), MUSTAFAR_INVALID_ARGUMENT);
    EXPECT_EQ(check(&Geometry::q_heads, 1), MUSTAFAR_INVALID_ARGUMENT) << "fewer than kv heads";
    EXPECT_EQ(check(&Geometry::q_heads, 10), MUSTAFAR_OK);
}

TEST(Geometry, Groups_OfMoreThan64QueryHeads_AreUnsupported) {
    EXPECT_EQ(check(&Geometry::q_heads, 128), MUSTAFAR_OK);
    EXPECT_EQ(check(&Geometry::q_heads, 130), MUSTAFAR_UNSUPPORTED);
}

TEST(Geometry, StoredType_IsAHalf) {
    Geometry geometry = good;
    for (const std::int32_t dtype : {0, 1, 2, 3, 4, -1}) {
        geometry.store = static_cast<Dtype>(dtype);
        const bool served = dtype == MUSTAFAR_F16 || dtype == MUSTAFAR_BF16;
        EXPECT_EQ(status_of([&] { check_geometry(geometry); }),
                  served ? MUSTAFAR_OK : MUSTAFAR_INVALID_ARGUMENT)
            << dtype;
    }
}

TEST(Geometry, Sides_HaveTheirOwnHeadDim) {
    EXPECT_EQ(good.head_dim(Side::k), 128U);
    EXPECT_EQ(good.head_dim(Side::v), 64U);
    EXPECT_EQ(good.group(), 4U);
}

} // namespace
} // namespace mustafar::test
