// SPDX-License-Identifier: Apache-2.0
// The attend kernel as the host runs it: blocks in the order of the plan, the warps of a block one
// after the other between its barriers.
#pragma once

#include "core/kernels.hpp"
#include "cuda/plan.hpp"

namespace mustafar::test {

// As a launch on `machine`; jobs have one stored type and d of both sides at most 256.
void run_attend_on_host(std::span<const cuda::AttendJob> jobs, const cuda::AttendPlan& plan,
                        std::uint32_t warps, std::size_t page_bytes, bool bf16, bool precise);

// A row of op `attend` made of it.
void attend_cuda_on_host(const AttendArgs& args);

// Parts it could not do in float; the core gives such heads to `ref`, which must not hide what is
// wrong.
std::size_t& parts_beyond_float();

} // namespace mustafar::test
