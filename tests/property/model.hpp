// SPDX-License-Identifier: Apache-2.0
// The oracle: what a cache must hold, as lists of rows with float64 values,
// written from docs/design.md and the headers. It keeps every row's original
// values and shares no code with the library.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "config.hpp"

namespace oracle {

using Mask = std::vector<uint8_t>; // one 0 or 1 per channel

// One token row of one side.
struct SideRow {
    std::vector<float> stored; // as appended, rounded to the store type
    Mask survivors;
    bool marked = false;
    std::vector<double> value; // as attend and export see it
};

struct Row {
    int32_t position = 0;
    SideRow side[2];
};

// Multipliers of magnitudes, where the caller gives them.
struct Weights {
    const float *channel = nullptr; // [d]
    std::vector<float> token;       // one per row of the range, or empty
};

// A page of the body. Caches that share it hold the same pointer.
struct PageOf {
    std::shared_ptr<int> identity;
    uint32_t rows = 0;
};

// One kv head: sink rows, `body` packed rows, the dense tail.
struct Head {
    const HeadRecipe *recipe = nullptr;
    std::vector<Row> rows;
    uint32_t body = 0;
    bool evicted = false;
    uint64_t evicted_rows = 0;
    std::optional<std::vector<float>> centre; // of K, once frozen
    std::optional<Mask> channels[2];          // survivors of method `channels`, once frozen
    std::vector<PageOf> pages;
};

struct Layer {
    uint32_t committed = 0, tentative = 0;
    std::vector<Head> heads;
};

// What a prune call asks for; positions [begin, end).
struct Prune {
    uint32_t side = 0;
    int32_t begin = 0, end = 0;
    Rule rule;                              // method RECIPE: as the recipe says
    const float *channel_weights = nullptr; // [d] of this head
    const float *token_weights = nullptr;   // [end - begin]
    std::vector<Mask> mask;                 // per position
};

class Model {
  public:
    explicit Model(const Config &config);
    Model(const Model &) = default; // a fork: pages are shared
    Model with_own_pages() const;   // a loaded cache

    const Config &config() const { return *config_; }
    const std::vector<Layer> &layers() const { return layers_; }
    const Head &head(uint32_t layer, uint32_t h) const { return layers_[layer].heads[h]; }
    uint32_t length(uint32_t layer) const {
        return layers_[layer].committed + layers_[layer].tentative;
    }

    // Rows of a head by index: [first_dense, first_kept) may be pruned; rows
    // before `sink` and from first_kept on are the window.
    uint32_t sink_rows(const Head &head) const;
    uint32_t first_dense(const Head &head) const { return sink_rows(head) + head.body; }
    uint32_t committed_rows(uint32_t layer, const Head &head) const;
    uint32_t first_kept(uint32_t layer,
                        const Head &head) const; // index of the newest `recent` rows

    // k and v: [tokens][kv_heads][d], rounded to the store type already.
    void append(uint32_t layer, uint32_t tokens, const std::vector<float> &k,
                const std::vector<float> &v, bool tentative);
    void commit(uint32_t layer);
    void prune(uint32_t layer, uint32_t head, const Prune &prune);
    bool compressible(uint32_t layer) const; // false: a mark does not fit
    void compress(uint32_t layer);
    void evict(uint32_t layer, uint32_t head, const std::vector<int32_t> &positions);
    std::vector<int32_t> lowest(uint32_t layer, uint32_t head, const std::vector<float> &scores,
                                uint32_t budget) const;
    uint32_t smallest_exact(uint32_t layer) const;
    void truncate(uint32_t length);
    void reset();

    // Counters of this handle.
    uint64_t packed_rows = 0, evicted_rows = 0, appended_tokens = 0;
    uint64_t packed_marks = 0; // marked sides of rows among the packed ones

  private:
    bool mark_fits(const Head &head, uint32_t side, const Row &row) const;
    void pack_window(uint32_t layer);
    void pack(Head &head, uint32_t first, uint32_t count);
    void pack_pages(Head &head, uint32_t count);
    void truncate_head(Head &head, uint32_t length);

    const Config *config_;
    std::vector<Layer> layers_;
};

// ---- codec.cpp: one row or one range at a time
// -------------------------------------------------

// x - mu in float32; x where there is no centre.
std::vector<float> centred(const std::vector<float> &x,
                           const std::optional<std::vector<float>> &mu);
std::vector<float> mean(const std::vector<const SideRow *> &rows);
// Survivors of rows (centred already) under a rule other than NONE and MASK.
std::vector<Mask> choose(const Rule &rule, const std::vector<std::vector<float>> &rows,
                         const Weights &weights);
// Decoded values of rows under a recipe, in double.
std::vector<std::vector<double>> decode(const SideRecipe &recipe, mustafar_dtype store,
                                        const std::vector<std::vector<float>> &rows,
                                        const std::vector<Mask> &masks,
                                        const std::optional<std::vector<float>> &mu);

// ---- attention.cpp
// ----------------------------------------------------------------------------

struct Query {
    int64_t position = 0;
    double scale = 0, softcap = 0;
    uint32_t sliding_window = 0;
    std::optional<double> sink;
};

struct Attention {
    std::vector<double> out, magnitude; // sum of p v and of p |v|
    std::vector<double> weights;        // one per row of the head
    double lse = 0, largest_v = 0, largest_score = 0;
};

Attention attend(const Head &head, const std::vector<float> &q, const Query &query);

} // namespace oracle
