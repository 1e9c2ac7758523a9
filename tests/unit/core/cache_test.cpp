// SPDX-License-Identifier: Apache-2.0
// Create, append, commit, compress, fork: which rows are where, and that how they came there leaves
// no trace in the bytes.
#include <functional>
#include <limits>

#include "core/half.hpp"
#include "unit_support.hpp"

namespace mustafar::test {
namespace {

constexpr CacheOptions automatic{400, 0, true};
constexpr CacheOptions manual{400, 0, false};

class CacheTest : public testing::Test {
  protected:
    ~CacheTest() override { EXPECT_EQ(heap.complaint(), ""); }
    Cache::Handle create(const Kind& kind, const CacheOptions& options = automatic) {
        return Cache::create(context, geometry, kind.recipe(), options);
    }
    Heap heap;
    std::shared_ptr<Context> context = make_context(heap);
    const Geometry geometry = small_geometry(2);
    const Sequence sequence{geometry, 300};
};
using CacheBody = CacheTest;
using CacheAppend = CacheTest;
using CacheCommit = CacheTest;
using CacheFork = CacheTest;
using CacheReserve = CacheTest;
using CacheBytes = CacheTest;

TEST_F(CacheBody, RowsThatLeftTheWindow_ArePackedInWholeSteps) {
    const Geometry one{1, 1, 1, 32, 32, Dtype::f16};
    const Sequence tokens(one, 100);
    for (const std::uint32_t recent : {0U, 1U, 5U, 32U, 64U}) {
        for (const std::uint32_t sink : {0U, 1U, 4U, 40U}) {
            for (const std::uint32_t step : {1U, 2U, 4U, 8U, 16U, 32U}) {
                const auto recipe =
                    recipe_of(R"("k":{"keep":8,"bits":2},"v":{"bits":2})", {recent, sink, step});
                const auto cache = Cache::create(context, one, recipe, {100, 0, true});
                for (std::uint32_t n = 1; n <= 100; ++n) {
                    tokens.append(*cache, n - 1, n);
                    const HeadState& head = cache->head(0, 0);
                    const int outside = static_cast<int>(n - recent) - static_cast<int>(sink);
                    const std::uint32_t body =
                        outside > 0 ? static_cast<std::uint32_t>(outside) / step * step : 0;
                    ASSERT_EQ(head.body_rows, body)
                        << recent << " " << sink << " " << step << " at " << n;
                    ASSERT_EQ(head.dense_rows, n - body);
                    ASSERT_EQ(head.page_count, (body + 31) / 32);
                }
            }
        }
    }
}

TEST_F(CacheBody, WithoutAuto_OnlyCompressPacksAndThenEveryRowOutside) {
    for (const Kind& kind : kinds) {
        SCOPED_TRACE(kind.name);
        const auto cache = create(kind, manual);
        sequence.append(*cache, 0, 90);
        for (const std::uint32_t layer : {0U, 1U}) {
            EXPECT_EQ(cache->head(layer, 0).body_rows, 0U);
        }
        cache->compress(1);
        EXPECT_EQ(cache->head(0, 1).body_rows, 0U) << "the other layer";
        EXPECT_EQ(cache->head(1, 1).body_rows, kind.step == 32 ? 64U : 90U - 7U);
        cache->compress(MUSTAFAR_ALL);
        EXPECT_EQ(cache->head(0, 1).body_rows, cache->head(1, 1).body_rows);
        const std::string before = snapshot(*cache);
        cache->compress(MUSTAFAR_ALL);
        EXPECT_EQ(snapshot(*cache), before) << "nothing left to do";
    }
}

TEST_F(CacheAppend, ChunksOfAnySize_GiveTheBytesOfSingleAppends) {
    Random random(1);
    for (const Kind& kind : kinds) {
        SCOPED_TRACE(kind.name);
        const auto singles = create(kind);
        for (std::uint32_t t = 0; t < 170; ++t) { sequence.append(*singles, t, t + 1); }
        for (const std::uint32_t most : {170U, 40U, 9U}) {
            const auto chunks = create(kind);
            for (std::uint32_t t = 0; t < 170;) {
                const std::uint32_t end = std::min(170U, t + 1 + random.below(most));
                sequence.append(*chunks, t, most == 170 ? 170 : end);
                t = most == 170 ? 170 : end;
            }
            ASSERT_EQ(snapshot(*chunks), snapshot(*singles)) << "of up to " << most;
        }
    }
}

TEST_F(CacheAppend, HalvesInAnyStrides_GiveTheBytesOfPackedFloats) {
    for (const Dtype store : {Dtype::f16, Dtype::bf16}) {
        Geometry g = geometry;
        g.store = store;
        const auto plain = Cache::create(context, g, kinds[1].recipe(), automatic);
        const auto strided = Cache::create(context, g, kinds[1].recipe(), automatic);
        Sequence half(g, 50); // values that f16 and bf16 both hold
        std::vector<std::uint16_t> bits[2];
        mustafar_tensor views[2];
        for (const int side : {0, 1}) {
            Array& array = side == 0 ? half.k[0] : half.v[0];
            const std::size_t d = static_cast<std::size_t>(array.shape[2]);
            views[side] = array.view();
            bits[side].resize(array.values.size());
            for (std::size_t i = 0; i < array.values.size();
                 ++i) { // [head, channel, token] backwards
                array.values[i] = bf16_to_f32(f32_to_bf16(array.values[i]));
                const std::size_t t = i / (2 * d), h = i / d % 2, c = i % d;
                bits[side][(h * d + c) * 50 + 49 - t] =
                    side == 0 ? f32_to_f16(array.values[i]) : f32_to_bf16(array.values[i]);
            }
            views[side].data = bits[side].data() + 49;
            views[side].dtype = side == 0 ? MUSTAFAR_F16 : MUSTAFAR_BF16;
            views[side].strides[0] = -1;
            views[side].strides[1] = static_cast<std::int64_t>(d) * 50;
            views[side].strides[2] = 50;
        }
        half.append(*plain, 0, 0, 50);
        strided->append(0, views[0], views[1], false);
        EXPECT_EQ(snapshot(*strided), snapshot(*plain));
    }
}

TEST_F(CacheAppend, AValueThatCannotBeStored_IsRefusedNamingItsPlaceAndNothingIsStored) {
    const float infinity = std::numeric_limits<float>::infinity();
    const auto cache = create(kinds[2]); // K centred, V 2 bits
    sequence.append(*cache, 0, 50);
    const std::string before = snapshot(*cache);
    const std::uint64_t bytes = cache_bytes(*context);
    Sequence bad(geometry, 40, 2);
    const auto refused = [&](Side side, float value) {
        float& at = side == Side::k ? bad.k[1].values[(39 * 2 + 1) * 64 + 63]
                                    : bad.v[1].values[(39 * 2 + 1) * 32 + 31];
        const float was = std::exchange(at, value);
        const Error error = error_of([&] { bad.append(*cache, 1, 0, 40); });
        at = was;
        if (error.code == MUSTAFAR_OK) { return false; }
        EXPECT_EQ(error.code, MUSTAFAR_NON_FINITE);
        const std::array<std::int64_t, 4> place = {static_cast<std::int64_t>(side), 39, 1,
                                                   side == Side::k ? 63 : 31};
        EXPECT_EQ(error.values, place);
        EXPECT_EQ(snapshot(*cache), before);
        EXPECT_EQ(cache_bytes(*context), bytes);
        return true;
    };
    for (const float value : {infinity, -infinity, NAN, 65520.0F, 1e30F}) {
        EXPECT_TRUE(refused(Side::k, value)) << value;
        EXPECT_TRUE(refused(Side::v, value)) << value;
    }
    EXPECT_TRUE(refused(Side::k, -40000.0F)) << "a centred row can be twice as large";
    EXPECT_FALSE(refused(Side::v, -65504.0F));
}

TEST_F(CacheAppend, BehindTheCapacity_IsRefusedAndNothingIsStored) {
    const auto cache = create(kinds[1], {60, 0, true});
    sequence.append(*cache, 0, 0, 50);
    const std::string before = snapshot(*cache);
    EXPECT_EQ(status_of([&] { sequence.append(*cache, 0, 50, 61); }), MUSTAFAR_CAPACITY);
    EXPECT_EQ(status_of([&] { sequence.append(*cache, 0, 50, 61, true); }), MUSTAFAR_CAPACITY);
    EXPECT_EQ(snapshot(*cache), before);
    sequence.append(*cache, 0, 50, 60);
    EXPECT_EQ(cache->layer(0).committed, 60U);
}

TEST_F(CacheCommit, TentativeTokens_StayDenseAndThenGiveTheBytesOfPlainOnes) {
    for (const Kind& kind : kinds) {
        SCOPED_TRACE(kind.name);
        const auto plain = create(kind);
        const auto cache = create(kind);
        sequence.append(*plain, 0, 120);
        sequence.append(*cache, 0, 30);
        const std::uint32_t body = cache->head(1, 0).body_rows;
        for (const std::uint32_t layer : {0U, 1U}) {
            sequence.append(*cache, layer, 30, 50, true);
            sequence.append(*cache, layer, 50, 120, true);
        }
        EXPECT_EQ(cache->head(1, 0).body_rows, body);
        EXPECT_EQ(cache->layer(0).tentative, 90U);
        EXPECT_EQ(status_of([&] { sequence.append(*cache, 0, 120, 121); }), MUSTAFAR_BAD_STATE);
        cache->compress(MUSTAFAR_ALL); // packs what was committed, tentative tokens never
        EXPECT_EQ(cache->head(1, 0).body_rows, kind.step == 32 ? 0U : 23U);
        const auto again = create(kind);
        sequence.append(*again, 0, 30);
        for (const std::uint32_t layer : {0U, 1U}) {
            sequence.append(*again, layer, 30, 120, true);
        }
        again->commit(0);
        EXPECT_EQ(again->layer(1).tentative, 90U) << "the other layer";
        again->commit(MUSTAFAR_ALL);
        EXPECT_EQ(snapshot(*again), snapshot(*plain));
    }
}

// What changes a cache, each as it stands after 100 tokens.
struct Change {
    const char* name;
    std::function<void(Cache&, const Sequence&)> apply;
};
const std::vector<Change> changes = {
    {"append", [](Cache& cache, const Sequence& s) { s.append(cache, 100, 200); }},
    {"append tentative",
     [](Cache& cache, const Sequence& s) { s.append(cache, 0, 100, 120, true); }},
    {"compress, append",
     [](Cache& cache, const Sequence& s) {
         cache.compress(MUSTAFAR_ALL);
         s.append(cache, 100, 110);
     }},
    {"evict, append",
     [](Cache& cache, const Sequence& s) {
         const std::vector<std::int32_t> gone = {3, 4, 30, 34, 50};
         cache.evict(1, 0, gone, false);
         s.append(cache, 100, 130);
     }},
    {"truncate, append",
     [](Cache& cache, const Sequence& s) {
         cache.truncate(45, true);
         s.append(cache, 45, 130);
     }},
    {"reset, append",
     [](Cache& cache, const Sequence& s) {
         cache.reset();
         s.append(cache, 200, 290);
     }},
};

TEST_F(CacheFork, AChangeOfParentOrChild_LeavesTheOtherByteIdentical) {
    for (const Kind& kind : kinds) {
        for (const Change& change : changes) {
            SCOPED_TRACE(std::string(kind.name) + ": " + change.name);
            const auto alone = create(kind); // never forked
            sequence.append(*alone, 0, 100);
            const std::string before = snapshot(*alone);
            change.apply(*alone, sequence);
            const std::string after = snapshot(*alone);
            ASSERT_NE(after, before);
            for (const bool write_child : {true, false}) {
                const auto parent = create(kind);
                sequence.append(*parent, 0, 100);
                const auto child = parent->fork();
                ASSERT_EQ(snapshot(*child), before);
                Cache& written = write_child ? *child : *parent;
                Cache& still = write_child ? *parent : *child;
                change.apply(written, sequence);
                ASSERT_EQ(snapshot(still), before);
                ASSERT_EQ(snapshot(written), after);
                change.apply(still, sequence); // what was copied is this one's own again
                ASSERT_EQ(snapshot(still), after);
                ASSERT_EQ(snapshot(written), after);
            }
        }
    }
}

TEST_F(CacheFork, ParentAndChildThatGoOnDifferently_AreEachAsIfAlone) {
    for (const Kind& kind : kinds) {
        SCOPED_TRACE(kind.name);
        const auto parent = create(kind);
        sequence.append(*parent, 0, 55); // the last page is not full
        const auto child = parent->fork();
        const std::uint32_t from[] = {60, 160}; // what each of them appends
        for (int part = 0; part < 3; ++part) {  // in turns
            for (const int which : {0, 1}) {
                const std::uint32_t at = from[which] + 20U * static_cast<std::uint32_t>(part);
                sequence.append(which == 0 ? *parent : *child, at, at + 20);
            }
        }
        for (const int which : {0, 1}) {
            const auto alone = create(kind);
            sequence.append(*alone, 0, 55);
            sequence.append(*alone, from[which], from[which] + 60);
            EXPECT_EQ(snapshot(which == 0 ? *parent : *child), snapshot(*alone));
        }
    }
}

TEST_F(CacheFork, Pages_AreSharedUntilOneIsWritten) {
    const auto parent = create(kinds[1]);
    sequence.append(*parent, 0, 0, 7 + 48); // a page and a half in each head of layer 0
    EXPECT_EQ(context->pool().pages(), 4U);
    const auto child = parent->fork();
    EXPECT_EQ(context->pool().pages(), 4U);
    EXPECT_EQ(context->pool().shared_pages(), 4U);
    sequence.append(*child, 0, 55, 63); // eight rows behind the half page
    EXPECT_EQ(context->pool().pages(), 6U);
    EXPECT_EQ(context->pool().shared_pages(), 2U) << "the full pages";
    sequence.append(*child, 0, 63, 71);
    EXPECT_EQ(context->pool().pages(), 6U) << "its own now: filled in place";
}

TEST_F(CacheFork, AForkOutlivesItsParent_AndLeavesNothingBehind) {
    const std::uint64_t before = cache_bytes(*context);
    for (const Kind& kind : kinds) {
        auto parent = create(kind);
        sequence.append(*parent, 0, 100);
        auto child = parent->fork();
        const std::string bytes = snapshot(*parent);
        parent.reset();
        EXPECT_EQ(snapshot(*child), bytes);
        EXPECT_EQ(cache_bytes(*context), child->bytes(MUSTAFAR_ALL, MUSTAFAR_ALL).total)
            << kind.name << ": what stats say is what the allocator handed out";
        child.reset();
        EXPECT_EQ(cache_bytes(*context), before) << kind.name;
    }
}

// ---- reserve -----------------------------------------------------------------------------------

bool is_fixed(const Cache& cache) { return !is_ragged(cache.head(0, 0).spec); }

TEST_F(CacheReserve, AppendsWithinIt_TakeNothingFromTheAllocator) {
    for (const Kind& kind : kinds) {
        for (const std::uint32_t chunk : {1U, 13U, 300U}) {
            SCOPED_TRACE(std::string(kind.name) + " by " + std::to_string(chunk));
            const auto cache = create(kind, {300, 300, true});
            if (!is_fixed(*cache)) { continue; }
            const std::uint64_t pages = context->pool().pages();
            EXPECT_EQ(pages, 4U * ((300U - 7U + 31U) / 32U));
            const std::uint64_t calls = heap.calls();
            for (std::uint32_t t = 0; t < 300; t += chunk) {
                sequence.append(*cache, t, std::min(t + chunk, 300U));
            }
            EXPECT_EQ(heap.calls(), calls);
            EXPECT_EQ(context->pool().pages(), pages);
            const auto plain = create(kind, {300, 0, true});
            sequence.append(*plain, 0, 300);
            EXPECT_EQ(snapshot(*cache), snapshot(*plain)) << "a reserve is no content";
        }
    }
}

TEST_F(CacheReserve, AfterATruncateThatKeepsPackedRows_AppendsWithinItTakeNothing) {
    for (const Kind& kind : kinds) {
        for (const std::uint32_t length : {1U, 33U, 101U, 170U, 257U, 262U, 291U, 299U}) {
            SCOPED_TRACE(std::string(kind.name) + " at " + std::to_string(length));
            const auto cache = create(kind, {300, 300, true});
            if (!is_fixed(*cache)) { continue; }
            sequence.append(*cache, 0, 300);
            const std::uint64_t calls = heap.calls();
            cache->truncate(length, true);
            sequence.append(*cache, length, 300);
            EXPECT_EQ(heap.calls(), calls);
        }
    }
}

TEST_F(CacheReserve, TruncateAndReset_ReturnPagesToIt) {
    for (const Kind& kind : kinds) {
        SCOPED_TRACE(kind.name);
        const auto cache = create(kind, {300, 300, true});
        if (!is_fixed(*cache)) { continue; }
        const std::uint64_t pages = context->pool().pages();
        const std::uint64_t bytes = cache_bytes(*context);
        const std::uint64_t calls = heap.calls();
        for (int round = 0; round < 3; ++round) {
            sequence.append(*cache, 0, 300);
            round == 2 ? cache->reset() : cache->truncate(round == 0 ? 0 : 40, true);
            EXPECT_EQ(context->pool().pages(), pages);
            EXPECT_EQ(cache_bytes(*context), bytes);
            if (round != 1) { continue; }
            sequence.append(*cache, 40, 300);
            cache->truncate(0, true);
        }
        EXPECT_EQ(heap.calls(), calls);
        sequence.append(*cache, 0, 300);
        EXPECT_EQ(heap.calls(), calls);
        const auto plain = create(kind);
        sequence.append(*plain, 0, 300);
        for (const Side side : {Side::k, Side::v}) { // as in a cache that never gave pages back
            EXPECT_EQ(rows_of(*cache, 1, 1, side).values, rows_of(*plain, 1, 1, side).values);
        }
    }
}

TEST_F(CacheReserve, PagesThatEvictionEmpties_ReturnToIt) {
    for (const Kind& kind : kinds) {
        SCOPED_TRACE(kind.name);
        const auto cache = create(kind, {300, 300, true});
        if (!is_fixed(*cache)) { continue; }
        const std::uint64_t pages = context->pool().pages();
        sequence.append(*cache, 0, 200);
        cache->evict(0, 1, {}, true); // all that is packed
        EXPECT_EQ(cache->head(0, 1).page_count, 0U);
        EXPECT_EQ(context->pool().pages(), pages);
        EXPECT_EQ(cache_bytes(*context), cache->bytes(MUSTAFAR_ALL, MUSTAFAR_ALL).total);
        cache->reset();
        const std::uint64_t calls = heap.calls();
        sequence.append(*cache, 0, 300);
        EXPECT_EQ(heap.calls(), calls);
    }
}

TEST_F(CacheReserve, BehindIt_PagesComeFromTheAllocatorAndGoBackThere) {
    const auto cache = create(kinds[1], {300, 71, true}); // two pages a head
    EXPECT_EQ(context->pool().pages(), 8U);
    sequence.append(*cache, 0, 300);
    EXPECT_EQ(context->pool().pages(), 4U * 9U) << "288 packed rows a head";
    cache->truncate(0, true);
    EXPECT_EQ(context->pool().pages(), 8U);
}

TEST_F(CacheReserve, PagesSharedWithAFork_StayWithTheForkAndNotInTheReserve) {
    const auto cache = create(kinds[1], {300, 71, true});
    sequence.append(*cache, 0, 71);
    const auto child = cache->fork();
    const std::string bytes = snapshot(*child);
    cache->truncate(0, true);
    sequence.append(*cache, 100, 171);
    EXPECT_EQ(snapshot(*child), bytes);
    EXPECT_EQ(context->pool().shared_pages(), 0U);
}

// ---- plan --------------------------------------------------------------------------------------

constexpr std::uint32_t plan_tokens[] = {0, 1, 31, 32, 63, 64, 65, 300};

void expect_same_bytes(const mustafar_bytes& got, const mustafar_bytes& planned) {
    ASSERT_EQ(got.total, planned.total);
    ASSERT_EQ(got.values, planned.values);
    ASSERT_EQ(got.bitmaps, planned.bitmaps);
    ASSERT_EQ(got.meta, planned.meta);
    ASSERT_EQ(got.slack, planned.slack);
    ASSERT_EQ(got.window, planned.window);
    ASSERT_EQ(got.positions, planned.positions);
    ASSERT_EQ(got.tables, planned.tables);
}

TEST_F(CacheBytes, Plan_IsWhatStatsSayAndWhatTheAllocatorHandedOut) {
    const CacheOptions all_options[] = {
        {300, 0, true}, {300, 0, false}, {300, 200, true}, {301, 301, false}};
    for (const std::uint32_t d : {32U, 64U, 80U, 128U}) {
        const Geometry g{1, 2, 2, d, d == 80 ? 96 : d, Dtype::bf16};
        const Sequence tokens(g, 300);
        for (const NamedRecipe& named : named_recipes()) {
            const auto recipe = Recipe::parse(named.name);
            for (const CacheOptions& options : all_options) {
                const std::uint64_t before = cache_bytes(*context);
                const auto cache = Cache::create(context, g, recipe, options);
                std::uint32_t length = 0;
                for (const std::uint32_t n : plan_tokens) {
                    tokens.append(*cache, std::exchange(length, n), n);
                    SCOPED_TRACE(std::string(named.name) + " d " + std::to_string(d) + " at " +
                                 std::to_string(n) + (options.automatic ? " auto" : ""));
                    const mustafar_bytes planned = plan(*recipe, g, options, n, MUSTAFAR_ALL);
                    ASSERT_EQ(planned.exact, 1U);
                    expect_same_bytes(cache->bytes(MUSTAFAR_ALL, MUSTAFAR_ALL), planned);
                    expect_same_bytes(cache->bytes(0, MUSTAFAR_ALL),
                                      plan(*recipe, g, options, n, 0));
                    ASSERT_EQ(planned.total, cache_bytes(*context) - before);
                    if (HasFatalFailure()) { return; }
                }
            }
        }
    }
}

TEST_F(CacheBytes, PlanOfRaggedRows_IsNeverBelowAndSaysSo) {
    for (const Kind& kind : kinds) {
        const auto cache = create(kind);
        std::uint32_t length = 0;
        for (const std::uint32_t n : plan_tokens) {
            sequence.append(*cache, std::exchange(length, n), n);
            SCOPED_TRACE(std::string(kind.name) + " at " + std::to_string(n));
            const mustafar_bytes planned =
                plan(*kind.recipe(), geometry, automatic, n, MUSTAFAR_ALL);
            const mustafar_bytes got = cache->bytes(MUSTAFAR_ALL, MUSTAFAR_ALL);
            EXPECT_EQ(got.total, cache_bytes(*context));
            EXPECT_EQ(planned.exact,
                      is_fixed(*cache) || cache->head(0, 0).body_rows == 0 ? 1U : 0U);
            EXPECT_GE(planned.total, got.total);
            if (planned.exact == 1) { expect_same_bytes(got, planned); }
        }
    }
}

TEST_F(CacheBytes, HeadsAndLayers_AddUpToTheWhole) {
    const auto cache = create(kinds[1]);
    sequence.append(*cache, 0, 0, 80); // layers of different length
    sequence.append(*cache, 1, 0, 20);
    std::uint64_t layers = 0;
    for (const std::uint32_t layer : {0U, 1U}) {
        const std::uint64_t heads = cache->bytes(layer, 0).total + cache->bytes(layer, 1).total;
        EXPECT_EQ(cache->bytes(layer, MUSTAFAR_ALL).total, heads + sizeof(LayerState));
        layers += cache->bytes(layer, MUSTAFAR_ALL).total;
    }
    EXPECT_EQ(cache->bytes(MUSTAFAR_ALL, MUSTAFAR_ALL).total, layers + sizeof(Cache));
    EXPECT_GT(cache->bytes(0, 0).total, cache->bytes(1, 0).total);
}

} // namespace
} // namespace mustafar::test
