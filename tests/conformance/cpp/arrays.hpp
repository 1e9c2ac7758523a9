// SPDX-License-Identifier: Apache-2.0
// Array texts of the vectors (README.md, "Arrays"): bits from text, numbers from bits.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <mustafar/mustafar.h>

namespace conformance {

struct Array {
    mustafar_dtype dtype = MUSTAFAR_F32;
    std::vector<std::uint8_t> bytes; // little-endian elements
    std::size_t count() const;
    float value(std::size_t index) const;
};

// "f16:3c00..", "gen:f16:7:83ff", "all:f32:3f800000", each with ";index=bits" behind it. `count`
// is needed by gen and all; for the others it must fit, unless it is 0.
Array read_array(std::string_view text, std::size_t count);

std::uint64_t splitmix64(std::uint64_t seed, std::uint64_t index);

} // namespace conformance
