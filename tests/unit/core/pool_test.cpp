// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/pool.hpp"
#include "unit_support.hpp"

namespace mustafar::test {
namespace {

struct PagePool : testing::Test {
    Heap heap;
    Memory memory{heap.hook(), 0};
    Pool pool{memory};
};

TEST_F(PagePool, ANewPage_IsZeroUnsharedAlignedAndCountedWithItsRecord) {
    Page* page = pool.create(1000);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(page->data()) % 64, 0U);
    EXPECT_EQ(page->data_bytes, 1000U);
    EXPECT_TRUE(std::all_of(page->data(), page->data() + 1000,
                            [](std::byte b) { return b == std::byte{0}; }));
    EXPECT_FALSE(Pool::shared(*page));
    EXPECT_EQ(pool.pages(), 1U);
    EXPECT_EQ(pool.shared_pages(), 0U);
    EXPECT_EQ(memory.live(Part::page), 1000 + sizeof(Page));
    pool.release(page);
    EXPECT_EQ(pool.pages(), 0U);
    EXPECT_EQ(memory.live(), 0U);
    EXPECT_EQ(heap.complaint(), "");
}

TEST_F(PagePool, APageOfThreeHolders_IsSharedUntilOneIsLeft) {
    Page* page = pool.create(64);
    pool.retain(*page);
    EXPECT_TRUE(Pool::shared(*page));
    EXPECT_EQ(pool.shared_pages(), 1U);
    pool.retain(*page);
    EXPECT_EQ(pool.shared_pages(), 1U) << "a page is shared once, by however many";
    pool.release(page);
    EXPECT_TRUE(Pool::shared(*page));
    EXPECT_EQ(pool.shared_pages(), 1U);
    pool.release(page);
    EXPECT_FALSE(Pool::shared(*page));
    EXPECT_EQ(pool.shared_pages(), 0U);
    EXPECT_EQ(pool.pages(), 1U);
    pool.release(page);
    EXPECT_EQ(pool.pages(), 0U);
    EXPECT_EQ(heap.blocks(), 0U);
}

TEST_F(PagePool, AClone_HasTheContentAndAReferenceOfItsOwn) {
    Page* page = pool.create(256);
    for (std::size_t i = 0; i < 256; ++i) { page->data()[i] = static_cast<std::byte>(i); }
    page->v_at = 128;
    page->code_bytes[0] = 11;
    page->code_bytes[1] = 22;
    pool.retain(*page);
    Page* copy = pool.clone(*page);
    EXPECT_FALSE(Pool::shared(*copy));
    EXPECT_EQ(copy->next, nullptr);
    EXPECT_EQ(copy->data_bytes, 256U);
    EXPECT_EQ(copy->v_at, 128U);
    EXPECT_EQ(copy->code_bytes[0], 11U);
    EXPECT_EQ(copy->code_bytes[1], 22U);
    EXPECT_EQ(std::memcmp(copy->data(), page->data(), 256), 0);
    copy->data()[0] = std::byte{99};
    EXPECT_EQ(page->data()[0], std::byte{0});
    EXPECT_EQ(pool.pages(), 2U);
    pool.release(copy);
    pool.release(page);
    pool.release(page);
    EXPECT_EQ(memory.live(), 0U);
}

TEST_F(PagePool, ReleasingNull_DoesNothing) {
    pool.release(nullptr);
    EXPECT_EQ(pool.pages(), 0U);
}

TEST_F(PagePool, APageTheHookRefuses_IsNotCounted) {
    heap.refuse_call(1);
    EXPECT_EQ(status_of([&] { pool.create(64); }), MUSTAFAR_OUT_OF_MEMORY);
    EXPECT_EQ(pool.pages(), 0U);
    EXPECT_EQ(memory.live(), 0U);
}

} // namespace
} // namespace mustafar::test
