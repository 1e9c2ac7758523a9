// SPDX-License-Identifier: Apache-2.0
// The steps of compress where a lane is a channel and looks at all rows: scale and zero for each channel
// of a page (KIVI, arXiv 2402.02750, 3.1), and the survivors of `channel_topk`.
#pragma once

#include "cuda/compress_values.hpp"

namespace mustafar::cuda {

template <class W>
class CompressColumns { // unit: 32 channels of 32 rows, or of a chunk
  public:
    MUSTAFAR_WARP CompressColumns(const CompressJob& job, std::uint32_t unit, std::uint32_t rows)
        : job_(job), of_(job), block_(unit / compress_stripes(job.d)),
          stripe_(unit % compress_stripes(job.d)), first_(block_ * rows) {
        const std::uint32_t left = job.rows - first_;
        rows_ = left < rows ? left : rows;
    }

    // Codes, and scale and zero of each channel.
    MUSTAFAR_WARP void pack() {
        std::byte* page = job_.pages[block_];
        Lanes<W, AffineHalves> affine;
        fit(affine);
        W::each([&](unsigned i) {
            if (!real(i)) { return; }
            store_as(page + job_.meta_at + 4 * channel(i), affine[i].scale);
            store_as(page + job_.meta_at + 4 * channel(i) + 2, affine[i].zero);
        });
        const unsigned in_byte = 8 / job_.bits;
        for (std::uint32_t r = 0; r < rows_; ++r) {
            Lanes<W, std::uint32_t> byte; // a lane's code in its place, then those of its byte
            W::each([&](unsigned i) {
                byte[i] = 0;
                if (!real(i)) { return; }
                const std::uint32_t code = of_.encode(value(i, r), affine[i]);
                byte[i] = code << (channel(i) % in_byte * job_.bits);
            });
            for (unsigned mask = 1; mask < in_byte; mask *= 2) {
                const Lanes<W, std::uint32_t> other = W::shuffle_xor(byte, mask);
                W::each([&](unsigned i) { byte[i] |= other[i]; });
            }
            std::byte* to = page + job_.codes_at + r * job_.codes_stride;
            W::each([&](unsigned i) {
                if (!real(i) || channel(i) % in_byte != 0) { return; }
                to[channel(i) / in_byte] = static_cast<std::byte>(byte[i]);
            });
        }
    }

    // In each channel the largest of these rows, in proportion to `keep` of 32; ties go to the older.
    MUSTAFAR_WARP void choose() {
        const std::uint32_t most =
            rows_ - rows_ * (compress_page_rows - job_.keep) / compress_page_rows;
        Lanes<W, std::int32_t> threshold;
        Lanes<W, std::uint32_t> ties;
        W::each([&](unsigned i) {
            threshold[i] = 0;
            for (int bit = of_.highest_bit(); bit >= 0; --bit) {
                const std::int32_t higher = threshold[i] | (std::int32_t{1} << bit);
                if (count_from(i, higher) >= most) { threshold[i] = higher; }
            }
            ties[i] = most - count_from(i, threshold[i] + 1);
        });
        for (std::uint32_t r = 0; r < rows_; ++r) {
            Lanes<W, bool> in;
            W::each([&](unsigned i) {
                const std::int32_t mine = key(i, r);
                const bool tied = mine == threshold[i] && ties[i] > 0;
                in[i] = real(i) && (mine > threshold[i] || tied);
                if (in[i] && tied) { --ties[i]; }
            });
            const std::uint32_t word = W::ballot(in);
            std::uint8_t* to =
                job_.survivors + std::size_t{first_ + r} * job_.survivors_stride + 4 * stripe_;
            W::each([&](unsigned i) {
                const unsigned b = W::lane(i);
                if (b >= 4 || 4 * stripe_ + b >= job_.d / 8) { return; }
                to[b] = static_cast<std::uint8_t>(word >> (8 * b));
            });
        }
    }

  private:
    MUSTAFAR_WARP unsigned channel(unsigned i) const { return 32 * stripe_ + W::lane(i); }
    MUSTAFAR_WARP bool real(unsigned i) const { return channel(i) < job_.d; }
    MUSTAFAR_WARP float value(unsigned i, std::uint32_t r) const {
        return of_.value(of_.half(first_ + r, channel(i)), channel(i));
    }
    MUSTAFAR_WARP std::int32_t key(unsigned i, std::uint32_t r) const {
        if (!real(i)) { return -1; }
        const std::uint16_t half = of_.half(first_ + r, channel(i));
        return of_.key(half, of_.value(half, channel(i)), first_ + r, channel(i));
    }
    MUSTAFAR_WARP std::uint32_t count_from(unsigned i, std::int32_t least) const {
        std::uint32_t count = 0;
        for (std::uint32_t r = 0; r < rows_; ++r) { count += key(i, r) >= least ? 1 : 0; }
        return count;
    }
    MUSTAFAR_WARP void fit(Lanes<W, AffineHalves>& affine) const {
        Lanes<W, bool> wrong;
        W::each([&](unsigned i) {
            wrong[i] = false;
            if (!real(i)) { return; }
            float least = value(i, 0), most = least;
            for (std::uint32_t r = 0; r < rows_; ++r) {
                wrong[i] = wrong[i] || !of_.finite(of_.half(first_ + r, channel(i)));
                const float x = value(i, r);
                least = x < least ? x : least;
                most = x > most ? x : most;
            }
            affine[i] = of_.fit(least, most);
        });
        of_.report(wrong);
    }

    const CompressJob& job_;
    CompressValues<W> of_;
    std::uint32_t block_, stripe_, first_, rows_ = 0;
};

} // namespace mustafar::cuda
