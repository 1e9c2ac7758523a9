// SPDX-License-Identifier: Apache-2.0
// compress: prune, quantize and pack rows that lie as halves, one warp a row, one pass, in place.
//   survivors: the k largest magnitudes, ties to the lower channel, by bisection on their bits
// with ballots
//   (Mustafar, arXiv 2505.22913, section 2); codes as docs/format.md 2.3 says. Bytes are those of
// `ref`. Lane l holds channels l, l + 32, ...: a ballot is a word of the bitmap, a popcount is a
// rank. Traffic: each row is read once and written once, no scratch in device memory.
#pragma once

#include "cuda/lanes.hpp"

namespace mustafar::cuda {

struct CompressJob { // rows of one side of one kv head, which go to slots first_slot .. of pages
    std::uint32_t d = 0;
    std::uint32_t keep = 0;  // == d: all
    std::uint32_t bits = 16; // 16, 8, 4, 2
    std::uint32_t group = 0; // channels of a group (32 or 64) with all kept; 0 = the row is one
    std::uint32_t bf16 = 0;  // the stored type; else f16
    std::uint32_t rows = 0;
    const std::uint16_t* first = nullptr; // [rows], `stride` elements apart
    std::int64_t stride = 0;
    const float* centre = nullptr;          // [d] or null
    const float* channel_weights = nullptr; // [d] or null
    std::byte* const* pages = nullptr;      // data of each page
    std::uint32_t first_slot = 0;           // of row 0, counted over all pages
    // Where the arrays of this side start in a page, and their strides; no bitmaps where all is
    // kept.
    std::uint32_t bitmaps_at = 0, codes_at = 0, meta_at = 0;
    std::uint32_t bitmap_stride = 0, codes_stride = 0, meta_stride = 0;
    std::uint32_t* non_finite = nullptr; // set to 1 where a row has an infinity or a NaN
};

constexpr unsigned compress_page_rows = 32;
constexpr unsigned compress_scratch_bytes = 256; // of a warp: one code a channel

template <class W, unsigned stripes>
class CompressRow {
  public:
    MUSTAFAR_WARP CompressRow(const CompressJob& job, std::uint32_t row, std::uint8_t* scratch)
        : job_(job), scratch_(scratch) {
        const std::uint32_t slot = job.first_slot + row;
        page_ = job.pages[slot / compress_page_rows];
        slot_ = slot % compress_page_rows;
        load(row);
    }
    MUSTAFAR_WARP void run() {
        if (job_.keep < job_.d) {
            select();
        } else {
            MUSTAFAR_UNROLL for (unsigned j = 0; j < stripes; ++j) { kept_[j] = present(j); }
        }
        store_bitmap();
        if (job_.bits == 16) {
            store_halves();
        } else {
            store_codes();
        }
    }

  private:
    // Channels of stripe j that exist, as bits.
    MUSTAFAR_WARP std::uint32_t present(unsigned j) const {
        const std::uint32_t left = job_.d > 32 * j ? job_.d - 32 * j : 0;
        return left >= 32 ? ~0U : bits_below(left);
    }
    MUSTAFAR_WARP bool exact_halves() const {
        return job_.centre == nullptr && job_.channel_weights == nullptr;
    }

    // Values in float32, and keys that order magnitudes: bits of halves where nothing is done to
    // them, else of floats; -1 where there is no channel.
    MUSTAFAR_WARP void load(std::uint32_t row) {
        const std::uint16_t* from = job_.first + static_cast<std::int64_t>(row) * job_.stride;
        const std::uint32_t infinity = job_.bf16 != 0 ? 0x7F80U : 0x7C00U;
        Lanes<W, bool> wrong;
        W::each([&](unsigned i) { wrong[i] = false; });
        MUSTAFAR_UNROLL for (unsigned j = 0; j < stripes; ++j) {
            W::each([&](unsigned i) {
                const unsigned c = 32 * j + W::lane(i);
                value_[j][i] = 0.0F;
                key_[j][i] = -1;
                half_[j][i] = 0;
                if (c >= job_.d) { return; }
                const std::uint16_t half = from[c];
                half_[j][i] = half;
                wrong[i] = wrong[i] || (half & 0x7FFFU) >= infinity;
                float x = job_.bf16 != 0 ? W::bf16_to_f32(half) : W::f16_to_f32(half);
                if (job_.centre != nullptr) { x = W::subtract(x, job_.centre[c]); }
                value_[j][i] = x;
                if (exact_halves()) {
                    key_[j][i] = static_cast<std::int32_t>(half & 0x7FFFU);
                    return;
                }
                if (job_.channel_weights != nullptr) {
                    x = W::multiply(x < 0.0F ? -x : x, job_.channel_weights[c]);
                }
                key_[j][i] = static_cast<std::int32_t>(W::bits_of(x) & 0x7FFFFFFFU);
            });
        }
        if (W::ballot(wrong) == 0 || job_.non_finite == nullptr) { return; }
        W::each([&](unsigned i) {
            if (W::lane(i) == 0) { W::flag(job_.non_finite); }
        });
    }

