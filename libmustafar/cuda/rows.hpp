// SPDX-License-Identifier: Apache-2.0
// What core/kernels.cpp lists of this backend.
#pragma once

#include "core/kernels.hpp"

namespace mustafar {

namespace cuda {
const char* missing(); // why nothing can run here; null = it can
} // namespace cuda

void attend_cuda(const AttendArgs& args);

} // namespace mustafar
