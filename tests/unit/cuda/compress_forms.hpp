// SPDX-License-Identifier: Apache-2.0
// Jobs of the CUDA kernel `compress` for rows that have no fixed stride and for scales that belong to
// channels, whoever runs them, and what they must give: bitmaps of prune_ref, bytes of pack_ref and of
// the core's pages.
#pragma once

#include <functional>

#include "cuda/compress_support.hpp"

namespace mustafar::test {

using cuda::CompressStep;
using cuda::Survivors;

// Runs a job whose pointers are those of the host; it writes `survivors` bytes from job.survivors on, and
// the pages, which job.pages lists.
using CompressRunner = std::function<void(CompressStep, const CompressJob&, std::size_t survivors,
                                          std::vector<std::vector<std::byte>>& pages)>;

struct Weights {
    std::vector<float> channel, token;
    Weights(const HardRows& rows, std::size_t kind) { // 0: none, 1: of channels, 2: of both
        Random random(rows.d + kind);
        if (kind > 0) { channel = random.values(rows.d, 0.0F, 2.0F); }
        if (kind > 1) { token = random.values(rows.rows, 0.0F, 2.0F); }
        if (kind > 0) { channel[0] = -0.0F; }
    }
};

inline CompressJob survivors_job(const SideSpec& side, const HardRows& rows, int form,
                                 const Weights& weights, std::vector<std::uint8_t>& bitmaps) {
    const HalfRows halves = rows.as_halves(form);
    CompressJob job;
    job.d = side.d;
    job.keep = side.prune.keep;
    job.bits = side.bits;
    job.bf16 = rows.store == Dtype::bf16 ? 1 : 0;
    job.rows = rows.rows;
    job.first = halves.first;
    job.stride = halves.stride;
    job.centre = halves.centre;
    job.channel_weights = weights.channel.empty() ? nullptr : weights.channel.data();
    job.token_weights = weights.token.empty() ? nullptr : weights.token.data();
    job.threshold = side.prune.threshold;
    job.rule = side.prune.method == Method::threshold ? Survivors::threshold : Survivors::with_ties;
    bitmaps.assign(std::size_t{rows.rows} * (side.d / 8U), 0xA5);
    job.survivors = bitmaps.data();
    job.survivors_stride = side.d / 8U;
    return job;
}

// As the core asks for them: `chunk` rows at a time.
inline std::vector<std::uint8_t> ref_survivors(const SideSpec& side, const HardRows& rows, int form,
                                               const Weights& weights, std::uint32_t chunk) {
    const std::size_t row_bytes = side.d / 8U;
    std::vector<std::uint8_t> bitmaps(rows.rows * row_bytes);
    for (std::uint32_t row = 0; row < rows.rows; row += chunk) {
        const std::size_t count = std::min(chunk, rows.rows - row);
        std::span<const float> tokens(weights.token);
        if (!tokens.empty()) { tokens = tokens.subspan(row, count); }
        prune_ref({side.prune,
                   side.d,
                   {},
                   weights.channel,
                   tokens,
                   std::span(bitmaps).subspan(row * row_bytes, count * row_bytes),
                   rows.as_halves(form).from(row)});
    }
    return bitmaps;
}

inline SideSpec ragged_side(std::uint32_t d, Method method, std::uint32_t keep, float threshold,
                            std::uint32_t bits) {
    SideSpec side = side_of(d, d, bits, 0);
    side.encoding = Encoding::ragged;
    side.keep = 0;
    side.prune = {method, method == Method::token_topk, static_cast<std::uint16_t>(keep), 0,
                  threshold};
    return side;
}
inline std::vector<SideSpec> ragged_sides(std::uint32_t d, std::uint32_t bits) {
    return {ragged_side(d, Method::token_topk, d * 5 / 16, 0.0F, bits), // with ties
            ragged_side(d, Method::token_topk, d, 0.0F, bits),
            ragged_side(d, Method::threshold, 0, 1.5F, bits),
            ragged_side(d, Method::threshold, 0, 0.0F, bits),
            ragged_side(d, Method::threshold, 0, 60000.0F, bits), // rows that keep nothing
            ragged_side(d, Method::channel_topk, 10, 0.0F, bits),
            ragged_side(d, Method::channel_topk, 1, 0.0F, bits)};
}

class RaggedPages { // of the core, and places of the same size
  public:
    RaggedPages(const SideSpec& side, const HardRows& rows, int form,
                std::span<const std::uint8_t> bitmaps)
        : context_(make_context(heap_)) {
        head_.k = head_.v = side;
        for (std::uint32_t row = 0; row < rows.rows; row += page_rows) {
            const std::uint32_t count = std::min(page_rows, rows.rows - row);
            std::vector<RowImage> images(count);
            const std::size_t row_bytes = side.d / 8U;
            pack_ref({&side,
                      rows.store,
                      {},
                      bitmaps.subspan(row * row_bytes, count * row_bytes),
                      images,
                      nullptr,
                      rows.as_halves(form).from(row)});
            pages_.push_back(build_ragged_page(context_->pool(), head_, images, images));
            const std::size_t bytes = pages_.back()->v_at;
            got_.emplace_back(bytes + 64, std::byte{0});
            places_.push_back(got_.back().data());
        }
    }
    ~RaggedPages() {
        for (Page* page : pages_) { context_->pool().release(page); }
    }
    RaggedPages(const RaggedPages&) = delete;
    RaggedPages& operator=(const RaggedPages&) = delete;

