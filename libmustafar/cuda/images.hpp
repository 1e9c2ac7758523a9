// SPDX-License-Identifier: Apache-2.0
// Is there code for a device in this build? Answered from numbers: asking the runtime for a kernel would
// create a context on the device, some hundred MB of it, in each process that only wants to know.
#pragma once

#include <span>
#include <string>

namespace mustafar::cuda {

struct Images {
    std::span<const int> architectures; // as __CUDA_ARCH_LIST__: 800 = sm_80, ascending
    bool ptx = false; // of the newest of them, which a driver compiles for newer devices
    int toolkit = 0;  // as CUDART_VERSION: 13000 = 13.0
};

// Why a device of that compute capability (90 = 9.0) cannot run them with that driver (the newest CUDA
// it knows, like `toolkit`); empty = it can.
std::string no_image(const Images& images, int capability, int driver);

} // namespace mustafar::cuda
