// SPDX-License-Identifier: Apache-2.0
// Where the module of the CUDA backend is looked for, and what is refused: cuda/module/load.hpp.
#include <unistd.h>

#include "core/unit_support.hpp"
#include "cuda/module/load.hpp"

namespace mustafar::test {
namespace {

using cuda::load_module;
using cuda::LoadedModule;
using cuda::module_path;

// tests/unit/CMakeLists.txt builds them from cuda/module/made.cpp.
std::string made(const char* which) {
    return std::string(MUSTAFAR_TEST_MODULES "/libmade_") + which + ".so";
}
void expect_refused(const LoadedModule& loaded, const std::string& why) {
    EXPECT_EQ(loaded.module, nullptr);
    EXPECT_NE(loaded.reason.find(why), std::string::npos) << loaded.reason;
    // What mustafar_kernel_info has room for names what is wrong.
    EXPECT_NE(loaded.reason.substr(0, 127).find(why), std::string::npos) << loaded.reason;
}

TEST(CudaModulePath, AnAbsolutePath_IsTaken) {
    EXPECT_EQ(module_path("/opt/x.so", "/usr/lib/libmustafar.so.0").path, "/opt/x.so");
    EXPECT_EQ(module_path("/opt/x.so", "").path, "/opt/x.so");
}

TEST(CudaModulePath, ARelativePath_IsRefused) {
    for (const char* given : {"x.so", "./x.so", "../lib/x.so", "libmustafar-cuda.so.0"}) {
        const auto at = module_path(given, "/usr/lib/libmustafar.so.0");
        EXPECT_EQ(at.path, "");
        EXPECT_NE(at.reason.find("not an absolute path"), std::string::npos) << at.reason;
        EXPECT_NE(at.reason.find(given), std::string::npos) << at.reason;
    }
}

TEST(CudaModulePath, WithoutOne_ItIsTheFileBesideTheLibrary) {
    char folder[] = "/tmp/mustafar-module-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    const std::string beside = std::string(folder) + "/libmustafar-cuda.so.0";
    const std::string library = std::string(folder) + "/libmustafar.so.0";
    for (const char* given : {static_cast<const char*>(nullptr), ""}) {
        const auto before = module_path(given, library);
        EXPECT_EQ(before.path, "");
        EXPECT_NE(before.reason.find("libmustafar-cuda.so.0"), std::string::npos) << before.reason;
        EXPECT_NE(before.reason.find("MUSTAFAR_CUDA_MODULE"), std::string::npos) << before.reason;
        EXPECT_LT(before.reason.size(), 128U) << "mustafar_kernel_info has room for no more";
    }
    std::FILE* file = std::fopen(beside.c_str(), "w");
    ASSERT_NE(file, nullptr);
    std::fclose(file);
    EXPECT_EQ(module_path(nullptr, library).path, beside);
    // The current folder is no place to look in, not even where the library was.
    ASSERT_EQ(chdir(folder), 0);
    EXPECT_EQ(module_path(nullptr, "libmustafar.so.0").path, "");
    EXPECT_EQ(module_path(nullptr, "./libmustafar.so.0").path, "");
    EXPECT_EQ(module_path(nullptr, "").path, "");
    std::remove(beside.c_str());
    rmdir(folder);
}

TEST(CudaModulePath, OwnLibrary_IsTheFileThatHoldsThisCode) {
    const std::string path = cuda::own_library();
    ASSERT_FALSE(path.empty());
    EXPECT_EQ(path[0], '/');
    EXPECT_EQ(access(path.c_str(), R_OK), 0) << path;
}

TEST(CudaModuleLoad, WhatIsNoModule_IsRefusedWithTheReason) {
    expect_refused(load_module("/nonexistent/libmustafar-cuda.so.0"), "cannot be loaded");
    expect_refused(load_module(MUSTAFAR_SOURCE_DIR "/LICENSE"), "cannot be loaded");
    expect_refused(load_module(made("without_the_symbol")), "not a CUDA module");
}

TEST(CudaModuleLoad, OfAnotherVersion_IsRefusedNamingBoth) {
    const LoadedModule loaded = load_module(made("of_another_version"));
    expect_refused(loaded, "version 0.0.9");
    expect_refused(loaded, MUSTAFAR_PROJECT_VERSION);
}

TEST(CudaModuleLoad, OfAnotherBuild_IsRefused) {
    expect_refused(load_module(made("of_another_build")), "another build");
}

TEST(CudaModuleLoad, AModule_AnswersAndItsErrorsAreOurs) {
    const LoadedModule loaded = load_module(made("that_works"));
    ASSERT_NE(loaded.module, nullptr) << loaded.reason;
    EXPECT_STREQ(loaded.module->missing(), "no device: made for a test");
    AttendArgs args;
    EXPECT_EQ(status_of([&] { cuda::attend_with(*loaded.module, args); }), MUSTAFAR_OK);
    args.kv_head = 7;
    const Error error = error_of([&] { cuda::attend_with(*loaded.module, args); });
    EXPECT_EQ(error.code, MUSTAFAR_DEVICE);
    EXPECT_EQ(error.text, "!");
    EXPECT_EQ(error.values[0], 7);
}

} // namespace
} // namespace mustafar::test
