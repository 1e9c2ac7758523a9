// SPDX-License-Identifier: Apache-2.0
// Saving: header, then one section per part, rows in canonical order without padding.
#include <bit>

#include "format/head_flags.hpp"
#include "format/snapshot_bytes.hpp"

namespace mustafar {
namespace {

void put_page_side(Payload& payload, const HeadSpec& spec, Side side, const PageRef& ref) {
    const SideSpec& s = spec.side(side);
    const PageSide arrays = page_side(spec, side, *ref.page);
    const auto each = [&](const auto& visit) {
        for (std::uint32_t slot = 0; slot < page_rows; ++slot) {
            if (((ref.valid >> slot) & 1U) != 0) { visit(slot); }
        }
    };
    RowImage image;
    if (arrays.bitmaps != nullptr) {
        each([&](std::uint32_t slot) {
            load_row(s, arrays, slot, image);
            payload.append(image.bitmap, arrays.strides.bitmap);
        });
    }
    each([&](std::uint32_t slot) {
        load_row(s, arrays, slot, image);
        payload.append(image.codes, code_bytes(image.count, s.bits));
    });
    if (arrays.strides.block_meta != 0) { payload.append(arrays.meta, arrays.strides.block_meta); }
    if (arrays.strides.meta != 0) {
        each([&](std::uint32_t slot) {
            payload.append(arrays.meta + std::size_t{slot} * arrays.strides.meta,
                           arrays.strides.meta);
        });
    }
}

void put_marks(Payload& payload, const HeadState& head) {
    payload.append(head.marks.data(), head.dense_rows);
    const std::size_t row_bytes[2] = {head.spec.k.d / 8U, head.spec.v.d / 8U};
    const std::uint8_t* bits[2] = {head.marks.data() + head.slots,
                                   head.marks.data() + head.slots * (1 + row_bytes[0])};
    for (int side = 0; side < 2; ++side) {
        for (std::uint32_t slot = 0; slot < head.dense_rows; ++slot) {
            if (((head.marks[slot] >> side) & 1U) == 0) { continue; }
            payload.append(bits[side] + slot * row_bytes[side], row_bytes[side]);
        }
    }
}

void put_head(Payload& payload, const HeadState& head) {
    const std::uint32_t flags = head_flags(head);
    payload.put(head.body_rows);
    payload.put(head.dense_rows);
    payload.put(flags);
    payload.put(head.page_count);
    payload.put(head.evicted);
    if ((flags & head_has_positions) != 0) {
        payload.append(head.positions.data(), std::size_t{head.rows()} * 4);
    }
    if ((flags & head_has_centre) != 0) { payload.append(head.centre.data(), head.centre.bytes()); }
    for (int side = 0; side < 2; ++side) {
        if ((flags & (head_has_k_mask << side)) != 0) {
            payload.append(head.channel_mask[side].data(), head.channel_mask[side].bytes());
        }
    }
    for (std::uint32_t p = 0; p < head.page_count; ++p) {
        payload.put(head.pages[p].valid);
        put_page_side(payload, head.spec, Side::k, head.pages[p]);
        put_page_side(payload, head.spec, Side::v, head.pages[p]);
    }
    const std::uint16_t* k = head.window.data();
    payload.append(k, std::size_t{head.dense_rows} * head.spec.k.d * 2);
    payload.append(k + std::size_t{head.slots} * head.spec.k.d,
                   std::size_t{head.dense_rows} * head.spec.v.d * 2);
    if ((flags & head_has_marks) != 0) { put_marks(payload, head); }
}

} // namespace

void save_snapshot(const Cache& cache, const std::string& model_id, const WriteFn& write) {
    const Geometry& g = cache.geometry();
    write(snapshot_magic, sizeof(snapshot_magic));
    const std::uint32_t head[2] = {snapshot_version, endian_mark};
    write(head, sizeof(head));
    Payload payload;
    for (const std::uint32_t value :
         {g.layers, g.q_heads, g.kv_heads, g.head_dim_k, g.head_dim_v,
          static_cast<std::uint32_t>(g.store), cache.options().max_tokens,
          cache.options().automatic ? 1U : 0U}) {
        payload.put(value);
    }
    write_section(write, Section::geometry, 0, payload);
    payload.clear();
    payload.append(cache.recipe()->json().data(), cache.recipe()->json().size());
    write_section(write, Section::recipe, 0, payload);
    payload.clear();
    payload.append(model_id.data(), model_id.size());
    write_section(write, Section::model, 0, payload);
    for (std::uint32_t l = 0; l < g.layers; ++l) {
        payload.clear();
        payload.put(cache.layer(l).committed);
        payload.put(cache.layer(l).tentative);
        for (std::uint32_t h = 0; h < g.kv_heads; ++h) {
            payload.put(side_type(cache.head(l, h).spec.k));
            payload.put(side_type(cache.head(l, h).spec.v));
        }
        write_section(write, Section::layer, l, payload);
        for (std::uint32_t h = 0; h < g.kv_heads; ++h) {
            payload.clear();
            put_head(payload, cache.head(l, h));
            write_section(write, Section::head, l * g.kv_heads + h, payload);
        }
    }
    payload.clear();
    payload.put(std::uint64_t{4} + g.layers +
                std::uint64_t{g.layers} * g.kv_heads); // sections, this one included
    write_section(write, Section::end, 0, payload);
}

} // namespace mustafar
