// SPDX-License-Identifier: Apache-2.0
// From the core's view of a kv head to what the attend kernel is told, all addresses those of the
// host. What runs on the device replaces them by where it put the same bytes.
#pragma once

#include <vector>

#include "core/kernels.hpp"
#include "cuda/attend_job.hpp"

namespace mustafar::cuda {

struct HeadTables { // what a job points to, apart from rows and tensors
    HeadLengths lengths;
    std::vector<PageEntry> pages;
    std::size_t page_bytes = 0; // of the largest page
};

SideLayout side_layout(const SideSpec& side);
HeadTables head_tables(const AttendArgs& args);

// One part of a kv head as op `attend` knows it: the tiles args.part says. Query rows are numbered
// as there; results go to args.part.partial as {lse, 1, weight left out, 0, output}: a partial
// result of sum 1.
AttendJob part_job(const AttendArgs& args, const HeadTables& tables);
// After it ran: the sums, and NaN as the first maximum where float did not suffice.
void finish_part(const AttendArgs& args);

} // namespace mustafar::cuda
