// SPDX-License-Identifier: Apache-2.0
// Every row of the op order against order_ref, and back to rows.
#include "cpu/rows_support.hpp"
#include "format/columns.hpp"

namespace mustafar::test {
namespace {

class OrderRow : public testing::TestWithParam<KernelRow> {};

HeadSpec head_of(std::uint32_t d, std::uint32_t keep, std::uint32_t bits) {
    HeadSpec head;
    head.k.d = head.v.d = static_cast<std::uint16_t>(d);
    head.k.keep = static_cast<std::uint16_t>(keep);
    head.v.keep = static_cast<std::uint16_t>(d);
    head.k.bits = static_cast<std::uint8_t>(bits);
    return head;
}

// A full page with random codes.
Page* make_page(Pool& pool, const HeadSpec& head, Random& random) {
    Page* page = create_page(pool, head);
    PageSide arrays = page_side(head, Side::k, *page);
    for (std::uint32_t row = 0; row < page_rows; ++row) {
        RowImage image;
        image.count = head.k.keep;
        std::uint32_t left = head.k.keep;
        for (std::uint32_t c = 0; c < head.k.d; ++c) {
            if (random.below(head.k.d - c) >= left) { continue; }
            image.bitmap[c / 8] |= static_cast<std::uint8_t>(1U << (c % 8));
            --left;
        }
        const std::uint32_t bits = image.count * head.k.bits;
        for (std::uint32_t i = 0; i < bits; ++i) {
            if (random.chance(50)) {
                image.codes[i / 8] |= static_cast<std::uint8_t>(1U << (i % 8));
            }
        }
        for (std::uint8_t& byte : image.meta) { byte = static_cast<std::uint8_t>(random.next()); }
        store_row(head.k, arrays, row, image);
    }
    std::memset(page->data() + page->v_at, 0xA5, page->data_bytes - page->v_at);
    return page;
}

TEST_P(OrderRow, HasTheBytesOfRefAndGoesBack) {
    MUSTAFAR_SKIP_MISSING(GetParam());
    const OrderFn order = choose_kernels(GetParam().backend, "test", false).order;
    ASSERT_NE(order, order_ref);
    Heap heap;
    const auto context = make_context(heap);
    Pool& pool = context->pool();
    Random random(5);
    for (const std::uint32_t d : head_sizes) {
        for (const std::uint32_t bits : {16U, 8U, 4U, 2U}) {
            for (const std::uint32_t keep : {1U, d * 5 / 16, d / 2, d / 2 + 1, d - 1, d}) {
                SCOPED_TRACE("d " + std::to_string(d) + ", keep " + std::to_string(keep) +
                             ", bits " + std::to_string(bits));
                const HeadSpec head = head_of(d, keep, bits);
                Page* rows = make_page(pool, head, random);
                Page* want = pool.clone(*rows);
                Page* got = pool.clone(*rows);
                order_ref(head, *want);
                order(head, *got);
                EXPECT_EQ(got->key_columns, 1U);
                const std::size_t bytes = rows->data_bytes;
                EXPECT_EQ(std::memcmp(got->data(), want->data(), bytes), 0);
                order(head, *got); // in that order already
                EXPECT_EQ(std::memcmp(got->data(), want->data(), bytes), 0);
                keys_to_rows(head, *got);
                EXPECT_EQ(std::memcmp(got->data(), rows->data(), bytes), 0);
                for (Page* page : {rows, want, got}) { pool.release(page); }
                if (HasFailure()) { return; }
            }
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Table, OrderRow, testing::ValuesIn(rows_of("order")), row_name);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(OrderRow);

} // namespace
} // namespace mustafar::test