    MUSTAFAR_WARP std::uint32_t count_from(std::int32_t least) const {
        std::uint32_t count = 0;
        MUSTAFAR_UNROLL for (unsigned j = 0; j < stripes; ++j) {
            Lanes<W, bool> in;
            W::each([&](unsigned i) { in[i] = key_[j][i] >= least; });
            count += W::popcount(W::ballot(in));
        }
        return count;
    }

    MUSTAFAR_WARP void select() {
        std::int32_t threshold = 0; // the k-th largest key, from its highest bit down
        for (int bit = exact_halves() ? 14 : 30; bit >= 0; --bit) {
            const std::int32_t higher = threshold | (std::int32_t{1} << bit);
            if (count_from(higher) >= job_.keep) { threshold = higher; }
        }
        std::uint32_t ties =
            job_.keep - count_from(threshold + 1); // to take, lowest channels first
        MUSTAFAR_UNROLL for (unsigned j = 0; j < stripes; ++j) {
            Lanes<W, bool> above, tied;
            W::each([&](unsigned i) {
                above[i] = key_[j][i] > threshold;
                tied[i] = key_[j][i] == threshold;
            });
            const std::uint32_t tied_word = W::ballot(tied);
            W::each([&](unsigned i) {
                const std::uint32_t before = W::popcount(tied_word & bits_below(W::lane(i)));
                tied[i] = tied[i] && before < ties;
            });
            const std::uint32_t taken = W::ballot(tied);
            kept_[j] = W::ballot(above) | taken;
            ties -= W::popcount(taken);
        }
    }

    MUSTAFAR_WARP void store_bitmap() {
        if (job_.bitmap_stride == 0) { return; }
        std::byte* to = page_ + job_.bitmaps_at + slot_ * job_.bitmap_stride;
        W::each([&](unsigned i) { // lane l writes byte l: at most 256 / 8
            const unsigned l = W::lane(i);
            if (l >= job_.d / 8) { return; }
            std::uint32_t word = 0;
            MUSTAFAR_UNROLL for (unsigned j = 0; j < stripes; ++j) {
                word = l / 4 == j ? kept_[j] : word;
            }
            to[l] = static_cast<std::byte>(word >> (8 * (l % 4)));
        });
    }

    // visit(i, lane's place in stripe j, its rank) for every kept element.
    template <class F>
    MUSTAFAR_WARP void each_kept(const F& visit) const {
        std::uint32_t before = 0;
        MUSTAFAR_UNROLL for (unsigned j = 0; j < stripes; ++j) {
            W::each([&](unsigned i) {
                const std::uint32_t below = kept_[j] & bits_below(W::lane(i));
                if ((kept_[j] >> W::lane(i) & 1U) != 0) {
                    visit(i, j, before + W::popcount(below));
                }
            });
            before += W::popcount(kept_[j]);
        }
    }

    MUSTAFAR_WARP void store_halves() {
        std::byte* to = page_ + job_.codes_at + slot_ * job_.codes_stride;
        each_kept([&](unsigned i, unsigned j, std::uint32_t rank) {
            std::uint16_t half = half_[j][i];
            if (job_.centre != nullptr) {
                half = job_.bf16 != 0 ? W::f32_to_bf16(value_[j][i]) : W::f32_to_f16(value_[j][i]);
            }
            store_as(to + 2 * rank, half);
        });
    }

