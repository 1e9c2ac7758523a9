// SPDX-License-Identifier: Apache-2.0
// cuda/rows.hpp where the backend is a module: loaded when somebody asks for it, once, and kept.
#include "cuda/rows.hpp"

#include <cstdlib>

#include "cuda/module/load.hpp"

namespace mustafar {
namespace {

using namespace cuda;

LoadedModule find() {
    // Not for programs that run with more rights than who started them.
    const ModulePath where = module_path(secure_getenv("MUSTAFAR_CUDA_MODULE"), own_library());
    return where.path.empty() ? LoadedModule{nullptr, where.reason} : load_module(where.path);
}

const LoadedModule& loaded() {
    static const LoadedModule found = find();
    return found;
}

} // namespace

const char* cuda::missing() {
    const LoadedModule& found = loaded();
    return found.module == nullptr ? found.reason.c_str() : found.module->missing();
}

// Called by contexts alone, which have asked what is missing.
void attend_cuda(const AttendArgs& args) { attend_with(*loaded().module, args); }

} // namespace mustafar
