// SPDX-License-Identifier: Apache-2.0
#include "cuda/attend_kernel.cuh"

namespace mustafar::cuda {

template cudaError_t launch_attend_with<Arithmetic<true, false>>(const AttendLaunch&, cudaStream_t);

} // namespace mustafar::cuda
