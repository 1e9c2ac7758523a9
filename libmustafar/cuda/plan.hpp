// SPDX-License-Identifier: Apache-2.0
// Which blocks a launch of attend has: heads of any lengths, cut so that all processors end at
// about the same time.
#pragma once

#include <span>
#include <vector>

#include "cuda/attend_job.hpp"

namespace mustafar::cuda {

struct Load { // of one job
    std::uint32_t tiles = 0;
    std::uint32_t queries = 0; // rows: tokens times heads of the group
};

struct Machine {
    std::uint32_t blocks = 1; // that run at once: processors times blocks on each
    std::uint32_t warps = 4;  // of a block
};

struct AttendPlan {
    std::vector<AttendItem> items; // largest first
    std::uint32_t partials = 0;    // of 16 query rows each
    std::uint32_t tickets = 0;     // counters, zero before the first launch and after each
};

constexpr std::uint32_t least_tiles_of_warp = 2; // below, joining costs more than it brings
constexpr std::uint32_t most_splits = 256;

// Items of every job, in a number that depends on lengths and machine alone. Lengths may grow
// after it: an item is a share of the tiles there are when it runs. More than a wave of blocks is
// never cut into more than that.
AttendPlan plan_attend(std::span<const Load> jobs, const Machine& machine);

} // namespace mustafar::cuda
