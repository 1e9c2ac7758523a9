// SPDX-License-Identifier: Apache-2.0
// The fast rows, as core/kernels.cpp lists them.
#pragma once

#include "core/kernels.hpp"

namespace mustafar {

void attend_avx512fp16(const AttendArgs& args);
void attend_avx512(const AttendArgs& args);
void attend_avx2(const AttendArgs& args);
void attend_neon(const AttendArgs& args);

} // namespace mustafar
