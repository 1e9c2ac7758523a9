// SPDX-License-Identifier: Apache-2.0
// The attend kernel as host code calls it. Every pointer in a job is one of the device, and so are the
// arrays of jobs and items. Nothing here allocates, copies or waits; the status is that of the launch.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/attend_job.hpp"
#include "cuda/shape.hpp"

namespace mustafar::cuda {

struct AttendLaunch { // of a plan (cuda/plan.hpp)
    const AttendJob* jobs = nullptr;
    const AttendItem* items = nullptr;
    std::uint32_t item_count = 0;
    float* partials = nullptr;        // [plan.partials][16][4 + d_v]
    std::uint32_t* tickets = nullptr; // [plan.tickets], zero; zero again behind it
    BlockShape shape;
    std::uint32_t page_bytes = 0; // of the largest page
    std::uint32_t d = 0;          // the larger of K and V
    bool bf16 = false, precise = false;
};
cudaError_t launch_attend(const AttendLaunch& what, cudaStream_t stream);

} // namespace mustafar::cuda
