// SPDX-License-Identifier: Apache-2.0
// Caches that are not all alike: rows of unequal counts, heads of unequal lengths.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiment/trace.hpp"

namespace mustafar::bench {

// A recipe of ragged rows at 16 bits: elements below a threshold go, one for K and one for V, chosen so
// that over the whole trace `share` of them stays.
std::string ragged_recipe(const experiment::Trace& trace, double share);

// Tokens of each head: heads * mean in all, the longest `factor` times the mean (at most all of them),
// the others falling off as a power of their rank. Each holds at least `least`.
std::vector<std::uint32_t> unequal_lengths(std::uint32_t heads, std::uint32_t mean, double factor,
                                           std::uint32_t least);

} // namespace mustafar::bench
