// SPDX-License-Identifier: Apache-2.0
// What the compress kernels are told, and how their work is dealt out to warps. Plain structs that host
// and device lay out alike; every pointer is one of the device.
#pragma once

#include "cuda/lanes.hpp"

namespace mustafar::cuda {

constexpr unsigned compress_page_rows = 32;
constexpr unsigned compress_warps = 8; // of a block
// Scratch of a warp: one code or one key a channel.
constexpr unsigned compress_scratch_words = 256;

// Which elements of a row are kept: format/page.hpp's methods, as far as a warp can tell.
enum class Survivors : std::uint32_t {
    token_topk, // `keep` of the row, all where that is d
    with_ties,  // the same and all as large as the last of them
    n_m,        // the largest of every `of` neighbours
    threshold,  // whatever is at least as large
    given,      // by bitmaps: of the caller, of a head's mask, or of a step before
};

struct CompressJob { // rows of one side of one kv head, which go to slots first_slot .. of pages
    std::uint32_t d = 0;
    std::uint32_t keep = 0;  // == d: all; columns: rows kept of every 32
    std::uint32_t bits = 16; // 16, 8, 4, 2
    std::uint32_t group = 0; // channels of a group (32 or 64) with all kept; 0 = the row is one
    std::uint32_t bf16 = 0;  // the stored type; else f16
    std::uint32_t rows = 0;
    const std::uint16_t* first = nullptr; // [rows], `stride` elements apart
    std::int64_t stride = 0;
    const float* centre = nullptr;          // [d] or null
    const float* channel_weights = nullptr; // [d] or null
    const float* token_weights = nullptr;   // [rows] or null
    Survivors rule = Survivors::token_topk;
    std::uint32_t of = 0;    // n_m: m; n is keep * of / d
    std::uint32_t chunk = 0; // columns: rows that are ranked together, at most 32
    float threshold = 0.0F;
    std::uint8_t* survivors =
        nullptr; // [rows] of d / 8 bytes: read where given, else told if not null
    std::uint32_t survivors_stride = 0; // bytes; 0 = one for all rows
    std::byte* const* pages = nullptr;  // the side's start in each page; null = survivors only
    std::uint32_t first_slot = 0;       // of row 0, counted over all pages; fixed rows only
    // Where the arrays of this side start in a page, and their strides; no bitmaps where all is
    // kept. Ragged pages: meta follows the codes, wherever they end.
    std::uint32_t bitmaps_at = 0, offsets_at = 0, codes_at = 0, meta_at = 0;
    std::uint32_t bitmap_stride = 0, codes_stride = 0, meta_stride = 0;
    std::uint32_t* non_finite = nullptr; // set to 1 where a row has an infinity or a NaN
};

// A launch does one of these for all its jobs. A unit is what a warp does at once.
enum class CompressStep : std::uint32_t {
    rows,     // of a fixed stride, or survivors alone: a unit is a row
    columns,  // survivors of `channel_topk`: 32 channels of a chunk of rows
    ragged,   // pages whose survivors are known: a page
    channels, // scale and zero for each channel of 32 rows: 32 channels of a page
};

MUSTAFAR_SIZE std::uint32_t compress_stripes(std::uint32_t d) { return (d + 31) / 32; }
MUSTAFAR_SIZE std::uint32_t compress_units(CompressStep step, const CompressJob& job) {
    const std::uint32_t pages = (job.rows + compress_page_rows - 1) / compress_page_rows;
    if (step == CompressStep::rows) { return job.rows; }
    if (step == CompressStep::ragged) { return pages; }
    if (step == CompressStep::channels) { return pages * compress_stripes(job.d); }
    return (job.rows + job.chunk - 1) / job.chunk * compress_stripes(job.d);
}

// The grid of a launch over `count` jobs of at most `units` units. Devices take 2^31 - 1 blocks one way
// and 65535 the other; what is beyond is left to the loops of compress_block.
struct CompressGrid {
    std::uint32_t x = 0, y = 0;
};
MUSTAFAR_SIZE CompressGrid compress_grid(std::uint32_t count, std::uint32_t units) {
    const std::uint32_t blocks = units / compress_warps + (units % compress_warps != 0 ? 1 : 0);
    return {blocks < 0x7FFFFFFFU ? blocks : 0x7FFFFFFFU, count < 65535U ? count : 65535U};
}

} // namespace mustafar::cuda
