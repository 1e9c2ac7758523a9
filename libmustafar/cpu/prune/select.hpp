// SPDX-License-Identifier: Apache-2.0
// The prune methods on vectors of lanes L (cpu/lanes_*.hpp) and vectors of 64 bytes. Included by one
// file per instruction set; everything has internal linkage.
//
// The largest k of a row: magnitudes order like their bits, so the k-th largest is found bit by bit,
// from the highest one down, by counting how many are at least as large. Bits are taken a byte at a
// time: 64 channels to a vector, and after a byte only those that tie with the k-th are still open.
// Most rows are decided after two bytes. Several rows take turns, to hide the latency of a count.
#pragma once

#include <cstring>

#include "core/kernels.hpp"

namespace mustafar::cpu {
namespace {

using U8 = std::uint8_t;
using U32 = std::uint32_t;
using U64 = std::uint64_t;

MUSTAFAR_INLINE U32 count_bits(U64 word) { return static_cast<U32>(__builtin_popcountll(word)); }
MUSTAFAR_INLINE U64 low_bits(U32 count) { return count >= 64 ? ~U64{0} : (U64{1} << count) - 1; }

// Magnitudes of channels c .. of a row, times the weights where there are any. Never -0.
template <class L>
MUSTAFAR_INLINE typename L::Floats scores(const PruneArgs& args, std::size_t row, U32 c) {
    const U32 count = args.d - c;
    const HalfRows& halves = args.halves;
    typename L::Floats x = halves.first != nullptr
                               ? L::load_halves(halves.row(row) + c, count, halves.store)
                               : L::load(args.values.data() + row * args.d + c, count);
    if (halves.centre != nullptr) { x = L::subtract(x, L::load(halves.centre + c, count)); }
    x = L::magnitude(x);
    if (!args.channel_weights.empty()) {
        x = L::multiply(x, L::load(args.channel_weights.data() + c, count));
    }
    if (!args.token_weights.empty()) { x = L::multiply(x, L::all(args.token_weights.data()[row])); }
    return L::magnitude(x);
}

// Bits of one vector of lanes into a bitmap; `count` channels are left.
template <class L>
MUSTAFAR_INLINE void put_lanes(U8* at, U32 bits, U32 count) {
    at[0] = static_cast<U8>(bits);
    if (L::lanes == 16 && count > 8) { at[1] = static_cast<U8>(bits >> 8); }
}

// ---- the largest of a group --------------------------------------------------------------------
constexpr U32 together = 4; // groups that take turns

struct Group {
    alignas(64) U8 bytes[2][max_head_dim]; // what is compared: a byte of each element
    alignas(64) U32 words[max_head_dim];   // magnitudes as bits, where they are floats
    U64 open[max_head_dim / 64];           // elements that are still undecided
    U64 kept[max_head_dim / 64];
    U32 need; // how many of the open ones are to be kept
};

MUSTAFAR_INLINE void open_group(Group& group, U32 size, U32 need) {
    for (U32 n = 0; n < max_head_dim / 64; ++n) {
        group.open[n] = size > n * 64 ? low_bits(size - n * 64) : 0;
        group.kept[n] = 0;
    }
    group.need = need;
}

// Decides by bits `top` .. 0 of one byte.
template <class V, U32 words>
MUSTAFAR_INLINE void decide(Group* groups, U32 byte, U32 top) {
    typename V::Bytes x[together][words];
    U32 least[together] = {};
    for (U32 g = 0; g < together; ++g) {
        for (U32 n = 0; n < words; ++n) { // what is not open reads as 0 and is never counted
            x[g][n] = V::load_bytes(groups[g].bytes[byte] + n * 64, groups[g].open[n]);
        }
    }
    for (U32 bit = 1U << top; bit != 0; bit >>= 1) {
        for (U32 g = 0; g < together; ++g) {
            const typename V::Bytes candidate = V::all_bytes(least[g] | bit);
            U32 count = 0;
            for (U32 n = 0; n < words; ++n) {
                count += count_bits(V::bytes_at_least(x[g][n], candidate));
            }
            least[g] = count >= groups[g].need ? least[g] | bit : least[g];
        }
    }
    for (U32 g = 0; g < together; ++g) {
        Group& group = groups[g];
        const typename V::Bytes limit = V::all_bytes(least[g]);
        U32 ties = 0;
        for (U32 n = 0; n < words; ++n) {
            const U64 not_less = V::bytes_at_least(x[g][n], limit);
            const U64 same = V::bytes_same(x[g][n], limit) & group.open[n];
            const U64 above = not_less & group.open[n] & ~same;
            group.kept[n] |= above;
            group.open[n] = same;
            group.need -= count_bits(above);
            ties += count_bits(same);
        }
        if (ties > group.need) { continue; }
        for (U32 n = 0; n < words; ++n) { // ties as many as needed: decided
            group.kept[n] |= group.open[n];
            group.open[n] = 0;
        }
        group.need = 0;
    }
}

MUSTAFAR_INLINE bool undecided(const Group* groups) {
    U32 need = 0;
    for (U32 g = 0; g < together; ++g) { need |= groups[g].need; }
    return need != 0;
}

// Equal magnitudes: the lowest channels, or all of them.
MUSTAFAR_INLINE void keep_ties(Group& group, bool all) {
    for (U32 n = 0; n < max_head_dim / 64 && group.need != 0; ++n) {
        const U64 low = _pdep_u64(low_bits(group.need), group.open[n]);
        group.kept[n] |= all ? group.open[n] : low;
        group.need -= all ? 0 : count_bits(low);
    }
}

template <class V, U32 words>
MUSTAFAR_INLINE void select(Group* groups, bool halves, bool all_ties) {
    if (halves) {
        decide<V, words>(groups, 0, 6);
        if (undecided(groups)) { decide<V, words>(groups, 1, 7); }
    } else {
        for (int shift = 24; shift >= 0 && undecided(groups); shift -= 8) {
            for (U32 g = 0; g < together; ++g) {
                for (U32 i = 0; i < words * 64; ++i) {
                    groups[g].bytes[0][i] = static_cast<U8>(groups[g].words[i] >> shift);
                }
            }
            decide<V, words>(groups, 0, shift == 24 ? 6 : 7);
        }
    }
    for (U32 g = 0; g < together; ++g) { keep_ties(groups[g], all_ties); }
}

template <class V>
MUSTAFAR_INLINE void select(Group* groups, U32 size, bool halves, bool all_ties) {
    if (size <= 64) {
        select<V, 1>(groups, halves, all_ties);
    } else if (size <= 128) {
        select<V, 2>(groups, halves, all_ties);
    } else {
        select<V, 4>(groups, halves, all_ties);
    }
}

template <class V>
void token_topk(const PruneArgs& args, std::size_t rows) {
    // As they are stored: the bits of halves order like their magnitudes.
    const bool halves = args.halves.first != nullptr && args.halves.centre == nullptr &&
                        args.channel_weights.empty() && args.token_weights.empty();
    Group groups[together];
    for (std::size_t first = 0; first < rows; first += together) {
        for (std::size_t g = 0; g < together; ++g) {
            const bool there = first + g < rows;
            open_group(groups[g], there ? args.d : 0, there ? args.rule.keep : 0);
            if (!there) { continue; }
            if (halves) {
                V::split_halves(args.halves.row(first + g), args.d, groups[g].bytes);
                continue;
            }
            for (U32 c = 0; c < args.d; c += V::lanes) {
                V::store(reinterpret_cast<float*>(groups[g].words + c),
                         scores<V>(args, first + g, c));
            }
        }
        select<V>(groups, args.d, halves, args.rule.paper);
        for (std::size_t g = 0; g < together && first + g < rows; ++g) {
            std::memcpy(args.bitmaps.data() + (first + g) * (args.d / 8U), groups[g].kept,
                        args.d / 8U);
        }
    }
}

// ---- n of every m ------------------------------------------------------------------------------

// m is a power of two, at most the lanes of a vector: how many of its group come before an element?
template <class L>
void small_groups(const PruneArgs& args, std::size_t rows) {
    const typename L::Ints lane = L::lane_numbers();
    for (std::size_t row = 0; row < rows; ++row) {
        U8* out = args.bitmaps.data() + row * (args.d / 8U);
        for (U32 c = 0; c < args.d; c += L::lanes) {
            const typename L::Ints x = L::bits_of(scores<L>(args, row, c));
            typename L::Ints before = L::zero();
            for (std::int32_t turn = 1; turn < args.rule.of; ++turn) {
                const typename L::Ints from = L::differ(lane, L::all(turn));
                const typename L::Ints other = L::permute(x, from);
                before =
                    L::count_up(before, L::any(L::above(other, x),
                                               L::both(L::same(other, x), L::above(lane, from))));
            }
            put_lanes<L>(out + c / 8, L::mask(L::above(L::all(args.rule.keep), before)),
                         args.d - c);
        }
    }
}

template <class V>
void any_groups(const PruneArgs& args, std::size_t rows) {
    const U32 size = args.rule.of;
    alignas(64) float row_scores[max_head_dim + V::lanes];
    Group groups[together];
    for (std::size_t row = 0; row < rows; ++row) {
        for (U32 c = 0; c < args.d; c += V::lanes) {
            V::store(row_scores + c, scores<V>(args, row, c));
        }
        U64 kept[max_head_dim / 64 + 1] = {};
        for (U32 first = 0; first < args.d; first += size * together) {
            for (U32 g = 0; g < together; ++g) {
                const U32 at = first + g * size;
                open_group(groups[g], at < args.d ? size : 0, at < args.d ? args.rule.keep : 0);
                if (at >= args.d) { continue; }
                std::memcpy(groups[g].words, row_scores + at, size * sizeof(float));
            }
            select<V>(groups, size, false, false);
            for (U32 g = 0; g < together; ++g) {
                const U32 at = first + g * size;
                for (U32 n = 0; n * 64 < size && at < args.d; ++n) {
                    const U32 bit = at + n * 64;
                    kept[bit / 64] |= groups[g].kept[n] << (bit % 64);
                    if (bit % 64 != 0) {
                        kept[bit / 64 + 1] |= groups[g].kept[n] >> (64 - bit % 64);
                    }
                }
            }
        }
        std::memcpy(args.bitmaps.data() + row * (args.d / 8U), kept, args.d / 8U);
    }
}

// ---- the other methods -------------------------------------------------------------------------

template <class L>
void channels(const PruneArgs& args, std::size_t rows) {
    alignas(64) double energy[max_head_dim] = {};
    alignas(64) float row_scores[max_head_dim + L::lanes];
    for (std::size_t row = 0; row < rows; ++row) {
        for (U32 c = 0; c < args.d; c += L::lanes) {
            L::store(row_scores + c, scores<L>(args, row, c));
        }
        for (U32 c = 0; c < args.d; ++c) {
            const double x = row_scores[c];
            energy[c] += x * x;
        }
    }
    U8 mask[max_bitmap_bytes] = {};
    for (U32 c = 0; c < args.d; ++c) {
        U32 before = 0;
        for (U32 other = 0; other < args.d; ++other) {
            before +=
                energy[other] > energy[c] || (energy[other] == energy[c] && other < c) ? 1 : 0;
        }
        if (before < args.rule.keep) { mask[c / 8] = static_cast<U8>(mask[c / 8] | 1U << c % 8); }
    }
    for (std::size_t row = 0; row < rows; ++row) {
        std::memcpy(args.bitmaps.data() + row * (args.d / 8U), mask, args.d / 8U);
    }
}

// A lane is a channel, its rows are ranked by the same search; `key(row)` gives their magnitudes.
template <class L, class Key>
MUSTAFAR_INLINE void rank_rows(const PruneArgs& args, std::size_t rows, U32 c, const Key& key) {
    using Ints = typename L::Ints;
    const std::size_t keep = rows - rows * (page_rows - args.rule.keep) / page_rows;
    const Ints wanted = L::all(static_cast<std::int32_t>(keep));
    Ints used = L::zero(); // bits that any magnitude has: only they can be the limit's
    for (std::size_t row = 0; row < rows; ++row) { used = L::either(used, key(row)); }
    Ints limit = L::zero();
    for (int shift = 30; shift >= 0; --shift) {
        const Ints bit = L::all(std::int32_t{1} << shift);
        if (!L::overlap(used, bit)) { continue; }
        const Ints candidate = L::either(limit, bit);
        const Ints below = L::minus(candidate, L::all(1));
        Ints count = L::zero();
        for (std::size_t row = 0; row < rows; ++row) {
            count = L::count_up(count, L::above(key(row), below));
        }
        limit = L::choose(L::above(wanted, count), limit, candidate);
    }
    Ints ties = wanted; // those of them that are kept
    for (std::size_t row = 0; row < rows; ++row) {
        const Ints more = L::count_up(L::zero(), L::above(key(row), limit));
        ties = L::minus(ties, more);
    }
    for (std::size_t row = 0; row < rows; ++row) {
        const Ints x = key(row);
        const typename L::Bits tied = L::both(L::same(x, limit), L::above(ties, L::zero()));
        ties = L::minus(ties, L::count_up(L::zero(), tied));
        put_lanes<L>(args.bitmaps.data() + row * (args.d / 8U) + c / 8,
                     L::mask(L::any(L::above(x, limit), tied)), args.d - c);
    }
}

template <class L>
void channel_topk(const PruneArgs& args, std::size_t rows) {
    for (U32 c = 0; c < args.d; c += L::lanes) {
        if (rows > page_rows) {
            rank_rows<L>(args, rows, c,
                         [&](std::size_t row) { return L::bits_of(scores<L>(args, row, c)); });
            continue;
        }
        typename L::Ints keys[page_rows];
        for (std::size_t row = 0; row < rows; ++row) {
            keys[row] = L::bits_of(scores<L>(args, row, c));
        }
        rank_rows<L>(args, rows, c, [&](std::size_t row) { return keys[row]; });
    }
}

template <class L>
void threshold(const PruneArgs& args, std::size_t rows) {
    for (std::size_t row = 0; row < rows; ++row) {
        U8* out = args.bitmaps.data() + row * (args.d / 8U);
        for (U32 c = 0; c < args.d; c += L::lanes) {
            put_lanes<L>(out + c / 8,
                         L::mask(L::at_least(scores<L>(args, row, c), L::all(args.rule.threshold))),
                         args.d - c);
        }
    }
}

template <class V>
void prune_rows(const PruneArgs& args) {
    const std::size_t rows = args.bitmaps.size() / (args.d / 8U);
    const U32 of = args.rule.of;
    switch (args.rule.method) {
    case Method::token_topk:
        return token_topk<V>(args, rows);
    case Method::n_m:
        if (of <= V::lanes && (of & (of - 1)) == 0) { return small_groups<V>(args, rows); }
        return any_groups<V>(args, rows);
    case Method::channels:
        return channels<V>(args, rows);
    case Method::channel_topk:
        return channel_topk<V>(args, rows);
    case Method::threshold:
        return threshold<V>(args, rows);
    case Method::none:
    case Method::mask:
    case Method::recipe:
        break;
    }
    std::memset(args.bitmaps.data(), args.rule.method == Method::none ? 0xFF : 0,
                args.bitmaps.size());
}

} // namespace
} // namespace mustafar::cpu
