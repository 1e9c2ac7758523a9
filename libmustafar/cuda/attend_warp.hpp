// SPDX-License-Identifier: Apache-2.0
// attend: decode attention on packed pages and the window, in one pass; one block does up to 16
// query rows of one kv head on one range of tiles, its warps take tiles in turn, newest first.
//   s = softcap(scale q . k),  online softmax (Milakov & Gimelshein, arXiv 1805.02867),  O += p V
// A tile is expanded once into halves in shared memory (attend_tile.hpp) and multiplied by MMA: the
// query heads of the group, and tokens of a draft, fill its 16 rows. The next page comes meanwhile.
// Error: q, p and decoded values are halves, sums fp32; p is held as p * 2^15, so that in f16
// weights down to 2^-40 of the largest count. Bound "cuda" in tests/common/budget.h.
#pragma once

#include "cuda/attend_block.hpp"

namespace mustafar::cuda {

template <class W, unsigned D, class A>
class AttendWarp {
  public:
    MUSTAFAR_WARP AttendWarp(const AttendJob& job, const AttendItem& item,
                             const BlockShared<D, A>& block, std::byte* memory,
                             std::size_t page_bytes, unsigned warp, unsigned warps)
        : job_(job), item_(item), block_(block), lengths_(*job.lengths), tiles_(lengths_),
          pages_(memory + warp_shared_bytes<D, A>()), page_bytes_(page_bytes),
          shared_(*reinterpret_cast<WarpShared<D, A>*>(memory)), warps_(warps) {
        const std::uint32_t all = tiles_.count();
        const std::uint32_t begin = job.first_tile < all ? job.first_tile : all;
        const std::uint32_t count = job.tiles < all - begin ? job.tiles : all - begin;
        begin_ =
            begin + static_cast<std::uint32_t>(std::uint64_t{count} * item.split / item.splits);
        end_ = begin +
               static_cast<std::uint32_t>(std::uint64_t{count} * (item.split + 1) / item.splits);
        next_ = end_ - begin_ > warp ? end_ - 1 - warp : none;
        start(begin_ == 0 && item.split == 0 && warp == 0);
    }

    MUSTAFAR_WARP void run() {
        unsigned buffer = 0;
        fetch(next_, buffer);
        while (next_ != none) {
            const std::uint32_t tile = next_;
            next_ = next_ - begin_ >= warps_ ? next_ - warps_ : none;
            fetch(next_, buffer ^ 1U);
            W::template wait_copies<1>();
            attend_tile(tile, page(buffer));
            W::sync(); // before the page is overwritten
            buffer ^= 1U;
        }
        store();
    }

  private:
    static constexpr std::uint32_t none = ~0U;
    static constexpr float infinity = __builtin_huge_valf();
    // A lane holds two query rows: lane / 4 and 8 more.
    MUSTAFAR_WARP void start(bool count_sinks) {
        MUSTAFAR_UNROLL
        for (unsigned h = 0; h < 2; ++h) {
            W::each([&](unsigned i) {
                const unsigned n = W::lane(i) / 4 + 8 * h;
                max_[h][i] = -infinity;
                sum_[h][i] = dropped_[h][i] = 0.0F;
                if (!count_sinks || job_.sinks == nullptr || n >= item_.queries) { return; }
                const std::uint32_t head = (item_.first_query + n) % job_.group;
                max_[h][i] = job_.sinks[head * job_.sinks_stride] * log2_e;
                if (W::lane(i) % 4 == 0) { sum_[h][i] = 1.0F; } // the sum of the four counts
            });
        }
        MUSTAFAR_UNROLL
        for (unsigned n = 0; n < D / 8; ++n) {
            MUSTAFAR_UNROLL
            for (unsigned r = 0; r < 4; ++r) {
                W::each([&](unsigned i) { out_[n][r][i] = 0.0F; });
            }
        }
    }

    MUSTAFAR_WARP bool is_page(std::uint32_t tile) const {
        return tile >= tiles_.sink && tile - tiles_.sink < tiles_.pages;
    }

    MUSTAFAR_WARP std::byte* page(unsigned buffer) const { return pages_ + buffer * page_bytes_; }

    // Starts the copy of a tile's page; window rows are read where they lie.
    MUSTAFAR_WARP void fetch(std::uint32_t tile, unsigned buffer) {
        if (tile != none && is_page(tile)) {
            const PageEntry& from = job_.pages[tile - tiles_.sink];
            W::each([&](unsigned i) {
                for (std::uint32_t at = 16 * W::lane(i); at < from.bytes; at += 16 * warp_lanes) {
                    W::copy_async16(page(buffer) + at, from.data + at);
                }
            });
        }
        W::commit_copies();
    }

