// SPDX-License-Identifier: Apache-2.0
#include "cuda/plan.hpp"

#include <algorithm>

namespace mustafar::cuda {

AttendPlan plan_attend(std::span<const Load> jobs, const Machine& machine) {
    const auto query_blocks = [](const Load& job) {
        return (job.queries + block_queries - 1) / block_queries;
    };
    std::uint64_t total = 0;
    for (const Load& job : jobs) { total += std::uint64_t{job.tiles} * query_blocks(job); }
    // The share of a block were everything cut evenly.
    const std::uint64_t least = std::uint64_t{least_tiles_of_warp} * machine.warps;
    const std::uint64_t share = std::max(least, (total + machine.blocks - 1) / machine.blocks);

    AttendPlan plan;
    for (std::uint32_t j = 0; j < jobs.size(); ++j) {
        const std::uint64_t wanted = (jobs[j].tiles + share - 1) / share;
        const auto splits =
            static_cast<std::uint32_t>(std::clamp<std::uint64_t>(wanted, 1, most_splits));
        for (std::uint32_t first = 0; first < jobs[j].queries; first += block_queries) {
            AttendItem item;
            item.job = j;
            item.first_query = first;
            item.queries = std::min(block_queries, jobs[j].queries - first);
            item.splits = splits;
            if (splits > 1) { item.ticket = plan.tickets++; }
            for (item.split = 0; item.split < splits; ++item.split) {
                if (splits > 1) { item.partial = plan.partials++; }
                plan.items.push_back(item);
            }
        }
    }
    // Blocks start in this order: what takes longest must not start last.
    std::stable_sort(plan.items.begin(), plan.items.end(),
                     [&](const AttendItem& a, const AttendItem& b) {
                         return std::uint64_t{jobs[a.job].tiles} * b.splits >
                                std::uint64_t{jobs[b.job].tiles} * a.splits;
                     });
    return plan;
}

} // namespace mustafar::cuda
