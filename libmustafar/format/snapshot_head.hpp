// SPDX-License-Identifier: Apache-2.0
// Reads one HEAD section into the empty head of a cache that nobody else sees yet.
#pragma once

#include <cstdint>
#include <vector>

#include "core/cache.hpp"
#include "format/page.hpp"
#include "format/snapshot_bytes.hpp"

namespace mustafar {

class HeadReader {
  public:
    // `in` stands behind the header of the section; `layer` has its lengths.
    HeadReader(SectionReader& in, const Cache& cache, const LayerState& layer, HeadState& head)
        : in_(in), cache_(cache), layer_(layer), head_(head) {}
    void read();
    // No section of `rows` rows is longer.
    static std::uint64_t most_bytes(const HeadSpec& spec, std::uint64_t rows);

  private:
    struct Counts { // the fixed part of the section
        std::uint32_t body, dense, flags, pages;
        std::uint32_t rows() const { return body + dense; }
        bool has(std::uint32_t flag) const { return (flags & flag) != 0; }
    };
    struct PageRows { // of one side, slots ascending
        std::vector<RowImage> rows;
        std::vector<std::byte> block_meta;
    };

    Counts read_counts();
    void read_positions(const Counts& counts);
    void read_centre(const Counts& counts);
    void read_channel_masks(const Counts& counts);
    void read_pages(const Counts& counts);
    void read_page(std::uint32_t valid);
    PageRows read_page_side(const SideSpec& spec, std::uint32_t rows);
    void read_dense(const Counts& counts);
    void read_dense_side(Side side);
    void read_marks();
    void check_bitmap(const std::uint8_t* bitmap, const SideSpec& side) const;
    void check_row(const SideSpec& side, const RowImage& image) const;
    void check_affine(const std::byte* pairs, std::size_t count) const;
    float magnitude_limit(const SideSpec& side) const;
    Memory& memory() const { return cache_.context()->memory(); }
    Pool& pool() const { return cache_.context()->pool(); }

    SectionReader& in_;
    const Cache& cache_;
    const LayerState& layer_;
    HeadState& head_;
};

} // namespace mustafar
