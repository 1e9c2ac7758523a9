// SPDX-License-Identifier: Apache-2.0
// Between the driver, which is compiled for the floor, and the kernels of one instruction set: plain
// data, and a table of functions that work on one tile of at most 32 rows.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mustafar::cpu {

constexpr std::uint32_t tile_rows = 32;
constexpr std::uint32_t max_queries = 64; // query rows that share one reading of a tile
constexpr std::uint32_t max_dim = 256;

// Tiles whose scores are weighed together, before their values are read: the latency of one softmax after
// the other (two reductions and an exponential) is 250 cycles, as much as a quarter of a tile's work.
constexpr std::uint32_t max_step = 4;
constexpr std::uint32_t step_of(std::uint32_t queries) { return queries <= 16 ? max_step : 1; }

// What is to be in the cache soon; a kernel spreads the fetches evenly over its steps.
struct Ahead {
    const std::byte* at = nullptr;
    std::uint32_t bytes = 0;
};

// One side of up to 32 rows, as they lie in memory. Slots are places 0 .. 31 of a page, or the rows of
// the window in order; `slots` says which of them hold a row that somebody looks at.
struct Rows {
    enum class Form : std::uint8_t {
        window,  // [count][d] stored type, perhaps marked
        columns, // exact K by columns
        exact,   // fixed stride, k of d
        ragged,  // 16-bit offsets
        grouped, // scale and zero per 32 or 64 channels
        channel, // scale and zero per channel
    };
    Form form = Form::window;
    bool bf16 = false;
    std::uint8_t bits = 16;
    std::uint8_t group = 0; // grouped: channels
    std::uint16_t d = 0;
    std::uint16_t keep = 0;
    std::uint32_t slots = 0;
    const std::byte* bitmaps = nullptr; // [32][d / 8] or, by columns, u32 [d]; null: all kept
    const std::byte* codes = nullptr;
    std::uint32_t code_stride = 0;
    const std::byte* meta = nullptr; // f16 scale, zero
    std::uint32_t meta_stride = 0;
    const std::byte* offsets = nullptr; // ragged: u16 [32]
    // window: marked rows read as `centre` (or 0) where the bit is clear
    const std::uint8_t* marks = nullptr; // bit `mark_bit` of a row's byte: the row is marked
    std::uint32_t mark_bit = 0;
    const std::uint8_t* mark_bits = nullptr; // [32][d / 8]
    const float* centre = nullptr;
};

// Running state of one query row: online softmax (Milakov & Gimelshein, arXiv 1805.02867).
struct Softmax {
    float scale = 0.0F;   // of the raw dot product: attention scale, and what load_queries took out
    float offset = 0.0F;  // of body rows: scale * q . centre; 0 for window rows
    float softcap = 0.0F; // 0 = none
    float max = 0.0F;     // -inf at first
    float sum = 0.0F;     // relative to max
    float correction = 0.0F; // e^(old max - max), for what was summed up before
    float drop = 0.0F;       // weights below drop * sum need no value; 0 = all do
    float dropped = 0.0F;    // weight left out, relative to max
};

struct Scratch {        // of one work item; each 64-byte aligned with 64 readable bytes behind
    std::byte* columns; // [d][32] float at most: K of a tile, channel by channel
    std::byte* rows;    // [32][d] float at most
    std::byte* codes;   // [32 * d] u16 (+ 64)
};

struct TileOps {
    // q [n][d] float to the kernels' own layout; factor[i]: what a raw score has to be multiplied by.
    // code_bits: bits of dense body rows of K with one scale and zero each, 0 where they are others.
    void (*load_queries)(const float* q, std::uint32_t n, std::uint32_t d, std::uint32_t code_bits,
                         std::byte* native, float* factor);
    // scores [n][32]: raw dot products of every slot; those of unused slots mean nothing.
    void (*score)(const Rows& k, const std::byte* queries, std::uint32_t n, float* scores,
                  const Scratch& scratch, const Ahead& ahead);
    // One query row, `tiles` <= max_step tiles that lie `stride` floats apart: scores [32] become scaled
    // scores, weights [32] their exponentials relative to the new maximum, 0 where not visible. Slots whose
    // value is needed are added to needed[tile]. A maximum that is not finite (the kernel overflowed)
    // is left in state.max.
    void (*weigh)(float* scores, float* weights, std::size_t stride, std::uint32_t tiles,
                  const std::uint32_t* visible, std::uint32_t* needed, Softmax& state);
    // out[i][d] = out[i][d] * correction[i] + sum over the needed slots of weights[i][slot] * v[slot]
    void (*add_values)(const Rows& v, const float* weights, std::uint32_t n, std::uint32_t needed,
                       const Softmax* states, float* out, std::uint32_t out_stride,
                       const Scratch& scratch, const Ahead& ahead);
};

} // namespace mustafar::cpu
