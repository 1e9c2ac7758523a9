// SPDX-License-Identifier: Apache-2.0
#include "http/staging.hpp"

#include <cstdlib>

#include <sys/mman.h>

namespace mustafar::daemon {

namespace {

constexpr std::size_t line = 64;
constexpr std::size_t huge_page = 2 << 20;

} // namespace

StagingBudget::~StagingBudget() {
    for (const Spare& spare : spares_) { std::free(spare.data); }
}

char* StagingBudget::take_spare(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    for (Spare& spare : spares_) {
        if (spare.bytes != bytes) { continue; }
        kept_ -= bytes;
        return std::exchange(spare, {}).data;
    }
    return nullptr;
}

void StagingBudget::free_spare(Spare& spare) noexcept {
    kept_ -= spare.bytes;
    std::free(std::exchange(spare, {}).data);
}

// Bodies go before what is kept for bodies to come.
void StagingBudget::make_room() noexcept {
    if (used() + kept() <= limit_) { return; }
    const std::lock_guard lock(mutex_);
    for (Spare& spare : spares_) {
        if (used() + kept() > limit_) { free_spare(spare); }
    }
}

// The same size comes again and again: steps of one client. Others are not worth their memory.
bool StagingBudget::keep_spare(char* data, std::size_t bytes) noexcept {
    if (bytes > limit_ / 4) { return false; }
    const std::lock_guard lock(mutex_);
    if (used() + kept() + bytes > limit_) { return false; }
    for (Spare& spare : spares_) {
        if (spare.data != nullptr) { continue; }
        spare = {data, bytes, false};
        kept_ += bytes;
        return true;
    }
    return false;
}

void StagingBudget::trim() noexcept {
    const std::lock_guard lock(mutex_);
    for (Spare& spare : spares_) {
        if (spare.old) { free_spare(spare); }
        spare.old = spare.data != nullptr;
    }
}

Staging Staging::reserve(StagingBudget& budget, std::size_t bytes) {
    Staging staging;
    if (bytes == 0 || !budget.reserve(bytes)) { return staging; }
    // In large pages the kernel hands new buffers out in a fraction of the faults.
    const bool large = bytes >= 2 * huge_page;
    const std::size_t step = large ? huge_page : line;
    const std::size_t whole = (bytes + step - 1) / step * step;
    char* data = large ? budget.take_spare(whole) : nullptr;
    budget.make_room();
    if (data == nullptr) {
        data = static_cast<char*>(std::aligned_alloc(step, whole));
        if (data == nullptr) {
            budget.give_back(bytes);
            return staging;
        }
        // A hint: its failure costs time only.
        if (large) { ::madvise(data, whole, MADV_HUGEPAGE); }
    }
    staging.budget_ = &budget;
    staging.data_ = data;
    staging.size_ = bytes;
    staging.whole_ = whole;
    return staging;
}

Staging::~Staging() {
    if (data_ == nullptr) { return; }
    budget_->give_back(size_);
    if (whole_ < 2 * huge_page || !budget_->keep_spare(data_, whole_)) { std::free(data_); }
}

} // namespace mustafar::daemon
