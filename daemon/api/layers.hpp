// SPDX-License-Identifier: Apache-2.0
// Documents with an entry for each kv head, a page at a time: a cache may have millions of heads, a reply may not.
#pragma once

#include <cstdint>
#include <optional>

#include "api/parameters.hpp"

namespace mustafar::daemon {

inline constexpr std::uint64_t cells_max = 16384; // of one reply

// Layers [from, to) are in this reply; those from `next` on are not.
struct Layers {
    std::uint32_t from = 0;
    std::uint32_t to = 0;
    std::optional<std::uint32_t> next;
};

// "from" of a query, and as many layers as fit: all of most caches. `heads`: each layer lists its kv heads.
Layers read_layers(const Parameters& parameters, const mustafar_geometry& geometry, bool heads);

} // namespace mustafar::daemon
