// SPDX-License-Identifier: Apache-2.0
// The rows of a tile as fp32 values, eight channels at a time, whatever form they have. Included by
// fp32_tile.hpp only.
//
// Rows of 16 bits are expanded as they lie; kept codes of fewer bits are brought to fp32 in L1 first,
// one row after the other. Rows of rare forms, and rows for more than 4 query rows, are expanded to L1.
#pragma once

#include <cstring>

#include "cpu/attend/bits.hpp"

namespace mustafar::cpu {
namespace {

using U8 = std::uint8_t;

constexpr U32 lanes = 8;

MUSTAFAR_INLINE U32 byte_at(const std::byte* at) { return static_cast<U32>(*at); }

MUSTAFAR_INLINE const std::byte* bitmap_of(const Rows& rows, U32 slot) {
    return rows.bitmaps + std::size_t{slot} * (rows.d / 8U);
}
MUSTAFAR_INLINE bool one_affine(const Rows& rows) {
    return rows.bits != 16 && (rows.form == Rows::Form::exact || rows.form == Rows::Form::ragged);
}

// The rows that somebody looks at, in order; the last is repeated to whole groups of 4.
struct Visits {
    U32 slots;
    U32 count = 0;
    U8 slot[tile_rows + 4];
    const std::byte* at[tile_rows + 4];     // values: where the next visit goes on
    const std::byte* bitmap[tile_rows + 4]; // its first byte
    alignas(64) float scale[tile_rows];     // of each slot, where rows have one
    alignas(64) float zero[tile_rows];
    explicit Visits(U32 mask) : slots(mask) {
        for (U32 rest = mask; rest != 0; rest &= rest - 1) {
            slot[count++] = static_cast<U8>(__builtin_ctz(rest));
        }
        for (U32 i = 0; i < 4; ++i) { slot[count + i] = count != 0 ? slot[count - 1] : U8{0}; }
    }
    template <class Start>
    MUSTAFAR_INLINE void start(const Start& of) {
        for (U32 i = 0; i < count + 4; ++i) { at[i] = of(slot[i]); }
    }
    MUSTAFAR_INLINE void start_bitmaps(const Rows& rows) {
        for (U32 i = 0; i < count + 4; ++i) { bitmap[i] = bitmap_of(rows, slot[i]); }
    }
};

// ---- sources: eight channels after eight of row i of the visits, from channel `first` on ----------

template <class M>
struct Floats { // scratch
    static constexpr bool codes = false;
    const std::byte* at;
    MUSTAFAR_INLINE void enter(const Visits& visits, U32 i, U32 first) {
        at = visits.at[i] + std::size_t{first} * 4;
    }
    MUSTAFAR_INLINE void leave(Visits&, U32) const {}
    MUSTAFAR_INLINE typename M::Vec next() {
        const auto v = M::load(reinterpret_cast<const float*>(at));
        at += lanes * 4;
        return v;
    }
};

template <class M, bool Bf16>
struct Words { // 16 bits, nothing pruned
    static constexpr bool codes = false;
    const std::byte* at;
    MUSTAFAR_INLINE void enter(const Visits& visits, U32 i, U32 first) {
        at = visits.at[i] + std::size_t{first} * 2;
    }
    MUSTAFAR_INLINE void leave(Visits&, U32) const {}
    MUSTAFAR_INLINE typename M::Vec next() {
        const auto v = Bf16 ? M::from_bf16(at) : M::from_f16(at);
        at += lanes * 2;
        return v;
    }
};

template <class M, int Bits>
struct Codes { // nothing pruned, one scale and zero, which are left to whoever adds up
    static constexpr bool codes = true;
    const std::byte* at;
    MUSTAFAR_INLINE void enter(const Visits& visits, U32 i, U32 first) {
        at = visits.at[i] + std::size_t{first} * Bits / 8;
    }
    MUSTAFAR_INLINE void leave(Visits&, U32) const {}
    MUSTAFAR_INLINE typename M::Vec next() {
        const auto v = M::template codes<Bits>(at, 0);
        at += lanes * Bits / 8;
        return v;
    }
};

template <class M, bool Bf16>
struct KeptWords { // 16 bits, as they lie
    static constexpr bool codes = false;
    const std::byte* at;
    const std::byte* bitmap;
    MUSTAFAR_INLINE void enter(const Visits& visits, U32 i, U32 first) {
        at = visits.at[i];
        bitmap = visits.bitmap[i] + first / 8;
    }
    MUSTAFAR_INLINE void leave(Visits& visits, U32 i) const { visits.at[i] = at; }
    MUSTAFAR_INLINE typename M::Vec next() {
        const U32 byte = byte_at(bitmap++);
        const auto v = M::template expand_words<Bf16>(at, byte);
        at += std::size_t{M::count(byte)} * 2;
        return v;
    }
};

template <class M>
struct Kept { // what load_kept made
    static constexpr bool codes = false;
    const std::byte* at;
    const std::byte* bitmap;
    MUSTAFAR_INLINE void enter(const Visits& visits, U32 i, U32 first) {
        at = visits.at[i];
        bitmap = visits.bitmap[i] + first / 8;
    }
    MUSTAFAR_INLINE void leave(Visits& visits, U32 i) const { visits.at[i] = at; }
    MUSTAFAR_INLINE typename M::Vec next() {
        const U32 byte = byte_at(bitmap++);
        const auto v = M::expand(reinterpret_cast<const float*>(at), byte);
        at += std::size_t{M::count(byte)} * 4;
        return v;
    }
};

// ---- rows to L1 --------------------------------------------------------------------------------

template <class M>
struct Affine {
    typename M::Vec scale, zero;
};
template <class M>
MUSTAFAR_INLINE Affine<M> affine_at(const std::byte* pair) {
    return {M::broadcast_f16(half_at(pair)), M::broadcast_f16(half_at(pair + 2))};
}

// Scale and zero of every slot.
template <class M>
MUSTAFAR_INLINE void load_affines(const Rows& rows, Visits& visits) {
    for (U32 slot = 0; slot < tile_rows; slot += lanes) {
        Affine<M> pairs{M::zero(), M::zero()};
        M::load_pairs(rows.meta + std::size_t{slot} * 4, pairs.scale, pairs.zero);
        M::store(visits.scale + slot, pairs.scale);
        M::store(visits.zero + slot, pairs.zero);
    }
}

template <class M>
MUSTAFAR_INLINE U32 kept_of(const Rows& rows, U32 slot) {
    if (rows.form != Rows::Form::ragged) { return rows.keep; }
    U32 count = 0;
    for (U32 b = 0; b < rows.d / 8U; ++b) { count += M::count(byte_at(bitmap_of(rows, slot) + b)); }
    return count;
}

// Kept values of rows of few bits, without what was pruned; the visits go there.
template <class M>
inline void load_kept(const Rows& rows, Visits& visits, std::byte* out) {
    const bool ragged = rows.form == Rows::Form::ragged;
    const U32 stride = ragged ? rows.d : (rows.keep + lanes - 1U) / lanes * lanes;
    load_affines<M>(rows, visits);
    with_bits(rows.bits, [&](auto bits) {
        for (U32 i = 0; i < visits.count; ++i) {
            const U32 slot = visits.slot[i];
            const std::byte* codes = codes_of(rows, slot);
            auto* to = reinterpret_cast<float*>(out) + std::size_t{slot} * stride;
            const auto scale = M::broadcast(visits.scale + slot);
            const auto zero = M::broadcast(visits.zero + slot);
            const U32 count = kept_of<M>(rows, slot);
            const auto* end = to + count;
            constexpr U32 step = lanes * decltype(bits)::value / 8;
#pragma GCC unroll 4
            for (; to < end; to += lanes, codes += step) {
                M::store(to,
                         M::fma(M::template codes<decltype(bits)::value>(codes, 0), scale, zero));
            }
        }
    });
    visits.start([&](U32 slot) { return out + std::size_t{slot} * stride * 4; });
    visits.start_bitmaps(rows);
}

template <class M>
inline void expand_window(const Rows& rows, U32 slot, float* out) {
    const std::byte* words = codes_of(rows, slot);
    const bool marked = rows.marks != nullptr && ((rows.marks[slot] >> rows.mark_bit) & 1U) != 0;
    const U8* bits = marked ? rows.mark_bits + std::size_t{slot} * (rows.d / 8U) : nullptr;
    for (U32 c = 0; c < rows.d; c += lanes) {
        auto v = rows.bf16 ? M::from_bf16(words + c * 2) : M::from_f16(words + c * 2);
        if (marked) {
            const auto mu = rows.centre != nullptr ? M::load(rows.centre + c) : M::zero();
            v = M::select(M::mask(bits[c / 8]), v, mu);
        }
        M::store(out + c, v);
    }
}

// Nothing pruned, scales and zeros by group or by channel, or one for all.
template <class M>
inline void expand_codes(const Rows& rows, U32 slot, float* out) {
    const std::byte* codes = codes_of(rows, slot);
    const std::byte* meta = rows.meta + std::size_t{slot} * rows.meta_stride;
    with_bits(rows.bits, [&](auto bits) {
        Affine<M> affine{M::zero(), M::zero()};
        for (U32 c = 0; c < rows.d; c += lanes) {
            if (rows.form == Rows::Form::channel) {
                M::load_pairs(rows.meta + std::size_t{c} * 4, affine.scale, affine.zero);
            } else {
                affine = affine_at<M>(rows.group != 0 ? meta + c / rows.group * 4 : meta);
            }
            M::store(out + c, M::fma(M::template codes<decltype(bits)::value>(codes, c),
                                     affine.scale, affine.zero));
        }
    });
}

template <class M, class Source>
MUSTAFAR_INLINE void expand_all(U32 d, const Visits& visits, std::byte* out) {
    for (U32 i = 0; i < visits.count; ++i) {
        auto* to = reinterpret_cast<float*>(out) + std::size_t{visits.slot[i]} * d;
        Source row;
        row.enter(visits, i, 0);
        for (U32 c = 0; c < d; c += lanes) { M::store(to + c, row.next()); }
    }
}

// Calls use(source) for rows with a bitmap.
template <class M, class Use>
MUSTAFAR_INLINE void with_kept(const Rows& rows, Visits& visits, std::byte* values,
                               const Use& use) {
    if (rows.bits != 16) {
        load_kept<M>(rows, visits, values);
        use(Kept<M>{});
        return;
    }
    visits.start([&](U32 slot) { return codes_of(rows, slot); });
    visits.start_bitmaps(rows);
    if (rows.bf16) {
        use(KeptWords<M, true>{});
    } else {
        use(KeptWords<M, false>{});
    }
}

// [32][d] of the rows that somebody looks at; the visits go there.
template <class M>
inline void expand_tile(const Rows& rows, Visits& visits, const Scratch& scratch) {
    if (rows.bitmaps != nullptr) {
        with_kept<M>(rows, visits, scratch.columns, [&](auto source) {
            expand_all<M, decltype(source)>(rows.d, visits, scratch.rows);
        });
    } else {
        for (U32 i = 0; i < visits.count; ++i) {
            auto* to =
                reinterpret_cast<float*>(scratch.rows) + std::size_t{visits.slot[i]} * rows.d;
            if (rows.bits == 16) {
                expand_window<M>(rows, visits.slot[i], to);
            } else {
                expand_codes<M>(rows, visits.slot[i], to);
            }
        }
    }
    visits.start([&](U32 slot) { return scratch.rows + std::size_t{slot} * rows.d * 4; });
}

// Calls use(source) with what is best for rows of this form and n query rows.
template <class M, class Use>
MUSTAFAR_INLINE void with_source(const Rows& rows, U32 n, Visits& visits, const Scratch& scratch,
                                 const Use& use) {
    const bool as_they_lie = n <= 4 && rows.marks == nullptr;
    if (as_they_lie && rows.bitmaps != nullptr) {
        with_kept<M>(rows, visits, scratch.rows, use);
    } else if (as_they_lie && rows.bits == 16) {
        visits.start([&](U32 slot) { return codes_of(rows, slot); });
        if (rows.bf16) {
            use(Words<M, true>{});
        } else {
            use(Words<M, false>{});
        }
    } else if (as_they_lie && one_affine(rows)) {
        visits.start([&](U32 slot) { return codes_of(rows, slot); });
        load_affines<M>(rows, visits);
        with_bits(rows.bits, [&](auto bits) { use(Codes<M, decltype(bits)::value>{}); });
    } else {
        expand_tile<M>(rows, visits, scratch);
        use(Floats<M>{});
    }
}

} // namespace
} // namespace mustafar::cpu
