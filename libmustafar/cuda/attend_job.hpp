// SPDX-License-Identifier: Apache-2.0
// What the attend kernel is told. Plain structs that host and device lay out alike; every pointer
// is one of the device. Lengths lie in device memory, so that a captured graph replays with caches
// that grew.
#pragma once

#include "cuda/lanes.hpp"

namespace mustafar::cuda {

constexpr unsigned tile_rows = 32;     // a page, or up to 32 dense rows
constexpr unsigned block_queries = 16; // query rows of an item: the rows of an MMA
constexpr unsigned partial_head = 4;   // floats before the output of a partial result

// How the rows of one side lie in a page: docs/format.md, section 3.
struct SideLayout {
    std::uint32_t d = 0;
    std::uint32_t bits = 16;
    std::uint32_t bitmap_stride = 0; // 0 = every row keeps all
    std::uint32_t offsets_at = 0;    // ragged rows: u16 each, from the codes
    std::uint32_t codes_at = 0;
    std::uint32_t codes_stride = 0; // 0 = ragged
    std::uint32_t meta_stride = 0;
    std::uint32_t group = 0;        // channels that share a scale and zero; 0 = the row does
    std::uint32_t channel_meta = 0; // 1: a scale and zero for each channel, the same for all rows
};

struct PageEntry {
    const std::byte* data = nullptr;
    std::uint32_t valid = 0;           // bit s: slot s holds a row
    std::uint32_t first_row = 0;       // index of its first row among all rows of the head
    std::uint32_t bytes = 0;           // of both sides, a multiple of 16
    std::uint32_t v_at = 0;            // where V starts
    std::uint32_t meta_at[2] = {0, 0}; // from the start of the side: ragged sides differ by page
};

struct HeadLengths {
    std::uint32_t pages = 0;
    std::uint32_t body_rows = 0;
    std::uint32_t dense = 0;     // rows of the window,
    std::uint32_t sink = 0;      // the first of which stand before the body
    std::int64_t q_position = 0; // of query token 0
};

enum class ElementType : std::uint32_t { f32, f16, bf16 };

// Rows of a tensor by query token and query head of the group.
struct QueryRows {
    void* data = nullptr;                          // null = not wanted
    std::int64_t token = 0, head = 0, element = 0; // strides in elements
    ElementType type = ElementType::f32;
};

struct AttendJob { // one kv head of one cache
    SideLayout side[2];
    const HeadLengths* lengths = nullptr;
    const PageEntry* pages = nullptr;
    const std::uint16_t* dense[2] = {nullptr, nullptr}; // [slots, d]
    const std::uint8_t* marks = nullptr;                // [slots]: bit 0 K pruned, bit 1 V; or null
    const std::uint8_t* mark_bits[2] = {nullptr, nullptr}; // [slots, d / 8]
    const float* centre = nullptr;                         // of K in the body, [d] or null
    const std::int32_t* positions = nullptr;               // of all rows; null = the row index
    std::uint32_t group = 1;                               // query heads of the kv head
    std::uint32_t first_tile = 0, tiles = ~0U;             // the range this job covers
    float scale = 1.0F;
    float softcap = 0.0F;             // 0 = none
    std::uint32_t sliding_window = 0; // 0 = none
    float drop_mass = 0.0F;
    const float* sinks =
        nullptr; // [group], `sinks_stride` apart; counted where the range starts at 0
    std::int64_t sinks_stride = 0;
    QueryRows q, out, lse, dropped;
    QueryRows
        weights; // element: stride from row to row. Left as scaled scores, -inf where not seen
};

// What one block does: up to 16 query rows of a job on one of `splits` equal ranges of its tiles.
struct AttendItem {
    std::uint32_t job = 0;
    std::uint32_t first_query = 0;
    std::uint32_t queries = 0;
    std::uint32_t split = 0, splits = 1;
    std::uint32_t partial = 0; // where its partial result goes: units of 16 query rows
    std::uint32_t ticket = 0;  // the counter that its splits share
};

// Tiles of a head in row order: sinks 32 at a time, pages, the rest of the window 32 at a time.
struct TileCounts {
    std::uint32_t sink, pages, tail;
    MUSTAFAR_WARP explicit TileCounts(const HeadLengths& head)
        : sink(tiles_of(head.sink)), pages(head.pages), tail(tiles_of(head.dense - head.sink)) {}
    MUSTAFAR_WARP static std::uint32_t tiles_of(std::uint32_t rows) {
        return (rows + tile_rows - 1) / tile_rows;
    }
    MUSTAFAR_WARP std::uint32_t count() const { return sink + pages + tail; }
};

} // namespace mustafar::cuda
