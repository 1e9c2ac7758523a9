// SPDX-License-Identifier: Apache-2.0
#include <thread>

#include "core/memory.hpp"
#include "unit_support.hpp"

namespace mustafar::test {
namespace {

TEST(Memory, AQuotaOfN_AdmitsExactlyNBytes) {
    Heap heap;
    Memory memory(heap.hook(), 100);
    void* a = memory.allocate(60, 8, Part::page);
    void* b = memory.allocate(40, 8, Part::cache);
    EXPECT_EQ(memory.live(), 100U);
    EXPECT_EQ(status_of([&] { memory.allocate(1, 8, Part::work); }), MUSTAFAR_OUT_OF_MEMORY);
    memory.release(b, 40, 8, Part::cache);
    EXPECT_EQ(status_of([&] { memory.allocate(41, 8, Part::cache); }), MUSTAFAR_OUT_OF_MEMORY);
    b = memory.allocate(40, 8, Part::cache);
    memory.release(a, 60, 8, Part::page);
    memory.release(b, 40, 8, Part::cache);
    EXPECT_EQ(memory.live(), 0U);
    EXPECT_EQ(heap.complaint(), "");
}

TEST(Memory, QuotaRefusal_NamesAskedUsedAndLimitAndCallsNoHook) {
    Heap heap;
    Memory memory(heap.hook(), 100);
    void* a = memory.allocate(60, 8, Part::page);
    const std::uint64_t calls = heap.calls();
    const Error error = error_of([&] { memory.allocate(50, 8, Part::page); });
    EXPECT_EQ(error.code, MUSTAFAR_OUT_OF_MEMORY);
    EXPECT_EQ(error.values, (std::array<std::int64_t, 4>{50, 60, 100, 0}));
    EXPECT_EQ(heap.calls(), calls);
    EXPECT_EQ(memory.live(), 60U);
    EXPECT_EQ(memory.live(Part::page), 60U);
    EXPECT_EQ(memory.allocations(), 1U);
    EXPECT_EQ(memory.peak(), 60U);
    memory.release(a, 60, 8, Part::page);
}

TEST(Memory, AskingForMoreThanAnyQuota_IsRefusedWithoutOverflow) {
    Heap heap;
    Memory memory(heap.hook(), 100);
    void* a = memory.allocate(60, 8, Part::page);
    EXPECT_EQ(status_of([&] { memory.allocate(SIZE_MAX - 10, 8, Part::page); }),
              MUSTAFAR_OUT_OF_MEMORY);
    EXPECT_EQ(memory.live(), 60U);
    memory.release(a, 60, 8, Part::page);
}

TEST(Memory, NoQuota_IsNoLimit) {
    Heap heap;
    Memory memory(heap.hook(), 0);
    void* a = memory.allocate(1 << 20, 64, Part::work);
    EXPECT_EQ(memory.live(Part::work), std::uint64_t{1} << 20U);
    memory.release(a, 1 << 20, 64, Part::work);
}

TEST(Memory, Counts_FollowTheirPart) {
    Heap heap;
    Memory memory(heap.hook(), 0);
    void* page = memory.allocate(10, 8, Part::page);
    void* cache = memory.allocate(20, 8, Part::cache);
    void* work = memory.allocate(40, 8, Part::work);
    EXPECT_EQ(memory.live(Part::page), 10U);
    EXPECT_EQ(memory.live(Part::cache), 20U);
    EXPECT_EQ(memory.live(Part::work), 40U);
    EXPECT_EQ(memory.live(), 70U);
    EXPECT_EQ(memory.live(), heap.live());
    memory.release(cache, 20, 8, Part::cache);
    EXPECT_EQ(memory.live(Part::page), 10U);
    EXPECT_EQ(memory.live(Part::cache), 0U);
    EXPECT_EQ(memory.live(Part::work), 40U);
    EXPECT_EQ(memory.allocations(), 3U) << "releases do not count";
    memory.release(page, 10, 8, Part::page);
    memory.release(work, 40, 8, Part::work);
    EXPECT_EQ(heap.complaint(), "");
}

TEST(Memory, AHookThatRefuses_GivesItsQuotaBackAndALimitOfZero) {
    Heap heap;
    Memory memory(heap.hook(), 100);
    void* a = memory.allocate(60, 8, Part::cache);
    heap.refuse_call(1);
    const Error error = error_of([&] { memory.allocate(40, 8, Part::page); });
    EXPECT_EQ(error.code, MUSTAFAR_OUT_OF_MEMORY);
    EXPECT_EQ(error.values, (std::array<std::int64_t, 4>{40, 60, 0, 0}));
    EXPECT_EQ(memory.live(), 60U);
    EXPECT_EQ(memory.live(Part::page), 0U);
    EXPECT_EQ(memory.allocations(), 1U);
    void* b = memory.allocate(40, 8, Part::page);
    memory.release(a, 60, 8, Part::cache);
    memory.release(b, 40, 8, Part::page);
}

TEST(MemoryPeak, IsTheLargestLiveSum) {
    Heap heap;
    Memory memory(heap.hook(), 0);
    void* a = memory.allocate(60, 8, Part::cache);
    void* b = memory.allocate(30, 8, Part::cache);
    memory.release(a, 60, 8, Part::cache);
    a = memory.allocate(50, 8, Part::cache);
    EXPECT_EQ(memory.peak(), 90U);
    void* c = memory.allocate(20, 8, Part::work);
    EXPECT_EQ(memory.peak(), 100U);
    memory.release(a, 50, 8, Part::cache);
    memory.release(b, 30, 8, Part::cache);
    memory.release(c, 20, 8, Part::work);
    EXPECT_EQ(memory.peak(), 100U);
}

TEST(MemoryPeak, AHookThatRefuses_DoesNotRaiseIt) {
    Heap heap;
    Memory memory(heap.hook(), 0);
    void* a = memory.allocate(60, 8, Part::cache);
    heap.refuse_call(1);
    EXPECT_EQ(status_of([&] { memory.allocate(1000, 8, Part::cache); }), MUSTAFAR_OUT_OF_MEMORY);
    EXPECT_EQ(memory.peak(), 60U) << "the largest live_bytes so far (context.h)";
    memory.release(a, 60, 8, Part::cache);
}

TEST(MemoryThreads, SideBySide_NeverExceedTheQuotaAndEndAtZero) {
    Heap heap;
    Memory memory(heap.hook(), 250);
    std::atomic<int> refused{0};
    const auto work = [&] {
        for (int i = 0; i < 2000; ++i) {
            try {
                void* data = memory.allocate(100, 8, Part::page);
                if (memory.live() > 250) { std::abort(); }
                memory.release(data, 100, 8, Part::page);
            } catch (const Error&) { ++refused; }
        }
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) { threads.emplace_back(work); }
    for (std::thread& thread : threads) { thread.join(); }
    EXPECT_EQ(memory.live(), 0U);
    EXPECT_LE(memory.peak(), 200U) << "two blocks of 100 fit";
    EXPECT_EQ(memory.allocations() + static_cast<std::uint64_t>(refused), 8000U);
}

TEST(Buffer, Elements_StartValueInitialisedAnd64ByteAligned) {
    Heap heap;
    Memory memory(heap.hook(), 0);
    const Buffer<std::uint32_t> buffer(memory, 1000);
    for (const std::uint32_t x : buffer) { ASSERT_EQ(x, 0U); }
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0U);
    EXPECT_EQ(heap.last_alignment(), 64U);
    EXPECT_EQ(buffer.bytes(), 4000U);
    EXPECT_EQ(memory.live(Part::cache), 4000U) << "the part a buffer belongs to unless told";
}

TEST(Buffer, OfNoElements_HoldsNoMemory) {
    Heap heap;
    Memory memory(heap.hook(), 0);
    const Buffer<float> buffer(memory, 0);
    EXPECT_TRUE(buffer.empty());
    EXPECT_EQ(heap.calls(), 0U);
}

TEST(Buffer, Moving_HandsTheMemoryOnAndReleasesItOnce) {
    Heap heap;
    Memory memory(heap.hook(), 0);
    {
        Buffer<int> a(memory, 10, Part::work);
        a[3] = 7;
        Buffer<int> b(std::move(a));
        EXPECT_TRUE(a.empty()); // NOLINT(bugprone-use-after-move): moved-from buffers are empty
        EXPECT_EQ(b[3], 7);
        Buffer<int> c(memory, 5, Part::work);
        c = std::move(b);
        EXPECT_EQ(c.size(), 10U);
        EXPECT_EQ(c[3], 7);
        EXPECT_EQ(memory.live(Part::work), 40U) << "what c held before is gone";
        c = {};
        EXPECT_EQ(memory.live(), 0U);
    }
    EXPECT_EQ(heap.complaint(), "");
    EXPECT_EQ(heap.blocks(), 0U);
}

} // namespace
} // namespace mustafar::test
