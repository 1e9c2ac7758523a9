// SPDX-License-Identifier: Apache-2.0
// Finding and loading libmustafar-cuda.so.0. It is looked for beside this library, or where the
// environment variable MUSTAFAR_CUDA_MODULE says by an absolute path, and nowhere else: what lies in the
// current folder or on a search path is never run.
#pragma once

#include <string>

#include "cuda/module/table.hpp"

namespace mustafar::cuda {

struct LoadedModule {
    const Module* module = nullptr; // loaded for as long as the program runs
    std::string reason;             // why there is none; begins with what matters
};

// `given`: what MUSTAFAR_CUDA_MODULE says, or null. `library`: the file that holds this code, empty for
// the program itself.
struct ModulePath {
    std::string path; // empty: see the reason
    std::string reason;
};
ModulePath module_path(const char* given, const std::string& library);

// The file that holds this code, as the dynamic linker loaded it.
std::string own_library();

LoadedModule load_module(const std::string& path);

// Calls a module's attend; its error is thrown as one of ours.
void attend_with(const Module& module, const AttendArgs& args);

} // namespace mustafar::cuda
