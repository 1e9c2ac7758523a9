// SPDX-License-Identifier: Apache-2.0
// The fast rows, as core/kernels.cpp lists them.
#pragma once

#include "core/kernels.hpp"

namespace mustafar {

void attend_avx512fp16(const AttendArgs& args);
void attend_avx512(const AttendArgs& args);
void attend_avx2(const AttendArgs& args);
void attend_neon(const AttendArgs& args);

void prune_avx512(const PruneArgs& args);
void prune_avx2(const PruneArgs& args);

void pack_avx512(const PackArgs& args);
void pack_avx2(const PackArgs& args);

void order_avx512(const HeadSpec& head, Page& page);

} // namespace mustafar
