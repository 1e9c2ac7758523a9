// SPDX-License-Identifier: Apache-2.0
// What this processor and its operating system let kernels use. Compiled for the floor.
#pragma once

namespace mustafar::cpu {

// Each answers null if the rows of that backend can run here, else what is missing, in words.
const char* missing_avx512fp16();
const char* missing_avx512();
const char* missing_avx2();
const char* missing_neon();

} // namespace mustafar::cpu
