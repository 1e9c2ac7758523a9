// SPDX-License-Identifier: Apache-2.0
#include "http/staging.hpp"

#include <cstdlib>

#include <sys/mman.h>

namespace mustafar::daemon {

namespace {

constexpr std::size_t line = 64;
constexpr std::size_t huge_page = 2 << 20;

} // namespace

Staging Staging::reserve(StagingBudget& budget, std::size_t bytes) {
    Staging staging;
    if (bytes == 0 || !budget.reserve(bytes)) { return staging; }
    // Large buffers are new to the process each time: in large pages the kernel hands them out in
    // a fraction of the faults.
    const bool large = bytes >= 2 * huge_page;
    const std::size_t step = large ? huge_page : line;
    const std::size_t whole = (bytes + step - 1) / step * step;
    staging.data_ = static_cast<char*>(std::aligned_alloc(step, whole));
    if (staging.data_ == nullptr) {
        budget.give_back(bytes);
        return staging;
    }
    if (large) {
        ::madvise(staging.data_, whole, MADV_HUGEPAGE);
    } // a hint: its failure costs time only
    staging.budget_ = &budget;
    staging.size_ = bytes;
    return staging;
}

Staging::~Staging() {
    if (data_ != nullptr) {
        std::free(data_);
        budget_->give_back(size_);
    }
}

} // namespace mustafar::daemon
