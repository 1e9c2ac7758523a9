// SPDX-License-Identifier: Apache-2.0
// compress: prune, quantize and pack rows that lie as halves, one warp a row, one pass, in place; ragged
// rows a page at a time, once their survivors are known. Bytes are those of `ref`; codes as
// docs/format.md 2.3 says. Traffic: each row is read once and written once, no scratch in device memory.
#pragma once

#include "cuda/compress_columns.hpp"
#include "cuda/compress_survivors.hpp"

namespace mustafar::cuda {

struct RowPlace {                // where the parts of a row go
    std::byte* bitmap = nullptr; // null = not stored
    std::byte* codes = nullptr;
    std::byte* meta = nullptr;
};

template <class W, unsigned stripes>
class CompressRow {
  public:
    MUSTAFAR_WARP CompressRow(const CompressJob& job, std::uint32_t row, std::uint32_t* scratch)
        : job_(job), of_(job), scratch_(reinterpret_cast<std::uint8_t*>(scratch)),
          row_(job, row, scratch) {
        if (job.survivors == nullptr || job.rule == Survivors::given) { return; }
        row_.store_bitmap(reinterpret_cast<std::byte*>(job.survivors) +
                          std::size_t{row} * job.survivors_stride);
    }
    MUSTAFAR_WARP void store(const RowPlace& to) {
        if (to.bitmap != nullptr) { row_.store_bitmap(to.bitmap); }
        if (job_.bits == 16) {
            store_halves(to.codes);
        } else {
            store_codes(to);
        }
    }

  private:
    MUSTAFAR_WARP void store_halves(std::byte* to) {
        row_.each_kept([&](unsigned i, unsigned j, std::uint32_t rank) {
            std::uint16_t half = row_.half[j][i];
            if (job_.centre != nullptr) {
                half = job_.bf16 != 0 ? W::f32_to_bf16(row_.value[j][i])
                                      : W::f32_to_f16(row_.value[j][i]);
            }
            store_as(to + 2 * rank, half);
        });
    }

