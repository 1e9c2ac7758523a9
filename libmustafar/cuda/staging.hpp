// SPDX-License-Identifier: Apache-2.0
// One part of a kv head and all it points to as one piece of memory, which a single copy takes to
// the device: what `attend_cuda` does for a cache that lies in the memory of the host. No CUDA
// here: the same piece works at any address, which is how it is tested.
#pragma once

#include <vector>

#include "cuda/head_job.hpp"
#include "cuda/plan.hpp"

namespace mustafar::cuda {

class StagedPart {
  public:
    // args.part as op `attend` has it; `machine` as plan_attend wants it.
    StagedPart(const AttendArgs& args, const Machine& machine);

    // The piece as it must lie at `base`, which is aligned to 256 bytes. Results come behind what
    // is copied.
    const std::vector<std::byte>& bytes_for(std::byte* base);
    std::size_t bytes() const { return input_.size() + output_bytes_; }

    const AttendJob* job(const std::byte* base) const;
    const AttendItem* items(const std::byte* base) const;
    const AttendPlan& plan() const { return plan_; }
    std::size_t page_bytes() const { return tables_.page_bytes; }

    // Scratch of the launch and results, from input_bytes() on.
    std::size_t input_bytes() const { return input_.size(); }
    std::size_t partials_at() const { return partials_at_; }
    std::size_t tickets_at() const { return tickets_at_; } // zero before the launch
    std::size_t ticket_bytes() const { return plan_.tickets * sizeof(std::uint32_t); }
    std::size_t results_at() const { return results_at_; }
    std::size_t result_bytes() const { return result_bytes_; }

    // `results` as they came back: into args.part.partial, and scores into args.weights.
    void finish(const std::byte* results) const;

  private:
    std::size_t add(const void* from, std::size_t bytes);
    void add_pages();
    void add_window();
    void add_queries();
    void lay_out_results();
    std::uint32_t rows_before(std::uint32_t tile) const;

    const AttendArgs& args_;
    HeadTables tables_;
    AttendPlan plan_;
    AttendJob job_;
    std::vector<std::byte> input_;
    std::vector<std::size_t> pages_at_;
    std::size_t lengths_at_ = 0, table_at_ = 0, items_at_ = 0, job_at_ = 0;
    std::size_t dense_at_[2] = {}, marks_at_ = 0, mark_bits_at_[2] = {}, centre_at_ = 0;
    std::size_t positions_at_ = 0, sinks_at_ = 0, q_at_ = 0;
    std::size_t output_bytes_ = 0, partials_at_ = 0, tickets_at_ = 0, results_at_ = 0;
    std::size_t result_bytes_ = 0, scores_at_ = 0;
    std::uint32_t first_row_ = 0, rows_ = 0; // that the part covers
};

} // namespace mustafar::cuda
