// SPDX-License-Identifier: Apache-2.0
// The compress kernels as host code calls them, under the rules of attend_launch.hpp.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/compress_job.hpp"

namespace mustafar::cuda {

// jobs [count] have at most `units` units of this step each (compress_units) and heads of at most d
// channels.
cudaError_t launch_compress(CompressStep step, const CompressJob* jobs, std::uint32_t count,
                            std::uint32_t units, std::uint32_t d, cudaStream_t stream);

} // namespace mustafar::cuda
