// SPDX-License-Identifier: Apache-2.0
// Dense causal attention in float64 on the data of a trace: what every recipe is measured against. It shares
// nothing with the library.
#pragma once

#include <cstdint>
#include <vector>

#include "experiment/trace.hpp"
#include "experiment/watcher.hpp"

namespace mustafar::experiment {

// Query (h, j) sees tokens 0 .. p, p = tokens - queries + j, of kv head h / group:
//     s_t = scale * q . k_t,  w = softmax(s),  out = sum_t w_t v_t,  lse = ln sum_t exp(s_t)
struct OracleLayer {
    std::vector<double> out;     // [q_heads][queries][head_dim]
    std::vector<double> lse;     // [q_heads][queries]
    std::vector<double> weights; // [q_heads][queries][tokens], 0 behind p
};

// One entry per layer of the trace; layers that are not in `layers` stay empty.
std::vector<OracleLayer> attend_dense(const Trace& trace, const std::vector<std::uint32_t>& layers,
                                      std::uint32_t threads, Watcher& watcher);

} // namespace mustafar::experiment