    struct Place { // of a tile
        std::uint32_t valid = 0, first_row = 0;
        bool body = false;
        TileSource side[2];
    };
    MUSTAFAR_WARP Place place_of(std::uint32_t tile, const std::byte* bytes) const {
        Place at;
        at.body = is_page(tile);
        if (at.body) {
            const PageEntry& page = job_.pages[tile - tiles_.sink];
            at.valid = page.valid;
            at.first_row = lengths_.sink + page.first_row;
            MUSTAFAR_UNROLL
            for (unsigned s = 0; s < 2; ++s) {
                at.side[s].side = bytes + (s == 0 ? 0 : page.v_at);
                at.side[s].meta_at = page.meta_at[s];
                at.side[s].rows = tile_rows;
            }
            return at;
        }
        const bool sink = tile < tiles_.sink;
        const std::uint32_t slot =
            sink ? tile * tile_rows
                 : lengths_.sink + (tile - tiles_.sink - tiles_.pages) * tile_rows;
        const std::uint32_t left = (sink ? lengths_.sink : lengths_.dense) - slot;
        const std::uint32_t rows = left < tile_rows ? left : tile_rows;
        at.valid = rows == tile_rows ? ~0U : bits_below(rows);
        at.first_row = sink ? slot : slot + lengths_.body_rows;
        MUSTAFAR_UNROLL
        for (unsigned s = 0; s < 2; ++s) {
            at.side[s].dense = job_.dense[s] + std::size_t{slot} * job_.side[s].d;
            at.side[s].rows = rows;
            at.side[s].mark = s;
            if (job_.marks == nullptr) { continue; }
            at.side[s].marks = job_.marks + slot;
            at.side[s].mark_bits = job_.mark_bits[s] + std::size_t{slot} * (job_.side[s].d / 8);
        }
        return at;
    }

    MUSTAFAR_WARP void attend_tile(std::uint32_t tile, const std::byte* bytes) {
        const Place at = place_of(tile, bytes);
        TileReader<W, D, A>(job_.side[0], job_.centre, shared_.masks, shared_.tile,
                            shared_.tile_low)
            .read(at.side[0]);
        multiply_keys();
        finish_scores(at);
        if (!weigh()) { return; }
        W::sync(); // the keys were read by all lanes
        TileReader<W, D, A>(job_.side[1], nullptr, shared_.masks, shared_.tile, shared_.tile_low)
            .read(at.side[1]);
        add_values();
    }

    // scores [16, 32] = q [16, d] . keys [32, d]
    MUSTAFAR_WARP void multiply_keys() {
        MUSTAFAR_UNROLL
        for (unsigned n = 0; n < 4; ++n) {
            MUSTAFAR_UNROLL
            for (unsigned r = 0; r < 4; ++r) {
                W::each([&](unsigned i) { score_[n][r][i] = 0.0F; });
            }
        }
        MUSTAFAR_UNROLL
        for (unsigned k = 0; k < D; k += 16) {
            if (k >= job_.side[0].d) { continue; }
            multiply_keys_from(block_.q, shared_.tile, k);
            if (A::precise) {
                multiply_keys_from(block_.q_low, shared_.tile, k);
                multiply_keys_from(block_.q, shared_.tile_low, k);
            }
        }
    }

    MUSTAFAR_WARP void multiply_keys_from(const std::uint16_t* queries, const std::uint16_t* tile,
                                          unsigned k) {
        Lanes<W, std::uint32_t> q[4];
        load_fragment<W, D, false>(queries, 0, k, false, q);
        MUSTAFAR_UNROLL
        for (unsigned pair = 0; pair < 2; ++pair) { // of 8 tokens each
            Lanes<W, std::uint32_t> keys[4];
            load_fragment<W, D, false>(tile, 16 * pair, k, true, keys);
            W::template multiply_add<A::bf16>(score_[2 * pair], q, keys[0], keys[1]);
            W::template multiply_add<A::bf16>(score_[2 * pair + 1], q, keys[2], keys[3]);
        }
    }

    MUSTAFAR_WARP static unsigned query_of(unsigned lane, unsigned r) {
        return lane / 4 + r / 2 * 8;
    }
    MUSTAFAR_WARP static unsigned slot_of(unsigned lane, unsigned n, unsigned r) {
        return 8 * n + lane % 4 * 2 + r % 2;
    }