    void place(CompressJob& job) {
        const PageSide arrays = page_side(head_, Side::k, *pages_[0]);
        const auto at = [&](const std::byte* array) {
            return static_cast<std::uint32_t>(array - pages_[0]->data());
        };
        job.pages = places_.data();
        job.bitmaps_at = at(arrays.bitmaps);
        job.offsets_at = at(arrays.offsets);
        job.codes_at = at(arrays.codes);
        job.bitmap_stride = arrays.strides.bitmap;
        job.meta_stride = arrays.strides.meta;
    }
    std::vector<std::vector<std::byte>>& bytes() { return got_; }
    void compare() const {
        for (std::size_t p = 0; p < pages_.size(); ++p) {
            const std::size_t bytes = pages_[p]->v_at; // of the K side
            for (std::size_t at = 0; at < bytes; ++at) {
                ASSERT_EQ(got_[p][at], pages_[p]->data()[at]) << "page " << p << ", byte " << at;
            }
            for (std::size_t at = bytes; at < bytes + 64; ++at) {
                ASSERT_EQ(got_[p][at], std::byte{0}) << "behind page " << p;
            }
        }
    }

  private:
    Heap heap_;
    std::shared_ptr<Context> context_;
    HeadSpec head_;
    std::vector<Page*> pages_;
    std::vector<std::vector<std::byte>> got_;
    std::vector<std::byte*> places_;
};

inline void compare_ragged(const CompressRunner& run, const SideSpec& side, const HardRows& rows,
                           int form, std::size_t weighted, std::uint32_t chunk) {
    const Weights weights(rows, weighted);
    const auto want = ref_survivors(side, rows, form, weights, chunk);
    std::vector<std::uint8_t> bitmaps;
    CompressJob job = survivors_job(side, rows, form, weights, bitmaps);
    if (side.prune.method == Method::channel_topk) { job.chunk = chunk; }
    std::vector<std::vector<std::byte>> no_pages; // survivors alone
    run(job.chunk != 0 ? CompressStep::columns : CompressStep::rows, job, bitmaps.size(), no_pages);
    ASSERT_EQ(bitmaps, want) << "other survivors";
    RaggedPages pages(side, rows, form, bitmaps);
    job.rule = Survivors::given;
    pages.place(job);
    run(CompressStep::ragged, job, bitmaps.size(), pages.bytes());
    pages.compare();
}

inline void compare_channels(const CompressRunner& run, const HardRows& rows, std::uint32_t bits,
                             int form) {
    SideSpec side = side_of(rows.d, rows.d, bits, 0);
    side.encoding = Encoding::channel;
    std::vector<std::vector<std::byte>> want, got;
    std::vector<std::byte*> places;
    for (std::uint32_t row = 0; row < rows.rows; row += page_rows) {
        const std::uint32_t part = std::min(page_rows, rows.rows - row);
        want.emplace_back(side_bytes(side, 0), std::byte{0xA5});
        got.push_back(want.back());
        const PageSide arrays = arrays_of(side, want.back().data());
        const std::vector<std::uint8_t> all(std::size_t{part} * (rows.d / 8), 0xFF);
        pack_ref({&side,
                  rows.store,
                  {},
                  all,
                  PackedRows(arrays, 0, part),
                  reinterpret_cast<std::uint8_t*>(arrays.meta),
                  rows.as_halves(form).from(row)});
    }
    for (auto& page : got) { places.push_back(page.data()); }
    Pages unused(side, rows.rows);
    CompressJob job = job_of(side, rows, form, {}, unused);
    job.pages = places.data();
    run(CompressStep::channels, job, 0, got);
    ASSERT_EQ(got, want);
}

// Every shape and pattern, other widths and weights with each.
inline std::size_t compare_every_ragged(const CompressRunner& run,
                                        const std::vector<std::uint32_t>& counts) {
    std::size_t compared = 0;
    for (const std::uint32_t d : head_sizes) {
        for (const std::uint32_t count : counts) {
            for (std::size_t p = 0; p < patterns.size(); ++p) {
                const Dtype store = (p + d / 8 + count) % 2 == 0 ? Dtype::f16 : Dtype::bf16;
                const HardRows rows(patterns[p], d, count, store, p);
                const std::uint32_t bits = std::vector{16U, 8U, 4U, 2U}[(p + count) % 4];
                for (const SideSpec& side : ragged_sides(d, bits)) {
                    const int form = static_cast<int>((p + side.prune.keep) % 2);
                    const std::size_t weighted = (p + d / 8) % 3;
                    SCOPED_TRACE(std::string(patterns[p]) + ", d " + std::to_string(d) + ", rows " +
                                 std::to_string(count) + ", method " +
                                 std::to_string(static_cast<int>(side.prune.method)) + ", keep " +
                                 std::to_string(side.prune.keep) + ", bits " +
                                 std::to_string(bits) + ", form " + std::to_string(form) +
                                 ", weights " + std::to_string(weighted));
                    compare_ragged(run, side, rows, form, weighted, p % 2 == 0 ? 32 : 8);
                    if (testing::Test::HasFatalFailure()) { return compared; }
                    ++compared;
                }
            }
        }
    }
    return compared;
}
inline std::size_t compare_every_channels(const CompressRunner& run,
                                          const std::vector<std::uint32_t>& counts) {
    std::size_t compared = 0;
    for (const std::uint32_t d : head_sizes) {
        for (const std::uint32_t count : counts) {
            for (std::size_t p = 0; p < patterns.size(); ++p) {
                const Dtype store = (p + d / 8 + count) % 2 == 0 ? Dtype::f16 : Dtype::bf16;
                const HardRows rows(patterns[p], d, count, store, p);
                for (const std::uint32_t bits : {8U, 4U, 2U}) {
                    SCOPED_TRACE(std::string(patterns[p]) + ", d " + std::to_string(d) + ", rows " +
                                 std::to_string(count) + ", bits " + std::to_string(bits));
                    compare_channels(run, rows, bits, static_cast<int>((p + bits) % 2));
                    if (testing::Test::HasFatalFailure()) { return compared; }
                    ++compared;
                }
            }
        }
    }
    return compared;
}

} // namespace mustafar::test
