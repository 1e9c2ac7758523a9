// SPDX-License-Identifier: Apache-2.0
#include "cuda/head_job.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "core/assert.hpp"
#include "core/attend_parts.hpp"
#include "core/tensor.hpp"

namespace mustafar::cuda {
namespace {

std::uint32_t offset_of(const std::byte* array, const std::byte* from) {
    return array == nullptr ? 0 : static_cast<std::uint32_t>(array - from);
}

ElementType element_type(mustafar_dtype type) {
    return type == MUSTAFAR_F16 ? ElementType::f16
                                : (type == MUSTAFAR_BF16 ? ElementType::bf16 : ElementType::f32);
}

// The rows of one cache and kv head of a tensor [caches, tokens, heads, ...].
QueryRows rows_of(const mustafar_tensor* tensor, const AttendArgs& args) {
    if (tensor == nullptr) { return {}; }
    const std::int64_t first = args.cache * tensor->strides[0] +
                               std::int64_t{args.kv_head} * args.group * tensor->strides[2];
    const std::int64_t size = tensor->dtype == MUSTAFAR_F32 ? 4 : 2;
    return {static_cast<std::byte*>(tensor->data) + first * size, tensor->strides[1],
            tensor->strides[2], tensor->ndim > 3 ? tensor->strides[3] : 0,
            element_type(tensor->dtype)};
}

// Floats of part.partial, `at` floats into each row.
QueryRows partial_rows(const AttendArgs& args, std::size_t at) {
    const auto stride = static_cast<std::int64_t>(part_floats(args.head.spec->v.d));
    float* first = args.part.partial + at - std::int64_t{args.part.first_query} * stride;
    return {first, stride * args.group, stride, 1, ElementType::f32};
}

} // namespace

SideLayout side_layout(const SideSpec& side) {
    HeadSpec head;
    head.k = head.v = side;
    alignas(64) std::byte memory[sizeof(Page)];
    auto* page = ::new (static_cast<void*>(memory)) Page;
    const PageSide arrays = page_side(head, Side::k, *page); // addresses only, nothing is read
    const RowStrides strides = row_strides(side);
    SideLayout layout;
    layout.d = side.d;
    layout.bits = side.bits;
    layout.bitmap_stride = strides.bitmap;
    layout.offsets_at = offset_of(arrays.offsets, page->data());
    layout.codes_at = offset_of(arrays.codes, page->data());
    layout.codes_stride = strides.codes;
    layout.meta_stride = strides.meta;
    layout.group = side.group;
    layout.channel_meta = side.encoding == Encoding::channel ? 1 : 0;
    return layout;
}

HeadTables head_tables(const AttendArgs& args) {
    const HeadView& head = args.head;
    HeadTables tables;
    tables.lengths = {head.page_count, head.body_rows, head.dense.count, head.dense.sink,
                      args.q_position};
    tables.pages.reserve(head.page_count);
    std::uint32_t row = 0;
    for (std::uint32_t p = 0; p < head.page_count; ++p) {
        const PageRef& ref = head.pages[p];
        MUSTAFAR_ASSERT(ref.page->key_columns == 0);
        PageEntry entry;
        entry.data = ref.page->data();
        entry.valid = ref.valid;
        entry.first_row = row;
        entry.bytes = ref.page->data_bytes;
        entry.v_at = ref.page->v_at;
        for (const Side side : {Side::k, Side::v}) {
            const PageSide arrays = page_side(*head.spec, side, *ref.page);
            const std::byte* start = ref.page->data() + (side == Side::k ? 0 : entry.v_at);
            entry.meta_at[static_cast<int>(side)] = offset_of(arrays.meta, start);
        }
        tables.page_bytes = std::max<std::size_t>(tables.page_bytes, entry.bytes);
        tables.pages.push_back(entry);
        row += static_cast<std::uint32_t>(std::popcount(ref.valid));
    }
    return tables;
}

AttendJob part_job(const AttendArgs& args, const HeadTables& tables) {
    const HeadView& head = args.head;
    AttendJob job;
    job.side[0] = side_layout(head.spec->k);
    job.side[1] = side_layout(head.spec->v);
    job.lengths = &tables.lengths;
    job.pages = tables.pages.data();
    job.dense[0] = head.dense.k;
    job.dense[1] = head.dense.v;
    job.marks = head.dense.marks;
    job.mark_bits[0] = head.dense.mark_bits[0];
    job.mark_bits[1] = head.dense.mark_bits[1];
    job.centre = head.centre;
    job.positions = head.positions;
    job.group = args.group;
    job.first_tile = args.part.first_tile;
    job.tiles = args.part.tiles;
    job.scale = static_cast<float>(args.scale);
    job.softcap = static_cast<float>(args.softcap);
    job.sliding_window = args.sliding_window;
    job.drop_mass = static_cast<float>(args.drop_mass);
    if (args.sinks != nullptr) {
        job.sinks_stride = args.sinks->strides[0];
        job.sinks = static_cast<const float*>(args.sinks->data) +
                    std::int64_t{args.kv_head} * args.group * job.sinks_stride;
    }
    job.q = rows_of(args.q, args);
    job.weights = rows_of(args.weights, args);
    job.out = partial_rows(args, part_head);
    job.lse = partial_rows(args, 0);
    job.dropped = partial_rows(args, 2);
    return job;
}

void finish_part(const AttendArgs& args) {
    const std::size_t d = args.head.spec->v.d;
    bool finite = true;
    for (std::uint32_t i = 0; i < args.part.queries; ++i) {
        float* row = args.part.partial + i * part_floats(d);
        const bool empty = row[0] == -std::numeric_limits<float>::infinity();
        row[1] = empty ? 0.0F : 1.0F;
        row[3] = 0.0F;
        finite = finite && (empty || std::isfinite(row[0])) && all_finite(row + part_head, d);
    }
    if (!finite) { args.part.partial[0] = std::numeric_limits<float>::quiet_NaN(); }
}

} // namespace mustafar::cuda
