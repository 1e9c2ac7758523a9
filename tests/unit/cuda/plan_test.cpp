// SPDX-License-Identifier: Apache-2.0
// The work list of a launch, and the shape of its blocks: no device is needed to know them.
#include <algorithm>
#include <map>
#include <set>

#include "core/unit_support.hpp"
#include "cuda/plan.hpp"
#include "cuda/shape.hpp"

namespace mustafar::test {
namespace {

using cuda::AttendItem;
using cuda::AttendPlan;
using cuda::Load;
using cuda::Machine;

std::vector<Load> random_loads(Random& random) {
    std::vector<Load> loads(1 + random.below(200));
    for (Load& load : loads) {
        load.tiles = random.chance(20) ? random.below(4000) : random.below(70);
        load.queries = 1 + random.below(random.chance(10) ? 70 : 16);
    }
    return loads;
}

// Tiles of an item, as the kernel counts them.
std::uint64_t tiles_of(const AttendItem& item, const std::vector<Load>& loads) {
    const std::uint64_t tiles = loads[item.job].tiles;
    return tiles * (item.split + 1) / item.splits - tiles * item.split / item.splits;
}

TEST(CudaPlan, EveryQueryRowAndTile_IsOneItems) {
    Random random(1);
    for (int round = 0; round < 100; ++round) {
        const std::vector<Load> loads = random_loads(random);
        const Machine machine{1 + random.below(600), 1 + random.below(8)};
        const AttendPlan plan = cuda::plan_attend(loads, machine);
        std::map<std::pair<std::uint32_t, std::uint32_t>, std::vector<bool>> splits;
        std::vector<std::uint32_t> rows(loads.size(), 0);
        std::set<std::uint32_t> partials;
        std::map<std::uint32_t, std::uint32_t> tickets;
        for (const AttendItem& item : plan.items) {
            ASSERT_GE(item.queries, 1U);
            ASSERT_LE(item.queries, cuda::block_queries);
            auto& seen = splits[{item.job, item.first_query}];
            if (seen.empty()) { rows[item.job] += item.queries; }
            seen.resize(item.splits);
            ASSERT_FALSE(seen[item.split]) << "the same range twice";
            seen[item.split] = true;
            if (item.splits == 1) { continue; }
            ASSERT_TRUE(partials.insert(item.partial).second) << "two write to one place";
            ASSERT_LT(item.partial, plan.partials);
            ASSERT_LT(item.ticket, plan.tickets);
            ++tickets[item.ticket];
            ASSERT_GE(item.partial, item.split) << "partial results of a head lie in a row";
        }
        for (std::size_t j = 0; j < loads.size(); ++j) { ASSERT_EQ(rows[j], loads[j].queries); }
        for (const auto& [key, seen] : splits) {
            ASSERT_EQ(std::count(seen.begin(), seen.end(), true),
                      static_cast<std::ptrdiff_t>(seen.size()));
        }
        for (const AttendItem& item : plan.items) {
            if (item.splits > 1) { ASSERT_EQ(tickets[item.ticket], item.splits); }
        }
    }
}

TEST(CudaPlan, RaggedHeads_AreDealtOutEvenly) {
    Random random(2);
    for (int round = 0; round < 100; ++round) {
        const std::vector<Load> loads = random_loads(random);
        const Machine machine{132 * (1 + random.below(4)), 4};
        const AttendPlan plan = cuda::plan_attend(loads, machine);
        std::uint64_t total = 0, blocks = 0;
        for (const Load& load : loads) {
            const std::uint64_t parts = (load.queries + 15) / 16;
            total += load.tiles * parts;
            blocks += parts;
        }
        ASSERT_LE(plan.items.size(), machine.blocks + blocks) << "no more than is of use";
        // Items in their order to whatever block is free: as the device does it.
        std::multiset<std::uint64_t> busy;
        for (std::uint32_t b = 0; b < machine.blocks; ++b) { busy.insert(0); }
        for (const AttendItem& item : plan.items) {
            const std::uint64_t from = *busy.begin();
            busy.erase(busy.begin());
            busy.insert(from + tiles_of(item, loads));
        }
        const std::uint64_t even = (total + machine.blocks - 1) / machine.blocks;
        const std::uint64_t least = std::uint64_t{cuda::least_tiles_of_warp} * machine.warps;
        ASSERT_LE(*busy.rbegin(), 2 * std::max(even, least)) << loads.size() << " heads";
    }
}

TEST(CudaPlan, OneLongHead_FillsTheDevice) {
    const Load load{8192, 4}; // 256k tokens
    const AttendPlan plan = cuda::plan_attend({&load, 1}, {264, 4});
    EXPECT_EQ(plan.items.size(), cuda::most_splits);
    EXPECT_EQ(plan.partials, cuda::most_splits);
    EXPECT_EQ(plan.tickets, 1U);
}

TEST(CudaPlan, HeadsWithoutRows_StillGetTheirItem) {
    const Load load{0, 3};
    const AttendPlan plan = cuda::plan_attend({&load, 1}, {264, 4});
    ASSERT_EQ(plan.items.size(), 1U) << "zeros and -inf have to be written";
    EXPECT_EQ(plan.partials, 0U);
    EXPECT_TRUE(cuda::plan_attend({}, {264, 4}).items.empty());
}

// Shared memory of the architectures we build for, as the CUDA programming guide lists it.
TEST(CudaShape, EveryRecipe_FitsEveryArchitecture) {
    const std::map<int, cuda::Processor> processors = {{80, {163 << 10, 164 << 10, 1 << 10}},
                                                       {86, {99 << 10, 100 << 10, 1 << 10}},
                                                       {90, {227 << 10, 228 << 10, 1 << 10}},
                                                       {100, {227 << 10, 228 << 10, 1 << 10}}};
    for (const auto& [architecture, processor] : processors) {
        for (const unsigned d : {32U, 64U, 80U, 128U, 256U}) {
            for (const std::size_t row : {20U, 96U, 2 * d}) { // bytes of a row and side
                const std::size_t page = 32 * 2 * row + 64;
                const auto shape = cuda::attend_shape(d, false, page, processor);
                ASSERT_GE(shape.warps, 1U) << "sm_" << architecture << ", d " << d;
                ASSERT_GE(shape.blocks, 1U);
                const std::size_t bytes =
                    cuda::attend_shared_bytes(cuda::attend_head_size(d), false, shape.warps, page);
                EXPECT_LE(bytes, processor.block_shared);
                EXPECT_LE(shape.blocks * (bytes + processor.reserved), processor.shared);
            }
        }
    }
    const auto keep40 = cuda::attend_shape(128, false, 32 * 2 * 96 + 64, processors.at(90));
    EXPECT_GE(keep40.warps * keep40.blocks, 8U) << "enough to hide the memory's latency";
    const auto too_large = cuda::attend_shape(256, true, 32 * 2 * 512 + 64, processors.at(86));
    EXPECT_EQ(too_large.warps, 0U);
}

} // namespace
} // namespace mustafar::test
