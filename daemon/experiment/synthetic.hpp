// SPDX-License-Identifier: Apache-2.0
// Traces that no model has made: for shapes of which there is no recording. They have what makes real ones hard to
// compress (a mean per key channel, a few large channels, neighbours that are alike, tokens that matter) and nothing
// of a language: sizes and times on them are those of real data of the shape, errors are only an order of magnitude.
//
// n(...) is a standard normal number made of (seed, layer, side, head, index), R = 8, d = head_dim, per kv head:
//   keys     K_t = mu + sum_r z_tr U_r + 0.6 o e_t    mu_c = 1.5 n, o_c = 4 in one of 16 channels, else 1; e = n
//            z_t = 0.95 z_(t-1) + sqrt(1 - 0.95^2) n    the drift of a text; U_rc = 0.5 o_c n
//   values   V_t = g_t e_t, g_t = 2^(n / 2)            e = n: no structure but the size of tokens
//   queries  Q_j = b (K_s - mu) / |K_s - mu|^2 sqrt(d) + 0.3 e,    b = 8
//            s a token of its past: the score of s is about b above the mean, that of its neighbours a little less
// All are rounded to the dtype. The same numbers come out on every machine of one build.
#pragma once

#include <cstdint>

#include <nlohmann/json.hpp>

#include "experiment/trace.hpp"
#include "experiment/watcher.hpp"

namespace mustafar::experiment {

struct Synthetic {
    std::uint32_t layers = 1;
    std::uint32_t q_heads = 1;
    std::uint32_t kv_heads = 1;
    std::uint32_t head_dim = 64;
    mustafar_dtype dtype = MUSTAFAR_F16;
    std::uint32_t tokens = 1;
    std::uint32_t queries = 1; // at most tokens
    std::uint64_t seed = 1;
};

// {"geometry": {...}, "tokens": T, "seed": S}, as POST /v1/jobs takes it.
nlohmann::ordered_json write_synthetic(const Synthetic& shape);

// The trace without its values.
Trace describe_synthetic(const Synthetic& shape);

// Its kind is "synthetic", its model "none". O(values). Throws Interrupted.
Trace make_trace(const Synthetic& shape, Watcher& watcher);

} // namespace mustafar::experiment
