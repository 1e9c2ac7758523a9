// SPDX-License-Identifier: Apache-2.0
#include "arrays.hpp"

#include <bit>
#include <charconv>
#include <cstring>
#include <stdexcept>

namespace conformance {
namespace {

std::size_t width_of(mustafar_dtype dtype) {
    if (dtype == MUSTAFAR_F32) { return 4; }
    return dtype == MUSTAFAR_U8 ? 1 : 2;
}

mustafar_dtype dtype_of(std::string_view name) {
    if (name == "f32") { return MUSTAFAR_F32; }
    if (name == "f16") { return MUSTAFAR_F16; }
    if (name == "bf16") { return MUSTAFAR_BF16; }
    if (name == "u8") { return MUSTAFAR_U8; }
    throw std::runtime_error("unknown dtype " + std::string(name));
}

std::uint64_t number(std::string_view text, int base) {
    std::uint64_t value = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (result.ec != std::errc{} || result.ptr != text.data() + text.size()) {
        throw std::runtime_error("not a number: " + std::string(text));
    }
    return value;
}

std::vector<std::string_view> split(std::string_view text, char by) {
    std::vector<std::string_view> parts;
    for (;;) {
        const std::size_t at = text.find(by);
        parts.push_back(text.substr(0, at));
        if (at == std::string_view::npos) { return parts; }
        text.remove_prefix(at + 1);
    }
}

std::uint32_t random_bits(mustafar_dtype dtype, std::uint64_t seed, std::uint64_t index) {
    const std::uint64_t z = splitmix64(seed, index);
    const auto exponent = static_cast<std::uint32_t>((z >> 32) & 7U);
    const auto low = static_cast<std::uint32_t>(z);
    switch (dtype) {
    case MUSTAFAR_F16:
        return (low & 0x83FFU) | ((8U + exponent) << 10);
    case MUSTAFAR_BF16:
        return (low & 0x807FU) | ((120U + exponent) << 7);
    case MUSTAFAR_F32:
        return (low & 0x807FFFFFU) | ((120U + exponent) << 23);
    default:
        return low & 0xFFU;
    }
}

void put(Array& array, std::size_t index, std::uint32_t bits) {
    const std::size_t width = width_of(array.dtype);
    if ((index + 1) * width > array.bytes.size()) {
        throw std::runtime_error("patch out of range");
    }
    std::memcpy(array.bytes.data() + index * width, &bits, width);
}

float half_value(std::uint16_t bits) {
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
    const std::uint32_t exponent = (bits >> 10) & 31U;
    const std::uint32_t mantissa = bits & 0x3FFU;
    if (exponent == 31) { return std::bit_cast<float>(sign | 0x7F800000U | (mantissa << 13)); }
    if (exponent == 0) {
        const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
        return sign != 0 ? -magnitude : magnitude;
    }
    return std::bit_cast<float>(sign | ((exponent + 112U) << 23) | (mantissa << 13));
}

} // namespace

// Steele, Lea and Flood, OOPSLA 2014, as a counter.
std::uint64_t splitmix64(std::uint64_t seed, std::uint64_t index) {
    std::uint64_t z = ((seed << 32) + index + 1) * 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
}

std::size_t Array::count() const { return bytes.size() / width_of(dtype); }

float Array::value(std::size_t index) const {
    std::uint32_t bits = 0;
    const std::size_t width = width_of(dtype);
    std::memcpy(&bits, bytes.data() + index * width, width);
    if (dtype == MUSTAFAR_F32) { return std::bit_cast<float>(bits); }
    if (dtype == MUSTAFAR_BF16) { return std::bit_cast<float>(bits << 16); }
    return half_value(static_cast<std::uint16_t>(bits));
}

Array read_array(std::string_view text, std::size_t count) {
    const auto pieces = split(text, ';');
    const auto parts = split(pieces[0], ':');
    const bool given = parts[0] != "gen" && parts[0] != "all";
    Array array;
    array.dtype = dtype_of(given ? parts.at(0) : parts.at(1));
    const std::size_t width = width_of(array.dtype);
    if (given) { count = parts.at(1).size() / (2 * width); }
    array.bytes.resize(count * width);
    const std::uint32_t mask =
        !given && parts.size() > 3 ? static_cast<std::uint32_t>(number(parts[3], 16)) : ~0U;
    const std::uint64_t first = !given && parts.size() > 4 ? number(parts[4], 10) : 0;
    for (std::size_t i = 0; i < count; ++i) {
        if (given) {
            const auto digits = parts[1].substr(i * 2 * width, 2 * width);
            put(array, i, static_cast<std::uint32_t>(number(digits, 16)));
        } else if (parts[0] == "all") {
            put(array, i, static_cast<std::uint32_t>(number(parts.at(2), 16)));
        } else {
            put(array, i, random_bits(array.dtype, number(parts.at(2), 10), first + i) & mask);
        }
    }
    for (std::size_t i = 1; i < pieces.size(); ++i) {
        const auto patch = split(pieces[i], '=');
        put(array, number(patch.at(0), 10), static_cast<std::uint32_t>(number(patch.at(1), 16)));
    }
    return array;
}

} // namespace conformance
