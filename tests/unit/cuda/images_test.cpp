// SPDX-License-Identifier: Apache-2.0
// Which devices the code of a build runs on, by the numbers of NVIDIA's compatibility rules.
#include "core/unit_support.hpp"
#include "cuda/images.hpp"

namespace mustafar::test {
namespace {

using cuda::no_image;

constexpr int release_list[] = {800, 860, 890, 900, 1000};
constexpr cuda::Images release = {release_list, true, 13000};
constexpr int ci_list[] = {900};
constexpr cuda::Images ci = {ci_list, false, 13000};

TEST(CudaImages, CodeOfItsOwnOrAnOlderMinorArchitecture_Runs) {
    for (const int capability : {80, 86, 87, 89, 90, 100, 103}) {
        EXPECT_EQ(no_image(release, capability, 13000), "") << capability;
        EXPECT_EQ(no_image(release, capability, 12000), "") << "no PTX needed: " << capability;
    }
    EXPECT_EQ(no_image(ci, 90, 13000), "");
}

TEST(CudaImages, NewerDevices_TakeThePtxIfTheirDriverKnowsIt) {
    EXPECT_EQ(no_image(release, 120, 13000), "");
    EXPECT_EQ(no_image(release, 120, 13010), "");
    const std::string why = no_image(release, 120, 12080);
    EXPECT_NE(why.find("12.0"), std::string::npos) << why;
    EXPECT_NE(why.find("driver"), std::string::npos) << why;
}

TEST(CudaImages, WhatThereIsNoCodeFor_IsRefusedNamingWhatThereIs) {
    for (const int capability : {75, 80, 89, 100, 120}) {
        const std::string why = no_image(ci, capability, 13000);
        EXPECT_NE(why.find("has code for 9.0"), std::string::npos) << why;
        EXPECT_LT(why.size(), 128U) << "mustafar_kernel_info has room for no more";
    }
    EXPECT_NE(no_image(release, 75, 13000), "") << "older than the oldest";
    EXPECT_LT(no_image(release, 75, 13000).size(), 128U);
    EXPECT_NE(no_image({}, 90, 13000), "") << "nothing was compiled";
}

} // namespace
} // namespace mustafar::test
