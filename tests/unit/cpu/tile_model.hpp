// SPDX-License-Identifier: Apache-2.0
// Random tiles of every form a row can have: the bytes that the kernels read, and what they mean in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "core/half.hpp"
#include "cpu/attend/driver.hpp"
#include "cpu/rows.hpp"

namespace mustafar::tile_model {

using cpu::Rows;
using Bytes = std::vector<std::byte>;
using Form = Rows::Form;
constexpr std::uint32_t tile = cpu::tile_rows;

inline std::mt19937_64 engine;
inline std::uint32_t below(std::uint32_t end) { return static_cast<std::uint32_t>(engine() % end); }
inline bool chance(double p) { return static_cast<double>(engine() >> 11) * 0x1p-53 < p; }
inline double gauss() { return std::normal_distribution<double>()(engine); }

struct Shape {
    Form form;
    std::uint32_t bits;
    bool sparse, bf16, marked;
};

// Bytes of a side and what they mean. Whatever no row owns is ones: NaN, and the largest code.
struct TileSide {
    Rows rows;
    Bytes bitmaps, codes, meta, offsets;
    std::vector<std::uint8_t> marks, mark_bits;
    std::vector<float> centre;
    std::vector<double> values; // [32][d]
    std::vector<double> terms;  // the same, magnitudes of zero and scale * code added up
};

constexpr std::size_t tail = 64;
inline void put16(Bytes& bytes, std::size_t at, std::uint16_t value) {
    std::memcpy(bytes.data() + at, &value, 2);
}
inline std::uint16_t get16(const Bytes& bytes, std::size_t at) {
    std::uint16_t value = 0;
    std::memcpy(&value, bytes.data() + at, 2);
    return value;
}
inline void put_code(Bytes& bytes, std::size_t bit, std::uint32_t bits, std::uint32_t code) {
    const auto shift = static_cast<int>(bit % 8);
    std::byte& byte = bytes[bit / 8];
    byte &= ~(static_cast<std::byte>((1U << bits) - 1U) << shift);
    byte |= static_cast<std::byte>(code) << shift;
}

inline std::vector<std::uint32_t> some_of(std::uint32_t d, std::uint32_t k) { // k of d, ascending
    std::vector<std::uint32_t> all(d);
    for (std::uint32_t c = 0; c < d; ++c) { all[c] = c; }
    std::shuffle(all.begin(), all.end(), engine);
    all.resize(k);
    std::sort(all.begin(), all.end());
    return all;
}

inline void fill_meta(TileSide& side) {
    const Rows& rows = side.rows;
    const std::uint32_t groups = rows.form == Form::grouped ? rows.d / rows.group : 1U;
    const std::uint32_t pairs = rows.form == Form::channel ? rows.d : tile * groups;
    side.rows.meta_stride = rows.form == Form::channel ? 0 : groups * 4;
    side.meta.assign(std::size_t{pairs} * 4 + tail, std::byte{0xFF});
    for (std::uint32_t i = 0; i < pairs; ++i) {
        const bool used = rows.form == Form::channel || ((rows.slots >> (i / groups)) & 1U) != 0;
        if (!used) { continue; }
        const double range = chance(0.1) ? 0.0 : std::fabs(gauss()) + 0.1;
        put16(side.meta, std::size_t{i} * 4,
              f32_to_f16(static_cast<float>(range / ((1U << rows.bits) - 1U))));
        put16(side.meta, std::size_t{i} * 4 + 2,
              f32_to_f16(static_cast<float>(gauss() - range / 2)));
    }
}

struct Decoded {
    double value, terms;
};
inline Decoded decoded(const TileSide& side, std::uint32_t slot, std::uint32_t index,
                       std::uint32_t code) {
    const Rows& rows = side.rows;
    if (rows.bits == 16) {
        const auto half = static_cast<std::uint16_t>(code);
        const double value = rows.bf16 ? bf16_to_f32(half) : f16_to_f32(half);
        return {value, std::fabs(value)};
    }
    std::size_t pair = slot;
    if (rows.form == Form::grouped) { pair = slot * (rows.d / rows.group) + index / rows.group; }
    if (rows.form == Form::channel) { pair = index; }
    const double scale = f16_to_f32(get16(side.meta, pair * 4));
    const double zero = f16_to_f32(get16(side.meta, pair * 4 + 2));
    return {zero + code * scale, std::fabs(zero) + std::fabs(code * scale)};
}

inline std::uint32_t random_code(const Rows& rows) {
    if (rows.bits != 16) { return below(1U << rows.bits); }
    const auto x = static_cast<float>(gauss());
    return rows.bf16 ? f32_to_bf16(x) : f32_to_f16(x);
}

// A window row that prune marked reads as the centre (or 0) where its bit is clear.
inline void mark_rows(TileSide& side) {
    const std::uint32_t d = side.rows.d;
    side.marks.assign(tile, 0);
    side.mark_bits.assign(std::size_t{tile} * d / 8, 0);
    if (chance(0.5)) {
        side.centre.resize(d);
        for (float& mu : side.centre) { mu = static_cast<float>(gauss()); }
        side.rows.centre = side.centre.data();
    }
    side.rows.mark_bit = below(2);
    for (std::uint32_t slot = 0; slot < tile; ++slot) {
        side.marks[slot] = static_cast<std::uint8_t>(below(4));
        const bool marked = ((side.marks[slot] >> side.rows.mark_bit) & 1U) != 0;
        for (std::uint32_t c = 0; c < d; ++c) {
            if (chance(0.5)) {
                side.mark_bits[(slot * d + c) / 8] |= static_cast<std::uint8_t>(1U << (c % 8));
            } else if (marked) {
                side.values[slot * d + c] = side.centre.empty() ? 0.0 : side.centre[c];
                side.terms[slot * d + c] = std::fabs(side.values[slot * d + c]);
            }
        }
    }
    side.rows.marks = side.marks.data();
    side.rows.mark_bits = side.mark_bits.data();
}

inline TileSide make_side(const Shape& shape) {
    TileSide side;
    Rows& rows = side.rows;
    rows.form = shape.form;
    rows.bits = static_cast<std::uint8_t>(shape.bits);
    rows.bf16 = shape.bf16;
    std::uint32_t d = chance(0.3) ? 128 : 32 + 8 * below(29);
    if (shape.form == Form::grouped) {
        rows.group = chance(0.5) ? 32 : 64;
        d = rows.group * (1 + below(256U / rows.group));
    }
    rows.d = static_cast<std::uint16_t>(d);
    const bool full = shape.form == Form::columns || chance(0.5);
    rows.slots = full                         ? ~0U
                 : shape.form == Form::window ? (1U << (1 + below(31))) - 1U
                                              : static_cast<std::uint32_t>(engine()) | 1U;
    const bool ragged = shape.form == Form::ragged;
    const std::uint32_t keep = !shape.sparse ? d : chance(0.3) ? d * 5 / 16 : 1 + below(d - 1);
    rows.keep = static_cast<std::uint16_t>(ragged ? 0 : keep);

    std::vector<std::uint32_t> kept[tile];
    std::size_t bytes = 0;
    side.offsets.assign(tile * 2, std::byte{0xFF});
    for (std::uint32_t slot = 0; slot < tile; ++slot) {
        if (((rows.slots >> slot) & 1U) == 0 && ragged) { continue; }
        kept[slot] = some_of(d, ragged ? below(d + 1) : keep);
        put16(side.offsets, slot * 2, static_cast<std::uint16_t>(bytes));
        bytes += (kept[slot].size() * shape.bits + 7) / 8;
    }
    rows.code_stride = ragged ? 0 : (keep * shape.bits + 7) / 8;
    // Nothing is readable behind the rows of a window.
    side.codes.assign(bytes + (shape.form == Form::window ? 0 : tail), std::byte{0xFF});
    side.bitmaps.assign(tile * d / 8 + tail,
                        shape.form == Form::columns ? std::byte{0} : std::byte{0xFF});
    if (shape.bits != 16) { fill_meta(side); }
    side.values.assign(std::size_t{tile} * d, 0.0);
    side.terms = side.values;

    std::uint32_t column[cpu::max_dim][tile] = {};
    for (std::uint32_t slot = 0; slot < tile; ++slot) {
        if (((rows.slots >> slot) & 1U) == 0) { continue; }
        if (shape.form != Form::columns) {
            std::memset(side.bitmaps.data() + slot * d / 8, 0, d / 8);
        }
        for (std::uint32_t i = 0; i < kept[slot].size(); ++i) {
            const std::uint32_t c = kept[slot][i];
            const std::uint32_t code = random_code(rows);
            const Decoded element = decoded(side, slot, i, code);
            side.values[slot * d + c] = element.value;
            side.terms[slot * d + c] = element.terms;
            column[c][slot] = code;
            if (shape.form == Form::columns) {
                put_code(side.bitmaps, c * tile + slot, 1, 1);
                continue;
            }
            put_code(side.bitmaps, slot * d + c, 1, 1);
            const std::size_t first =
                ragged ? get16(side.offsets, slot * 2) : std::size_t{slot} * rows.code_stride;
            if (shape.bits == 16) {
                put16(side.codes, first + i * 2, static_cast<std::uint16_t>(code));
            } else {
                put_code(side.codes, first * 8 + i * shape.bits, shape.bits, code);
            }
        }
    }
    if (shape.form == Form::columns) {
        std::uint32_t i = 0;
        for (std::uint32_t c = 0; c < d; ++c) {
            for (std::uint32_t slot = 0; slot < tile; ++slot) {
                if ((std::to_integer<unsigned>(side.bitmaps[c * 4 + slot / 8]) >> (slot % 8) &
                     1U) == 0) {
                    continue;
                }
                if (shape.bits == 16) {
                    put16(side.codes, i * 2, static_cast<std::uint16_t>(column[c][slot]));
                } else {
                    put_code(side.codes, i * shape.bits, shape.bits, column[c][slot]);
                }
                ++i;
            }
        }
    }
    rows.bitmaps = shape.sparse ? side.bitmaps.data() : nullptr;
    rows.codes = side.codes.data();
    if (shape.bits != 16) { rows.meta = side.meta.data(); }
    if (ragged) { rows.offsets = side.offsets.data(); }
    if (shape.marked) { mark_rows(side); }
    return side;
}

} // namespace mustafar::tile_model
