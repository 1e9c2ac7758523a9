// SPDX-License-Identifier: Apache-2.0
// One side of one tile, from how it is stored to halves in shared memory: 32 rows of D channels,
// what is not there is zero. A lane does 4 neighbouring channels of a row at a time; where a kept
// element lies among the codes is a popcount, since codes ascend by channel.
#pragma once

#include "cuda/attend_job.hpp"

namespace mustafar::cuda {

// How an attend kernel multiplies: halves of the stored type; for `precise`, each operand as the
// sum of two of them, which is 22 bits in f16 and 16 in bf16.
template <bool is_bf16, bool is_precise>
struct Arithmetic {
    static constexpr bool bf16 = is_bf16;
    static constexpr bool precise = is_precise;
};

// Rows of a tile start 16 bytes further round the banks each: ldmatrix and 8-byte stores meet no
// conflict.
MUSTAFAR_SIZE unsigned tile_stride(unsigned d) { return d + 8; } // halves

struct TileSource {                  // rows of one side, in a page or in the window
    const std::byte* side = nullptr; // the start of the side in its page
    std::uint32_t meta_at = 0;
    const std::uint16_t* dense = nullptr; // or: the first row of the window
    const std::uint8_t* marks = nullptr;  // of that row; null = none
    const std::uint8_t* mark_bits = nullptr;
    std::uint32_t mark = 0; // which bit of the marks
    std::uint32_t rows = 0; // slots that may be read
};

// Where the kept elements of a row lie: words of its bitmap, and how many are kept before each.
template <unsigned D>
struct RowMasks {
    static constexpr unsigned words = D / 32;
    std::uint32_t word[tile_rows][words];
    std::uint8_t before[tile_rows][words];
};

template <class W, unsigned D, class A>
class TileReader {
  public:
    MUSTAFAR_WARP TileReader(const SideLayout& layout, const float* centre, RowMasks<D>& masks,
                             std::uint16_t* tile, std::uint16_t* low)
        : layout_(layout), centre_(centre), masks_(masks), tile_(tile), low_(low) {}

    MUSTAFAR_WARP void read(const TileSource& from) {
        if (from.dense != nullptr) {
            read_window(from);
        } else if (layout_.bitmap_stride == 0) {
            read_whole(from);
        } else {
            read_kept(from);
        }
        W::sync();
    }

  private:
    static constexpr unsigned chunks = D / 4; // of a row
    struct Half {                             // and what it leaves of a value, where that counts
        std::uint16_t high, low;
    };
    struct Four {
        Half of[4];
    };

    static MUSTAFAR_WARP Half to_half(float x) {
        constexpr float most = 65504.0F; // a scale may carry a value a little beyond
        if (!A::bf16) { x = x > most ? most : x < -most ? -most : x; }
        const std::uint16_t high = A::bf16 ? W::f32_to_bf16(x) : W::f32_to_f16(x);
        if (!A::precise) { return {high, 0}; }
        const float rest = x - (A::bf16 ? W::bf16_to_f32(high) : W::f16_to_f32(high));
        return {high, A::bf16 ? W::f32_to_bf16(rest) : W::f32_to_f16(rest)};
    }

    // four(row, channel) gives the halves from that channel on; rows that do not exist are zero.
    template <class F>
    MUSTAFAR_WARP void fill(std::uint32_t rows, const F& four) {
        constexpr unsigned passes = tile_rows * chunks / warp_lanes;
        MUSTAFAR_UNROLL_BY(4)
        for (unsigned pass = 0; pass < passes; ++pass) {
            W::each([&](unsigned i) {
                const unsigned at = pass * warp_lanes + W::lane(i);
                const unsigned row = at / chunks, c = at % chunks * 4;
                Four out = {};
                if (row < rows && c < layout_.d) { out = four(row, c); }
                std::uint64_t high = 0, low = 0;
                MUSTAFAR_UNROLL
                for (unsigned n = 0; n < 4; ++n) {
                    high |= std::uint64_t{out.of[n].high} << (16 * n);
                    low |= std::uint64_t{out.of[n].low} << (16 * n);
                }
                const unsigned to = row * tile_stride(D) + c;
                store_as(reinterpret_cast<std::byte*>(tile_ + to), high);
                if (A::precise) { store_as(reinterpret_cast<std::byte*>(low_ + to), low); }
            });
        }
    }
    static MUSTAFAR_WARP Four unpack(std::uint64_t all) {
        Four out = {};
        MUSTAFAR_UNROLL
        for (unsigned n = 0; n < 4; ++n) {
            out.of[n].high = static_cast<std::uint16_t>(all >> (16 * n));
        }
        return out;
    }

    // Dense rows. Elements that a mark drops read as the centre.
    MUSTAFAR_WARP void read_window(const TileSource& from) {
        fill(from.rows, [&](unsigned row, unsigned c) {
            const std::uint16_t* at = from.dense + std::size_t{row} * layout_.d + c;
            Four out = unpack(load_as<std::uint64_t>(reinterpret_cast<const std::byte*>(at)));
            if (from.marks == nullptr || (from.marks[row] >> from.mark & 1U) == 0) { return out; }
            const std::uint32_t kept = from.mark_bits[row * (layout_.d / 8) + c / 8] >> (c % 8);
            for (unsigned n = 0; n < 4; ++n) {
                if ((kept >> n & 1U) != 0) { continue; }
                out.of[n] = centre_ == nullptr ? Half{0, 0} : to_half(centre_[c + n]);
            }
            return out;
        });
    }

