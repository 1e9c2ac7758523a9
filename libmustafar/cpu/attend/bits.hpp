// SPDX-License-Identifier: Apache-2.0
// What the kernels of every instruction set do alike. In an anonymous namespace: each file has its own.
#pragma once

#include <cstring>

#include "cpu/attend/tile.hpp"

#define MUSTAFAR_INLINE inline __attribute__((always_inline))

namespace mustafar::cpu {
namespace {

using U32 = std::uint32_t;
using U16 = std::uint16_t;

// Calls use(Constant) with the number of bits as a constant.
template <int Value>
struct Constant {
    static constexpr int value = Value;
};
template <typename Use>
MUSTAFAR_INLINE void with_bits(U32 bits, const Use& use) {
    switch (bits) {
    case 8:
        use(Constant<8>{});
        break;
    case 4:
        use(Constant<4>{});
        break;
    default:
        use(Constant<2>{});
        break;
    }
}

MUSTAFAR_INLINE U16 half_at(const std::byte* at) {
    U16 value = 0;
    std::memcpy(&value, at, 2);
    return value;
}

// Where the codes of a slot start.
MUSTAFAR_INLINE const std::byte* codes_of(const Rows& rows, U32 slot) {
    if (rows.form == Rows::Form::ragged) { return rows.codes + half_at(rows.offsets + slot * 2); }
    return rows.codes + std::size_t{slot} * rows.code_stride;
}

} // namespace
} // namespace mustafar::cpu