    // Scale, softcap, visibility; scores in units of log2.
    MUSTAFAR_WARP void finish_scores(const Place& at) {
        // Query 0 stands first. Rows behind it, or holes, need a look at each row.
        const bool all = at.valid == ~0U && job_.positions == nullptr && job_.sliding_window == 0 &&
                         at.first_row + tile_rows - 1 <= block_.position[0] &&
                         job_.weights.data == nullptr;
        MUSTAFAR_UNROLL
        for (unsigned n = 0; n < 4; ++n) {
            MUSTAFAR_UNROLL
            for (unsigned r = 0; r < 4; ++r) {
                W::each([&](unsigned i) {
                    const unsigned query = query_of(W::lane(i), r);
                    float s = score_[n][r][i] * block_.q_unit[query];
                    if (at.body) { s += block_.q_centre[query]; }
                    if (job_.softcap != 0.0F) { s = job_.softcap * W::tanh(s / job_.softcap); }
                    if (!all) { s = masked(s, at, query, slot_of(W::lane(i), n, r)); }
                    score_[n][r][i] = s * log2_e;
                });
            }
        }
    }

    MUSTAFAR_WARP float masked(float s, const Place& at, unsigned query, unsigned slot) const {
        if ((at.valid >> slot & 1U) == 0) { return -infinity; }
        const std::uint32_t row = at.first_row + W::popcount(at.valid & bits_below(slot));
        const std::int64_t position =
            job_.positions != nullptr ? std::int64_t{job_.positions[row]} : std::int64_t{row};
        const std::int64_t mine = block_.position[query];
        const bool seen =
            position <= mine && (job_.sliding_window == 0 || position > mine - job_.sliding_window);
        const float out = seen ? s : -infinity;
        if (job_.weights.data != nullptr && query < item_.queries) {
            const std::int64_t to = row_at(job_.weights, job_, item_.first_query + query);
            store_element<W>(job_.weights, to + row * job_.weights.element, out);
        }
        return out;
    }

    // Online softmax; false where no value of the tile is needed.
    MUSTAFAR_WARP bool weigh() {
        Lanes<W, bool> needed, moved;
        W::each([&](unsigned i) { needed[i] = moved[i] = false; });
        Lanes<W, float> factor[2], added[2];
        MUSTAFAR_UNROLL
        for (unsigned h = 0; h < 2; ++h) {
            Lanes<W, float> most;
            W::each([&](unsigned i) {
                most[i] = max_[h][i];
                MUSTAFAR_UNROLL
                for (unsigned n = 0; n < 4; ++n) {
                    MUSTAFAR_UNROLL
                    for (unsigned r = 2 * h; r < 2 * h + 2; ++r) {
                        most[i] = score_[n][r][i] > most[i] ? score_[n][r][i] : most[i];
                    }
                }
            });
            most = over_row<W>(most, [](float a, float b) { return a > b ? a : b; });
            W::each([&](unsigned i) {
                const float base = most[i] == -infinity ? 0.0F : most[i];
                factor[h][i] = W::exp2(max_[h][i] - base);
                moved[i] = moved[i] || most[i] != max_[h][i];
                max_[h][i] = most[i];
                added[h][i] = 0.0F;
                MUSTAFAR_UNROLL
                for (unsigned n = 0; n < 4; ++n) {
                    MUSTAFAR_UNROLL
                    for (unsigned r = 2 * h; r < 2 * h + 2; ++r) {
                        score_[n][r][i] = W::exp2(score_[n][r][i] - base);
                        added[h][i] += score_[n][r][i];
                    }
                }
                sum_[h][i] = sum_[h][i] * factor[h][i] + added[h][i];
                dropped_[h][i] *= factor[h][i];
            });
            look_for_needed(h, needed);
        }
        if (W::ballot(moved) != 0) { rescale(factor); }
        if (W::ballot(needed) != 0) { return true; }
        if (job_.drop_mass != 0.0F) {
            MUSTAFAR_UNROLL
            for (unsigned h = 0; h < 2; ++h) {
                W::each([&](unsigned i) { dropped_[h][i] += added[h][i]; });
            }
        }
        return false;
    }

    // A value is needed unless its weight is below eps / rows of what was summed so far, for every
    // query; without drop_mass, unless its weight is no number in f16.
    MUSTAFAR_WARP void look_for_needed(unsigned h, Lanes<W, bool>& needed) const {
        const Lanes<W, float> total = over_row<W>(sum_[h], [](float a, float b) { return a + b; });
        const auto rows = static_cast<float>(lengths_.body_rows + lengths_.dense);
        constexpr float least =
            A::bf16 || A::precise ? 0.0F : 4.5e-13F; // 2^-41: half of the smallest
        W::each([&](unsigned i) {
            const float room = job_.drop_mass != 0.0F ? job_.drop_mass / rows * total[i] : least;
            MUSTAFAR_UNROLL
            for (unsigned n = 0; n < 4; ++n) {
                MUSTAFAR_UNROLL
                for (unsigned r = 2 * h; r < 2 * h + 2; ++r) {
                    const float p = score_[n][r][i];
                    const bool out = p == 0.0F || p < room;
                    // NaN is needed: it must be seen.
                    if (!out && query_of(W::lane(i), r) < item_.queries) { needed[i] = true; }
                }
            }
        });
    }