    struct Affine {
        float scale, zero;
    };
    static MUSTAFAR_WARP Affine affine_at(const std::byte* pair) {
        const auto both = load_as<std::uint32_t>(pair);
        return {W::f16_to_f32(static_cast<std::uint16_t>(both)),
                W::f16_to_f32(static_cast<std::uint16_t>(both >> 16))};
    }
    static MUSTAFAR_WARP Half value(std::uint32_t code, const Affine& affine) {
        return to_half(affine.zero + static_cast<float>(code) * affine.scale);
    }

    // Rows that keep every channel: code c is channel c.
    MUSTAFAR_WARP void read_whole(const TileSource& from) {
        const std::byte* codes = from.side + layout_.codes_at;
        const std::byte* meta = from.side + from.meta_at;
        const std::uint32_t stride = layout_.codes_stride;
        if (layout_.bits == 16) {
            fill(from.rows, [&](unsigned row, unsigned c) {
                return unpack(load_as<std::uint64_t>(codes + row * stride + 2 * c));
            });
            return;
        }
        const std::uint32_t bits = layout_.bits;
        fill(from.rows, [&](unsigned row, unsigned c) {
            const std::byte* at = codes + row * stride + c * bits / 8;
            std::uint32_t four = 0; // codes, lowest first
            if (bits == 8) {
                four = load_as<std::uint32_t>(at);
            } else if (bits == 4) {
                four = load_as<std::uint16_t>(at);
            } else {
                four = load_as<std::uint8_t>(at);
            }
            const std::uint32_t mask = bits_below(bits);
            Four out = {};
            if (layout_.channel_meta != 0) {
                for (unsigned n = 0; n < 4; ++n) {
                    const std::uint32_t code = four >> (n * bits) & mask;
                    out.of[n] = value(code, affine_at(meta + (c + n) * 4));
                }
                return out;
            }
            const std::uint32_t pair = layout_.group == 0 ? 0 : c / layout_.group;
            const Affine affine = affine_at(meta + row * layout_.meta_stride + pair * 4);
            for (unsigned n = 0; n < 4; ++n) {
                out.of[n] = value(four >> (n * bits) & mask, affine);
            }
            return out;
        });
    }

    // Each lane reads the bitmap of one row.
    MUSTAFAR_WARP void read_masks(const TileSource& from) {
        W::each([&](unsigned i) {
            const unsigned row = W::lane(i);
            std::uint32_t before = 0;
            for (unsigned w = 0; w < RowMasks<D>::words; ++w) {
                std::uint32_t word = 0;
                if (row < from.rows && 4 * w < layout_.bitmap_stride) {
                    const std::byte* at = from.side + row * layout_.bitmap_stride + 4 * w;
                    if (layout_.bitmap_stride % 4 == 0) {
                        word = load_as<std::uint32_t>(at);
                    } else { // rows of odd numbers of bytes
                        for (unsigned b = 0; b < 4 && 4 * w + b < layout_.bitmap_stride; ++b) {
                            word |= std::uint32_t{load_as<std::uint8_t>(at + b)} << (8 * b);
                        }
                    }
                }
                masks_.word[row][w] = word;
                masks_.before[row][w] = static_cast<std::uint8_t>(before);
                before += W::popcount(word);
            }
        });
        W::sync();
    }

    // Rows with a bitmap: code r is the r-th channel that is kept.
    MUSTAFAR_WARP void read_kept(const TileSource& from) {
        read_masks(from);
        const auto codes_of = [&](unsigned row) {
            const std::byte* codes = from.side + layout_.codes_at;
            if (layout_.codes_stride != 0) { return codes + row * layout_.codes_stride; }
            return codes + load_as<std::uint16_t>(from.side + layout_.offsets_at + 2 * row);
        };
        const auto kept = [&](unsigned row, unsigned c, const auto& value_at) {
            const std::uint32_t word = masks_.word[row][c / 32];
            std::uint32_t rank =
                masks_.before[row][c / 32] + W::popcount(word & bits_below(c % 32));
            const std::uint32_t four = word >> (c % 32);
            Four out = {};
            MUSTAFAR_UNROLL
            for (unsigned n = 0; n < 4; ++n) {
                if ((four >> n & 1U) != 0) { out.of[n] = value_at(rank++); }
            }
            return out;
        };
        if (layout_.bits == 16) {
            fill(from.rows, [&](unsigned row, unsigned c) {
                const std::byte* codes = codes_of(row);
                return kept(row, c, [&](std::uint32_t rank) {
                    return Half{load_as<std::uint16_t>(codes + 2 * rank), 0};
                });
            });
            return;
        }
        const std::uint32_t bits = layout_.bits;
        const std::byte* meta = from.side + from.meta_at;
        fill(from.rows, [&](unsigned row, unsigned c) {
            const std::byte* codes = codes_of(row);
            const Affine affine = affine_at(meta + row * layout_.meta_stride);
            return kept(row, c, [&](std::uint32_t rank) {
                const std::uint32_t byte = load_as<std::uint8_t>(codes + rank * bits / 8);
                return value(byte >> (rank * bits % 8) & bits_below(bits), affine);
            });
        });
    }

    const SideLayout& layout_;
    const float* centre_;
    RowMasks<D>& masks_;
    std::uint16_t* tile_;
    std::uint16_t* low_; // of precise arithmetic
};

} // namespace mustafar::cuda