    struct Affine {
        std::uint16_t scale, zero; // f16
    };
    // Of the kept values in stripes first .. end - 1.
    MUSTAFAR_WARP Affine fit(unsigned first, unsigned end) const {
        constexpr float infinity = 3.402823466e38F; // larger than any half
        Lanes<W, float> lo, hi;
        W::each([&](unsigned i) {
            lo[i] = infinity;
            hi[i] = -infinity;
        });
        MUSTAFAR_UNROLL for (unsigned j = 0; j < stripes; ++j) {
            W::each([&](unsigned i) {
                if (j < first || j >= end || (kept_[j] >> W::lane(i) & 1U) == 0) { return; }
                lo[i] = value_[j][i] < lo[i] ? value_[j][i] : lo[i];
                hi[i] = value_[j][i] > hi[i] ? value_[j][i] : hi[i];
            });
        }
        MUSTAFAR_UNROLL for (unsigned mask = 16; mask > 0; mask /= 2) {
            const Lanes<W, float> other_lo = W::shuffle_xor(lo, mask);
            const Lanes<W, float> other_hi = W::shuffle_xor(hi, mask);
            W::each([&](unsigned i) {
                lo[i] = other_lo[i] < lo[i] ? other_lo[i] : lo[i];
                hi[i] = other_hi[i] > hi[i] ? other_hi[i] : hi[i];
            });
        }
        const float least = W::broadcast(lo, 0), most = W::broadcast(hi, 0);
        const float range = W::subtract(most, least);
        const auto levels = static_cast<float>((1U << job_.bits) - 1U);
        const std::uint16_t zero = W::f32_to_f16(least);
        return {W::f32_to_f16(W::divide(range, levels)), zero == 0x8000U ? std::uint16_t{0} : zero};
    }

    MUSTAFAR_WARP std::uint8_t encode(float x, const Affine& affine) const {
        const float scale = W::f16_to_f32(affine.scale);
        if (scale == 0.0F) { return 0; }
        const float most = static_cast<float>((1U << job_.bits) - 1U);
        const float level = W::round(W::divide(W::subtract(x, W::f16_to_f32(affine.zero)), scale));
        return static_cast<std::uint8_t>(level < 0.0F ? 0.0F : level > most ? most : level);
    }

    MUSTAFAR_WARP void store_codes() {
        std::byte* meta = page_ + job_.meta_at + slot_ * job_.meta_stride;
        const unsigned width = job_.group == 0 ? stripes : job_.group / 32;
        Lanes<W, Affine> mine[stripes];
        for (unsigned first = 0, pair = 0; first < stripes && 32 * first < job_.d;
             first += width, ++pair) {
            const Affine affine = fit(first, first + width);
            W::each([&](unsigned i) {
                if (W::lane(i) == 0) {
                    store_as(meta + 4 * pair, affine.scale);
                    store_as(meta + 4 * pair + 2, affine.zero);
                }
            });
            MUSTAFAR_UNROLL for (unsigned j = 0; j < stripes; ++j) {
                W::each([&](unsigned i) {
                    if (j >= first && j < first + width) { mine[j][i] = affine; }
                });
            }
        }
        std::byte* to = page_ + job_.codes_at + slot_ * job_.codes_stride;
        if (job_.bits == 8) {
            each_kept([&](unsigned i, unsigned j, std::uint32_t rank) {
                to[rank] = static_cast<std::byte>(encode(value_[j][i], mine[j][i]));
            });
            return;
        }
        each_kept([&](unsigned i, unsigned j, std::uint32_t rank) {
            scratch_[rank] = encode(value_[j][i], mine[j][i]);
        });
        W::sync();
        const std::uint32_t in_byte = 8 / job_.bits;
        W::each([&](unsigned i) {
            for (std::uint32_t b = W::lane(i); b * in_byte < job_.keep; b += warp_lanes) {
                std::uint32_t byte = 0;
                for (std::uint32_t n = 0; n < in_byte && b * in_byte + n < job_.keep; ++n) {
                    byte |= std::uint32_t{scratch_[b * in_byte + n]} << (n * job_.bits);
                }
                to[b] = static_cast<std::byte>(byte);
            }
        });
        W::sync(); // before the next row writes there
    }

    const CompressJob& job_;
    std::uint8_t* scratch_;
    std::byte* page_ = nullptr;
    std::uint32_t slot_ = 0;
    Lanes<W, float> value_[stripes];
    Lanes<W, std::int32_t> key_[stripes];
    Lanes<W, std::uint16_t> half_[stripes];
    std::uint32_t kept_[stripes] = {};
};

// Rows first, first + step, ... of the job.
template <class W, unsigned stripes>
MUSTAFAR_WARP void compress_rows(const CompressJob& job, std::uint32_t first, std::uint32_t step,
                                 std::uint8_t* scratch) {
    for (std::uint32_t row = first; row < job.rows; row += step) {
        CompressRow<W, stripes>(job, row, scratch).run();
    }
}

} // namespace mustafar::cuda
