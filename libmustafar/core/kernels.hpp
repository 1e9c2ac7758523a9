// SPDX-License-Identifier: Apache-2.0
// The operations that have kernels: their argument structs, and one table of candidates for each.
// Each table is ordered best first and ends in `ref`; core/kernels.cpp is the only place that
// chooses.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "format/page.hpp"
#include "mustafar/attend.h"

namespace mustafar {

// ---- rows that are not packed yet --------------------------------------------------------------
// Halves where they lie: in a window, or in a tensor that comes in.
struct HalfRows {
    const std::uint16_t* first = nullptr; // null = the rows are given as floats
    std::ptrdiff_t stride = 0;            // elements from row to row
    Dtype store = Dtype::f16;
    const float* centre = nullptr; // [d], subtracted from every row in float32; or null

    const std::uint16_t* row(std::size_t index) const {
        return first + static_cast<std::ptrdiff_t>(index) * stride;
    }
    HalfRows from(std::size_t index) const { return {row(index), stride, store, centre}; }
};

// ---- prune: which elements of a few rows survive -----------------------------------------------
struct PruneArgs {
    PruneRule rule; // method is none or one that needs no caller's bits
    std::uint32_t d = 0;
    std::span<const float> values;          // [rows, d], centred where the side is; or `halves`
    std::span<const float> channel_weights; // [d] or empty
    std::span<const float> token_weights;   // [rows] or empty
    std::span<std::uint8_t> bitmaps;        // out [rows, d / 8], bit c lowest first
    HalfRows halves = {};
};
using PruneFn = void (*)(const PruneArgs&);

// ---- pack: quantize and encode rows whose survivors are known ----------------------------------
// Where the parts of the rows go: the arrays of a page, or images. Every byte of a row is written,
// none behind it.
struct PackedRows {
    std::uint8_t* bitmap = nullptr; // of the first row; null = not stored
    std::uint8_t* codes = nullptr;
    std::uint8_t* meta = nullptr;
    std::uint8_t* count = nullptr; // u32, elements kept; null = not stored
    std::size_t bitmap_stride = 0; // bytes from row to row
    std::size_t codes_stride = 0;
    std::size_t meta_stride = 0;
    std::size_t count_stride = 0;
    std::size_t rows = 0;

