// SPDX-License-Identifier: Apache-2.0
#include "api/layers.hpp"

#include <algorithm>

namespace mustafar::daemon {

Layers read_layers(const Parameters& parameters, const mustafar_geometry& geometry, bool heads) {
    Layers page;
    page.from =
        static_cast<std::uint32_t>(parameters.integer("from", 0, geometry.layers - 1).value_or(0));
    const std::uint64_t cells = heads ? geometry.kv_heads : 1; // of a layer
    const std::uint64_t fit = std::max<std::uint64_t>(1, cells_max / cells);
    page.to = static_cast<std::uint32_t>(std::min<std::uint64_t>(geometry.layers, page.from + fit));
    if (page.to < geometry.layers) { page.next = page.to; }
    return page;
}

} // namespace mustafar::daemon
