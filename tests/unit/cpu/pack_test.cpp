// SPDX-License-Identifier: Apache-2.0
// Every row of the op pack against pack_ref, byte for byte, whatever lies around the rows included.
#include "cpu/rows_support.hpp"

namespace mustafar::test {
namespace {

SideSpec side_of(Encoding encoding, std::uint32_t d, std::uint32_t keep, std::uint32_t bits,
                 std::uint32_t group = 0) {
    SideSpec side;
    side.encoding = encoding;
    side.d = static_cast<std::uint16_t>(d);
    side.keep = static_cast<std::uint16_t>(keep);
    side.bits = static_cast<std::uint8_t>(bits);
    side.group = static_cast<std::uint8_t>(group);
    return side;
}

std::vector<SideSpec> sides_of(std::uint32_t d) {
    std::vector<SideSpec> sides;
    for (const std::uint32_t bits : {16U, 8U, 4U, 2U}) {
        for (const std::uint32_t keep : {1U, d * 5 / 16 + 1, d / 2, d}) {
            sides.push_back(side_of(Encoding::exact, d, keep, bits));
        }
        sides.push_back(side_of(Encoding::ragged, d, 0, bits));
        if (bits == 16) { continue; }
        sides.push_back(side_of(Encoding::channel, d, d, bits));
        for (const std::uint32_t group : {32U, 64U}) {
            if (d % group == 0) { sides.push_back(side_of(Encoding::grouped, d, d, bits, group)); }
        }
    }
    return sides;
}

std::vector<std::uint8_t> bitmaps_of(const SideSpec& side, std::uint32_t rows, Random& random) {
    std::vector<std::uint8_t> bitmaps(rows * side.d / 8U);
    for (std::uint32_t row = 0; row < rows; ++row) {
        const bool ragged = side.encoding == Encoding::ragged;
        std::uint32_t left = ragged ? random.below(side.d + 1U) : side.keep;
        if (ragged && row % 5 == 0) { left = 0; }
        for (std::uint32_t c = 0; c < side.d; ++c) {
            if (random.below(side.d - c) >= left) { continue; }
            bitmaps[(row * side.d + c) / 8] |= static_cast<std::uint8_t>(1U << (c % 8));
            --left;
        }
    }
    return bitmaps;
}

class PackRow : public testing::TestWithParam<KernelRow> {
  protected:
    void SetUp() override {
        MUSTAFAR_SKIP_MISSING(GetParam());
        pack_ = choose_kernels(GetParam().backend, "test", false).pack;
        ASSERT_NE(pack_, pack_ref);
    }
    // Rows as arrays in which they lie side by side, as in a page.
    struct Arrays {
        std::vector<std::uint8_t> bytes, block;
        explicit Arrays(std::uint32_t rows)
            : bytes(rows * stride * 3 + rows * 4 + 64, 0xA5), block(max_block_meta_bytes, 0xA5) {}
        static constexpr std::size_t stride = 600;
        PackedRows place(const SideSpec& side, std::uint32_t rows) {
            PackedRows out;
            const RowStrides strides = row_strides(side);
            const bool ragged = side.encoding == Encoding::ragged;
            out.rows = rows;
            out.bitmap = bytes.data() + 1;
            out.bitmap_stride = side.d / 8U;
            out.codes = bytes.data() + rows * stride;
            out.codes_stride = ragged ? max_code_bytes : strides.codes;
            out.meta = bytes.data() + rows * stride * 2;
            out.meta_stride = ragged ? 4 : strides.meta;
            out.count = bytes.data() + rows * stride * 3;
            out.count_stride = 4;
            return out;
        }
    };
    void compare(const SideSpec& side, const HardRows& rows, int form) {
        Random random(side.d + side.bits + rows.rows);
        const std::vector<std::uint8_t> bitmaps = bitmaps_of(side, rows.rows, random);
        Arrays want(rows.rows), got(rows.rows);
        PackArgs args{&side,
                      rows.store,
                      rows.as_values(form),
                      bitmaps,
                      want.place(side, rows.rows),
                      want.block.data(),
                      rows.as_halves(form)};
        pack_ref(args);
        args.out = got.place(side, rows.rows);
        args.block_meta = got.block.data();
        pack_(args);
        ASSERT_EQ(got.block, want.block);
        for (std::size_t i = 0; i < got.bytes.size(); ++i) {
            ASSERT_EQ(got.bytes[i], want.bytes[i])
                << "byte " << i << ", codes from " << rows.rows * Arrays::stride;
        }
    }

    PackFn pack_ = nullptr;
};

TEST_P(PackRow, EveryEncoding_HasTheBytesOfRef) {
    for (const std::uint32_t d : head_sizes) {
        for (const std::uint32_t count : row_counts(d)) {
            for (std::size_t p = 0; p < patterns.size(); ++p) {
                if ((p + d / 8 + count / 3) % every_nth(4) != 0) { continue; }
                const std::string pattern = patterns[p];
                const Dtype store = (p + d / 8 + count) % 2 == 0 ? Dtype::f16 : Dtype::bf16;
                const HardRows rows(pattern, d, count, store, p);
                for (const SideSpec& side : sides_of(d)) {
                    for (int form = 0; form < 3; ++form) {
                        SCOPED_TRACE(pattern + ", d " + std::to_string(d) + ", rows " +
                                     std::to_string(count) + ", encoding " +
                                     std::to_string(static_cast<int>(side.encoding)) + ", keep " +
                                     std::to_string(side.keep) + ", bits " +
                                     std::to_string(side.bits) + ", form " + std::to_string(form));
                        compare(side, rows, form);
                        if (HasFatalFailure()) { return; }
                    }
                }
            }
        }
    }
}

TEST_P(PackRow, Images_AreAPlaceForRowsToo) {
    const SideSpec side = side_of(Encoding::ragged, 80, 0, 4);
    const HardRows rows("random", 80, 7, Dtype::f16, 3);
    Random random(9);
    const std::vector<std::uint8_t> bitmaps = bitmaps_of(side, 7, random);
    std::vector<RowImage> want(7), got(7);
    pack_ref({&side, Dtype::f16, {}, bitmaps, want, nullptr, rows.as_halves(0)});
    pack_({&side, Dtype::f16, {}, bitmaps, got, nullptr, rows.as_halves(0)});
    EXPECT_EQ(std::memcmp(got.data(), want.data(), 7 * sizeof(RowImage)), 0);
}

INSTANTIATE_TEST_SUITE_P(Table, PackRow, testing::ValuesIn(rows_of("pack")), row_name);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PackRow);

} // namespace
} // namespace mustafar::test
