// SPDX-License-Identifier: Apache-2.0
// Where the bytes of a row lie. The expected numbers are written out, not computed the library's way.
#include "core/unit_support.hpp"
#include "format/page.hpp"

namespace mustafar::test {
namespace {

SideSpec exact(std::uint16_t d, std::uint16_t keep, std::uint8_t bits) {
    SideSpec side;
    side.d = d;
    side.keep = keep;
    side.bits = bits;
    return side;
}
SideSpec ragged(std::uint16_t d, std::uint8_t bits) {
    SideSpec side = exact(d, 0, bits);
    side.encoding = Encoding::ragged;
    return side;
}
SideSpec grouped(std::uint16_t d, std::uint8_t bits, std::uint8_t group) {
    SideSpec side = exact(d, d, bits);
    side.encoding = Encoding::grouped;
    side.group = group;
    return side;
}
SideSpec channel(std::uint16_t d, std::uint8_t bits) {
    SideSpec side = exact(d, d, bits);
    side.encoding = Encoding::channel;
    return side;
}
HeadSpec head_of(const SideSpec& k, const SideSpec& v) {
    HeadSpec head;
    head.k = k;
    head.v = v;
    return head;
}

// Every encoding, odd counts and head sizes among them.
const std::vector<SideSpec> all_sides = {
    exact(128, 64, 16),  exact(128, 40, 16),  exact(128, 128, 16), exact(128, 64, 8),
    exact(128, 40, 4),   exact(128, 40, 2),   exact(128, 128, 4),  exact(80, 25, 4),
    exact(32, 1, 2),     exact(40, 39, 8),    exact(256, 255, 16), exact(256, 256, 2),
    grouped(128, 4, 32), grouped(128, 2, 64), grouped(256, 8, 32), channel(128, 4),
    channel(32, 2),      channel(256, 8),     ragged(128, 16),     ragged(128, 4),
    ragged(40, 2),       ragged(256, 16),
};

std::string name(const SideSpec& side) {
    return "encoding " + std::to_string(static_cast<int>(side.encoding)) + " d " +
           std::to_string(side.d) + " keep " + std::to_string(side.keep) + " bits " +
           std::to_string(side.bits) + " group " + std::to_string(side.group);
}

std::uint32_t row_total(const SideSpec& side) {
    const RowStrides strides = row_strides(side);
    return strides.bitmap + strides.codes + strides.meta + strides.offset;
}

// A row that fits the side, every bit of it random.
RowImage random_row(const SideSpec& side, Random& random) {
    RowImage image;
    const std::uint32_t count =
        side.encoding == Encoding::ragged ? random.below(side.d + 1U) : side.keep;
    image.count = count;
    std::vector<std::uint32_t> channels(side.d);
    for (std::uint32_t c = 0; c < side.d; ++c) { channels[c] = c; }
    for (std::uint32_t i = 0; i < count; ++i) { // a random set of `count` channels
        std::swap(channels[i], channels[i + random.below(side.d - i)]);
        set_bit(image.bitmap, channels[i]);
    }
    const std::uint32_t used = count * side.bits;
    for (std::uint32_t i = 0; i < used; ++i) {
        if (random.chance(50)) { set_bit(image.codes, i); }
    }
    const std::uint32_t meta = row_strides(side).meta;
    for (std::uint32_t i = 0; i < meta; ++i) {
        image.meta[i] = static_cast<std::uint8_t>(random.next());
    }
    return image;
}

void expect_same_row(const SideSpec& side, const RowImage& got, const RowImage& put) {
    EXPECT_EQ(got.count, put.count);
    EXPECT_EQ(std::memcmp(got.bitmap, put.bitmap, sizeof put.bitmap), 0) << "bitmap";
    EXPECT_EQ(std::memcmp(got.codes, put.codes, (put.count * side.bits + 7) / 8), 0) << "codes";
    EXPECT_EQ(std::memcmp(got.meta, put.meta, sizeof put.meta), 0) << "meta";
}

struct PageFormat : testing::Test {
    Heap heap;
    Memory memory{heap.hook(), 0};
    Pool pool{memory};
};

TEST(RowStrides, OfHeadDim128_AreTheBytesOfTheDesign) {
    EXPECT_EQ(row_total(exact(128, 64, 16)), 144U);
    EXPECT_EQ(row_total(exact(128, 40, 16)), 96U);
    EXPECT_EQ(row_total(exact(128, 64, 8)), 84U);
    EXPECT_EQ(row_total(exact(128, 40, 8)), 60U);
    EXPECT_EQ(row_total(exact(128, 64, 4)), 52U);
    EXPECT_EQ(row_total(exact(128, 40, 4)), 40U);
    EXPECT_EQ(row_total(exact(128, 64, 2)), 36U);
    EXPECT_EQ(row_total(exact(128, 40, 2)), 30U);
    EXPECT_EQ(row_total(exact(128, 128, 16)), 256U);
    EXPECT_EQ(row_total(exact(128, 128, 8)), 132U);
    EXPECT_EQ(row_total(exact(128, 128, 4)), 68U);
    EXPECT_EQ(row_total(exact(128, 128, 2)), 36U);
}

TEST(RowStrides, RowsThatKeepAll_HaveNoBitmap) {
    EXPECT_EQ(row_strides(exact(128, 128, 4)).bitmap, 0U);
    EXPECT_EQ(row_strides(exact(128, 127, 4)).bitmap, 16U);
}

TEST(RowStrides, CodesOfOddCounts_RoundUpToBytes) {
    EXPECT_EQ(row_strides(exact(80, 25, 4)).codes, 13U);
    EXPECT_EQ(row_strides(exact(80, 25, 2)).codes, 7U);
    EXPECT_EQ(row_strides(exact(80, 1, 2)).codes, 1U);
    EXPECT_EQ(row_strides(exact(80, 25, 8)).codes, 25U);
    EXPECT_EQ(code_bytes(0, 4), 0U);
}

TEST(RowStrides, GroupedRows_HaveAScaleAndZeroPerGroup) {
    EXPECT_EQ(row_strides(grouped(128, 4, 32)).meta, 16U);
    EXPECT_EQ(row_strides(grouped(128, 4, 64)).meta, 8U);
    EXPECT_EQ(row_strides(grouped(128, 4, 32)).codes, 64U);
    EXPECT_EQ(row_strides(grouped(128, 4, 32)).bitmap, 0U);
}

TEST(RowStrides, ChannelRows_HaveTheirScalesInTheBlock) {
    const RowStrides strides = row_strides(channel(128, 4));
    EXPECT_EQ(strides.codes, 64U);
    EXPECT_EQ(strides.meta, 0U);
    EXPECT_EQ(strides.block_meta, 512U);
}

TEST(RowStrides, RaggedRows_HaveABitmapAnOffsetAndNoFixedCodes) {
    const RowStrides strides = row_strides(ragged(128, 4));
    EXPECT_EQ(strides.bitmap, 16U);
    EXPECT_EQ(strides.offset, 2U);
    EXPECT_EQ(strides.codes, 0U);
    EXPECT_EQ(strides.meta, 4U);
    EXPECT_EQ(row_strides(ragged(128, 16)).meta, 0U);
}

TEST(PageBytes, OfMustafar70At4Bits_AreTheArraysAndTheTail) {
    // K and V alike: bitmaps 32 * 16 = 512, codes 32 * 20 = 640, meta 32 * 4 = 128.
    const SideSpec side = exact(128, 40, 4);
    EXPECT_EQ(side_bytes(side, 0), 1280U);
    EXPECT_EQ(page_bytes(head_of(side, side), 0, 0), 2 * 1280U + 64U);
}

TEST(PageBytes, ArraysThatFillNoLine_ArePaddedToIt) {
    // d 40, keep 25 at 2 bits: bitmaps 32 * 5 = 160 -> 192, codes 32 * 7 = 224 -> 256, meta 128.
    EXPECT_EQ(side_bytes(exact(40, 25, 2), 0), 192U + 256U + 128U);
    // Ragged, 100 bytes of codes: bitmaps 160 -> 192, offsets 64, codes 100 -> 128, meta 128.
    EXPECT_EQ(side_bytes(ragged(40, 2), 100), 192U + 64U + 128U + 128U);
    // Channel-axis, d 40: codes 32 * 10 = 320, one block of 40 * 4 = 160 -> 192.
    EXPECT_EQ(side_bytes(channel(40, 2), 0), 320U + 192U);
}

TEST_F(PageFormat, EveryArray_StartsAlignedAndLeavesAReadableTail) {
    for (const SideSpec& k : all_sides) {
        for (const SideSpec& v : all_sides) {
            const HeadSpec head = head_of(k, v);
            Random random(1);
            Page* page = nullptr;
            if (is_ragged(head)) {
                const std::vector<RowImage> rows[2] = {{5, random_row(k, random)},
                                                       {5, random_row(v, random)}};
                page = build_ragged_page(pool, head, rows[0], rows[1]);
            } else {
                page = create_page(pool, head);
            }
            SCOPED_TRACE(name(k) + " / " + name(v));
            const std::byte* last = page->data();
            for (const Side side : {Side::k, Side::v}) {
                const SideSpec& spec = head.side(side);
                const PageSide arrays = page_side(head, side, *page);
                const std::size_t codes = spec.encoding == Encoding::ragged
                                              ? page->code_bytes[static_cast<int>(side)]
                                              : 32U * arrays.strides.codes;
                const std::pair<const std::byte*, std::size_t> parts[] = {
                    {arrays.bitmaps, 32U * arrays.strides.bitmap},
                    {arrays.offsets, 32U * arrays.strides.offset},
                    {arrays.codes, codes},
                    {arrays.meta, 32U * arrays.strides.meta + arrays.strides.block_meta}};
                for (const auto& [start, bytes] : parts) {
                    if (start == nullptr || bytes == 0) { continue; }
                    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(start) % 64, 0U);
                    ASSERT_GE(start, last) << "arrays lie in the order of the format, apart";
                    last = start + bytes;
                }
            }
            const std::byte* end = page->data() + page->data_bytes;
            ASSERT_GE(end - last, 64) << "readable behind the last array";
            ASSERT_LT(end - last, 64 + 64) << "and no more than the tail and its alignment";
            pool.release(page);
        }
    }
}

TEST_F(PageFormat, ARowStoredInAnySlot_IsReadBackAndLeavesItsNeighboursAlone) {
    Random random(2);
    for (const SideSpec& spec : all_sides) {
        if (spec.encoding == Encoding::ragged) { continue; }
        SCOPED_TRACE(name(spec));
        const HeadSpec head = head_of(spec, spec);
        Page* page = create_page(pool, head);
        std::vector<RowImage> rows[2];
        for (const Side side : {Side::k, Side::v}) {
            auto& images = rows[static_cast<int>(side)];
            for (std::uint32_t i = 0; i < page_rows; ++i) {
                images.push_back(random_row(spec, random));
            }
            PageSide arrays = page_side(head, side, *page);
            for (std::uint32_t i = 0; i < page_rows; ++i) { // in no order
                const std::uint32_t slot = i * 13 % page_rows;
                store_row(spec, arrays, slot, images[slot]);
            }
        }
        for (const Side side : {Side::k, Side::v}) {
            const PageSide arrays = page_side(head, side, *page);
            for (std::uint32_t slot = 0; slot < page_rows; ++slot) {
                RowImage image;
                load_row(spec, arrays, slot, image);
                expect_same_row(spec, image, rows[static_cast<int>(side)][slot]);
            }
        }
        pool.release(page);
    }
}

TEST_F(PageFormat, AFixedStrideRow_LiesAtItsSlotTimesTheStride) {
    const SideSpec spec = exact(128, 40, 4);
    const HeadSpec head = head_of(spec, exact(64, 64, 16));
    Page* page = create_page(pool, head);
    Random random(3);
    const RowImage row = random_row(spec, random);
    PageSide arrays = page_side(head, Side::k, *page);
    store_row(spec, arrays, 7, row);
    const std::byte* data = page->data();
    EXPECT_EQ(std::memcmp(data + 7 * 16, row.bitmap, 16), 0);
    EXPECT_EQ(std::memcmp(data + 512 + 7 * 20, row.codes, 20), 0);
    EXPECT_EQ(std::memcmp(data + 512 + 640 + 7 * 4, row.meta, 4), 0);
    EXPECT_EQ(page->v_at, 1280U);
    EXPECT_EQ(page_side(head, Side::v, *page).codes, data + 1280);
    pool.release(page);
}

TEST_F(PageFormat, RaggedRows_LieBehindEachOtherAndAreReadBack) {
    Random random(4);
    for (const SideSpec& k : all_sides) {
        for (const SideSpec& v : all_sides) {
            const HeadSpec head = head_of(k, v);
            if (!is_ragged(head)) { continue; }
            SCOPED_TRACE(name(k) + " / " + name(v));
            const std::uint32_t count = 1 + random.below(page_rows);
            std::vector<RowImage> rows[2];
            std::size_t codes[2] = {0, 0};
            for (const Side side : {Side::k, Side::v}) {
                const SideSpec& spec = head.side(side);
                for (std::uint32_t i = 0; i < count; ++i) {
                    rows[static_cast<int>(side)].push_back(random_row(spec, random));
                    const std::uint32_t kept = rows[static_cast<int>(side)].back().count;
                    if (spec.encoding == Encoding::ragged) {
                        codes[static_cast<int>(side)] += (kept * spec.bits + 7) / 8;
                    }
                }
            }
            Page* page = build_ragged_page(pool, head, rows[0], rows[1]);
            ASSERT_EQ(page->data_bytes, page_bytes(head, codes[0], codes[1]));
            for (const Side side : {Side::k, Side::v}) {
                const SideSpec& spec = head.side(side);
                const PageSide arrays = page_side(head, side, *page);
                std::size_t at = 0;
                for (std::uint32_t slot = 0; slot < count; ++slot) {
                    const RowImage& put = rows[static_cast<int>(side)][slot];
                    RowImage image;
                    load_row(spec, arrays, slot, image);
                    expect_same_row(spec, image, put);
                    if (spec.encoding != Encoding::ragged) { continue; }
                    std::uint16_t offset = 0;
                    std::memcpy(&offset, arrays.offsets + slot * 2, 2);
                    ASSERT_EQ(offset, at) << "slot " << slot;
                    at += (put.count * spec.bits + 7) / 8;
                }
            }
            pool.release(page);
        }
    }
}

TEST_F(PageFormat, TheLargestRaggedPage_FitsItsSixteenBitOffsets) {
    const SideSpec spec = ragged(256, 16);
    RowImage full;
    full.count = 256;
    std::memset(full.bitmap, 0xFF, sizeof full.bitmap);
    const std::vector<RowImage> rows(page_rows, full);
    Page* page = build_ragged_page(pool, head_of(spec, spec), rows, rows);
    const PageSide arrays = page_side(head_of(spec, spec), Side::k, *page);
    EXPECT_EQ(arrays.row_codes(31) - arrays.codes, 31 * 512);
    EXPECT_EQ(page->code_bytes[0], 32U * 512U);
    pool.release(page);
}

TEST_F(PageFormat, ARaggedRowThatKeepsNothing_TakesNoCodes) {
    const SideSpec spec = ragged(40, 16);
    const std::vector<RowImage> rows(2);
    Page* page = build_ragged_page(pool, head_of(spec, spec), rows, rows);
    EXPECT_EQ(page->code_bytes[0], 0U);
    RowImage image;
    load_row(spec, page_side(head_of(spec, spec), Side::v, *page), 1, image);
    EXPECT_EQ(image.count, 0U);
    pool.release(page);
}

TEST_F(PageFormat, UseOfAPage_CountsTheRowsThatAreValid) {
    const SideSpec spec = exact(128, 40, 4);                 // 16 bitmap, 20 codes, 4 meta
    const HeadSpec head = head_of(spec, exact(128, 128, 8)); // V: 128 codes, 4 meta
    const PageRef ref{create_page(pool, head), 0x80000005U, 0};
    const PageUse use = page_use(head, ref);
    EXPECT_EQ(use.values, 3U * (20 + 128));
    EXPECT_EQ(use.bitmaps, 3U * 16);
    EXPECT_EQ(use.meta, 3U * (4 + 4));
    pool.release(ref.page);
}

TEST_F(PageFormat, UseOfAChannelPage_CountsItsBlockOnceHoweverFewRowsAreLeft) {
    const HeadSpec head = head_of(channel(128, 4), exact(128, 128, 4));
    PageRef ref{create_page(pool, head), ~0U, 0};
    EXPECT_EQ(page_use(head, ref).meta, 512U + 32 * 4);
    EXPECT_EQ(page_use(head, ref).values, 32U * (64 + 64));
    ref.valid = 1U << 9U;
    EXPECT_EQ(page_use(head, ref).meta, 512U + 4);
    EXPECT_EQ(page_use(head, ref).values, 64U + 64);
    pool.release(ref.page);
}

TEST_F(PageFormat, UseOfARaggedPage_CountsTheCodesOfValidRowsAndTheirOffsets) {
    const SideSpec spec = ragged(40, 4);
    std::vector<RowImage> rows(3);
    for (std::uint32_t i = 0; i < 3; ++i) { // rows of 3, 4 and 5 elements: 2, 2 and 3 bytes
        rows[i].count = i + 3;
        for (std::uint32_t c = 0; c < i + 3; ++c) { set_bit(rows[i].bitmap, c); }
    }
    const HeadSpec head = head_of(spec, spec);
    const PageRef ref{build_ragged_page(pool, head, rows, rows), 0b101, 0};
    const PageUse use = page_use(head, ref);
    EXPECT_EQ(use.values, 2U * (2 + 3));
    EXPECT_EQ(use.bitmaps, 2U * 2 * (5 + 2));
    EXPECT_EQ(use.meta, 2U * 2 * 4);
    pool.release(ref.page);
}

TEST(PageSlots, FirstSlots_IsAMaskOfTheLowBits) {
    EXPECT_EQ(first_slots(0), 0U);
    EXPECT_EQ(first_slots(1), 1U);
    EXPECT_EQ(first_slots(31), 0x7FFFFFFFU);
    EXPECT_EQ(first_slots(32), 0xFFFFFFFFU);
    EXPECT_EQ(first_slots(100), 0xFFFFFFFFU) << "a page holds no more";
}

} // namespace
} // namespace mustafar::test
