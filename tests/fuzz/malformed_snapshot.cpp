// SPDX-License-Identifier: Apache-2.0
// Snapshots cut at every byte and with every bit flipped: always refused. The same with checksums that fit again:
// refused, or a whole cache. Memory stays within bounds that are stated here.
#include <algorithm>
#include <cstdio>
#include <map>

#include <gtest/gtest.h>

#include "effort.h"
#include "heap.hpp"
#include "sections.hpp"
#include "support.hpp"

namespace mustafar::fuzz {

using namespace mustafar::golden;

const std::string folder = MUSTAFAR_SOURCE_DIR "/tests/golden/v1/";

const char* const all_files[] = {"bf16",         "centre-given",  "centre-mean",
                                 "channel",      "channel-holes", "channel-ragged-holes",
                                 "channel-topk", "deep-truncate", "dense",
                                 "empty",        "exact-16",      "exact-i2",
                                 "exact-i4-i8",  "grouped",       "head-dims",
                                 "marks",        "mask",          "mixed",
                                 "n-m-channels", "ragged",        "ragged-evicted",
                                 "sink-evicted", "special",       "tentative"};

class Malformed : public testing::TestWithParam<const char*> {
  protected:
    Gate gate;
    Bytes file = read_file(folder + GetParam() + ".snap");
    std::map<std::string, int> seen;

    mustafar_status refused(const Bytes& bytes) {
        const mustafar_status status = try_snapshot(gate, bytes);
        ++seen[mustafar_status_name(status)];
        return status;
    }
    void TearDown() override {
        std::string text = GetParam();
        for (const auto& [status, count] : seen) {
            text += "  " + status + " " + std::to_string(count);
            RecordProperty(status, count);
        }
        std::printf("%s\n", text.c_str());
    }
};

TEST_P(Malformed, CutAtEveryByte) {
    for (std::size_t size = 0; size < file.size(); size += size < 128 ? 1 : every_nth(7)) {
        const Bytes cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size));
        ASSERT_EQ(refused(cut), MUSTAFAR_CORRUPT) << "cut to " << size << " bytes";
    }
}

// Every bit of some files, one bit of every byte of the others.
TEST_P(Malformed, EveryBitFlipped) {
    const bool all = file.size() < 1300;
    for (std::size_t bit = 0; bit < file.size() * 8; bit += (all ? 1 : 7) * every_nth(5)) {
        Bytes flipped = file;
        flipped[bit / 8] = static_cast<unsigned char>(flipped[bit / 8] ^ 1U << bit % 8);
        const mustafar_status status = refused(flipped);
        const bool version = bit / 8 >= 8 && bit / 8 < 12; // a snapshot of another version
        ASSERT_EQ(status, version ? MUSTAFAR_MISMATCH : MUSTAFAR_CORRUPT)
            << "bit " << bit % 8 << " of byte " << bit / 8;
    }
}

// Bits of payloads: every one of the counts and flags, a sample of the rest that differs from file to file.
TEST_P(Malformed, FlippedBitsWithChecksumsThatFit) {
    const Sections good = split(file);
    for (std::size_t s = 0; s < good.list.size(); ++s) {
        const std::size_t bits = good.list[s].payload.size() * 8;
        const bool counts = good.list[s].tag != tag_of("RECI");
        for (std::size_t bit = 0; bit < bits;
             bit += (counts && bit < 24 * 8 ? 1 : 7 + file.size() % 5) * every_nth(5)) {
            Sections flipped = good;
            unsigned char& byte = flipped.list[s].payload[bit / 8];
            byte = static_cast<unsigned char>(byte ^ 1U << bit % 8);
            const mustafar_status status = refused(join(flipped));
            const bool fine = status == MUSTAFAR_OK || status == MUSTAFAR_CORRUPT ||
                              status == MUSTAFAR_MISMATCH || status == MUSTAFAR_CAPACITY ||
                              status == MUSTAFAR_OUT_OF_MEMORY;
            ASSERT_TRUE(fine) << mustafar_status_name(status) << ", section " << s << ", bit "
                              << bit;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(V1, Malformed, testing::ValuesIn(all_files), [](const auto& item) {
    std::string name = item.param;
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
});

// Counts and lengths at their borders, each 32-bit word of every header and of the fixed part of every payload: no
// refusal may cost more memory than the file can justify.
TEST(MalformedSnapshot, NoHugeAllocation) {
    const Bytes file = read_file(folder + "mixed.snap");
    const Sections good = split(file);
    std::size_t tried = 0;
    Gate gate;
    heap_largest = 0;
    for (const std::uint32_t value :
         {0x7FFFFFFFU, 0xFFFFFFFFU, 0x80000000U, 0x00FFFFFFU, 0x10000U, 4096U}) {
        for (std::size_t s = 0; s < good.list.size(); ++s) {
            const std::size_t fixed = std::min<std::size_t>(good.list[s].payload.size(), 32);
            for (std::size_t at = 0; at + 4 <= fixed; at += 4) {
                Sections bad = good;
                put<std::uint32_t>(bad.list[s].payload, at, value);
                try_snapshot(gate, join(bad));
                ++tried;
            }
            for (std::size_t at = 0; at + 4 <= section_head_bytes; at += 4) {
                Bytes bad = file;
                put<std::uint32_t>(bad, good.list[s].offset + at, value);
                EXPECT_EQ(try_snapshot(gate, bad), MUSTAFAR_CORRUPT);
                ++tried;
            }
        }
    }
    std::printf("%zu files; largest block: %llu B from the context, %zu B from the process heap\n",
                tried, static_cast<unsigned long long>(gate.largest()), heap_largest);
    EXPECT_LE(gate.largest(), quota_bytes);
    if (heap_counts) {
        EXPECT_GT(heap_largest, 0U);
        EXPECT_LE(heap_largest, std::size_t{8} << 20); // 65536 heads that a recipe is resolved for
    }
}

} // namespace mustafar::fuzz
