// SPDX-License-Identifier: Apache-2.0
// Attention of the oracle: softmax over the visible rows of one kv head, in
// double, no tricks.
#include <algorithm>
#include <cmath>
#include <limits>

#include "budget.h"
#include "model.hpp"

namespace oracle {

Attention attend(const Head &head, const std::vector<float> &q, const Query &query) {
    constexpr double nothing = -std::numeric_limits<double>::infinity();
    const auto sees = [&](const Row &row) {
        const int64_t behind = query.position - row.position;
        return behind >= 0 && (query.sliding_window == 0 || behind < int64_t{query.sliding_window});
    };
    Attention result;
    std::vector<double> scores(head.rows.size(), nothing);
    double top = query.sink.value_or(nothing);
    for (std::size_t r = 0; r < head.rows.size(); ++r) {
        if (!sees(head.rows[r])) continue;
        const auto &k = head.rows[r].side[MUSTAFAR_SIDE_K].value;
        double dot = 0.0, terms = 0.0;
        for (std::size_t c = 0; c < q.size(); ++c) {
            dot += double{q[c]} * k[c];
            terms += std::abs(double{q[c]} * k[c]);
            if (!head.centre) continue; // q . k is q . (k - mu) + q . mu, which may cancel
            terms += 2.0 * std::abs(double{q[c]} * (*head.centre)[c]);
        }
        scores[r] = dot * query.scale;
        result.largest_score =
            std::max(result.largest_score, score_size(scores[r], terms * query.scale));
        if (query.softcap != 0.0) scores[r] = query.softcap * std::tanh(scores[r] / query.softcap);
        top = std::max(top, scores[r]);
    }
    double sum = query.sink ? std::exp(*query.sink - top) : 0.0;
    for (const double score : scores)
        if (score != nothing) sum += std::exp(score - top);
    result.lse = sum > 0.0 ? top + std::log(sum) : nothing;
    const std::size_t d = head.recipe->side[MUSTAFAR_SIDE_V].d;
    result.out.assign(d, 0.0);
    result.magnitude.assign(d, 0.0);
    for (std::size_t r = 0; r < scores.size(); ++r) {
        const double weight = scores[r] == nothing ? 0.0 : std::exp(scores[r] - top) / sum;
        result.weights.push_back(weight);
        if (scores[r] == nothing) continue;
        const auto &v = head.rows[r].side[MUSTAFAR_SIDE_V].value;
        for (std::size_t c = 0; c < d; ++c) {
            result.out[c] += weight * v[c];
            result.magnitude[c] += weight * std::abs(v[c]);
            result.largest_v = std::max(result.largest_v, std::abs(v[c]));
        }
    }
    return result;
}

} // namespace oracle
