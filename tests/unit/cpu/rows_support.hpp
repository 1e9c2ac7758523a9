// SPDX-License-Identifier: Apache-2.0
// Rows that are hard to rank and to quantize, and the backends that an op has.
#pragma once

#include <cmath>

#include "core/half.hpp"
#include "core/kernels.hpp"
#include "core/unit_support.hpp"
#include "effort.h"

namespace mustafar::test {

inline const std::vector<std::uint32_t> head_sizes = {32, 40, 64, 80, 96, 128, 160, 256};
// All counts with one head size, some with the others.
inline std::vector<std::uint32_t> row_counts(std::uint32_t d) {
    if (d != 40) { return {1, 5, 32}; }
    std::vector<std::uint32_t> all;
    for (std::uint32_t count = 1; count <= page_rows; ++count) { all.push_back(count); }
    return all;
}
inline const std::vector<const char*> patterns = {"random",         "ties",      "zeros",
                                                  "negative zeros", "denormal",  "large",
                                                  "constant",       "half zero", "one bit apart"};

// A half of the stored type; `pattern` as in the list.
inline std::uint16_t make_half(const std::string& pattern, Dtype store, Random& random,
                               std::uint32_t i) {
    const std::uint16_t sign = random.chance(50) ? 0x8000U : 0U;
    const auto signed_half = [&](float x) {
        return static_cast<std::uint16_t>(store_half(x, store) | sign);
    };
    if (pattern == "ties") { return signed_half(static_cast<float>(random.below(4)) * 0.25F); }
    if (pattern == "zeros") { return 0; }
    if (pattern == "negative zeros") { return random.chance(80) ? sign : signed_half(0.5F); }
    if (pattern == "denormal") { return static_cast<std::uint16_t>(sign | random.below(0x40)); }
    if (pattern == "large") {
        return signed_half(random.chance(10) ? 65280.0F : random.uniform(0.0F, 32000.0F));
    }
    if (pattern == "constant") { return store_half(-1.7F, store); }
    if (pattern == "half zero") {
        return i % 2 == 0 ? std::uint16_t{0} : signed_half(random.uniform(0.1F, 4.0F));
    }
    if (pattern == "one bit apart") {
        return static_cast<std::uint16_t>(signed_half(1.0F) + random.below(3));
    }
    return signed_half(random.uniform(0.0F, 4.0F));
}

// The same rows as halves, as halves with a centre, and as floats.
struct HardRows {
    std::uint32_t d, rows;
    Dtype store;
    std::ptrdiff_t stride;
    std::vector<std::uint16_t> halves;
    std::vector<float> centre, values; // values: not what halves can hold

    HardRows(const std::string& pattern, std::uint32_t head_size, std::uint32_t count, Dtype type,
             std::uint64_t salt)
        : d(head_size), rows(count), store(type), stride(head_size + 8U * (salt % 3)) {
        Random random(salt * 131 + d * 7 + rows);
        halves.resize(static_cast<std::size_t>(stride) * rows, 0x7E01); // NaN between rows
        for (std::uint32_t row = 0; row < rows; ++row) {
            for (std::uint32_t c = 0; c < d; ++c) {
                halves[static_cast<std::size_t>(stride) * row + c] =
                    make_half(pattern, store, random, c);
                const float x =
                    load_half(halves[static_cast<std::size_t>(stride) * row + c], store);
                values.push_back(random.chance(50) ? x : x * random.uniform(0.99F, 1.0F));
            }
        }
        // The last row ends where its memory ends: sanitizers see what reads on.
        halves.resize(static_cast<std::size_t>(stride) * (rows - 1) + d);
        halves.shrink_to_fit();
        for (std::uint32_t c = 0; c < d; ++c) {
            centre.push_back(random.chance(80) ? random.uniform(-1.0F, 1.0F) : 0.0F);
        }
    }
    // Form 0: halves, 1: centred halves, 2: floats.
    HalfRows as_halves(int form) const {
        if (form == 2) { return {}; }
        return {halves.data(), stride, store, form == 1 ? centre.data() : nullptr};
    }
    std::span<const float> as_values(int form) const {
        return form == 2 ? std::span<const float>(values) : std::span<const float>();
    }
};

// The rows of an op apart from ref. Those that cannot run here are named once, by a skipped case.
inline std::vector<KernelRow> rows_of(const char* op) {
    std::vector<KernelRow> found;
    for (const KernelRow& row : kernel_rows()) {
        if (std::string(row.op) == op && std::string(row.backend) != "ref") {
            found.push_back(row);
        }
    }
    return found;
}

// Cases are made for every row of the table, so that a skip is seen.
inline std::string row_name(const testing::TestParamInfo<KernelRow>& info) {
    return info.param.name;
}

#define MUSTAFAR_SKIP_MISSING(row)                                                                 \
    if (const char* why = (row).missing()) { GTEST_SKIP() << (row).name << ": " << why; }

} // namespace mustafar::test
