// SPDX-License-Identifier: Apache-2.0
// Attention on one tile in fp32, eight lanes at a time, over rows as they lie. Included by one file per
// instruction set, which brings the eight lanes (struct M: Avx2, Neon); everything has internal
// linkage, so that nothing compiled for these instructions is shared with the rest of the library.
//
// Kept values of a tile are brought to fp32 in L1, one row after the other, and from there eight
// channels at a time are expanded by a byte of the bitmap, in registers, for up to 4 query rows. More
// query rows, and rows of rare forms, are served from a tile that is expanded once to L1.
#pragma once

#include <cstring>
#include <type_traits>

#include "cpu/attend/tile.hpp"

namespace mustafar::cpu {
namespace {

using U32 = std::uint32_t;
using U16 = std::uint16_t;
using U8 = std::uint8_t;

constexpr U32 lanes = 8;

MUSTAFAR_INLINE U16 half_at(const std::byte* at) {
    U16 value = 0;
    std::memcpy(&value, at, 2);
    return value;
}
MUSTAFAR_INLINE U32 byte_at(const std::byte* at) { return static_cast<U32>(*at); }

template <int Value>
struct Constant {
    static constexpr int value = Value;
};

// The slots of a mask in order; the last is repeated to whole groups of 4.
struct Slots {
    U32 count = 0;
    U8 at[tile_rows + 4];
    explicit Slots(U32 mask) {
        for (U32 rest = mask; rest != 0; rest &= rest - 1) {
            at[count++] = static_cast<U8>(__builtin_ctz(rest));
        }
        for (U32 i = 0; i < 4; ++i) { at[count + i] = count != 0 ? at[count - 1] : U8{0}; }
    }
};

// Fetches evenly over `steps` steps.
class Fetch {
  public:
    MUSTAFAR_INLINE Fetch(const Ahead& ahead, U32 steps)
        : at_(reinterpret_cast<const char*>(ahead.at)), end_(at_), last_(at_ + ahead.bytes),
          stride_(ahead.at == nullptr || steps == 0 ? 0 : (ahead.bytes + steps - 1) / steps) {}
    MUSTAFAR_INLINE void step() {
        end_ = end_ + stride_ < last_ ? end_ + stride_ : last_;
        for (; at_ < end_; at_ += 64) { __builtin_prefetch(at_); }
    }

