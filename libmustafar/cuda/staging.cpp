// SPDX-License-Identifier: Apache-2.0
#include "cuda/staging.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/attend_parts.hpp"
#include "core/tensor.hpp"

namespace mustafar::cuda {
namespace {

constexpr std::size_t alignment = 64; // of everything in the piece
constexpr std::size_t aligned(std::size_t at) {
    return (at + alignment - 1) / alignment * alignment;
}

} // namespace

StagedPart::StagedPart(const AttendArgs& args, const Machine& machine)
    : args_(args), tables_(head_tables(args)), job_(part_job(args, tables_)) {
    const Load load{args.part.tiles, args.part.queries};
    plan_ = plan_attend({&load, 1}, machine);
    for (AttendItem& item : plan_.items) { item.first_query += args.part.first_query; }
    lengths_at_ = add(&tables_.lengths, sizeof tables_.lengths);
    items_at_ = add(plan_.items.data(), plan_.items.size() * sizeof(AttendItem));
    add_pages();
    add_window();
    add_queries();
    table_at_ = add(tables_.pages.data(), tables_.pages.size() * sizeof(PageEntry));
    job_at_ = add(&job_, sizeof job_);
    input_.resize(aligned(input_.size()));
    lay_out_results();
}

std::size_t StagedPart::add(const void* from, std::size_t bytes) {
    const std::size_t at = aligned(input_.size());
    input_.resize(at + bytes);
    if (bytes != 0) { std::memcpy(input_.data() + at, from, bytes); }
    return at;
}

// Only those of the part's tiles.
void StagedPart::add_pages() {
    const std::uint32_t first = tiles_of(args_.head.dense.sink);
    pages_at_.assign(tables_.pages.size(), 0);
    for (std::uint32_t p = 0; p < tables_.pages.size(); ++p) {
        const std::uint32_t tile = first + p;
        if (tile < args_.part.first_tile || tile - args_.part.first_tile >= args_.part.tiles) {
            continue;
        }
        pages_at_[p] = add(tables_.pages[p].data, tables_.pages[p].bytes);
    }
}

void StagedPart::add_window() {
    const HeadView& head = args_.head;
    const std::size_t slots = head.dense.count;
    for (const Side side : {Side::k, Side::v}) {
        const auto s = static_cast<int>(side);
        const std::size_t d = head.spec->side(side).d;
        dense_at_[s] = add(job_.dense[s], slots * d * 2);
        if (head.dense.marks != nullptr) {
            mark_bits_at_[s] = add(head.dense.mark_bits[s], slots * d / 8);
        }
    }
    if (head.dense.marks != nullptr) { marks_at_ = add(head.dense.marks, slots); }
    if (head.centre != nullptr) { centre_at_ = add(head.centre, head.spec->k.d * sizeof(float)); }
    if (head.positions != nullptr) {
        positions_at_ = add(head.positions, head.rows() * sizeof(std::int32_t));
    }
}

// As contiguous floats, whatever tensor they come from.
void StagedPart::add_queries() {
    const std::size_t d = args_.head.spec->k.d;
    std::vector<float> rows(args_.part.queries * d);
    for (std::uint32_t i = 0; i < args_.part.queries; ++i) {
        const std::uint32_t query = args_.part.first_query + i;
        const std::int64_t head = std::int64_t{args_.kv_head} * args_.group + query % args_.group;
        const mustafar_tensor& q = *args_.q;
        load_row(q,
                 args_.cache * q.strides[0] + query / args_.group * q.strides[1] +
                     head * q.strides[2],
                 d, rows.data() + i * d);
    }
    q_at_ = add(rows.data(), rows.size() * sizeof(float));
    if (job_.sinks == nullptr) { return; }
    std::vector<float> sinks;
    for (std::uint32_t h = 0; h < args_.group; ++h) {
        sinks.push_back(job_.sinks[h * job_.sinks_stride]);
    }
    sinks_at_ = add(sinks.data(), sinks.size() * sizeof(float));
}

std::uint32_t StagedPart::rows_before(std::uint32_t tile) const {
    const HeadLengths& head = tables_.lengths;
    const std::uint32_t sink_tiles = tiles_of(head.sink);
    if (tile <= sink_tiles) { return std::min(tile * page_rows, head.sink); }
    const std::uint32_t page = tile - sink_tiles;
    if (page < head.pages) { return head.sink + tables_.pages[page].first_row; }
    const std::uint32_t window = head.dense - head.sink;
    return head.sink + head.body_rows + std::min((page - head.pages) * page_rows, window);
}

void StagedPart::lay_out_results() {
    const std::size_t d = args_.head.spec->v.d;
    first_row_ = rows_before(args_.part.first_tile);
    rows_ = rows_before(args_.part.first_tile + args_.part.tiles) - first_row_;
    partials_at_ = input_.size();
    tickets_at_ =
        aligned(partials_at_ + plan_.partials * block_queries * (partial_head + d) * sizeof(float));
    results_at_ = aligned(tickets_at_ + ticket_bytes());
    const std::size_t outputs = args_.part.queries * part_floats(d) * sizeof(float);
    scores_at_ = aligned(outputs);
    result_bytes_ = scores_at_;
    if (args_.weights != nullptr) {
        result_bytes_ += std::size_t{args_.part.queries} * rows_ * sizeof(float);
    }
    output_bytes_ = results_at_ + result_bytes_ - input_.size();
}

const std::vector<std::byte>& StagedPart::bytes_for(std::byte* base) {
    const auto at = [&](std::size_t offset) { return base + offset; };
    const auto floats = [&](std::size_t offset) { return reinterpret_cast<float*>(at(offset)); };
    for (std::uint32_t p = 0; p < tables_.pages.size(); ++p) {
        tables_.pages[p].data = pages_at_[p] == 0 ? nullptr : at(pages_at_[p]);
    }
    if (!tables_.pages.empty()) { // a head without a body
        std::memcpy(input_.data() + table_at_, tables_.pages.data(),
                    tables_.pages.size() * sizeof(PageEntry));
    }

    AttendJob job = job_;
    job.lengths = reinterpret_cast<const HeadLengths*>(at(lengths_at_));
    job.pages = reinterpret_cast<const PageEntry*>(at(table_at_));
    for (int s = 0; s < 2; ++s) {
        job.dense[s] = reinterpret_cast<const std::uint16_t*>(at(dense_at_[s]));
        if (job.marks == nullptr) { continue; }
        job.mark_bits[s] = reinterpret_cast<const std::uint8_t*>(at(mark_bits_at_[s]));
    }
    if (job.marks != nullptr) { job.marks = reinterpret_cast<std::uint8_t*>(at(marks_at_)); }
    if (job.centre != nullptr) { job.centre = floats(centre_at_); }
    if (job.positions != nullptr) {
        job.positions = reinterpret_cast<const std::int32_t*>(at(positions_at_));
    }
    if (job.sinks != nullptr) {
        job.sinks = floats(sinks_at_);
        job.sinks_stride = 1;
    }
    // Query rows lie one behind the other, from the part's first on.
    const auto rows = [&](std::size_t offset, std::size_t stride) {
        const auto step = static_cast<std::int64_t>(stride);
        return QueryRows{floats(offset) - std::int64_t{args_.part.first_query} * step,
                         step * args_.group, step, 1, ElementType::f32};
    };
    const std::size_t out = part_floats(args_.head.spec->v.d);
    job.q = rows(q_at_, args_.head.spec->k.d);
    job.lse = rows(results_at_, out);
    job.dropped = rows(results_at_ + 2 * sizeof(float), out);
    job.out = rows(results_at_ + part_head * sizeof(float), out);
    if (args_.weights != nullptr) {
        job.weights = rows(results_at_ + scores_at_, rows_);
        job.weights.data = static_cast<float*>(job.weights.data) - first_row_;
    }
    std::memcpy(input_.data() + job_at_, &job, sizeof job);
    return input_;
}

const AttendJob* StagedPart::job(const std::byte* base) const {
    return reinterpret_cast<const AttendJob*>(base + job_at_);
}
const AttendItem* StagedPart::items(const std::byte* base) const {
    return reinterpret_cast<const AttendItem*>(base + items_at_);
}

void StagedPart::finish(const std::byte* results) const {
    const std::size_t floats = args_.part.queries * part_floats(args_.head.spec->v.d);
    std::memcpy(args_.part.partial, results, floats * sizeof(float));
    if (args_.weights != nullptr) {
        const mustafar_tensor& weights = *args_.weights;
        const auto* scores = reinterpret_cast<const float*>(results + scores_at_);
        for (std::uint32_t i = 0; i < args_.part.queries; ++i) {
            const std::uint32_t query = args_.part.first_query + i;
            const std::int64_t head =
                std::int64_t{args_.kv_head} * args_.group + query % args_.group;
            float* to = static_cast<float*>(weights.data) + args_.cache * weights.strides[0] +
                        query / args_.group * weights.strides[1] + head * weights.strides[2];
            for (std::uint32_t row = 0; row < rows_; ++row) {
                to[std::int64_t{first_row_ + row} * weights.strides[3]] =
                    scores[std::size_t{i} * rows_ + row];
            }
        }
    }
    finish_part(args_);
}

} // namespace mustafar::cuda
