// SPDX-License-Identifier: Apache-2.0
// A row in a warp's registers and which of its elements survive. Lane l holds channels l, l + 32, ...: a
// ballot is a word of the bitmap, a popcount is a rank. Survivors are the k largest magnitudes, ties to
// the lower channel, found by bisection on their bits (Mustafar, arXiv 2505.22913, section 2).
#pragma once

#include "cuda/compress_values.hpp"

namespace mustafar::cuda {

template <class W, unsigned stripes>
class SurvivingRow {
  public:
    MUSTAFAR_WARP SurvivingRow(const CompressJob& job, std::uint32_t row, std::uint32_t* scratch)
        : job_(job), of_(job) {
        load(row);
        choose(row, scratch);
    }

    Lanes<W, float> value[stripes]; // 0 where there is no channel
    Lanes<W, std::uint16_t> half[stripes];
    std::uint32_t kept[stripes] = {}; // as bits, the same in all lanes

    MUSTAFAR_WARP std::uint32_t count() const {
        std::uint32_t all = 0;
        MUSTAFAR_UNROLL for (unsigned j = 0; j < stripes; ++j) { all += W::popcount(kept[j]); }
        return all;
    }
    // visit(i, lane's place in stripe j, its rank) for every kept element.
    template <class F>
    MUSTAFAR_WARP void each_kept(const F& visit) const {
        std::uint32_t before = 0;
        MUSTAFAR_UNROLL for (unsigned j = 0; j < stripes; ++j) {
            W::each([&](unsigned i) {
                const std::uint32_t below = kept[j] & bits_below(W::lane(i));
                if ((kept[j] >> W::lane(i) & 1U) != 0) { visit(i, j, before + W::popcount(below)); }
            });
            before += W::popcount(kept[j]);
        }
    }
    MUSTAFAR_WARP void store_bitmap(std::byte* to) const {
        W::each([&](unsigned i) { // lane l writes byte l: at most 256 / 8
            const unsigned l = W::lane(i);
            if (l >= job_.d / 8) { return; }
            std::uint32_t word = 0;
            MUSTAFAR_UNROLL for (unsigned j = 0; j < stripes; ++j) {
                word = l / 4 == j ? kept[j] : word;
            }
            to[l] = static_cast<std::byte>(word >> (8 * (l % 4)));
        });
    }

  private:
    MUSTAFAR_WARP void load(std::uint32_t row) {
        Lanes<W, bool> wrong;
        W::each([&](unsigned i) { wrong[i] = false; });
        MUSTAFAR_UNROLL for (unsigned j = 0; j < stripes; ++j) {
            W::each([&](unsigned i) {
                const unsigned c = 32 * j + W::lane(i);
                value[j][i] = 0.0F;
                key_[j][i] = -1;
                half[j][i] = 0;
                if (c >= job_.d) { return; }
                half[j][i] = of_.half(row, c);
                wrong[i] = wrong[i] || !of_.finite(half[j][i]);
                value[j][i] = of_.value(half[j][i], c);
                key_[j][i] = of_.key(half[j][i], value[j][i], row, c);
            });
        }
        of_.report(wrong);
    }

    MUSTAFAR_WARP void choose(std::uint32_t row, std::uint32_t* scratch) {
        switch (job_.rule) {
        case Survivors::given:
            return read(job_.survivors + std::size_t{row} * job_.survivors_stride);
        case Survivors::threshold:
            return keep_from(static_cast<std::int32_t>(W::bits_of(job_.threshold) & 0x7FFFFFFFU));
        case Survivors::with_ties:
            return keep_from(job_.keep < job_.d ? last_key() : 0);
        case Survivors::n_m:
            return choose_of_neighbours(scratch);
        case Survivors::token_topk:
            return job_.keep < job_.d ? choose_largest(last_key()) : keep_from(0);
        }
    }

    MUSTAFAR_WARP void read(const std::uint8_t* bitmap) {
        MUSTAFAR_UNROLL for (unsigned j = 0; j < stripes; ++j) {
            for (unsigned b = 4 * j; b < 4 * j + 4 && b < job_.d / 8; ++b) {
                kept[j] |= std::uint32_t{bitmap[b]} << (b % 4 * 8);
            }
        }
    }

    MUSTAFAR_WARP void keep_from(std::int32_t least) {
        MUSTAFAR_UNROLL for (unsigned j = 0; j < stripes; ++j) {
            Lanes<W, bool> in;
            W::each([&](unsigned i) { in[i] = key_[j][i] >= least; });
            kept[j] = W::ballot(in);
        }
    }
    MUSTAFAR_WARP std::uint32_t count_from(std::int32_t least) const {
        std::uint32_t all = 0;
        MUSTAFAR_UNROLL for (unsigned j = 0; j < stripes; ++j) {
            Lanes<W, bool> in;
            W::each([&](unsigned i) { in[i] = key_[j][i] >= least; });
            all += W::popcount(W::ballot(in));
        }
        return all;
    }
    MUSTAFAR_WARP std::int32_t last_key() const { // the keep-th largest, from its highest bit down
        std::int32_t threshold = 0;
        for (int bit = of_.highest_bit(); bit >= 0; --bit) {
            const std::int32_t higher = threshold | (std::int32_t{1} << bit);
            if (count_from(higher) >= job_.keep) { threshold = higher; }
        }
        return threshold;
    }

    MUSTAFAR_WARP void choose_largest(std::int32_t threshold) {
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
            kept[j] = W::ballot(above) | taken;
            ties -= W::popcount(taken);
        }
    }

    // Each lane ranks its channel among its neighbours, whose keys lie in the scratch of the warp.
    MUSTAFAR_WARP void choose_of_neighbours(std::uint32_t* scratch) {
        const std::uint32_t most = job_.keep * job_.of / job_.d;
        MUSTAFAR_UNROLL for (unsigned j = 0; j < stripes; ++j) {
            W::each([&](unsigned i) {
                scratch[32 * j + W::lane(i)] = static_cast<std::uint32_t>(key_[j][i]);
            });
        }
        W::sync();
        MUSTAFAR_UNROLL for (unsigned j = 0; j < stripes; ++j) {
            Lanes<W, bool> in;
            W::each([&](unsigned i) {
                const unsigned c = 32 * j + W::lane(i), begin = c / job_.of * job_.of;
                std::uint32_t rank = 0;
                for (unsigned o = begin; c < job_.d && o < begin + job_.of; ++o) {
                    const auto other = static_cast<std::int32_t>(scratch[o]);
                    rank += other > key_[j][i] || (other == key_[j][i] && o < c) ? 1 : 0;
                }
                in[i] = c < job_.d && rank < most;
            });
            kept[j] = W::ballot(in);
        }
        W::sync(); // before the scratch is written again
    }

    const CompressJob& job_;
    CompressValues<W> of_;
    Lanes<W, std::int32_t> key_[stripes]; // -1 where there is no channel
};

} // namespace mustafar::cuda