  private:
    const char *at_, *end_, *last_;
    std::size_t stride_;
};

// ---- codes to values ---------------------------------------------------------------------------

template <class M>
struct Affine {
    typename M::Vec scale, zero;
};
template <class M>
MUSTAFAR_INLINE Affine<M> affine_at(const std::byte* pair) {
    return {M::broadcast_f16(half_at(pair)), M::broadcast_f16(half_at(pair + 2))};
}

template <class Use>
MUSTAFAR_INLINE void with_bits(U32 bits, const Use& use) {
    switch (bits) {
    case 8:
        use(Constant<8>{});
        break;
    case 4:
        use(Constant<4>{});
        break;
    default:
        use(Constant<2>{});
        break;
    }
}

MUSTAFAR_INLINE const std::byte* codes_of(const Rows& rows, U32 slot) {
    if (rows.form == Rows::Form::ragged) { return rows.codes + half_at(rows.offsets + slot * 2); }
    return rows.codes + std::size_t{slot} * rows.code_stride;
}
MUSTAFAR_INLINE const std::byte* bitmap_of(const Rows& rows, U32 slot) {
    return rows.bitmaps + std::size_t{slot} * (rows.d / 8U);
}

template <class M>
MUSTAFAR_INLINE U32 kept_of(const Rows& rows, U32 slot) {
    if (rows.form != Rows::Form::ragged) { return rows.keep; }
    U32 count = 0;
    for (U32 b = 0; b < rows.d / 8U; ++b) { count += M::count(byte_at(bitmap_of(rows, slot) + b)); }
    return count;
}

// Floats from one row of kept values to the next.
MUSTAFAR_INLINE U32 kept_stride(const Rows& rows) {
    return rows.form == Rows::Form::ragged ? rows.d : (rows.keep + lanes - 1U) / lanes * lanes;
}

// Kept values of exact and ragged rows, without what was pruned: [32][kept_stride].
template <class M>
inline void load_kept(const Rows& rows, const Slots& slots, float* out) {
    const U32 stride = kept_stride(rows);
    const auto each = [&](const auto& value) {
        for (U32 i = 0; i < slots.count; ++i) {
            const U32 slot = slots.at[i];
            const U32 count = kept_of<M>(rows, slot);
            const std::byte* codes = codes_of(rows, slot);
            float* to = out + std::size_t{slot} * stride;
            const auto row = value(slot);
            for (U32 c = 0; c < count; c += lanes) { M::store(to + c, row(codes, c)); }
        }
    };
    if (rows.bits == 16 && rows.bf16) {
        each([](U32) {
            return [](const std::byte* at, U32 c) { return M::from_bf16(at + c * 2); };
        });
    } else if (rows.bits == 16) {
        each(
            [](U32) { return [](const std::byte* at, U32 c) { return M::from_f16(at + c * 2); }; });
    } else {
        with_bits(rows.bits, [&](auto bits) {
            each([&](U32 slot) {
                const auto affine = affine_at<M>(rows.meta + std::size_t{slot} * rows.meta_stride);
                return [affine](const std::byte* at, U32 c) {
                    return M::fma(M::template codes<decltype(bits)::value>(at, c), affine.scale,
                                  affine.zero);
                };
            });
        });
    }
}

// ---- sources: eight channels after eight of a row ----------------------------------------------

template <class M>
struct Floats { // scratch, [32][d]
    const float* rows;
    U32 d;
    struct Row {
        const float* at;
        MUSTAFAR_INLINE typename M::Vec next() {
            const auto v = M::load(at);
            at += lanes;
            return v;
        }
    };
    MUSTAFAR_INLINE Row row(U32 slot, U32 first) const {
        return {rows + std::size_t{slot} * d + first};
    }
    MUSTAFAR_INLINE void leave(U32, const Row&) {}
};

template <class M, bool Bf16>
struct Words { // 16 bits, nothing pruned
    const std::byte* codes;
    U32 stride;
    struct Row {
        const std::byte* at;
        MUSTAFAR_INLINE typename M::Vec next() {
            const auto v = Bf16 ? M::from_bf16(at) : M::from_f16(at);
            at += lanes * 2;
            return v;
        }
    };
    MUSTAFAR_INLINE Row row(U32 slot, U32 first) const {
        return {codes + std::size_t{slot} * stride + std::size_t{first} * 2};
    }
    MUSTAFAR_INLINE void leave(U32, const Row&) {}
};

template <class M, int Bits>
struct Codes { // one scale and zero, nothing pruned
    const std::byte* codes;
    U32 stride;
    const std::byte* meta;
    U32 meta_stride;
    struct Row {
        const std::byte* at;
        Affine<M> affine;
        MUSTAFAR_INLINE typename M::Vec next() {
            const auto v = M::fma(M::template codes<Bits>(at, 0), affine.scale, affine.zero);
            at += lanes * Bits / 8;
            return v;
        }
    };
    MUSTAFAR_INLINE Row row(U32 slot, U32 first) const {
        return {codes + std::size_t{slot} * stride + std::size_t{first} * Bits / 8,
                affine_at<M>(meta + std::size_t{slot} * meta_stride)};
    }
    MUSTAFAR_INLINE void leave(U32, const Row&) {}
};

template <class M>
struct Kept { // what load_kept made
    const std::byte* bitmaps;
    U32 bitmap_stride;
    const float* at[tile_rows]; // of each slot, where the next visit goes on
    Kept(const Rows& rows, const float* values)
        : bitmaps(rows.bitmaps), bitmap_stride(rows.d / 8U) {
        const U32 stride = kept_stride(rows);
        for (U32 slot = 0; slot < tile_rows; ++slot) { at[slot] = values + slot * stride; }
    }
    struct Row {
        const float* at;
        const std::byte* bitmap;
        MUSTAFAR_INLINE typename M::Vec next() {
            const U32 byte = byte_at(bitmap++);
            const auto v = M::expand(at, byte);
            at += M::count(byte);
            return v;
        }
    };
    MUSTAFAR_INLINE Row row(U32 slot, U32 first) const {
        return {at[slot], bitmaps + std::size_t{slot} * bitmap_stride + first / 8};
    }
    MUSTAFAR_INLINE void leave(U32 slot, const Row& row) { at[slot] = row.at; }
};

// ---- whole rows to L1 --------------------------------------------------------------------------

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

// [32][d] of the slots that somebody looks at.
template <class M>
inline void expand_tile(const Rows& rows, const Slots& slots, const Scratch& scratch) {
    auto* out = reinterpret_cast<float*>(scratch.rows);
    auto* values = reinterpret_cast<float*>(scratch.columns);
    if (rows.bitmaps != nullptr) { load_kept<M>(rows, slots, values); }
    for (U32 i = 0; i < slots.count; ++i) {
        const U32 slot = slots.at[i];
        float* to = out + std::size_t{slot} * rows.d;
        if (rows.bitmaps != nullptr) {
            auto row = Kept<M>(rows, values).row(slot, 0);
            for (U32 c = 0; c < rows.d; c += lanes) { M::store(to + c, row.next()); }
        } else if (rows.bits == 16) {
            expand_window<M>(rows, slot, to);
        } else {
            expand_codes<M>(rows, slot, to);
        }
    }
}

// Calls use(source) with what is best for rows of this form and n query rows.
template <class M, class Use>
MUSTAFAR_INLINE void with_source(const Rows& rows, U32 n, const Slots& slots,
                                 const Scratch& scratch, const Use& use) {
    const bool one_affine = rows.form == Rows::Form::exact || rows.form == Rows::Form::ragged;
    if (n <= 4 && rows.bitmaps != nullptr) {
        load_kept<M>(rows, slots, reinterpret_cast<float*>(scratch.rows));
        use(Kept<M>(rows, reinterpret_cast<const float*>(scratch.rows)));
    } else if (n <= 4 && rows.bits == 16 && rows.marks == nullptr) {
        if (rows.bf16) {
            use(Words<M, true>{rows.codes, rows.code_stride});
        } else {
            use(Words<M, false>{rows.codes, rows.code_stride});
        }
    } else if (n <= 4 && rows.bits != 16 && one_affine) {
        with_bits(rows.bits, [&](auto bits) {
            use(Codes<M, decltype(bits)::value>{rows.codes, rows.code_stride, rows.meta,
                                                rows.meta_stride});
        });
    } else {
        expand_tile<M>(rows, slots, scratch);
        use(Floats<M>{reinterpret_cast<const float*>(scratch.rows), rows.d});
    }
}

// Calls use(Constant<NQ>, first query) for blocks of 1, 2 or 4 query rows.
template <class Use>
MUSTAFAR_INLINE void for_blocks(U32 n, const Use& use) {
    if (n == 1) {
        use(Constant<1>{}, 0U);
    } else if (n == 2) {
        use(Constant<2>{}, 0U);
    } else {
        for (U32 q = 0; q < n; q += 4) { use(Constant<4>{}, q); }
    }
}

// ---- scores ------------------------------------------------------------------------------------

// Queries of a block of NQ: [d / 8][NQ][8].
template <class M>
void load_queries(const float* q, U32 n, U32 d, U32, std::byte* native, float* factor) {
    auto* out = reinterpret_cast<float*>(native);
    const U32 block = n < 4 ? n : 4;
    for (U32 i = 0; i < n; ++i) {
        factor[i] = 1.0F;
        float* to = out + std::size_t{i / block * block} * d + i % block * lanes;
        for (U32 c = 0; c < d; c += lanes) {
            M::store(to + std::size_t{c} * block, M::load(q + std::size_t{i} * d + c));
        }
    }
}

template <class M, int NQ, class Source>
inline void score_block(const Source& source, U32 d, const Slots& slots, const float* queries,
                        float* scores, const Ahead& ahead) {
    constexpr int step = NQ == 4 ? 2 : 4;     // rows at a time: enough sums to hide the latency
    alignas(64) float sums[tile_rows + 4][4]; // [slot][query]; [0..3][row] for fewer queries
    if (NQ == 4 && slots.count < tile_rows) { std::memset(sums, 0, sizeof sums); }
    if (NQ < 4) { std::memset(scores, 0, sizeof(float) * NQ * tile_rows); }
    Fetch fetch(ahead, (slots.count + step - 1) / step);
    for (U32 i = 0; i < slots.count; i += step) {
        typename Source::Row rows[step] = {};
        typename M::Vec sum[step][NQ];
        for (int r = 0; r < step; ++r) {
            rows[r] = source.row(slots.at[i + static_cast<U32>(r)], 0);
            for (int q = 0; q < NQ; ++q) { sum[r][q] = M::zero(); }
        }
        fetch.step();
        for (U32 c = 0; c < d; c += lanes) {
            typename M::Vec v[step];
            for (int r = 0; r < step; ++r) { v[r] = rows[r].next(); }
            for (int q = 0; q < NQ; ++q) {
                const auto x = M::once(M::load(queries + std::size_t{c} * NQ + q * lanes));
                for (int r = 0; r < step; ++r) { sum[r][q] = M::fma(v[r], x, sum[r][q]); }
            }
        }
        if constexpr (NQ == 4) {
            for (int r = 0; r < step; ++r) {
                M::sum4(sum[r][0], sum[r][1], sum[r][2], sum[r][3],
                        sums[slots.at[i + static_cast<U32>(r)]]);
            }
        } else {
            for (int q = 0; q < NQ; ++q) {
                float four[4];
                M::sum4(sum[0][q], sum[1][q], sum[2][q], sum[3][q], four);
                for (int r = 0; r < 4; ++r) {
                    scores[q * static_cast<int>(tile_rows) + slots.at[i + static_cast<U32>(r)]] =
                        four[r];
                }
            }
        }
    }
    if constexpr (NQ == 4) {
        for (U32 slot = 0; slot < tile_rows; slot += 4) { M::split4(sums[slot], scores + slot); }
    }
}

template <class M>
void score(const Rows& k, const std::byte* native, U32 n, float* scores, const Scratch& scratch,
           const Ahead& ahead) {
    const Slots slots(k.slots);
    const auto* queries = reinterpret_cast<const float*>(native);
    with_source<M>(k, n, slots, scratch, [&](const auto& source) {
        for_blocks(n, [&](auto count, U32 q) {
            score_block<M, decltype(count)::value>(
                source, k.d, slots, queries + std::size_t{q} * k.d, scores + q * tile_rows,
                q == 0 ? ahead : Ahead{});
        });
    });
}

// ---- softmax -----------------------------------------------------------------------------------

// Weights below e^-45 of the largest are 0: a million of them are 3e-14 of the sum. Without that their
// products would be subnormal, and each would cost an assist.
constexpr float least_exponent = -45.0F;

// e^x for x up to 80: 2^n e^r, |r| <= ln 2 / 2, Taylor to degree 6: below 2^-22 relative.
template <class M>
MUSTAFAR_INLINE typename M::Vec exponential(typename M::Vec x) {
    const auto counts = M::at_least(x, M::set(least_exponent));
    const auto n = M::round(M::mul(x, M::set(1.44269504F)));
    auto r = M::fma(n, M::set(-0.693359375F), x);
    r = M::fma(n, M::set(2.12194440e-4F), r);
    auto p = M::set(1.0F / 720.0F);
    for (const float term : {1.0F / 120.0F, 1.0F / 24.0F, 1.0F / 6.0F, 0.5F, 1.0F, 1.0F}) {
        p = M::fma(p, r, M::set(term));
    }
    return M::keep(counts, M::mul(p, M::power2(n)));
}

// softcap * tanh(s / softcap), tanh(y) = 1 - 2 / (e^2y + 1)
template <class M>
MUSTAFAR_INLINE typename M::Vec cap(typename M::Vec s, float softcap) {
    const auto y = M::min(M::mul(s, M::set(2.0F / softcap)), M::set(80.0F));
    const auto t = M::div(M::set(2.0F), M::add(exponential<M>(y), M::set(1.0F)));
    return M::mul(M::sub(M::set(1.0F), t), M::set(softcap));
}

template <class M>
U32 weigh(float* scores, float* weights, U32 visible, Softmax& state) {
    constexpr U32 parts = tile_rows / lanes;
    const auto seen = [&](U32 part) { return M::mask((visible >> (part * lanes)) & 0xFFU); };
    typename M::Vec s[parts];
    auto best = M::set(-__builtin_inff());
    U32 finite = 0;
    for (U32 i = 0; i < parts; ++i) {
        s[i] = M::fma(M::load(scores + i * lanes), M::set(state.scale), M::set(state.offset));
        finite |= M::bits(M::equal(M::sub(s[i], s[i]), M::zero())) << (i * lanes);
        if (state.softcap != 0.0F) { s[i] = cap<M>(s[i], state.softcap); }
        M::store(scores + i * lanes, s[i]);
        best = M::max(best, M::select(seen(i), s[i], M::set(-__builtin_inff())));
    }
    if ((visible & ~finite) != 0) {
        state.max = __builtin_nanf("");
        return 0;
    }
    if (visible == 0) {
        std::memset(weights, 0, tile_rows * sizeof(float));
        state.correction = 1.0F;
        return 0;
    }
    const float tile = M::reduce_max(best);
    const float max = tile > state.max ? tile : state.max;
    state.correction = max == state.max ? 1.0F : M::first(exponential<M>(M::set(state.max - max)));
    auto sum = M::zero();
    for (U32 i = 0; i < parts; ++i) {
        s[i] = M::keep(seen(i), exponential<M>(M::sub(s[i], M::set(max))));
        sum = M::add(sum, s[i]);
        M::store(weights + i * lanes, s[i]);
    }
    state.max = max;
    state.sum = state.sum * state.correction + M::reduce_add(sum);
    state.dropped *= state.correction;
    U32 needed = 0; // a weight of 0 needs no value either
    const auto least = M::set(state.drop * state.sum);
    for (U32 i = 0; i < parts; ++i) { needed |= M::bits(M::above(s[i], least)) << (i * lanes); }
    return needed & visible;
}

// ---- values ------------------------------------------------------------------------------------

// One pass over the needed rows: S times eight channels from `first` on.
template <class M, int NQ, int S, class Source>
inline void value_pass(Source& source, U32 first, const Slots& slots, const float* weights,
                       const Softmax* states, float* out, U32 out_stride, Fetch& fetch) {
    typename M::Vec sums[NQ][S];
    for (int q = 0; q < NQ; ++q) {
        for (int s = 0; s < S; ++s) { sums[q][s] = M::zero(); }
    }
    for (U32 i = 0; i < slots.count; ++i) {
        const U32 slot = slots.at[i];
        auto row = source.row(slot, first);
        typename M::Vec v[S];
        for (int s = 0; s < S; ++s) { v[s] = row.next(); }
        source.leave(slot, row);
        for (int q = 0; q < NQ; ++q) {
            const auto w = M::broadcast(weights + static_cast<U32>(q) * tile_rows + slot);
            for (int s = 0; s < S; ++s) { sums[q][s] = M::fma(v[s], w, sums[q][s]); }
        }
        fetch.step();
    }
    for (int q = 0; q < NQ; ++q) {
        const auto correction = M::set(states[q].correction);
        for (int s = 0; s < S; ++s) {
            float* at =
                out + static_cast<U32>(q) * out_stride + first + static_cast<U32>(s) * lanes;
            M::store(at, M::fma(M::load(at), correction, sums[q][s]));
        }
    }
}

template <class M, int NQ, class Source>
inline void value_block(Source source, U32 d, const Slots& slots, const float* weights,
                        const Softmax* states, float* out, U32 out_stride, const Ahead& ahead) {
    constexpr U32 most = NQ == 4 ? 3 : 4; // sums in registers
    Fetch fetch(ahead, slots.count * ((d / lanes + most - 1) / most));
    for (U32 first = 0; first < d;) {
        const U32 left = (d - first) / lanes;
        const U32 step = left < most ? left : most;
        const auto pass = [&](auto count) {
            value_pass<M, NQ, decltype(count)::value>(source, first, slots, weights, states, out,
                                                      out_stride, fetch);
        };
        if (step == 1) {
            pass(Constant<1>{});
        } else if (step == 2) {
            pass(Constant<2>{});
        } else if (step == 3) {
            pass(Constant<3>{});
        } else if constexpr (most > 3) {
            pass(Constant<4>{});
        }
        first += step * lanes;
    }
}

template <class M>
void add_values(const Rows& v, const float* weights, U32 n, U32 needed, const Softmax* states,
                float* out, U32 out_stride, const Scratch& scratch, const Ahead& ahead) {
    const Slots slots(needed);
    with_source<M>(v, n, slots, scratch, [&](const auto& source) {
        for_blocks(n, [&](auto count, U32 q) {
            value_block<M, decltype(count)::value>(source, v.d, slots, weights + q * tile_rows,
                                                   states + q, out + std::size_t{q} * out_stride,
                                                   out_stride, q == 0 ? ahead : Ahead{});
        });
    });
}

template <class M>
constexpr TileOps tile_ops = {load_queries<M>, score<M>, weigh<M>, add_values<M>};

} // namespace
} // namespace mustafar::cpu
