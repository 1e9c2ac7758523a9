// SPDX-License-Identifier: Apache-2.0
// One cache's part of a request that appends to all of its layers.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/tensors.hpp"
#include "store/caches.hpp"

namespace mustafar::daemon {

struct LayerRows {
    const BodyTensor* k = nullptr;
    const BodyTensor* v = nullptr;
};

struct AppendTerms {
    bool batch = false; // names of tensors begin with the cache's id
    bool tentative = false;
    std::optional<std::uint64_t> expect;
    BodyDigest digest{}; // of the body
};

// check(), then apply(), then publish() or undo(). From check() on the cache must be locked alone.
class WholeAppend {
  public:
    // Refuses shapes that do not fit the cache, and layers that are missing. Borrows the tensors.
    WholeAppend(std::string id, CachePointer entry, std::vector<LayerRows> layers,
                const AppendTerms& terms);
    bool check(); // true: the same request has been done before. Throws length_mismatch
    void apply();
    void undo();    // the cache is as it was before apply()
    void publish(); // what apply() did can be seen
    Json told(bool replayed) const;
    std::uint64_t rows() const { return tokens_ * layers_.size(); } // of all layers
    [[noreturn]] void refuse_repetition() const;                    // length_mismatch

  private:
    bool can_be_taken_back() const;

    std::string id_;
    CachePointer entry_;
    std::vector<LayerRows> layers_;
    AppendTerms terms_;
    std::uint64_t tokens_ = 0;
    std::uint32_t before_ = 0; // length of every layer
    LastAppend mine_;
    Cache child_;          // gets the rows where they could not be taken back from the cache
    bool applied_ = false; // to the cache itself, in part or in full
};

// Applies and publishes all of them, or none. Throws what the library says, with "cache" and "layer".
void apply_all(std::vector<WholeAppend>& appends);

} // namespace mustafar::daemon