    PackedRows() = default;
    PackedRows(std::span<RowImage> images); // not explicit: images are such a place
    PackedRows(std::vector<RowImage>& images) : PackedRows(std::span<RowImage>(images)) {}
    PackedRows(const PageSide& side, std::uint32_t slot, std::size_t count); // no ragged ones
};

struct PackArgs {
    const SideSpec* side = nullptr;
    Dtype store = Dtype::f16;
    std::span<const float> values;         // [rows, d], centred; or `halves`
    std::span<const std::uint8_t> bitmaps; // [rows, d / 8]
    PackedRows out;
    std::uint8_t* block_meta = nullptr; // out, channel encoding: [d] of scale, zero (f16)
    HalfRows halves = {};
};
using PackFn = void (*)(const PackArgs&);

// ---- order: a full page of K rows by columns (format/columns.hpp) ------------------------------
using OrderFn = void (*)(const HeadSpec&, Page&);

// ---- what a kernel sees of one kv head ---------------------------------------------------------
struct DenseRows {
    const std::uint16_t* k = nullptr; // [capacity, d], stored type
    const std::uint16_t* v = nullptr;
    const std::uint8_t* marks =
        nullptr; // [capacity]: bit 0 K pruned, bit 1 V pruned; null = no marks
    const std::uint8_t* mark_bits[2] = {}; // [capacity, d / 8]
    std::uint32_t count = 0;
    std::uint32_t sink = 0; // the first of them, which stand before the body
};

struct HeadView {
    const HeadSpec* spec = nullptr;
    Dtype store = Dtype::f16;
    const PageRef* pages = nullptr;
    std::uint32_t page_count = 0;
    std::uint32_t body_rows = 0;
    DenseRows dense;
    bool precise = false;                    // no half precision arithmetic
    const float* centre = nullptr;           // of K, [d]; null = none, or not frozen yet
    const std::int32_t* positions = nullptr; // of all rows in order; null = the row index
    std::uint32_t rows() const { return body_rows + dense.count; }
};

// ---- unpack: values of up to 32 rows, as attend sees them --------------------------------------
struct UnpackArgs {
    const HeadView* head = nullptr;
    Side side = Side::k;
    // The valid slots of one page; or, without a page, dense slots first .. first + count - 1.
    const PageRef* page = nullptr;
    std::uint32_t first = 0;
    std::uint32_t count = 0;
    double* values = nullptr;        // out [count, d]
    std::uint8_t* bitmaps = nullptr; // out [count, d / 8], or null
};
using UnpackFn = void (*)(const UnpackArgs&);

// ---- attend: one kv head of one cache, all queries of its group --------------------------------
// Which part of a head's work a call does. Parts depend on lengths and options alone, so that results
// are the same for any number of threads.
struct AttendPart {
    std::uint32_t first_query = 0; // query rows, token by token, the group's heads within
    std::uint32_t queries = 0;
    std::uint32_t first_tile = 0; // tiles as core/attend_parts.hpp counts them
    std::uint32_t tiles = 0;
    float* partial = nullptr; // out: part_floats(d_v) per query row
};

struct AttendArgs {
    HeadView head;
    std::uint32_t kv_head = 0;
    std::uint32_t group = 1; // query heads of this kv head
    std::uint32_t q_len = 0;
    std::int64_t q_position = 0; // of query 0
    double scale = 1.0;
    double softcap = 0.0;             // 0 = none
    std::uint32_t sliding_window = 0; // 0 = none
    double drop_mass = 0.0;
    const mustafar_tensor* q =
        nullptr; // [count, q_len, q_heads, d_k]; `cache` picks the first index
    std::int64_t cache = 0;
    const mustafar_tensor* sinks = nullptr;
    const mustafar_tensor* out = nullptr;
    const mustafar_tensor* lse = nullptr;
    const mustafar_tensor* weights = nullptr;
    const mustafar_tensor* dropped = nullptr;
    std::byte* work = nullptr; // work_bytes of scratch
    AttendPart part;           // `ref` does whole heads and writes the outputs itself
};
using AttendFn = void (*)(const AttendArgs&);
constexpr std::size_t work_bytes = std::size_t{416}
                                   << 10; // scratch of one call of any op; rows assert it fits

// ---- merge: partial results, whole tensors -----------------------------------------------------
struct MergeArgs {
    const mustafar_tensor *out_a = nullptr, *lse_a = nullptr, *out_b = nullptr, *lse_b = nullptr;
    const mustafar_tensor *out = nullptr, *lse = nullptr;
};
using MergeFn = void (*)(const MergeArgs&);

// ---- tables ------------------------------------------------------------------------------------
struct KernelRow {
    const char* op;
    const char* backend;
    const char* name;
    // What this machine lacks, null = can run. A call, since the answer can cost: that of a GPU loads its
    // driver. Whoever is served by a row above it never asks.
    const char* (*missing)();
};

struct Kernels { // the rows a context uses
    PruneFn prune;
    PackFn pack;
    UnpackFn unpack;
    AttendFn attend;
    MergeFn merge;
    bool attend_in_parts; // the attend row does parts; the core merges them
    bool attend_may_fail; // half-way: the core stages its outputs
    bool key_columns;     // attend wants full pages of K by columns (format/columns.hpp)
    OrderFn order;        // what puts them into that order
    KernelRow rows[6];    // prune, pack, unpack, attend, merge, order
};

std::span<const KernelRow> kernel_rows();
// Chooses by name ("" = best available). Throws Error{UNSUPPORTED} naming what there is.
Kernels choose_kernels(const std::string& backend, const char* asked_by, bool refuse_ref);

// ref rows
void prune_ref(const PruneArgs& args);
void pack_ref(const PackArgs& args);
void unpack_ref(const UnpackArgs& args);
void attend_ref(const AttendArgs& args);
void merge_ref(const MergeArgs& args);
void order_ref(const HeadSpec& head, Page& page);

} // namespace mustafar
