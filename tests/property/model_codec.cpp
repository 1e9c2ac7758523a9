// SPDX-License-Identifier: Apache-2.0
// Pruning and quantization of the oracle, straight from the rules of
// docs/design.md, section 4.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "model.hpp"

namespace oracle {
namespace {

using Rows = std::vector<std::vector<float>>;

// |x| times its weights, each product in float32.
std::vector<float> magnitudes(const std::vector<float> &x, const Weights &weights,
                              std::size_t row) {
    std::vector<float> out(x.size());
    for (std::size_t c = 0; c < x.size(); ++c) {
        out[c] = std::abs(x[c]);
        if (weights.channel != nullptr) out[c] = out[c] * weights.channel[c];
        if (!weights.token.empty()) out[c] = out[c] * weights.token[row];
    }
    return out;
}

// Marks the `keep` largest of values[from .. to); ties go to the lower index.
template <typename T>
void keep_largest(const std::vector<T> &values, std::size_t from, std::size_t to, std::size_t keep,
                  Mask &mask) {
    std::vector<std::size_t> order(to - from);
    std::iota(order.begin(), order.end(), from);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return values[a] > values[b]; });
    for (std::size_t i = 0; i < keep; ++i) mask[order[i]] = 1;
}

Mask choose_row(const Rule &rule, const std::vector<float> &size) {
    const std::size_t d = size.size();
    Mask mask(d, 0);
    if (rule.method == MUSTAFAR_PRUNE_N_M) {
        for (std::size_t at = 0; at < d; at += rule.of)
            keep_largest(size, at, at + rule.of, rule.keep, mask);
    } else if (rule.method == MUSTAFAR_PRUNE_THRESHOLD) {
        for (std::size_t c = 0; c < d; ++c) mask[c] = size[c] >= rule.threshold ? 1 : 0;
    } else if (rule.paper) {
        std::vector<float> sorted = size;
        std::sort(sorted.begin(), sorted.end());
        const float least = sorted[d - rule.keep];
        for (std::size_t c = 0; c < d; ++c) mask[c] = size[c] >= least ? 1 : 0;
    } else {
        keep_largest(size, 0, d, rule.keep, mask);
    }
    return mask;
}

// In each channel, the largest n - floor(n * (32 - keep) / 32) of n rows; ties
// to the older row.
std::vector<Mask> choose_columns(const Rule &rule, const Rows &sizes) {
    const std::size_t n = sizes.size(), d = sizes[0].size();
    const std::size_t kept = n - n * (32 - rule.keep) / 32;
    std::vector<Mask> masks(n, Mask(d, 0));
    for (std::size_t c = 0; c < d; ++c) {
        std::vector<float> column(n);
        for (std::size_t r = 0; r < n; ++r) column[r] = sizes[r][c];
        Mask column_mask(n, 0);
        keep_largest(column, 0, n, kept, column_mask);
        for (std::size_t r = 0; r < n; ++r) masks[r][c] = column_mask[r];
    }
    return masks;
}

// The channels with the largest sum of squares over all rows.
Mask choose_channels(const Rule &rule, const Rows &sizes) {
    std::vector<double> energy(sizes[0].size(), 0.0);
    for (const auto &row : sizes)
        for (std::size_t c = 0; c < row.size(); ++c) energy[c] += double{row[c]} * double{row[c]};
    Mask mask(energy.size(), 0);
    keep_largest(energy, 0, energy.size(), rule.keep, mask);
    return mask;
}

// One scale and zero for some elements of a row or column; writes what the
// codes read back as.
template <typename Get, typename Set>
void quantize(std::size_t count, uint32_t bits, Get get, Set set) {
    if (count == 0) return;
    float lo = get(0), hi = get(0);
    for (std::size_t i = 1; i < count; ++i) {
        lo = std::min(lo, get(i));
        hi = std::max(hi, get(i));
    }
    const auto top = static_cast<float>((1U << bits) - 1);
    const float zero = round_to(MUSTAFAR_F16, lo);
    const float range = hi - lo;
    const float scale = round_to(MUSTAFAR_F16, range / top);
    for (std::size_t i = 0; i < count; ++i) {
        float code = 0.0F;
        if (scale != 0.0F) {
            const float offset = get(i) - zero;
            code = std::clamp(std::nearbyintf(offset / scale), 0.0F, top);
        }
        set(i, double{zero} + double{code} * double{scale});
    }
}

void decode_row(const SideRecipe &recipe, mustafar_dtype store, const std::vector<float> &x,
                const Mask &mask, std::vector<double> &out) {
    const std::size_t width = recipe.group != 0 ? recipe.group : x.size();
    for (std::size_t at = 0; at < x.size(); at += width) {
        std::vector<std::size_t> kept;
        for (std::size_t c = at; c < std::min(at + width, x.size()); ++c)
            if (mask[c] != 0) kept.push_back(c);
        const auto get = [&](std::size_t i) { return x[kept[i]]; };
        const auto set = [&](std::size_t i, double v) { out[kept[i]] = v; };
        if (recipe.bits != 16) {
            quantize(kept.size(), recipe.bits, get, set);
            continue;
        }
        for (std::size_t i = 0; i < kept.size(); ++i) set(i, double{round_to(store, get(i))});
    }
}

} // namespace

std::vector<float> centred(const std::vector<float> &x,
                           const std::optional<std::vector<float>> &mu) {
    std::vector<float> out = x;
    for (std::size_t c = 0; mu && c < x.size(); ++c) out[c] = x[c] - (*mu)[c];
    return out;
}

std::vector<float> mean(const std::vector<const SideRow *> &rows) {
    std::vector<float> mu(rows[0]->stored.size());
    for (std::size_t c = 0; c < mu.size(); ++c) {
        double sum = 0.0;
        for (const SideRow *row : rows) sum += double{row->stored[c]};
        mu[c] = static_cast<float>(sum / static_cast<double>(rows.size()));
    }
    return mu;
}

std::vector<Mask> choose(const Rule &rule, const Rows &rows, const Weights &weights) {
    if (rows.empty()) return {};
    Rows sizes;
    for (std::size_t r = 0; r < rows.size(); ++r) sizes.push_back(magnitudes(rows[r], weights, r));
    if (rule.method == MUSTAFAR_PRUNE_CHANNEL_TOPK) return choose_columns(rule, sizes);
    if (rule.method == MUSTAFAR_PRUNE_CHANNELS)
        return std::vector<Mask>(rows.size(), choose_channels(rule, sizes));
    std::vector<Mask> masks;
    for (const auto &size : sizes) masks.push_back(choose_row(rule, size));
    return masks;
}

std::vector<std::vector<double>> decode(const SideRecipe &recipe, mustafar_dtype store,
                                        const Rows &rows, const std::vector<Mask> &masks,
                                        const std::optional<std::vector<float>> &mu) {
    std::vector<std::vector<double>> out(rows.size(), std::vector<double>(recipe.d, 0.0));
    if (recipe.channel_axis) {
        for (std::size_t c = 0; c < recipe.d; ++c)
            quantize(
                rows.size(), recipe.bits, [&](std::size_t r) { return rows[r][c]; },
                [&](std::size_t r, double v) { out[r][c] = v; });
    } else {
        for (std::size_t r = 0; r < rows.size(); ++r)
            decode_row(recipe, store, rows[r], masks[r], out[r]);
    }
    for (auto &row : out)
        for (std::size_t c = 0; mu && c < row.size(); ++c) row[c] += double{(*mu)[c]};
    return out;
}

} // namespace oracle
