// SPDX-License-Identifier: Apache-2.0
// What libmustafar-cuda.so.0 hands to the library that loads it, and how the two know that they are of one
// build. The structs they share are those of the core, so another version is refused, not adapted to.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/kernels.hpp"

namespace mustafar::cuda {

struct ModuleError { // no exception passes from one library to the other
    mustafar_status code = MUSTAFAR_OK;
    std::int64_t values[4] = {};
    char text[768] = {};
};

// The one symbol of a module. The first two fields stay where they are in every version: they are read
// before the others are believed.
struct Module {
    const char* version;  // of the project
    std::uint64_t layout; // module_layout() of the sources it was made of
    const char* (*missing)();
    bool (*attend)(const AttendArgs& args, ModuleError& error); // false: see the error
};
constexpr char module_symbol[] = "mustafar_cuda_module";
constexpr char module_file[] = "libmustafar-cuda.so.0";

// Sizes and places of what crosses, as one number (FNV-1a): two builds of one version can differ.
constexpr std::uint64_t module_layout() {
    std::uint64_t hash = 0xCBF29CE484222325U;
    for (const std::size_t number :
         {sizeof(Module), sizeof(ModuleError), sizeof(AttendArgs), sizeof(HeadView),
          sizeof(AttendPart), sizeof(HeadSpec), sizeof(SideSpec), sizeof(Page), sizeof(PageRef),
          sizeof(mustafar_tensor), offsetof(AttendArgs, q), offsetof(AttendArgs, work),
          offsetof(HeadView, dense), offsetof(HeadView, centre), offsetof(SideSpec, bits),
          offsetof(HeadSpec, budget), std::size_t{page_rows}, work_bytes}) {
        hash = (hash ^ number) * 0x100000001B3U;
    }
    return hash;
}

} // namespace mustafar::cuda