    // Of the kept values in stripes first .. end - 1; zeros where nothing is kept.
    MUSTAFAR_WARP AffineHalves fit(unsigned first, unsigned end) const {
        constexpr float infinity = 3.402823466e38F; // larger than any half
        Lanes<W, float> lo, hi;
        W::each([&](unsigned i) {
            lo[i] = infinity;
            hi[i] = -infinity;
        });
        MUSTAFAR_UNROLL for (unsigned j = 0; j < stripes; ++j) {
            W::each([&](unsigned i) {
                if (j < first || j >= end || (row_.kept[j] >> W::lane(i) & 1U) == 0) { return; }
                const float x = row_.value[j][i];
                lo[i] = x < lo[i] ? x : lo[i];
                hi[i] = x > hi[i] ? x : hi[i];
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
        return least > most ? AffineHalves{} : of_.fit(least, most);
    }

    MUSTAFAR_WARP void store_codes(const RowPlace& to) {
        const unsigned width = job_.group == 0 ? stripes : job_.group / 32;
        Lanes<W, AffineHalves> mine[stripes];
        for (unsigned first = 0, pair = 0; first < stripes && 32 * first < job_.d;
             first += width, ++pair) {
            const AffineHalves affine = fit(first, first + width);
            W::each([&](unsigned i) {
                if (W::lane(i) == 0) {
                    store_as(to.meta + 4 * pair, affine.scale);
                    store_as(to.meta + 4 * pair + 2, affine.zero);
                }
            });
            MUSTAFAR_UNROLL for (unsigned j = 0; j < stripes; ++j) {
                W::each([&](unsigned i) {
                    if (j >= first && j < first + width) { mine[j][i] = affine; }
                });
            }
        }
        if (job_.bits == 8) {
            row_.each_kept([&](unsigned i, unsigned j, std::uint32_t rank) {
                to.codes[rank] = static_cast<std::byte>(of_.encode(row_.value[j][i], mine[j][i]));
            });
            return;
        }
        row_.each_kept([&](unsigned i, unsigned j, std::uint32_t rank) {
            scratch_[rank] = of_.encode(row_.value[j][i], mine[j][i]);
        });
        W::sync();
        const std::uint32_t in_byte = 8 / job_.bits, count = row_.count();
        W::each([&](unsigned i) {
            for (std::uint32_t b = W::lane(i); b * in_byte < count; b += warp_lanes) {
                std::uint32_t byte = 0;
                for (std::uint32_t n = 0; n < in_byte && b * in_byte + n < count; ++n) {
                    byte |= std::uint32_t{scratch_[b * in_byte + n]} << (n * job_.bits);
                }
                to.codes[b] = static_cast<std::byte>(byte);
            }
        });
        W::sync(); // before the next row writes there
    }

    const CompressJob& job_;
    CompressValues<W> of_;
    std::uint8_t* scratch_;
    SurvivingRow<W, stripes> row_;
};

template <class W, unsigned stripes>
MUSTAFAR_WARP void compress_row(const CompressJob& job, std::uint32_t row, std::uint32_t* scratch) {
    CompressRow<W, stripes> packed(job, row, scratch);
    if (job.pages == nullptr) { return; }
    const std::uint32_t slot = job.first_slot + row;
    std::byte* page = job.pages[slot / compress_page_rows];
    const std::uint32_t at = slot % compress_page_rows;
    packed.store({job.bitmap_stride == 0 ? nullptr : page + job.bitmaps_at + at * job.bitmap_stride,
                  page + job.codes_at + at * job.codes_stride,
                  page + job.meta_at + at * job.meta_stride});
}

// Rows of any count, one behind the other; where each starts follows from the counts before it, where
// the scales start from all of them. The page was made for that many bytes.
template <class W, unsigned stripes>
MUSTAFAR_WARP void compress_ragged_page(const CompressJob& job, std::uint32_t page,
                                        std::uint32_t* scratch) {
    const std::uint32_t first = page * compress_page_rows;
    const std::uint32_t left = job.rows - first;
    const std::uint32_t rows = left < compress_page_rows ? left : compress_page_rows;
    Lanes<W, std::uint32_t> bytes; // of the codes of row `lane`
    W::each([&](unsigned i) {
        std::uint32_t count = 0;
        if (W::lane(i) < rows) {
            const std::uint8_t* bitmap =
                job.survivors + std::size_t{first + W::lane(i)} * job.survivors_stride;
            for (unsigned b = 0; b < job.d / 8; ++b) { count += W::popcount(bitmap[b]); }
        }
        bytes[i] = (count * job.bits + 7) / 8;
    });
    std::byte* to = job.pages[page];
    std::uint32_t total = 0;
    for (std::uint32_t r = 0; r < rows; ++r) { total += W::broadcast(bytes, r); }
    std::byte* meta = to + job.codes_at + (total + 63) / 64 * 64;
    std::uint32_t offset = 0;
    for (std::uint32_t r = 0; r < rows; ++r) {
        W::each([&](unsigned i) {
            if (W::lane(i) != 0) { return; }
            store_as(to + job.offsets_at + 2 * r, static_cast<std::uint16_t>(offset));
        });
        CompressRow<W, stripes>(job, first + r, scratch)
            .store({to + job.bitmaps_at + r * job.bitmap_stride, to + job.codes_at + offset,
                    meta + r * job.meta_stride});
        offset += W::broadcast(bytes, r);
    }
}

template <class W, unsigned stripes, CompressStep step>
MUSTAFAR_WARP void compress_unit(const CompressJob& job, std::uint32_t unit,
                                 std::uint32_t* scratch) {
    if constexpr (step == CompressStep::rows) {
        compress_row<W, stripes>(job, unit, scratch);
    } else if constexpr (step == CompressStep::ragged) {
        compress_ragged_page<W, stripes>(job, unit, scratch);
    } else if constexpr (step == CompressStep::channels) {
        CompressColumns<W>(job, unit, compress_page_rows).pack();
    } else {
        CompressColumns<W>(job, unit, job.chunk).choose();
    }
}

// What one warp of block (x, y) of the grid does: every job and unit is some warp's, once.
template <class W, unsigned stripes, CompressStep step>
MUSTAFAR_WARP void compress_block(const CompressJob* jobs, std::uint32_t count,
                                  const CompressGrid& grid, std::uint32_t x, std::uint32_t y,
                                  unsigned warp, std::uint32_t* scratch) {
    for (std::uint64_t j = y; j < count; j += grid.y) {
        const CompressJob& job = jobs[j];
        const std::uint32_t units = compress_units(step, job);
        const std::uint64_t stride = std::uint64_t{grid.x} * compress_warps;
        for (std::uint64_t unit = std::uint64_t{x} * compress_warps + warp; unit < units;
             unit += stride) {
            compress_unit<W, stripes, step>(job, static_cast<std::uint32_t>(unit), scratch);
        }
    }
}

} // namespace mustafar::cuda
