// SPDX-License-Identifier: Apache-2.0
// How attention over one kv head is cut into parts, and how parts become results.
// Tiles of a head in row order: the sink rows 32 at a time, the pages, the dense rest 32 at a time.
#pragma once

#include <algorithm>

#include "core/kernels.hpp"

namespace mustafar {

constexpr std::uint32_t tiles_of(std::uint32_t rows) { return (rows + page_rows - 1) / page_rows; }

struct HeadTiles {
    std::uint32_t sink = 0, pages = 0, tail = 0;
    explicit HeadTiles(const HeadView& head)
        : sink(tiles_of(head.dense.sink)), pages(head.page_count),
          tail(tiles_of(head.dense.count - head.dense.sink)) {}
    std::uint32_t count() const { return sink + pages + tail; }
};

// A partial result of one query row: maximum, sum, weight left out, and the unnormalized output.
constexpr std::size_t part_head = 4;
constexpr std::size_t part_floats(std::size_t d_v) { return part_head + d_v; }

constexpr std::uint32_t part_queries = 64; // at most, of one part
// Where a workspace holds the partial result of a part that is finished in it; kernels stay below.
constexpr std::size_t part_at =
    work_bytes - part_queries * part_floats(max_head_dim) * sizeof(float);
static_assert(part_at % alignof(float) == 0);
constexpr std::uint32_t split_queries = 16; // up to so many, tokens are split as well
constexpr std::uint32_t split_tiles = 128;  // 4096 tokens: 3 % of overhead
constexpr std::uint32_t max_splits = 16;

// Query rows in parts of whole tokens; tiles in ranges unless the order over all of them matters.
struct AttendSplit {
    std::uint32_t block = 0;  // query rows of a part
    std::uint32_t blocks = 1; // parts along the queries
    std::uint32_t tiles = 0;  // of a range
    std::uint32_t ranges = 1;
    bool splittable = false; // into ranges, were it long enough
    AttendSplit(std::uint32_t tile_count, std::uint32_t group, std::uint32_t q_len,
                bool whole_ranges) {
        const std::uint32_t total = group * q_len;
        block = std::min(total, std::max(1U, part_queries / group) * group);
        blocks = (total + block - 1) / block;
        tiles = std::max(1U, tile_count);
        splittable = total <= split_queries && !whole_ranges;
        if (!splittable) { return; }
        tiles = std::max(split_tiles, (tile_count + max_splits - 1) / max_splits);
        ranges = std::max(1U, (tile_count + tiles - 1) / tiles);
    }
};

// Merges `count` partial results of args.part's queries, which lie `stride` floats apart, and writes
// the outputs of these queries.
void finish_attend(const AttendArgs& args, const float* partials, std::uint32_t count,
                   std::size_t stride);

} // namespace mustafar
