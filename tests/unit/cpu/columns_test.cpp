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

RowImage random_row(const SideSpec& side, std::uint32_t count, Random& random) {
    RowImage image;
    image.count = count;
    std::uint32_t left = count;
    for (std::uint32_t c = 0; c < side.d; ++c) {
        if (random.below(side.d - c) >= left) { continue; }
        image.bitmap[c / 8] |= static_cast<std::uint8_t>(1U << (c % 8));
        --left;
    }
    for (std::uint32_t i = 0; i < count * side.bits; ++i) {
        if (random.chance(50)) { image.codes[i / 8] |= static_cast<std::uint8_t>(1U << (i % 8)); }
    }
    for (std::uint8_t& byte : image.meta) { byte = static_cast<std::uint8_t>(random.next()); }
    return image;
}

// A full page with random codes.
Page* make_page(Pool& pool, const HeadSpec& head, Random& random) {
    Page* page = create_page(pool, head);
    PageSide arrays = page_side(head, Side::k, *page);
    for (std::uint32_t row = 0; row < page_rows; ++row) {
        store_row(head.k, arrays, row, random_row(head.k, head.k.keep, random));
    }
    std::memset(page->data() + page->v_at, 0xA5, page->data_bytes - page->v_at);
    return page;
}

// One whose K rows keep anything between nothing and all, around d * share / 8.
Page* make_ragged_page(Pool& pool, const HeadSpec& head, std::uint32_t share, Random& random) {
    std::vector<RowImage> k;
    for (std::uint32_t row = 0; row < page_rows; ++row) {
        const std::uint32_t d = head.k.d;
        const bool extreme = random.chance(10);
        const std::uint32_t count = extreme ? d * static_cast<std::uint32_t>(random.below(2))
                                            : random.below(d * share / 4 + 1);
        k.push_back(random_row(head.k, std::min(count, d), random));
        if (head.k.bits == 16) { std::memset(k.back().meta, 0, sizeof k.back().meta); }
    }
    const std::vector<RowImage> v(page_rows, random_row(head.v, head.v.keep, random));
    return build_ragged_page(pool, head, k, v);
}

// From rows to columns by `order` and by ref, and back; each row reads alike in both orders.
void check_orders(Pool& pool, const HeadSpec& head, OrderFn order, Page* rows) {
    Page* want = pool.clone(*rows);
    Page* got = pool.clone(*rows);
    order_ref(head, *want);
    order(head, *got);
    EXPECT_EQ(got->key_columns, 1U);
    const std::size_t bytes = rows->data_bytes;
    EXPECT_EQ(std::memcmp(got->data(), want->data(), bytes), 0);
    order(head, *got); // in that order already
    EXPECT_EQ(std::memcmp(got->data(), want->data(), bytes), 0);
    std::uint32_t kept = 0;
    for (std::uint32_t slot = 0; slot < page_rows; slot += 5) {
        RowImage by_rows;
        RowImage by_columns;
        load_row(head.k, page_side(head, Side::k, *rows), slot, by_rows);
        load_row(head.k, page_side(head, Side::k, *got), slot, by_columns);
        EXPECT_EQ(std::memcmp(&by_rows, &by_columns, sizeof by_rows), 0) << "slot " << slot;
        kept += by_rows.count;
    }
    EXPECT_EQ(kept_in_columns(head.k, page_side(head, Side::k, *got), 0x42108421U), kept);
    keys_to_rows(head, *got);
    EXPECT_EQ(std::memcmp(got->data(), rows->data(), bytes), 0);
    for (Page* page : {rows, want, got}) { pool.release(page); }
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
                check_orders(pool, head, order, make_page(pool, head, random));
                if (HasFailure()) { return; }
            }
        }
    }
}

TEST_P(OrderRow, HasTheBytesOfRefForRaggedPages) {
    MUSTAFAR_SKIP_MISSING(GetParam());
    const OrderFn order = choose_kernels(GetParam().backend, "test", false).order;
    Heap heap;
    const auto context = make_context(heap);
    Random random(6);
    for (const std::uint32_t d : head_sizes) {
        for (const Encoding values : {Encoding::exact, Encoding::ragged}) {
            for (const std::uint32_t share : {0U, 2U, 4U, 8U}) {
                SCOPED_TRACE("d " + std::to_string(d) + ", share " + std::to_string(share));
                HeadSpec head = head_of(d, d, 16);
                head.k.encoding = Encoding::ragged;
                head.v.encoding = values;
                ASSERT_TRUE(wants_columns(head));
                check_orders(context->pool(), head, order,
                             make_ragged_page(context->pool(), head, share, random));
                if (HasFailure()) { return; }
            }
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Table, OrderRow, testing::ValuesIn(rows_of("order")), row_name);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(OrderRow);

} // namespace
} // namespace mustafar::test
