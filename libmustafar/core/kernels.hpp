// SPDX-License-Identifier: Apache-2.0
// The operations that have kernels: their argument structs, and one table of candidates for each.
// Each table is ordered best first and ends in `ref`; core/kernels.cpp is the only place that
// chooses.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "format/page.hpp"
#include "mustafar/attend.h"

namespace mustafar {

// ---- prune: which elements of a few rows survive -----------------------------------------------
struct PruneArgs {
    PruneRule rule; // method is none or one that needs no caller's bits
    std::uint32_t d = 0;
    std::span<const float> values;          // [rows, d], centred where the side is
    std::span<const float> channel_weights; // [d] or empty
    std::span<const float> token_weights;   // [rows] or empty
    std::span<std::uint8_t> bitmaps;        // out [rows, d / 8], bit c lowest first
};
using PruneFn = void (*)(const PruneArgs&);

// ---- pack: quantize and encode rows whose survivors are known ----------------------------------
struct PackArgs {
    const SideSpec* side = nullptr;
    Dtype store = Dtype::f16;
    std::span<const float> values;         // [rows, d], centred
    std::span<const std::uint8_t> bitmaps; // [rows, d / 8]
    std::span<RowImage> images;            // out, one per row
    std::uint8_t* block_meta = nullptr;    // out, channel encoding: [d] of scale, zero (f16)
};
using PackFn = void (*)(const PackArgs&);

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
    const char* missing; // what this machine lacks, null = can run
};

struct Kernels { // the rows a context uses
    PruneFn prune;
    PackFn pack;
    UnpackFn unpack;
    AttendFn attend;
    MergeFn merge;
    bool attend_in_parts; // the attend row does parts; the core merges them
    bool key_columns;     // attend wants full pages of exact K by columns (format/columns.hpp)
    KernelRow rows[5];    // in the order above
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

} // namespace mustafar
