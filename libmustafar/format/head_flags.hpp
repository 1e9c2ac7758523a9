// SPDX-License-Identifier: Apache-2.0
// Which optional parts a HEAD section has.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/cache.hpp"

namespace mustafar {

constexpr std::uint32_t head_has_positions = 1;
constexpr std::uint32_t head_has_centre = 2;
constexpr std::uint32_t head_has_k_mask = 4;
constexpr std::uint32_t head_has_v_mask = 8;
constexpr std::uint32_t head_has_marks = 16;
constexpr std::uint32_t head_all_flags = 31;

inline std::uint32_t head_flags(const HeadState& head) {
    std::uint32_t flags = 0;
    if (!head.positions.empty()) { flags |= head_has_positions; }
    if (head.centre_frozen) { flags |= head_has_centre; }
    if (head.mask_frozen[0]) { flags |= head_has_k_mask; }
    if (head.mask_frozen[1]) { flags |= head_has_v_mask; }
    const auto* end = head.marks.begin() + (head.marks.empty() ? 0 : head.dense_rows);
    if (std::any_of(head.marks.begin(), end, [](std::uint8_t mark) { return mark != 0; })) {
        flags |= head_has_marks;
    }
    return flags;
}

} // namespace mustafar
