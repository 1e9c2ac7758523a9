// SPDX-License-Identifier: Apache-2.0
// Every call that takes memory, with its first, second, ... allocation refused until none is left:
// it fails with OUT_OF_MEMORY, and nothing has changed.
#include <functional>

#include "unit_support.hpp"

namespace mustafar::test {
namespace {

class CacheMemory : public testing::TestWithParam<Kind> {
  protected:
    CacheMemory() { // packs once: the context keeps the workspace for later calls
        const auto cache = Cache::create(context, geometry, kinds[0].recipe(), {400, 0, true});
        sequence.append(*cache, 0, 20);
    }
    ~CacheMemory() override { EXPECT_EQ(heap.complaint(), ""); }

    Cache::Handle create(bool pack = true) {
        return Cache::create(context, geometry, GetParam().recipe(), {400, 0, pack});
    }
    // Refuses allocation after allocation; `unchanged` is asked after each failure. Returns how many
    // allocations the call makes.
    std::uint64_t refuse_each(const std::function<void()>& call,
                              const std::function<std::string()>& state) {
        const std::string before = state();
        for (std::uint64_t n = 1;; ++n) {
            const std::uint64_t bytes = cache_bytes(*context);
            const std::uint64_t pages = context->pool().pages();
            heap.refuse_call(n);
            const mustafar_status status = status_of(call);
            const bool refused = heap.refused();
            heap.refuse_call(0);
            if (!refused) {
                EXPECT_EQ(status, MUSTAFAR_OK);
                return n - 1;
            }
            EXPECT_EQ(status, MUSTAFAR_OUT_OF_MEMORY) << "allocation " << n;
            EXPECT_EQ(state(), before) << "allocation " << n;
            EXPECT_EQ(cache_bytes(*context), bytes) << "allocation " << n;
            EXPECT_EQ(context->pool().pages(), pages) << "allocation " << n;
            if (HasFailure()) { return n; }
        }
    }
    // The same for a call on a cache that `prepare` makes, with and without a fork that shares its
    // pages; the call must do in the end what it does where nothing fails.
    void expect_change(const std::function<Cache::Handle()>& prepare,
                       const std::function<void(Cache&)>& change, std::uint64_t least) {
        for (const bool forked : {false, true}) {
            SCOPED_TRACE(forked ? "forked" : "alone");
            const auto control = prepare();
            change(*control);
            const auto cache = prepare();
            Cache::Handle fork(nullptr, [](Cache*) {});
            if (forked) { fork = cache->fork(); }
            const std::string before = snapshot(*cache);
            EXPECT_GE(refuse_each([&] { change(*cache); }, [&] { return snapshot(*cache); }),
                      least);
            EXPECT_EQ(snapshot(*cache), snapshot(*control));
            if (forked) { EXPECT_EQ(snapshot(*fork), before); }
        }
    }
    Heap heap;
    std::shared_ptr<Context> context = make_context(heap);
    const Geometry geometry = small_geometry();
    const Sequence sequence{geometry, 300};
};

TEST_P(CacheMemory, Create_TakesNothingWhenItFails) {
    for (const std::uint32_t reserve : {0U, 100U}) {
        Cache::Handle made(nullptr, [](Cache*) {});
        const std::uint64_t calls = refuse_each(
            [&] {
                made = Cache::create(context, geometry, GetParam().recipe(), {400, reserve, true});
            },
            [&] { return std::to_string(context->caches); });
        EXPECT_GE(calls, 5U) << "the record, layers, heads, a window each";
    }
}

TEST_P(CacheMemory, Append_ChangesNothingWhenItFails) {
    const auto prepare = [&] {
        auto cache = create();
        sequence.append(*cache, 0, 27); // packed in part: the next rows go into that page
        return cache;
    };
    expect_change(
        prepare, [&](Cache& cache) { sequence.append(cache, 27, 110); }, 3);
    expect_change(
        prepare, [&](Cache& cache) { sequence.append(cache, 0, 27, 110, true); }, 2);
}

TEST_P(CacheMemory, AppendBehindEvictions_ChangesNothingWhenItFails) {
    expect_change(
        [&] {
            auto cache = create();
            sequence.append(*cache, 0, 64);
            for (const std::uint32_t head : {0U, 1U}) {
                cache->evict(0, head, std::vector<std::int32_t>{9}, false);
            }
            return cache;
        },
        [&](Cache& cache) { sequence.append(cache, 64, 200); }, 4);
}

TEST_P(CacheMemory, Commit_ChangesNothingWhenItFails) {
    expect_change(
        [&] {
            auto cache = create();
            sequence.append(*cache, 0, 27);
            sequence.append(*cache, 0, 27, 110, true);
            return cache;
        },
        [&](Cache& cache) { cache.commit(MUSTAFAR_ALL); }, 3);
}

TEST_P(CacheMemory, Compress_ChangesNothingWhenItFails) {
    const auto prepare = [&] {
        auto cache = create(false);
        sequence.append(*cache, 0, 110);
        return cache;
    };
    expect_change(
        prepare, [&](Cache& cache) { cache.compress(0); }, 4);
}

TEST_P(CacheMemory, Prune_ChangesNothingWhenItFails) {
    expect_change(
        [&] {
            auto cache = create(false);
            sequence.append(*cache, 0, 60);
            return cache;
        },
        [&](Cache& cache) {
            PruneRequest request;
            request.layer = request.kv_head = MUSTAFAR_ALL;
            request.begin = 3;
            request.end = 50;
            cache.prune(request);
        },
        2);
}

TEST_P(CacheMemory, Evict_ChangesNothingWhenItFails) {
    const std::vector<std::int32_t> gone = {4, 12, 13, 40, 41, 70, 100};
    expect_change(
        [&] {
            auto cache = create();
            sequence.append(*cache, 0, 110);
            return cache;
        },
        [&](Cache& cache) { cache.evict(0, 1, gone, false); }, 1);
}

TEST_P(CacheMemory, TruncateAndReset_NeedNoMemory) {
    const auto cache = create();
    sequence.append(*cache, 0, 110);
    const auto fork = cache->fork();
    const std::uint64_t calls = heap.calls();
    cache->truncate(33, true);
    cache->reset();
    EXPECT_EQ(heap.calls(), calls);
}

TEST_P(CacheMemory, ForkAndLoad_TakeNothingWhenTheyFail) {
    const auto cache = Cache::create(context, geometry, GetParam().recipe(), {400, 150, true});
    sequence.append(*cache, 0, 110);
    cache->evict(0, 1, std::vector<std::int32_t>{8, 9}, false);
    const std::string bytes = snapshot(*cache);
    Cache::Handle made(nullptr, [](Cache*) {});
    const auto state = [&] {
        return snapshot(*cache) + std::to_string(context->caches) + "," +
               std::to_string(context->pool().shared_pages());
    };
    EXPECT_GE(refuse_each([&] { made = cache->fork(); }, state), 6U);
    EXPECT_EQ(snapshot(*made), bytes);
    made.reset();
    EXPECT_GE(refuse_each([&] { made = load(context, bytes); }, state), 6U);
    EXPECT_EQ(snapshot(*made), bytes);
}

INSTANTIATE_TEST_SUITE_P(Kinds, CacheMemory, testing::ValuesIn(kinds), [](const auto& kind) {
    std::string name = kind.param.name;
    std::erase_if(name, [](char c) { return c == ' ' || c == ','; });
    return name;
});

TEST(CacheThreads, AnyNumberOfThreads_GivesTheSameBytesAndTheSameRollBack) {
    const Geometry geometry = small_geometry(2, 4);
    const Sequence sequence(geometry, 150);
    std::string bytes;
    for (const std::uint32_t threads : {1U, 4U}) {
        Heap heap;
        const auto context = make_context(heap, 0, threads);
        const auto cache = Cache::create(context, geometry, kinds[1].recipe(), {400, 0, true});
        sequence.append(*cache, 0, 50);
        const std::string before = snapshot(*cache);
        for (std::uint64_t n = 1;; ++n) {
            const std::uint64_t live = cache_bytes(*context);
            heap.refuse_call(n);
            const mustafar_status status = status_of([&] { sequence.append(*cache, 0, 50, 150); });
            if (!heap.refused()) { break; }
            ASSERT_EQ(status, MUSTAFAR_OUT_OF_MEMORY);
            ASSERT_EQ(snapshot(*cache), before);
            ASSERT_EQ(cache_bytes(*context), live);
        }
        heap.refuse_call(0);
        sequence.append(*cache, 1, 50, 150);
        if (bytes.empty()) { bytes = snapshot(*cache); }
        EXPECT_EQ(snapshot(*cache), bytes);
    }
}

} // namespace
} // namespace mustafar::test
