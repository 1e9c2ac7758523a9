// SPDX-License-Identifier: Apache-2.0
// Which kernel of attend_kernel.cuh a launch takes.
#include "cuda/attend_launch.hpp"
#include "cuda/attend_tile.hpp"

namespace mustafar::cuda {

template <class A>
cudaError_t launch_attend_with(const AttendLaunch& what, cudaStream_t stream); // attend_*.cu

cudaError_t launch_attend(const AttendLaunch& what, cudaStream_t stream) {
    if (what.item_count == 0) { return cudaSuccess; }
    if (what.precise) {
        return what.bf16 ? launch_attend_with<Arithmetic<true, true>>(what, stream)
                         : launch_attend_with<Arithmetic<false, true>>(what, stream);
    }
    return what.bf16 ? launch_attend_with<Arithmetic<true, false>>(what, stream)
                     : launch_attend_with<Arithmetic<false, false>>(what, stream);
}

} // namespace mustafar::cuda
