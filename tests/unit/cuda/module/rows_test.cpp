// SPDX-License-Identifier: Apache-2.0
// The tables of a build with MUSTAFAR_CUDA=MODULE: this program has core/kernels.cpp and
// cuda/module/rows.cpp as such a build compiles them. A module is looked for once in a process, so each
// case asks in one of its own.
#include <cstdio>
#include <cstdlib>

#include "core/unit_support.hpp"

namespace mustafar::test {
namespace {

// Says on stderr what the tables say of cuda, and what a context that insists on it is told.
[[noreturn]] void ask(const char* module) {
    if (module == nullptr) {
        unsetenv("MUSTAFAR_CUDA_MODULE");
    } else {
        setenv("MUSTAFAR_CUDA_MODULE", module, 1);
    }
    for (const KernelRow& row : kernel_rows()) {
        if (std::string(row.backend) != "cuda") { continue; }
        const char* missing = row.missing();
        std::fprintf(stderr, "%s: %s\n", row.name, missing == nullptr ? "is here" : missing);
    }
    const Error error = error_of([] { choose_kernels("cuda", "options.backend", false); });
    std::fprintf(stderr, "%s\n", error.text.c_str());
    std::exit(choose_kernels("", "", false).attend == nullptr ? 1 : 0); // others go on
}

#define EXPECT_TOLD(module, ...) EXPECT_EXIT(ask(module), testing::ExitedWithCode(0), __VA_ARGS__)

TEST(CudaModuleRows, WithoutAModule_SayWhereOneWouldBe) {
    EXPECT_TOLD(nullptr,
                "attend_cuda: no libmustafar-cuda.so.0 beside this library.*\n.*cannot run here");
}

TEST(CudaModuleRows, ARelativePath_IsRefused) {
    EXPECT_TOLD("libmade_that_works.so",
                "attend_cuda: MUSTAFAR_CUDA_MODULE is not an absolute path");
}

TEST(CudaModuleRows, AModuleOfAnotherVersion_IsRefused) {
    EXPECT_TOLD(
        MUSTAFAR_TEST_MODULES "/libmade_of_another_version.so",
        "attend_cuda: the CUDA module is of version 0.0.9.*\n.*cannot run here: the CUDA module");
}

TEST(CudaModuleRows, AModule_SaysForItselfWhatIsMissing) {
    EXPECT_TOLD(MUSTAFAR_TEST_MODULES "/libmade_that_works.so",
                "attend_cuda: no device: made for a test");
}

// The real one, of the kernels of this build.
TEST(CudaModuleRows, TheModuleOfThisBuild_RunsOrSaysThatThereIsNoDevice) {
#if defined(MUSTAFAR_CUDA_MODULE_FILE)
    EXPECT_TOLD(MUSTAFAR_CUDA_MODULE_FILE, "attend_cuda: (no device: |is here|device 0 has)");
#else
    GTEST_SKIP() << "this build has no CUDA (MUSTAFAR_CUDA)";
#endif
}

} // namespace
} // namespace mustafar::test