    MUSTAFAR_WARP void rescale(const Lanes<W, float> (&factor)[2]) {
        MUSTAFAR_UNROLL
        for (unsigned n = 0; n < D / 8; ++n) {
            MUSTAFAR_UNROLL
            for (unsigned r = 0; r < 4; ++r) {
                W::each([&](unsigned i) { out_[n][r][i] *= factor[r / 2][i]; });
            }
        }
    }

    // out [16, d] += weights [16, 32] . values [32, d]
    MUSTAFAR_WARP void add_values() {
        MUSTAFAR_UNROLL
        for (unsigned k = 0; k < 2; ++k) { // 16 tokens each
            Lanes<W, std::uint32_t> weights[4], low[4];
            MUSTAFAR_UNROLL
            for (unsigned r = 0; r < 4; ++r) {
                W::each([&](unsigned i) {
                    const auto& p = score_[2 * k + r / 2];
                    const float a = p[r % 2 * 2][i] * weight_unit;
                    const float b = p[r % 2 * 2 + 1][i] * weight_unit;
                    weights[r][i] = pair_of<W, A>(a, b);
                    if (A::precise) {
                        low[r][i] = pair_of<W, A>(rest_of<W, A>(a), rest_of<W, A>(b));
                    }
                });
            }
            MUSTAFAR_UNROLL
            for (unsigned c = 0; c < D; c += 16) {
                if (c >= job_.side[1].d) { continue; }
                add_values_from(shared_.tile, 16 * k, c, weights);
                if (A::precise) {
                    add_values_from(shared_.tile, 16 * k, c, low);
                    add_values_from(shared_.tile_low, 16 * k, c, weights);
                }
            }
        }
    }
    MUSTAFAR_WARP void add_values_from(const std::uint16_t* tile, unsigned row, unsigned c,
                                       const Lanes<W, std::uint32_t> (&weights)[4]) {
        Lanes<W, std::uint32_t> values[4];
        load_fragment<W, D, true>(tile, row, c, false, values);
        W::template multiply_add<A::bf16>(out_[c / 8], weights, values[0], values[1]);
        W::template multiply_add<A::bf16>(out_[c / 8 + 1], weights, values[2], values[3]);
    }
    // Its partial result, to where the block joins them.
    MUSTAFAR_WARP void store() {
        auto* out = reinterpret_cast<float*>(shared_.tile);
        static_assert(sizeof(shared_.tile) >= block_queries * D * sizeof(float));
        W::sync();
        MUSTAFAR_UNROLL
        for (unsigned h = 0; h < 2; ++h) {
            const auto add = [](float a, float b) { return a + b; };
            const Lanes<W, float> sum = over_row<W>(sum_[h], add);
            const Lanes<W, float> dropped = over_row<W>(dropped_[h], add);
            W::each([&](unsigned i) {
                const unsigned query = W::lane(i) / 4 + 8 * h;
                if (W::lane(i) % 4 != 0) { return; }
                shared_.max[query] = max_[h][i];
                shared_.sum[query] = sum[i];
                shared_.dropped[query] = dropped[i];
            });
        }
        MUSTAFAR_UNROLL
        for (unsigned n = 0; n < D / 8; ++n) {
            MUSTAFAR_UNROLL
            for (unsigned r = 0; r < 4; ++r) {
                W::each([&](unsigned i) {
                    out[query_of(W::lane(i), r) * D + slot_of(W::lane(i), n, r)] =
                        out_[n][r][i] / weight_unit;
                });
            }
        }
    }

    const AttendJob& job_;
    const AttendItem& item_;
    const BlockShared<D, A>& block_;
    HeadLengths lengths_;
    TileCounts tiles_;
    std::byte* pages_; // two
    std::size_t page_bytes_;
    WarpShared<D, A>& shared_;
    std::uint32_t warps_;
    std::uint32_t begin_ = 0, end_ = 0, next_ = none;
    Lanes<W, float> score_[4][4];                  // of 8 tokens, fragments of an MMA; then weights
    Lanes<W, float> out_[D / 8][4];                // of 8 channels
    Lanes<W, float> max_[2], sum_[2], dropped_[2]; // the sums of a lane's own columns
};

} // namespace mustafar::cuda
